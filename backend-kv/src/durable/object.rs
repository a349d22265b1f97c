//! The object's shell: requests, the clock and the alarm.

use std::cell::OnceCell;

use worker::{Response, State, Storage};

use super::alarm::{Alarm, Clockwork};
use super::engine::{Engine, Swept};
use crate::error::Failure;
use crate::js::{self, Sql};

/// How many entries one step of a sweep deletes.
const SWEEP_ROWS: u64 = 1_000;
/// How many steps one alarm takes.
const SWEEP_STEPS: u32 = 10;

/// What a class made by [`durable_object!`](crate::durable_object) holds.
#[doc(hidden)]
#[derive(Debug)]
pub struct Object {
    state: State,
    engine: OnceCell<Engine<Sql>>,
    alarm: Alarm<Storage>,
}

impl Object {
    #[must_use]
    pub fn new(state: State) -> Self {
        let alarm = Alarm::new(state.storage());
        Self { state, engine: OnceCell::new(), alarm }
    }

    /// Carries out a request of a [`DurableStore`](crate::DurableStore), of
    /// [`DurableRateLimits`](crate::DurableRateLimits) or of
    /// [`DurableSessions`](crate::DurableSessions). With the feature `testing` a `GET` is
    /// answered with the number of rows that lie in the storage, whatever their lives.
    ///
    /// # Errors
    ///
    /// Where the storage fails.
    pub async fn fetch(&self, mut request: worker::Request) -> worker::Result<Response> {
        #[cfg(feature = "testing")]
        if request.method() == worker::Method::Get {
            return Response::ok(self.engine()?.rows().map_err(into_worker)?.to_string());
        }
        let request = request.bytes().await?;
        let now = js::now().as_millis();
        let handled = self.engine()?.handle(&request, now);
        if let Some(expires) = handled.expires {
            self.alarm.arm(now, expires).await?;
        }
        Response::from_bytes(handled.reply)
    }

    /// Deletes what is over.
    ///
    /// # Errors
    ///
    /// Where the storage fails; Workers calls again then.
    pub async fn alarm(&self) -> worker::Result<Response> {
        self.alarm.rang();
        let now = js::now().as_millis();
        let engine = self.engine()?;
        let mut swept = Swept { is_partial: true, expires: None };
        for _ in 0..SWEEP_STEPS {
            if !swept.is_partial {
                break;
            }
            swept = engine.sweep(now, SWEEP_ROWS).map_err(into_worker)?;
        }
        if let Some(expires) = swept.expires {
            self.alarm.arm(now, expires).await?;
        }
        Response::empty()
    }

    fn engine(&self) -> worker::Result<&Engine<Sql>> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::new(Sql::new(self.state.storage().sql())).map_err(into_worker)?;
        Ok(self.engine.get_or_init(|| engine))
    }
}

impl Clockwork for Storage {
    type Error = worker::Error;

    async fn alarm(&self) -> worker::Result<Option<u64>> {
        Ok(self.get_alarm().await?.and_then(|at| u64::try_from(at).ok()))
    }

    async fn set_alarm(&self, now: u64, at: u64) -> worker::Result<()> {
        let delay = i64::try_from(at.saturating_sub(now)).unwrap_or(i64::MAX);
        Storage::set_alarm(self, delay).await
    }
}

fn into_worker(failure: Failure) -> worker::Error {
    worker::Error::RustError(failure.message)
}

/// Adds the class of Larder's Durable Objects to a Worker.
///
/// Write it once, at the top of the Worker's crate, with a name for the class. The crate needs
/// `worker` among its dependencies.
///
/// ```
/// larder_kv::durable_object!(LarderObject);
/// # fn main() {}
/// ```
///
/// wrangler.toml names the class in a binding, under which
/// [`DurableStore::open`](crate::DurableStore::open),
/// [`DurableRateLimits::open`](crate::DurableRateLimits::open) and
/// [`DurableSessions::open`](crate::DurableSessions::open) find it, and in a migration, which
/// gives it SQLite storage. One class serves them all, each with objects of its own:
///
/// ```toml
/// [[durable_objects.bindings]]
/// name = "LARDER"
/// class_name = "LarderObject"
///
/// [[migrations]]
/// tag = "v1"
/// new_sqlite_classes = ["LarderObject"]
/// ```
#[macro_export]
macro_rules! durable_object {
    ($name:ident) => {
        const _: () = {
            // What `worker::durable_object` expands to looks for it by this name.
            use $crate::macros::worker::wasm_bindgen;

            #[$crate::macros::worker::durable_object(alarm)]
            struct $name {
                object: $crate::macros::Object,
            }

            impl $crate::macros::worker::DurableObject for $name {
                fn new(
                    state: $crate::macros::worker::State,
                    _env: $crate::macros::worker::Env,
                ) -> Self {
                    Self { object: $crate::macros::Object::new(state) }
                }

                async fn fetch(
                    &self,
                    request: $crate::macros::worker::Request,
                ) -> $crate::macros::worker::Result<$crate::macros::worker::Response> {
                    self.object.fetch(request).await
                }

                async fn alarm(
                    &self,
                ) -> $crate::macros::worker::Result<$crate::macros::worker::Response> {
                    self.object.alarm().await
                }
            }
        };
    };
}
