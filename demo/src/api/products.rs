//! Products. Nothing here knows of a cache: the response cache in front of it does that work.

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::database::Database;
use crate::input::{Id, ListQuery};
use crate::model::{Page, Product, ProductDetails};
use crate::problem::Problem;

pub(crate) async fn list(
    State(app): State<App>,
    query: ListQuery,
) -> Result<Json<Page<Product>>, Problem> {
    Ok(Json(app.shared.database.products(query.request, &query.q).await?))
}

pub(crate) async fn show(
    State(app): State<App>,
    Id(id): Id,
) -> Result<Json<ProductDetails>, Problem> {
    let product = app.shared.database.product(id).await?;
    product.map(Json).ok_or_else(|| Problem::not_found("product", id))
}
