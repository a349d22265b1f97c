use std::ops::Deref;

/// The session of a request: [`larder_core::Session`], as a service finds it among the extensions of
/// the request, and a handler of axum by asking for it.
///
/// The layer saves it when the service has answered, and the response waits for that: nobody else
/// has to. What is done with it after the response is there, as in a body that is still being
/// produced, is lost.
///
/// ```
/// use http::{Request, Response};
/// use larder_http::Session;
///
/// async fn visits(request: Request<()>) -> larder_core::Result<Response<String>> {
///     let Some(session) = request.extensions().get::<Session>() else {
///         return Ok(Response::new("there is no SessionLayer".into()));
///     };
///     let visits = session.get::<u32>("visits").await?.unwrap_or_default() + 1;
///     session.insert("visits", &visits).await?;
///     Ok(Response::new(format!("visit {visits}")))
/// }
/// # let _ = visits;
/// ```
#[derive(Debug, Clone)]
pub struct Session(larder_core::Session);

impl Session {
    pub(super) fn new(session: larder_core::Session) -> Self {
        Self(session)
    }
}

impl Deref for Session {
    type Target = larder_core::Session;

    fn deref(&self) -> &larder_core::Session {
        &self.0
    }
}
