//! Products, behind the response cache. It keeps no 404, so that there is no such product is
//! remembered here; a product is not, or its answers would be older than they say.

use std::convert::Infallible;

use axum::Json;
use axum::response::{IntoResponse, Response};
use larder_core::Lookup;

use crate::app::App;
use crate::database::Database;
use crate::input::{Id, ListQuery};
use crate::model::{Page, Product, ProductDetails};
use crate::problem::Problem;

pub(crate) async fn list(app: App, query: ListQuery) -> Result<Json<Page<Product>>, Problem> {
    Ok(Json(app.shared.database.products(query.request, &query.q).await?))
}

pub(crate) async fn show(app: App, Id(id): Id) -> Result<Response, Problem> {
    match find(&app, id).await? {
        Some(product) => Ok(Json(product).into_response()),
        None => Err(Problem::not_found("product", id)),
    }
}

pub(super) async fn find(app: &App, id: i64) -> Result<Option<ProductDetails>, Problem> {
    let shop = &app.shared;
    let key = format!("product:{id}");
    if shop.unknown_products.lookup::<()>(&key).await? == Lookup::Absent {
        return Ok(None);
    }
    let product = shop.database.product(id).await?;
    if product.is_none() {
        let none = async || Ok::<Option<()>, Infallible>(None);
        shop.unknown_products.get_or_find(&key, none).await?;
    }
    Ok(product)
}
