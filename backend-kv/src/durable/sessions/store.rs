//! The port [`SessionStore`], on objects.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use larder_core::session::{
    SessionCapabilities, SessionRecord, StoredSession, Touch, Updated, UserSession, Version,
};
use larder_core::{Runtime, SessionStore, StoreError, StoreErrorKind, StrongSessionStore};

use super::super::protocol::{Reply, Request};
use super::super::{MAX_KEY_BYTES, MAX_VALUE_BYTES, NAME, fleet};
use super::DurableSessions;
use super::index::{Finished, done};
use super::message::{self, Ask, Ended, Record, Standing, Token, token, version};
use crate::bounded::Call;
use crate::error::Failure;

/// What an object says to a change of a session.
enum Met {
    Done,
    /// It was not made: this stands there.
    Standing(Found),
    /// It was not made: the index of this user has to know first.
    Unnoted(String),
}

/// What stands under a key.
enum Found {
    Session(StoredSession),
    MovedTo(String),
    Ended,
    Nothing,
}

impl Found {
    fn of(standing: Option<Standing<'_>>) -> Result<Self, Failure> {
        Ok(match standing {
            None => Self::Nothing,
            Some(Standing::Session { version, record, .. }) => {
                Self::Session(record.stored(version)?)
            }
            Some(Standing::Tombstone { moved_to: Some(to), .. }) => Self::MovedTo(to.to_owned()),
            Some(Standing::Tombstone { moved_to: None, .. }) => Self::Ended,
        })
    }

    /// What came of a change that met it.
    fn not_made(self) -> Updated {
        match self {
            Self::Session(theirs) => Updated::Conflict(Box::new(theirs)),
            Self::MovedTo(key) => Updated::Moved(key),
            Self::Ended | Self::Nothing => Updated::Gone,
        }
    }
}

/// What came of the end of a session.
enum End {
    Now(Option<String>),
    MovedTo(String),
    Not,
}

