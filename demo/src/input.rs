//! What requests bring, checked; what is wrong with it is named.

mod cart;
mod credentials;

use std::convert::Infallible;
use std::error::Error as _;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use crate::app::App;
use crate::model::{PageRequest, UserChange};
use crate::problem::{FieldError, Problem};

pub(crate) use cart::CartBody;
pub(crate) use credentials::{SignIn, SignUp};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;
const MAX_PAGE: u32 = 1_000_000;
const MAX_Q_CHARS: usize = 64;
const MAX_NAME_CHARS: usize = 100;
/// RFC 5321, section 4.5.3.1.3, less the angle brackets of a path.
const MAX_EMAIL_BYTES: usize = 254;

/// The `{id}` of a path: a whole number from 1 on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let problem = || Problem::bad_request("id", "must be a whole number from 1 on");
        let Path(id): Path<String> =
            Path::from_request_parts(parts, state).await.map_err(|_| problem())?;
        whole_number(&id).and_then(|id| i64::try_from(id).ok()).map(Self).ok_or_else(problem)
    }
}

/// Digits alone: `str::parse` would take a `+` too, and `1` and `+1` would be two keys.
fn whole_number(text: &str) -> Option<u64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// By what the limits know the client; `None` where its address cannot be known, or nobody asks.
pub(crate) struct ClientAddress(Option<String>);

impl ClientAddress {
    /// What cannot be known is the server's doing: too many proxies are said to stand before it.
    pub(crate) fn known(&self) -> Result<&str, Problem> {
        self.0.as_deref().ok_or_else(|| {
            tracing::error!("the client's address is not known, so that it cannot be limited");
            Problem::internal()
        })
    }
}

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let limits = app.shared.entrance.limits.as_ref();
        Ok(Self(limits.and_then(|limits| limits.client().key(parts))))
    }
}

/// `page`, `limit` and `q` of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListQuery {
    pub(crate) request: PageRequest,
    /// In lower case (of ASCII, as is the database's), without space around; empty for everything.
    pub(crate) q: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(
                |rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()),
            )?;
        Self::of(&pairs)
    }
}

impl ListQuery {
    fn of(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let mut note = |error| errors.push(error);
        let page = number(pairs, "page", 1, MAX_PAGE).map_err(&mut note);
        let limit = number(pairs, "limit", DEFAULT_LIMIT, MAX_LIMIT).map_err(&mut note);
        let q = search(pairs).map_err(&mut note);
        match (page, limit, q) {
            (Ok(page), Ok(limit), Ok(q)) => Ok(Self { request: PageRequest { page, limit }, q }),
            _ => Err(Problem::fields(StatusCode::BAD_REQUEST, errors)),
        }
    }
}

fn given<'a>(pairs: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, FieldError> {
    let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(FieldError::new(name, "is given more than once")),
    }
}

fn number(
    pairs: &[(String, String)],
    name: &str,
    default: u32,
    max: u32,
) -> Result<u32, FieldError> {
    let Some(text) = given(pairs, name)? else { return Ok(default) };
    whole_number(text)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| FieldError::new(name, format!("must be a whole number from 1 to {max}")))
}

fn search(pairs: &[(String, String)]) -> Result<String, FieldError> {
    let q = given(pairs, "q")?.unwrap_or_default().trim();
    if q.chars().count() > MAX_Q_CHARS {
        Err(FieldError::new("q", format!("may have {MAX_Q_CHARS} characters")))
    } else if q.chars().any(char::is_control) {
        Err(FieldError::new("q", "has a control character"))
    } else {
        Ok(q.to_ascii_lowercase())
    }
}

/// The body of `PUT /api/v1/users/{id}`: `email`, `name`, or both.
#[derive(Debug)]
pub(crate) struct UserBody(pub(crate) UserChange);

impl<S: Send + Sync> FromRequest<S> for UserBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        user_change(&object(request, state).await?).map(Self)
    }
}

/// A body that is a JSON object, as which it has to be declared.
async fn object<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Map<String, Value>, Problem> {
    let body = Json::<Map<String, Value>>::from_request(request, state).await;
    body.map(|Json(fields)| fields).map_err(|rejection| unreadable(&rejection))
}

/// Each of `errors` is wrong with the body.
fn unprocessable(errors: Vec<FieldError>) -> Problem {
    Problem::fields(StatusCode::UNPROCESSABLE_ENTITY, errors)
}

