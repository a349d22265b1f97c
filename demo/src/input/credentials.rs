//! Who somebody says to be.

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use super::{check_email, object, unprocessable};
use crate::password::Password;
use crate::problem::{FieldError, Problem};

/// The body of `POST /api/v1/signup`.
#[derive(Debug)]
pub(crate) struct SignUp(pub(crate) Credentials);

/// The body of `POST /api/v1/signin`.
#[derive(Debug)]
pub(crate) struct SignIn(pub(crate) Credentials);

#[derive(Debug)]
pub(crate) struct Credentials {
    /// In lower case, without space around.
    pub(crate) email: String,
    pub(crate) password: Password,
}

impl<S: Send + Sync> FromRequest<S> for SignUp {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        credentials(&object(request, state).await?, Password::chosen).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for SignIn {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        credentials(&object(request, state).await?, Password::presented).map(Self)
    }
}

fn credentials(
    fields: &Map<String, Value>,
    password: fn(&str) -> Result<Password, String>,
) -> Result<Credentials, Problem> {
    let text = |name| match fields.get(name) {
        None => Err("is missing".to_owned()),
        Some(value) => value.as_str().ok_or_else(|| "must be a string".to_owned()),
    };
    let email = text("email").and_then(|email| {
        let email = email.trim().to_lowercase();
        check_email(&email).map(|()| email)
    });
    let password = text("password").and_then(password);
    let unknown = fields.keys().filter(|field| !["email", "password"].contains(&field.as_str()));
    let mut errors: Vec<_> = unknown
        .map(|field| FieldError::new(field, "is unknown; there are email and password"))
        .collect();
    let mut note = |field, error: &Result<(), &String>| {
        if let Err(detail) = error {
            errors.push(FieldError::new(field, *detail));
        }
    };
    note("email", &email.as_ref().map(drop));
    note("password", &password.as_ref().map(drop));
    match (email, password) {
        (Ok(email), Ok(password)) if errors.is_empty() => Ok(Credentials { email, password }),
        _ => Err(unprocessable(errors)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<Credentials, Vec<String>> {
        let Value::Object(fields) = json else { panic!("no object") };
        credentials(&fields, Password::chosen).map_err(|problem| {
            problem.field_errors().iter().map(|error| error.field.clone()).collect()
        })
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let read =
            read(json!({ "email": " Zoë@Example.COM ", "password": " a password " })).unwrap();
        assert_eq!(read.email, "zoë@example.com");
        assert!(!format!("{read:?}").contains("a password"));
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let fine = ("zoe@example.com", "password");
        for (body, fields) in [
            (json!({}), &["email", "password"][..]),
            (json!({ "email": fine.0 }), &["password"]),
            (json!({ "email": "zoe", "password": fine.1 }), &["email"]),
            (json!({ "email": 7, "password": null }), &["email", "password"]),
            (json!({ "email": fine.0, "password": "short" }), &["password"]),
            (json!({ "email": fine.0, "password": fine.1, "admin": true }), &["admin"]),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), fields, "{body}");
        }
    }
}