#[async_trait]
impl SessionStore for DurableSessions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &SessionCapabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn SessionStore>> {
        Some(Arc::new(Self { shared: Arc::clone(&self.shared), runtime: Arc::clone(runtime) }))
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        match self.change(&self.call("load"), key, Ask::Load(key)).await? {
            Met::Standing(Found::Session(found)) => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        self.make(&self.call("create"), key, session).await
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        let call = self.call("update");
        let data = values(&call, key, session)?;
        let (made, expected) = (draw(), token(expected));
        let mut noted = 0;
        loop {
            let record = Record::of(session, &data);
            let ask = Ask::Update { key, expected, version: made, noted, record };
            match self.change(&call, key, ask).await? {
                Met::Done => return Ok(Updated::Done(version(made))),
                Met::Standing(found) => return Ok(found.not_made()),
                Met::Unnoted(_) if noted > 0 => return Err(never_noted(&call)),
                Met::Unnoted(user) => {
                    noted = self.note(&call, &user, (key, session.expires_at)).await?;
                }
            }
        }
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        let call = self.call("touch");
        let (seen, ends) = (touch.seen_at.as_micros(), touch.expires_at.as_micros());
        let (mut user, mut noted) = (None::<String>, 0);
        loop {
            let (seen_from, user_noted) = (touch.seen_from.as_deref(), user.as_deref());
            let ask = Ask::Touch { key, seen, seen_from, ends, user: user_noted, noted };
            match self.change(&call, key, ask).await? {
                Met::Done => return Ok(true),
                Met::Standing(_) => return Ok(false),
                Met::Unnoted(of) if user.as_ref() == Some(&of) => return Err(never_noted(&call)),
                Met::Unnoted(of) => {
                    noted = self.note(&call, &of, (key, touch.expires_at)).await?;
                    user = Some(of);
                }
            }
        }
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        let call = self.call("renew");
        fleet::check_key(&call, key, MAX_KEY_BYTES)?;
        // The new one first: whoever is told of the move finds it there.
        let Some(made) = self.make(&call, new_key, session).await? else {
            return Ok(Updated::Taken);
        };
        let (expected, left) = (token(expected), draw());
        let leave = Ask::Leave { key, expected, version: left, to: new_key };
        let met = self.ask(&call, key, leave, |reply| match reply {
            Reply::Ends(ends) => match ends.as_slice() {
                [Ended::Now(user)] => Some(Ok(Err(user.map(str::to_owned)))),
                _ => None,
            },
            Reply::Standing(standing) => Some(Found::of(standing).map(Ok)),
            _ => None,
        });
        match met.await?.map_err(|failure| call.failed(failure))? {
            Err(user) => {
                let finished = user.map(|user| (key.to_owned(), user));
                self.forget_later("renew", finished.into_iter().collect());
                Ok(Updated::Done(made))
            }
            Ok(found) => {
                let take_back = Ask::TakeBack { key: new_key, version: token(&made) };
                self.ask(&call, new_key, take_back, done).await?;
                Ok(found.not_made())
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let call = self.call("remove");
        let mut finished = Finished::new();
        let ended = self.end(&call, vec![key.to_owned()], (None, None), &mut finished).await?;
        self.forget_later("remove", finished);
        Ok(ended > 0)
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        let call = self.call("of_user");
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (keys, next) = self.noted(&call, user, after.as_deref()).await?;
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let fleet = &self.shared.fleet;
            let shown = fleet.each(&keys, |object, keys| {
                let request = Request::Sessions(Ask::Show { keys, user });
                let call = &call;
                async move {
                    fleet
                        .ask(call, object, &request, |reply| match reply {
                            Reply::Shown(shown) => {
                                Some(shown.iter().map(|it| it.session()).collect::<Vec<_>>())
                            }
                            _ => None,
                        })
                        .await
                }
            });
            found.extend(shown.await?.into_iter().flat_map(|(_, shown)| shown));
            after = next;
            if after.is_none() {
                break;
            }
        }
        found.sort_by_key(|session| std::cmp::Reverse(session.seen_at));
        Ok(found)
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        let call = self.call("remove_of_user");
        let (mut removed, mut after) = (0, None);
        loop {
            let (keys, next) = self.noted(&call, user, after.as_deref()).await?;
            let mut finished = Finished::new();
            removed += self.end(&call, keys, (Some(user), except), &mut finished).await?;
            self.forget_later("remove_of_user", finished);
            after = next;
            if after.is_none() {
                return Ok(removed);
            }
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // Any object answers it, and it changes nothing.
        let ask = Request::Sessions(Ask::Forget { user: "", keys: Vec::new() });
        self.shared.fleet.ask(&self.call("ready"), 0, &ask, done).await
    }
}

impl StrongSessionStore for DurableSessions {}

impl DurableSessions {
    /// Makes the session, and tells its version, where nothing stands under the key.
    async fn make(
        &self,
        call: &Call<'_>,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        let data = values(call, key, session)?;
        // Before there is a session, so that whoever ends all of a user's finds it.
        let noted = match &session.user {
            Some(user) => self.note(call, user, (key, session.expires_at)).await?,
            None => 0,
        };
        let made = draw();
        let record = Record::of(session, &data);
        match self.change(call, key, Ask::Create { key, version: made, noted, record }).await? {
            Met::Done => Ok(Some(version(made))),
            _ => Ok(None),
        }
    }

    /// Ends those sessions, of a user where one is named, wherever they have moved but under
    /// `except`; how many there were. What ended is put to `finished`.
    async fn end(
        &self,
        call: &Call<'_>,
        mut keys: Vec<String>,
        (user, except): (Option<&str>, Option<&str>),
        finished: &mut Finished,
    ) -> Result<u64, StoreError> {
        let (version, fleet) = (draw(), &self.shared.fleet);
        let (mut ended, mut met) = (0, HashSet::new());
        loop {
            // One that is met again, as both its keys are known, has ended by then.
            keys.retain(|key| Some(key.as_str()) != except && met.insert(key.clone()));
            if keys.is_empty() {
                return Ok(ended);
            }
            for key in &keys {
                fleet::check_key(call, key, MAX_KEY_BYTES)?;
            }
            let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
            let ends = fleet.each(&asked, |object, keys| {
                let most = keys.len();
                let request = Request::Sessions(Ask::End { keys, user, version });
                async move {
                    fleet
                        .ask(call, object, &request, |reply| match reply {
                            Reply::Ends(ends) if ends.len() == most => {
                                Some(ends.into_iter().map(End::of).collect::<Vec<_>>())
                            }
                            _ => None,
                        })
                        .await
                }
            });
            let ends = ends.await?;
            let mut moved = Vec::new();
            for (places, ends) in ends {
                for (place, end) in places.into_iter().zip(ends) {
                    match end {
                        End::Now(of) => {
                            ended += 1;
                            let of = of.or_else(|| user.map(str::to_owned));
                            finished.extend(of.map(|of| (asked[place].to_owned(), of)));
                        }
                        End::MovedTo(to) => moved.push(to),
                        End::Not => {}
                    }
                }
            }
            keys = moved;
        }
    }

    async fn change(&self, call: &Call<'_>, key: &str, ask: Ask<'_>) -> Result<Met, StoreError> {
        let met = self.ask(call, key, ask, |reply| match reply {
            Reply::Done => Some(Ok(Met::Done)),
            Reply::Unnoted(user) => Some(Ok(Met::Unnoted(user.to_owned()))),
            Reply::Standing(standing) => Some(Found::of(standing).map(Met::Standing)),
            _ => None,
        });
        met.await?.map_err(|failure| call.failed(failure))
    }

    /// Asks the object that has the session under `key`.
    async fn ask<T>(
        &self,
        call: &Call<'_>,
        key: &str,
        ask: Ask<'_>,
        read: impl FnOnce(Reply<'_>) -> Option<T> + Send,
    ) -> Result<T, StoreError> {
        fleet::check_key(call, key, MAX_KEY_BYTES)?;
        let fleet = &self.shared.fleet;
        fleet.ask(call, fleet.placement().of(key), &Request::Sessions(ask), read).await
    }
}

impl End {
    fn of(ended: Ended<'_>) -> Self {
        match ended {
            Ended::Now(user) => Self::Now(user.map(str::to_owned)),
            Ended::MovedTo(to) => Self::MovedTo(to.to_owned()),
            Ended::Gone | Ended::Anothers => Self::Not,
        }
    }
}

/// What no other write has.
fn draw() -> Token {
    fastrand::u128(1..).to_be_bytes()
}

fn values(call: &Call<'_>, key: &str, session: &SessionRecord) -> Result<Vec<u8>, StoreError> {
    let values = message::values(session).map_err(|failure| call.failed(failure))?;
    let texts = [&session.user, &session.seen_from].into_iter().flatten().map(String::len);
    let bytes = values.len() + texts.sum::<usize>();
    if bytes <= MAX_VALUE_BYTES {
        return Ok(values);
    }
    let detail = format!(
        "the session for {key:?} has {bytes} bytes, an object takes at most {MAX_VALUE_BYTES}; \
         keep less in it, and what is large under a key of its own"
    );
    Err(call.error(StoreErrorKind::TooLarge, detail))
}

/// An object that asks again for what it was given.
fn never_noted(call: &Call<'_>) -> StoreError {
    let detail = "the object does not believe that the index of the user knows of the session";
    call.error(StoreErrorKind::Other, detail)
}
