//! The shop's settings, which nobody invalidates: they are a minute old at most.

use axum::Json;
use axum::response::Response;

use super::users::{Answered, answer};
use crate::app::App;
use crate::database::Database;
use crate::problem::Problem;

pub(crate) async fn show(app: App) -> Result<Response, Problem> {
    let answered = Answered::default();
    let load = || answered.by_the_database(app.shared.database.settings());
    let settings = app.shared.config.get_or_load("config", load).await?;
    Ok(answer(answered.source(), Json(&*settings)))
}
