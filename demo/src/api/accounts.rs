//! Signing up, in and out.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_http::Session;

use super::me::ACCOUNT;
use super::no_store;
use crate::app::App;
use crate::database::{Database, DatabaseError};
use crate::input::{ClientAddress, SignIn, SignUp};
use crate::model::Account;
use crate::problem::{FieldError, Problem};

/// Opens an account, and signs in.
///
/// An address that has one is refused by name. To tell only whoever reads its mail takes mail, which
/// this shop does not send; how many addresses can be tried is limited instead.
pub(crate) async fn sign_up(
    app: App,
    session: Session,
    client: ClientAddress,
    SignUp(credentials): SignUp,
) -> Result<Response, Problem> {
    let shop = &app.shared;
    if let Some(limits) = &shop.entrance.limits {
        limits.sign_up(client.known()?).await?;
    }
    let hash = shop.entrance.passwords.hash(credentials.password).await?;
    let account = match shop.database.add_account(&credentials.email, &hash).await {
        Err(DatabaseError::EmailTaken { .. }) => {
            let taken = FieldError::new("email", "has an account already");
            return Err(Problem::fields(StatusCode::CONFLICT, vec![taken]));
        }
        account => account?,
    };
    begin(&session, &account).await?;
    Ok((StatusCode::CREATED, no_store(account)).into_response())
}

/// Signs in. A wrong password and an address without an account get the same answer after the same
/// time.
pub(crate) async fn sign_in(
    app: App,
    session: Session,
    client: ClientAddress,
    SignIn(credentials): SignIn,
) -> Result<Response, Problem> {
    let shop = &app.shared;
    let attempt = match &shop.entrance.limits {
        Some(limits) => Some(limits.sign_in(client.known()?, &credentials.email).await?),
        None => None,
    };
    let (account, hash) = shop.database.account(&credentials.email).await?.unzip();
    let is_theirs = shop.entrance.passwords.is_of(credentials.password, hash).await?;
    let Some(account) = account.filter(|_| is_theirs) else {
        let detail = "there is no account with this address and this password";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    };
    begin(&session, &account).await?;
    if let Some(attempt) = attempt {
        attempt.give_back().await;
    }
    Ok(no_store(account))
}

/// Under a new id, with what the visitor has put into the session kept, unless somebody else was
/// signed in there.
async fn begin(session: &Session, account: &Account) -> Result<(), Problem> {
    let id = account.id.to_string();
    if session.user().await?.is_some_and(|user| user != id) {
        session.end().await?;
    }
    session.sign_in(id).await?;
    Ok(session.insert(ACCOUNT, account).await?)
}

/// Signs out here. Whoever is not signed in is told the same.
pub(crate) async fn sign_out(session: Session) -> Result<Response, Problem> {
    session.end().await?;
    Ok(super::nothing())
}
