//! A session store: who is signed in, and a cart, for all servers on one Redis.
//!
//! ```sh
//! LARDER_REDIS_URL=redis://127.0.0.1:6379 cargo run -p larder --example session_store --all-features
//! ```

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use larder::http::session::{SessionError, SignedIn};
use larder::http::{Session, SessionLayer};
use larder::redis::RedisStore;
use larder::{Sessions, days};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cart {
    products: Vec<u64>,
}

async fn sign_in(session: Session) -> Result<(), SessionError> {
    // … when the password is right. From here on the session has another id.
    session.sign_in("zoë").await?;
    Ok(())
}

async fn sign_out(session: Session) -> Result<(), SessionError> {
    session.end().await?;
    Ok(())
}

async fn sign_out_everywhere(session: Session) -> Result<(), SessionError> {
    session.end_all().await?;
    Ok(())
}

/// 401 for whoever is not signed in; 503, and no stranger, where the store does not answer.
async fn me(SignedIn(user): SignedIn) -> String {
    user
}

/// Loaded by the first `get`. A request that only reads writes nothing.
async fn cart(session: Session) -> Result<Json<Cart>, SessionError> {
    Ok(Json(session.get("cart").await?.unwrap_or_default()))
}

async fn add(session: Session, Json(product): Json<u64>) -> Result<(), SessionError> {
    let mut cart: Cart = session.get("cart").await?.unwrap_or_default();
    cart.products.push(product);
    // Saved before the response goes out.
    session.insert("cart", &cart).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("LARDER_REDIS_URL").unwrap_or("redis://127.0.0.1:6379".into());
    let store = RedisStore::connect(&url).await?;
    // Who comes back within a week stays signed in, for a month at most.
    let sessions = Sessions::builder(store.sessions()).idle(days(7)).absolute(days(30)).build()?;
    // A server's is a secret of its own: `openssl rand -base64 32`.
    let secret = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
    let app = Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/sign-out-everywhere", post(sign_out_everywhere))
        .route("/me", get(me))
        .route("/cart", get(cart).post(add))
        .layer(SessionLayer::new(sessions.clone(), secret)?);

    // A server would be `axum::serve(listener, app)`; here two browsers ask without one.
    let (mut laptop, mut phone) = (Browser::new(&app), Browser::new(&app));
    laptop.post("/cart", "42").await?;
    laptop.post("/sign-in", "").await?;
    assert_eq!(laptop.get("/cart").await?, (StatusCode::OK, r#"{"products":[42]}"#.into()));
    phone.post("/sign-in", "").await?;
    assert_eq!(phone.get("/me").await?, (StatusCode::OK, "zoë".into()));
    for session in sessions.of_user("zoë").await? {
        println!("signed in from {}", session.seen_from.unwrap_or_default());
    }

    laptop.post("/sign-out-everywhere", "").await?;
    for browser in [&mut laptop, &mut phone] {
        assert_eq!(browser.get("/me").await?.0, StatusCode::UNAUTHORIZED);
    }
    phone.post("/sign-in", "").await?;
    phone.post("/sign-out", "").await?;
    assert!(sessions.of_user("zoë").await?.is_empty());
    Ok(())
}

/// Keeps its cookie, as a browser does.
struct Browser<'a> {
    app: &'a Router,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn new(app: &'a Router) -> Self {
        Self { app, cookie: String::new() }
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<(StatusCode, String)> {
        self.send(Request::get(path).body(Body::empty())?).await
    }

    async fn post(&mut self, path: &str, body: &'static str) -> anyhow::Result<()> {
        let request = Request::post(path).header("content-type", "application/json");
        let (status, said) = self.send(request.body(Body::from(body))?).await?;
        anyhow::ensure!(status.is_success(), "POST {path}: {status}: {said}");
        Ok(())
    }

    async fn send(&mut self, mut request: Request<Body>) -> anyhow::Result<(StatusCode, String)> {
        request.headers_mut().insert("cookie", self.cookie.parse()?);
        request.headers_mut().insert("user-agent", "an example".parse()?);
        let response = self.app.clone().oneshot(request).await?;
        if let Some(set) = response.headers().get("set-cookie") {
            self.cookie = set.to_str()?.split(';').next().unwrap_or_default().to_owned();
        }
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await?;
        Ok((status, String::from_utf8(body.to_vec())?))
    }
}
