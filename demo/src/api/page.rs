//! The pages that show what happens.
//!
//! Their scripts and styles are files of the same origin, so that nothing inline is ever run.

use axum::http::header;
use axum::response::{Html, IntoResponse};

const POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'self'; script-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn shop() -> impl IntoResponse {
    page(include_str!("page/shop.html"))
}

pub(crate) async fn shop_script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("page/shop.js"))
}

pub(crate) async fn nodes_script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("page/nodes.js"))
}

pub(crate) async fn account() -> impl IntoResponse {
    page(include_str!("page/account.html"))
}

pub(crate) async fn account_script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("page/account.js"))
}

pub(crate) async fn style() -> impl IntoResponse {
    file("text/css; charset=utf-8", include_str!("page/style.css"))
}

fn page(html: &'static str) -> impl IntoResponse {
    let headers = [(header::CACHE_CONTROL, "no-cache"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, Html(html))
}

fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text)
}
