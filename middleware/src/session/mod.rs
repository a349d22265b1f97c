//! Sessions around any service.
//!
//! [`SessionLayer`] gives each request its [`Session`], by the cookie that it sends, and saves it
//! before the response goes out.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::{get, post}};
//! use larder_core::{MemorySessions, Sessions};
//! use larder_http::session::{SessionError, SignedIn};
//! use larder_http::{Session, SessionLayer};
//! use tower::ServiceExt;
//!
//! async fn sign_in(session: Session) -> Result<(), SessionError> {
//!     // … when the password is right.
//!     session.sign_in("zoë").await?;
//!     Ok(())
//! }
//!
//! async fn me(SignedIn(user): SignedIn) -> String {
//!     user
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
//! let sessions = Sessions::builder(MemorySessions::new()).build()?;
//! let app: Router = Router::new()
//!     .route("/sign-in", post(sign_in))
//!     .route("/me", get(me))
//!     .layer(SessionLayer::new(sessions, secret)?);
//!
//! let stranger = Request::get("/me").body(Body::empty())?;
//! assert_eq!(app.clone().oneshot(stranger).await?.status(), 401);
//!
//! let signed_in = app.clone().oneshot(Request::post("/sign-in").body(Body::empty())?).await?;
//! let cookie = signed_in.headers()["set-cookie"].to_str()?;
//! assert!(cookie.starts_with("__Host-session=s%3A"));
//! assert!(cookie.ends_with("; Max-Age=604800; Path=/; Secure; HttpOnly; SameSite=Lax"));
//!
//! let cookie = cookie.split(';').next().unwrap_or_default();
//! let known = Request::get("/me").header("cookie", cookie).body(Body::empty())?;
//! assert_eq!(app.oneshot(known).await?.status(), 200);
//! # Ok(()) }
//! ```

mod answer;
mod body;
mod cookie;
#[cfg(feature = "encrypted-cookies")]
mod encrypted;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod handle;
mod layer;
mod place;
mod presented;
mod seal;
mod secret;
mod service;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;
mod witness;

pub use body::SessionBody;
pub use cookie::SameSite;
#[cfg(feature = "axum")]
pub use extract::{SessionError, SignedIn};
pub use future::SessionFuture;
pub use handle::Session;
pub use layer::{SessionLayer, SessionLayerBuilder};
pub use secret::{Secret, Secrets};
pub use service::SessionService;
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::TowerSessions;
pub(crate) use witness::Witness;
