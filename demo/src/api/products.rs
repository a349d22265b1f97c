//! Products, behind the response cache. It keeps no 404, so that there is no such product is kept
//! here.

use axum::Json;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::database::Database;
use crate::input::{Id, ListQuery};
use crate::model::{Page, Product};
use crate::problem::Problem;

pub(crate) async fn list(app: App, query: ListQuery) -> Result<Json<Page<Product>>, Problem> {
    Ok(Json(app.shared.database.products(query.request, &query.q).await?))
}

pub(crate) async fn show(app: App, Id(id): Id) -> Result<Response, Problem> {
    let shop = &app.shared;
    let load = || shop.database.product(id);
    match shop.catalogue.get_or_find(format!("product:{id}"), load).await? {
        Some(product) => Ok(Json(&*product).into_response()),
        None => Err(Problem::not_found("product", id)),
    }
}
