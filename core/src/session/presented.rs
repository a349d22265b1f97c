use super::SessionId;

/// What a request presents of its session, for [`Sessions::open_presented`].
///
/// ```
/// use larder_core::session::{Presented, SessionId};
/// use larder_core::{MemorySessions, Sessions};
///
/// let sessions = Sessions::builder(MemorySessions::new()).build()?;
/// let id = SessionId::parse("s9LZBQKZoZLMgT6iJnH5sLk4uFdsGGot");
/// let session = sessions.open_presented(Presented::new(id).seen_from("203.0.113.9"));
/// # let _ = session;
/// # Ok::<(), larder_core::Error>(())
/// ```
///
/// [`Sessions::open_presented`]: super::Sessions::open_presented
#[derive(Debug, Clone, Default)]
#[must_use = "it does nothing until it is opened"]
pub struct Presented {
    pub(super) id: Option<SessionId>,
    pub(super) others: Vec<SessionId>,
    pub(super) place: Option<String>,
    pub(super) reissues: bool,
}

impl Presented {
    /// A request that presents `id`, or none.
    pub fn new(id: Option<SessionId>) -> Self {
        Self { id, ..Self::default() }
    }

    /// And this id too: the first that is that of a session counts. A dead id that somebody has slipped
    /// in before it so locks nobody out.
    pub fn or(mut self, id: SessionId) -> Self {
        match &self.id {
            None => self.id = Some(id),
            Some(first) if *first == id || self.others.contains(&id) => {}
            Some(_) => self.others.push(id),
        }
        self
    }

    /// It comes from this place, an address or a device: a list of the user's sessions shows where
    /// each was last used.
    pub fn seen_from(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The client is to be told its id again, once the session is known to live: the cookie that it
    /// has is signed with a secret that goes.
    pub fn reissued(mut self) -> Self {
        self.reissues = true;
        self
    }
}
