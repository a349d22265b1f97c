//! What a cache around the layer of sessions learns of a request's session.

use std::sync::{Arc, Mutex, PoisonError};

use http::Extensions;

use super::Session;

/// The sessions that a request is given, as whoever is around the layers of sessions has to know them:
/// a response that was made with a look into one is for one visitor.
///
/// It travels with the request. The response could say it too, but is there before its body is, which
/// may look into the session as well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Vec<Session>>>);

impl Witness {
    /// Of the request with these extensions, from here on; and of the layers around.
    pub(crate) fn of(extensions: &mut Extensions) -> Self {
        let outer = extensions.get::<Session>().cloned();
        // One that a cache around this one has set knows all that is further in.
        let witness = extensions.get_or_insert_default::<Self>().clone();
        if let Some(outer) = outer {
            witness.see(&outer);
        }
        witness
    }

    /// A layer gives the request this session.
    pub(super) fn see(&self, session: &Session) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(session.clone());
    }

    /// Whether one of them was used.
    pub(crate) fn saw_use(&self) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().any(|session| session.is_touched())
    }
}
