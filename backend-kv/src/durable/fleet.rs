//! A family of objects, over which keys are spread.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use larder_core::{StoreError, StoreErrorKind, millis, seconds};
use worker::Env;

use super::placement::Placement;
use super::protocol::{self, Reply, Request};
use super::{BATCH_KEYS, NAME};
use crate::bounded::{AT_ONCE, Call};
use crate::error::Failure;
use crate::js::Objects;

const MOST_OBJECTS: u16 = 1_024;

/// How a family is opened.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) objects: u16,
    pub(super) timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { objects: 16, timeout: seconds(5) }
    }
}

impl Settings {
    /// The objects of `family` behind the binding of that name.
    pub(super) fn open(
        &self,
        family: &'static str,
        env: &Env,
        binding: &str,
    ) -> Result<Fleet, StoreError> {
        let refuse =
            |detail: String| Err(StoreError::new(StoreErrorKind::Config, NAME, "open", detail));
        if !(1..=MOST_OBJECTS).contains(&self.objects) {
            let objects = self.objects;
            return refuse(format!("objects is {objects}; it can be 1 to {MOST_OBJECTS}"));
        }
        if self.timeout < millis(1) {
            return refuse(format!("timeout is {:?}; give it at least 1 ms", self.timeout));
        }
        match Objects::open(env, binding) {
            Ok(objects) => Ok(Fleet::new(objects, Placement::new(family, self.objects))),
            Err(failure) => refuse(format!(
                "the Worker has no Durable Objects {binding:?} ({failure}); name them in \
                 wrangler.toml under [[durable_objects.bindings]]"
            )),
        }
    }
}

/// The way to objects, by their names.
#[async_trait]
pub(crate) trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends a message to the object of that name, and waits for its reply.
    async fn call(&self, name: &str, message: &[u8]) -> Result<Bytes, Failure>;
}

#[derive(Debug)]
pub(super) struct Fleet {
    transport: Box<dyn Transport>,
    placement: Placement,
}

impl Fleet {
    pub(super) fn new(transport: impl Transport, placement: Placement) -> Self {
        Self { transport: Box::new(transport), placement }
    }

    pub(super) fn placement(&self) -> Placement {
        self.placement
    }

    /// Sends a request to an object and reads its reply.
    pub(super) async fn ask<T>(
        &self,
        call: &Call<'_>,
        object: u16,
        request: &Request<'_>,
        read: impl FnOnce(Reply<'_>) -> Option<T> + Send,
    ) -> Result<T, StoreError> {
        let message = protocol::encode(request)
            .map_err(|error| call.error(StoreErrorKind::Other, error.to_string()))?;
        let name = self.placement.name(object);
        call.take(1)?;
        let reply = match call.run(self.transport.call(&name, &message)).await? {
            // An object that moved or was deployed anew.
            Err(failure)
                if failure.retryable && !failure.overloaded && request.can_be_repeated() =>
            {
                call.take(1)?;
                call.answer(self.transport.call(&name, &message)).await?
            }
            outcome => outcome.map_err(|failure| call.failed(failure))?,
        };
        match protocol::decode::<Reply<'_>>(&reply) {
            Ok(Reply::Failed(detail)) => Err(call.error(StoreErrorKind::Other, detail)),
            Ok(reply) => read(reply).ok_or_else(|| {
                call.error(StoreErrorKind::Other, "the object answered another question")
            }),
            Err(unreadable) => Err(call.error(StoreErrorKind::Other, unreadable.to_string())),
        }
    }

    /// Asks every object for its part of the keys, concurrently. Each answer has the places of its
    /// keys.
    pub(super) async fn each<'k, T: Send, F>(
        &self,
        keys: &[&'k str],
        ask: impl Fn(u16, Vec<&'k str>) -> F,
    ) -> Result<Vec<(Vec<usize>, T)>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let groups = self.placement.group(keys.iter().copied());
        let asked: Vec<_> = groups
            .into_iter()
            .flat_map(|(object, places)| {
                let portions: Vec<_> = places.chunks(BATCH_KEYS).map(<[_]>::to_vec).collect();
                portions.into_iter().map(move |places| (object, places))
            })
            .map(|(object, places)| {
                let answer = ask(object, places.iter().map(|place| keys[*place]).collect());
                async move { Ok((places, answer.await?)) }
            })
            .collect();
        stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// Refuses a key of more bytes than an object takes.
pub(super) fn check_key(call: &Call<'_>, key: &str, most: usize) -> Result<(), StoreError> {
    if key.len() <= most {
        return Ok(());
    }
    let start: String = key.chars().take(40).collect();
    let detail = format!(
        "the key {start:?}… has {} bytes, the store takes at most {most}; shorten it, or use a hash \
         of it",
        key.len()
    );
    Err(call.error(StoreErrorKind::TooLarge, detail))
}
