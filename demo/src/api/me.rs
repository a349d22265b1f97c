//! Who is signed in, where else, and their cart.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use futures::future::try_join_all;
use larder_core::Timestamp;
use larder_http::Session;
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, UNIX_EPOCH};

use super::products::find;
use super::{no_store, nothing};
use crate::app::App;
use crate::database::Database;
use crate::input::CartBody;
use crate::model::{Account, Cart};
use crate::problem::Problem;

/// The session's values: the account of who is signed in, and the cart.
pub(super) const ACCOUNT: &str = "account";
const CART: &str = "cart";

/// Who is signed in; 401 where nobody is.
pub(crate) struct Me {
    session: Session,
    account: Account,
}

impl<S: Send + Sync> FromRequestParts<S> for Me {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let session = Session::from_request_parts(parts, state).await?;
        if session.user().await?.is_none() {
            return Err(Problem::not_signed_in());
        }
        let account = session.get(ACCOUNT).await?.ok_or_else(Problem::not_signed_in)?;
        Ok(Self { session, account })
    }
}

pub(crate) async fn show(me: Me) -> Response {
    no_store(me.account)
}

/// When they were last seen, as far as the database knows.
pub(crate) async fn seen(app: App, me: Me) -> Result<Response, Problem> {
    let last_seen_at = app.shared.database.last_seen(me.account.id).await?;
    Ok(no_store(json!({ "lastSeenAt": last_seen_at })))
}

/// One of somebody's sessions.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedInAt {
    /// Whether it is the one that asks.
    current: bool,
    created_at: String,
    /// To the minute.
    seen_at: String,
    seen_from: Option<String>,
    expires_at: String,
}

pub(crate) async fn sessions(app: App, me: Me) -> Result<Response, Problem> {
    let this = me.session.key().await?;
    let all = app.shared.entrance.sessions.of_user(&me.account.id.to_string()).await?;
    let items: Vec<_> = all
        .into_iter()
        .map(|it| SignedInAt {
            current: this.as_ref() == Some(&it.key),
            created_at: rfc3339(it.created_at),
            seen_at: rfc3339(it.seen_at),
            seen_from: it.seen_from,
            expires_at: rfc3339(it.expires_at),
        })
        .collect();
    Ok(no_store(json!({ "items": items })))
}

fn rfc3339(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.as_millis());
    humantime::format_rfc3339_millis(time).to_string()
}

/// Signs out everywhere, here too.
pub(crate) async fn sign_out_everywhere(me: Me) -> Result<Response, Problem> {
    me.session.end_all().await?;
    Ok(nothing())
}

/// The visitor's cart, which is one session's: whoever signs in keeps what is in it.
pub(crate) async fn cart(session: Session) -> Result<Response, Problem> {
    let cart: Cart = session.get(CART).await?.unwrap_or_default();
    Ok(no_store(cart))
}

pub(crate) async fn put_cart(
    app: App,
    session: Session,
    CartBody(cart): CartBody,
) -> Result<Response, Problem> {
    let before: Cart = session.get(CART).await?.unwrap_or_default();
    let is_new = |id: i64| before.items.iter().all(|item| item.product != id);
    let looked_up = cart.items.iter().enumerate().filter(|(_, item)| is_new(item.product)).map(
        async |(place, item)| {
            let is_there = find(&app, item.product).await?.is_some();
            Ok::<_, Problem>((!is_there).then(|| CartBody::no_such_product(place, item.product)))
        },
    );
    let missing: Vec<_> = try_join_all(looked_up).await?.into_iter().flatten().collect();
    if !missing.is_empty() {
        return Err(CartBody::problem(missing));
    }
    if cart != before {
        session.insert(CART, &cart).await?;
    }
    Ok(no_store(cart))
}