fn unreadable(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::JsonDataError(_) => {
            unprocessable(vec![FieldError::new("body", "must be a JSON object")])
        }
        JsonRejection::JsonSyntaxError(error) => {
            let said = error.source().map(ToString::to_string).unwrap_or_default();
            let error = FieldError::new("body", format!("is not JSON: {said}"));
            Problem::fields(rejection.status(), vec![error])
        }
        _ => Problem::new(rejection.status(), rejection.body_text()),
    }
}

/// Says what is wrong with a field's text.
type Check = fn(&str) -> Result<(), String>;

fn user_change(fields: &Map<String, Value>) -> Result<UserChange, Problem> {
    let mut change = UserChange::default();
    let mut errors = Vec::new();
    for (field, value) in fields {
        let (slot, check): (_, Check) = match field.as_str() {
            "email" => (&mut change.email, check_email),
            "name" => (&mut change.name, check_name),
            _ => {
                errors.push(FieldError::new(field, "is unknown; there are email and name"));
                continue;
            }
        };
        let text = value.as_str().map(str::trim).ok_or_else(|| "must be a string".to_owned());
        match text.and_then(|text| check(text).map(|()| text.to_owned())) {
            Ok(text) => *slot = Some(text),
            Err(detail) => errors.push(FieldError::new(field, detail)),
        }
    }
    if fields.is_empty() {
        errors.push(FieldError::new("body", "changes nothing; give email, name or both"));
    }
    if errors.is_empty() { Ok(change) } else { Err(unprocessable(errors)) }
}

/// Whether it can be an address at all. Whether it is one, only a message to it can tell.
fn check_email(email: &str) -> Result<(), String> {
    let plausible = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !domain.contains('@')
    });
    if email.len() > MAX_EMAIL_BYTES {
        Err(format!("may have {MAX_EMAIL_BYTES} bytes"))
    } else if !plausible || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("must be an e-mail address, as in zoe@example.com".into())
    } else {
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("must not be empty".into())
    } else if name.chars().count() > MAX_NAME_CHARS {
        Err(format!("may have {MAX_NAME_CHARS} characters"))
    } else if name.chars().any(char::is_control) {
        Err("has a control character".into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &[(&str, &str)]) -> Result<ListQuery, Vec<FieldError>> {
        let pairs: Vec<_> =
            text.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        ListQuery::of(&pairs).map_err(|problem| problem.field_errors().to_vec())
    }

    fn fields(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|error| error.field.as_str()).collect()
    }

    #[test]
    fn a_list_without_a_query_is_its_first_page() {
        let first = query(&[]).unwrap();
        assert_eq!(first.request, PageRequest { page: 1, limit: 20 });
        assert_eq!(first.q, "");
        assert_eq!(query(&[("q", " Tea ")]).unwrap().q, "tea");
    }

    #[test]
    fn bad_pages_and_limits_are_all_named_at_once() {
        for bad in ["0", "-1", "1.5", "+1", "01", "", "x", "4294967297"] {
            let errors = query(&[("page", bad), ("limit", bad)]).unwrap_err();
            assert_eq!(fields(&errors), ["page", "limit"], "{bad}");
        }
        assert_eq!(fields(&query(&[("limit", "101")]).unwrap_err()), ["limit"]);
        assert_eq!(fields(&query(&[("page", "1"), ("page", "2")]).unwrap_err()), ["page"]);
        assert_eq!(fields(&query(&[("q", &"é".repeat(65))]).unwrap_err()), ["q"]);
        assert_eq!(fields(&query(&[("q", "a\0b")]).unwrap_err()), ["q"]);
        assert!(query(&[("page", "1000000"), ("limit", "100"), ("q", &"é".repeat(64))]).is_ok());
    }

    fn change(json: Value) -> Result<UserChange, Vec<String>> {
        let Value::Object(fields) = json else { panic!("no object") };
        let named = |problem: Problem| {
            problem.field_errors().iter().map(|error| error.field.clone()).collect()
        };
        user_change(&fields).map_err(named)
    }

    #[test]
    fn a_change_has_an_address_or_a_name() {
        use serde_json::json;
        assert_eq!(change(json!({"name": " Zoë "})).unwrap().name.as_deref(), Some("Zoë"));
        assert_eq!(change(json!({})).unwrap_err(), ["body"]);
        assert_eq!(change(json!({"email": 1, "name": ""})).unwrap_err(), ["email", "name"]);
        assert_eq!(change(json!({"id": 7, "name": "Zoë"})).unwrap_err(), ["id"]);
        for bad in ["zoe", "@example.com", "zoe@", "zoe@example", "a b@example.com", "a@b@c.d"] {
            assert_eq!(change(json!({ "email": bad })).unwrap_err(), ["email"], "{bad}");
        }
    }
}
