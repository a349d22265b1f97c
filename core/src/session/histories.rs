//! Random histories of sessions, as a store tells them beside the pure rule that
//! [`MemorySessions`] runs: for tests of stores.

use fastrand::Rng;

use super::{
    MemorySessions, SessionRecord, SessionStore, StoredSession, Touch, Updated, UserSession, Value,
    Version,
};
use crate::error::StoreError;
use crate::runtime::{Runtime, VirtualRuntime};
use crate::time::{Timestamp, millis, seconds};

/// How many steps a history has.
const STEPS: u64 = 40;

/// The shortest and the longest life of a session in milliseconds: no store that keeps another clock
/// is to forget one while a history is played.
const LIVES: std::ops::Range<u64> = 60_000..900_000;

/// Plays the history of that seed to `store`, which lives on `clock`, and to sessions in memory;
/// `between` is called between its steps.
///
/// The keys and the users begin with the seed, so that histories can share a server.
///
/// # Errors
///
/// Where the two do not say the same: what was asked, and what each said. And where the store fails.
pub async fn play(
    seed: u64,
    store: &dyn SessionStore,
    clock: &VirtualRuntime,
    mut between: impl FnMut(&mut Rng),
) -> Result<(), String> {
    let mut history = History {
        seed,
        store,
        model: MemorySessions::builder().on(clock.clone()),
        clock,
        random: Rng::with_seed(seed),
        known: Vec::new(),
    };
    for step in 0..STEPS {
        let asked = history.step(step).await.map_err(|error| format!("step {step}: {error}"))?;
        asked.map_err(|differs| format!("step {step}: {differs}"))?;
        between(&mut history.random);
    }
    Ok(())
}

/// A session's key, and the versions it had: in the store, and in memory.
struct Known {
    key: String,
    versions: Vec<(Version, Version)>,
}

struct History<'a> {
    seed: u64,
    store: &'a dyn SessionStore,
    model: MemorySessions,
    clock: &'a VirtualRuntime,
    random: Rng,
    known: Vec<Known>,
}

/// Whether both said the same.
type Same = Result<(), String>;

