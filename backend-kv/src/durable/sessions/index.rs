//! Which keys may hold sessions of a user: asked of the object that has the user's index.

use larder_core::{StoreError, StoreErrorKind, Timestamp};

use super::super::MAX_KEY_BYTES;
use super::super::engine::LATEST;
use super::super::protocol::{Reply, Request};
use super::DurableSessions;
use super::message::{Ask, SPARE, millis};
use crate::bounded::Call;

/// What is to be forgotten: keys of sessions that ended, each with its user.
pub(super) type Finished = Vec<(String, String)>;

/// Keys, and after which to go on.
pub(super) type Page = (Vec<String>, Option<String>);

impl DurableSessions {
    /// Tells the index of `user` that a session may stand under `key` that ends at `ends`. Answers
    /// until when it knows, in milliseconds: for twice as long as the session lives, so that not
    /// every use of the session has to be told.
    pub(super) async fn note(
        &self,
        call: &Call<'_>,
        user: &str,
        (key, ends): (&str, Timestamp),
    ) -> Result<u64, StoreError> {
        if user.len() > MAX_KEY_BYTES {
            let detail = format!(
                "the user has {} bytes, the store takes at most {MAX_KEY_BYTES}; sign in by a \
                 number, or by a hash",
                user.len()
            );
            return Err(call.error(StoreErrorKind::TooLarge, detail));
        }
        let ends = millis(ends.as_micros());
        let life = ends.saturating_sub(self.runtime.now().as_millis());
        let until = ends.saturating_add(life.max(SPARE)).min(LATEST);
        let user = &self.index_of(user);
        self.ask_index(call, user, Ask::Note { user, key, until }, done).await?;
        Ok(until)
    }

    pub(super) async fn noted(
        &self,
        call: &Call<'_>,
        user: &str,
        after: Option<&str>,
    ) -> Result<Page, StoreError> {
        let user = &self.index_of(user);
        self.ask_index(call, user, Ask::Noted { user, after }, |reply| match reply {
            Reply::Page { keys, next } => {
                Some((keys.into_iter().map(str::to_owned).collect(), next.map(str::to_owned)))
            }
            _ => None,
        })
        .await
    }

    /// Takes keys out of the indexes whose sessions have ended for good, in the background. Where
    /// that fails they stay until their time is over, and hold up nobody.
    pub(super) fn forget_later(&self, operation: &'static str, mut finished: Finished) {
        if finished.is_empty() {
            return;
        }
        finished.sort_unstable();
        let this = self.clone();
        self.runtime.spawn(Box::pin(async move {
            let call = this.call(operation);
            for group in finished.chunk_by(|(_, one), (_, other)| one == other) {
                let Some((_, user)) = group.first() else { continue };
                let keys = group.iter().map(|(key, _)| key.as_str()).collect();
                let user = &this.index_of(user);
                let ask = Ask::Forget { user, keys };
                if let Err(error) = this.ask_index(&call, user, ask, done).await {
                    tracing::debug!(%error, "sessions that ended stay in the index of their user");
                }
            }
        }));
    }

    fn index_of(&self, user: &str) -> String {
        format!("{}{user}", self.shared.index_prefix)
    }

    async fn ask_index<T>(
        &self,
        call: &Call<'_>,
        user: &str,
        ask: Ask<'_>,
        read: impl FnOnce(Reply<'_>) -> Option<T> + Send,
    ) -> Result<T, StoreError> {
        let fleet = &self.shared.fleet;
        fleet.ask(call, fleet.placement().of(user), &Request::Sessions(ask), read).await
    }
}

pub(super) fn done(reply: Reply<'_>) -> Option<()> {
    matches!(reply, Reply::Done).then_some(())
}
