//! What the trait `SessionStore` promises.

mod records;
mod renewals;
mod together;
mod users;

use std::sync::Arc;
use std::time::Duration;

use larder_core::session::{SessionRecord, StoredSession, Updated, Value, Version};
use larder_core::{SessionStore, minutes};

use super::{Bench, Case, Failure};

pub(super) const CASES: &[&[Case]] =
    &[records::CASES, renewals::CASES, users::CASES, together::CASES];

/// A store of sessions, and its clock.
struct Subject {
    bench: Bench,
    store: Arc<dyn SessionStore>,
}

impl Subject {
    fn new(bench: Bench) -> Result<Self, Failure> {
        let store = bench.sessions().ok_or_else(|| Failure::new("it keeps no sessions"))?;
        Ok(Self { store: Arc::clone(store), bench })
    }

    fn key(&self, name: &str) -> String {
        self.bench.key(name)
    }

    /// A session that ends after `life`, and holds `n`.
    fn record(&self, n: u32, life: Duration) -> SessionRecord {
        let now = self.store.runtime().now();
        let mut record = SessionRecord::new(now, now + life);
        record.data.insert("n".into(), number(n));
        record
    }

    /// A session of `user`.
    fn of_user(&self, user: &str, n: u32) -> SessionRecord {
        let mut record = self.record(n, minutes(5));
        record.user = Some(user.into());
        record
    }

    async fn create(&self, key: &str, record: &SessionRecord) -> Result<Version, Failure> {
        let created = self.store.create(key, record).await?;
        created.ok_or_else(|| Failure::new(format!("{key} is taken")))
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, Failure> {
        Ok(self.store.load(key).await?)
    }

    /// What the session under `key` holds.
    async fn number_at(&self, key: &str) -> Result<Option<u32>, Failure> {
        let Some(found) = self.load(key).await? else { return Ok(None) };
        let value = found.session.data.get("n").map(Value::as_json);
        Ok(value.map(str::parse).transpose()?)
    }
}

fn number(n: u32) -> Value {
    // A number is JSON.
    Value::of(&n).unwrap_or_else(|_| unreachable!())
}

fn done(updated: Updated) -> Result<Version, Failure> {
    match updated {
        Updated::Done(version) => Ok(version),
        other => Err(Failure::new(format!("it was not made: {other:?}"))),
    }
}