impl History<'_> {
    async fn step(&mut self, step: u64) -> Result<Same, StoreError> {
        let fresh = format!("{}-k{step}", self.seed);
        let session = self.record(step);
        let same = match self.random.u8(0..20) {
            0..3 => self.create(fresh, &session).await?,
            3..8 => self.update(&session).await?,
            8..11 => self.touch(step).await?,
            11..14 => self.renew(fresh, &session).await?,
            14..16 => self.remove().await?,
            16 => self.remove_of_user().await?,
            _ => {
                self.clock.advance(millis(self.random.u64(0..200_000)));
                Ok(())
            }
        };
        match same {
            Ok(()) => self.look().await,
            differs => Ok(differs),
        }
    }

    fn record(&mut self, step: u64) -> SessionRecord {
        let now = self.clock.now();
        let mut record = SessionRecord::new(now, now + millis(self.random.u64(LIVES)));
        record.user = (self.random.u8(0..3) > 0).then(|| self.user());
        // A number is JSON.
        record.data.extend(Value::of(&step).ok().map(|value| ("n".to_owned(), value)));
        record
    }

    fn user(&mut self) -> String {
        let user = if self.random.bool() { "zoë" } else { "max" };
        format!("{}-{user}", self.seed)
    }

    /// One of the sessions, and a version that it has or had.
    fn chosen(&mut self) -> Option<(usize, (Version, Version))> {
        let at = (!self.known.is_empty()).then(|| self.random.usize(0..self.known.len()))?;
        let versions = &self.known[at].versions;
        let is_stale = self.random.u8(0..5) == 0;
        let version = if is_stale { versions.first() } else { versions.last() };
        Some((at, version?.clone()))
    }

    async fn create(&mut self, fresh: String, session: &SessionRecord) -> Result<Same, StoreError> {
        // Sometimes where a session stands. Of a key under which one stood a store may know for
        // longer than it has to, and nobody draws an id twice.
        let mut key = fresh;
        if let Some((at, _)) = self.chosen()
            && self.model.load(&self.known[at].key).await?.is_some()
        {
            key.clone_from(&self.known[at].key);
        }
        let here = self.store.create(&key, session).await?;
        let there = self.model.create(&key, session).await?;
        let same = same("create", &key, here.is_some(), there.is_some());
        if let (Some(here), Some(there)) = (here, there) {
            self.known.push(Known { key, versions: vec![(here, there)] });
        }
        Ok(same)
    }

    async fn update(&mut self, session: &SessionRecord) -> Result<Same, StoreError> {
        let Some((at, (here, there))) = self.chosen() else { return Ok(Ok(())) };
        let Known { key, versions } = &mut self.known[at];
        let here = self.store.update(key, &here, session).await?;
        let there = self.model.update(key, &there, session).await?;
        let same = same("update", key, said(&here), said(&there));
        if let (Updated::Done(here), Updated::Done(there)) = (here, there) {
            versions.push((here, there));
        }
        Ok(same)
    }

    async fn touch(&mut self, step: u64) -> Result<Same, StoreError> {
        let Some((at, _)) = self.chosen() else { return Ok(Ok(())) };
        let key = &self.known[at].key;
        // By the clock of another server it may be earlier.
        let seen_at = self.clock.now() - seconds(self.random.u64(0..20));
        let ends = seen_at + millis(self.random.u64(LIVES));
        let touch = Touch::new(seen_at, Some(step.to_string()), ends);
        let here = self.store.touch(key, &touch).await?;
        Ok(same("touch", key, here, self.model.touch(key, &touch).await?))
    }

    async fn renew(&mut self, fresh: String, session: &SessionRecord) -> Result<Same, StoreError> {
        let Some((at, (here, there))) = self.chosen() else { return Ok(Ok(())) };
        let key = &self.known[at].key;
        let here = self.store.renew(key, &here, &fresh, session).await?;
        let there = self.model.renew(key, &there, &fresh, session).await?;
        let same = same("renew", key, said(&here), said(&there));
        if let (Updated::Done(here), Updated::Done(there)) = (here, there) {
            self.known.push(Known { key: fresh, versions: vec![(here, there)] });
        }
        Ok(same)
    }

    async fn remove(&mut self) -> Result<Same, StoreError> {
        let Some((at, _)) = self.chosen() else { return Ok(Ok(())) };
        let key = &self.known[at].key;
        let here = self.store.remove(key).await?;
        Ok(same("remove", key, here, self.model.remove(key).await?))
    }

    async fn remove_of_user(&mut self) -> Result<Same, StoreError> {
        let user = self.user();
        let except = self.chosen().filter(|_| self.random.bool());
        let except = except.map(|(at, _)| self.known[at].key.as_str());
        let here = self.store.remove_of_user(&user, except).await?;
        let there = self.model.remove_of_user(&user, except).await?;
        Ok(same("remove_of_user", &user, here, there))
    }

    /// What each shows of all sessions.
    async fn look(&self) -> Result<Same, StoreError> {
        for user in ["zoë", "max"].map(|user| format!("{}-{user}", self.seed)) {
            let here = sorted(self.store.of_user(&user).await?);
            let there = sorted(self.model.of_user(&user).await?);
            if here != there {
                return Ok(same("of_user", &user, here, there));
            }
        }
        for Known { key, .. } in &self.known {
            let here = shown(self.store.load(key).await?);
            let there = shown(self.model.load(key).await?);
            if here != there {
                return Ok(same("load", key, here, there));
            }
        }
        Ok(Ok(()))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(asked: &str, of: &str, here: T, there: T) -> Same {
    if here == there {
        return Ok(());
    }
    Err(format!("{asked} of {of}: the store says {here:?}, and memory {there:?}"))
}

fn said(updated: &Updated) -> String {
    match updated {
        Updated::Done(_) => "done".into(),
        Updated::Conflict(theirs) => format!("a conflict with {:?}", content(theirs)),
        other => format!("{other:?}"),
    }
}

fn sorted(mut list: Vec<UserSession>) -> Vec<UserSession> {
    list.sort_by(|one, other| one.key.cmp(&other.key));
    list
}

/// Its values, user, and times.
type Content = (Vec<(String, String)>, Option<String>, Option<String>, [Timestamp; 3]);

fn shown(found: Option<StoredSession>) -> Option<Content> {
    found.as_ref().map(content)
}

fn content(found: &StoredSession) -> Content {
    let SessionRecord { data, user, created_at, seen_at, seen_from, expires_at } = &*found.session;
    let values = data.iter().map(|(key, value)| (key.clone(), value.as_json().to_owned()));
    let times = [*created_at, *seen_at, *expires_at];
    (values.collect(), user.clone(), seen_from.clone(), times)
}
