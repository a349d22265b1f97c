//! What somebody is about to buy.

use std::collections::HashSet;

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use super::{object, unprocessable};
use crate::model::{Cart, CartItem};
use crate::problem::{FieldError, Problem};

/// Each product that is new in a cart is looked for.
const MAX_ITEMS: usize = 20;
const MAX_AMOUNT: u32 = 99;

/// The body of `PUT /api/v1/me/cart`. Whether there are such products is left to see.
#[derive(Debug)]
pub(crate) struct CartBody(pub(crate) Cart);

impl<S: Send + Sync> FromRequest<S> for CartBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        cart(&object(request, state).await?).map(Self).map_err(unprocessable)
    }
}

impl CartBody {
    /// There is no product of the item at this place.
    pub(crate) fn no_such_product(place: usize, product: i64) -> FieldError {
        FieldError::new(
            format!("items[{place}].product"),
            format!("is {product}, which there is not"),
        )
    }

    /// Each of `errors` is wrong.
    pub(crate) fn problem(errors: Vec<FieldError>) -> Problem {
        unprocessable(errors)
    }
}

fn cart(fields: &Map<String, Value>) -> Result<Cart, Vec<FieldError>> {
    let unknown = fields.keys().filter(|field| *field != "items");
    let mut errors: Vec<_> =
        unknown.map(|field| FieldError::new(field, "is unknown; there is items")).collect();
    let mut cart = Cart::default();
    match fields.get("items").map(Value::as_array) {
        None => errors.push(FieldError::new("items", "is missing; a list, which may be empty")),
        Some(None) => errors.push(FieldError::new("items", "must be a list")),
        Some(Some(items)) if items.len() > MAX_ITEMS => {
            errors.push(FieldError::new("items", format!("may have {MAX_ITEMS} entries")));
        }
        Some(Some(items)) => {
            let mut products = HashSet::new();
            for (place, value) in items.iter().enumerate() {
                match item(&format!("items[{place}]"), value) {
                    Ok(item) if products.insert(item.product) => cart.items.push(item),
                    Ok(_) => errors.push(FieldError::new(
                        format!("items[{place}].product"),
                        "is in the cart twice",
                    )),
                    Err(wrong) => errors.extend(wrong),
                }
            }
        }
    }
    if errors.is_empty() { Ok(cart) } else { Err(errors) }
}

fn item(name: &str, value: &Value) -> Result<CartItem, Vec<FieldError>> {
    let Some(fields) = value.as_object() else {
        return Err(vec![FieldError::new(name, "must be an object with product and amount")]);
    };
    let product = fields.get("product").and_then(Value::as_i64).filter(|id| *id > 0);
    let amount = fields.get("amount").and_then(Value::as_u64);
    let amount =
        amount.and_then(|it| u32::try_from(it).ok()).filter(|it| (1..=MAX_AMOUNT).contains(it));
    let unknown = fields.keys().filter(|field| !["product", "amount"].contains(&field.as_str()));
    let mut errors: Vec<_> = unknown
        .map(|field| {
            FieldError::new(format!("{name}.{field}"), "is unknown; there are product and amount")
        })
        .collect();
    if product.is_none() {
        errors.push(FieldError::new(format!("{name}.product"), "must be a whole number from 1 on"));
    }
    if amount.is_none() {
        let detail = format!("must be a whole number from 1 to {MAX_AMOUNT}");
        errors.push(FieldError::new(format!("{name}.amount"), detail));
    }
    match (product, amount) {
        (Some(product), Some(amount)) if errors.is_empty() => Ok(CartItem { product, amount }),
        _ => Err(errors),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<Cart, Vec<String>> {
        let Value::Object(fields) = json else { panic!("no object") };
        cart(&fields).map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn a_cart_may_be_empty_or_hold_some_of_each_product() {
        assert_eq!(read(json!({ "items": [] })).unwrap(), Cart::default());
        let two =
            json!({ "items": [{ "product": 7, "amount": 99 }, { "product": 8, "amount": 1 }] });
        assert_eq!(serde_json::to_value(read(two.clone()).unwrap()).unwrap(), two);
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let one = |item: Value| json!({ "items": [item] });
        let many: Vec<_> = (1..=21).map(|id| json!({ "product": id, "amount": 1 })).collect();
        for (body, fields) in [
            (json!({}), &["items"][..]),
            (json!({ "items": {}, "total": 1 }), &["total", "items"]),
            (json!({ "items": many }), &["items"]),
            (one(json!(7)), &["items[0]"]),
            (one(json!({})), &["items[0].product", "items[0].amount"]),
            (one(json!({ "product": 0, "amount": 100 })), &["items[0].product", "items[0].amount"]),
            (
                one(json!({ "product": "7", "amount": 1.5 })),
                &["items[0].product", "items[0].amount"],
            ),
            (one(json!({ "product": 7, "amount": 1, "price": 0 })), &["items[0].price"]),
            (
                json!({ "items": [{ "product": 7, "amount": 1 }, { "product": 7, "amount": 2 }] }),
                &["items[1].product"],
            ),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), fields, "{body}");
        }
    }
}
