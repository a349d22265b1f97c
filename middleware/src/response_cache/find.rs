//! Looking a request up: the answer, or who is to get it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;
use larder_core::{Claim, Entry, Error, Followed, Leader, Runtime as _};

use super::layer::Shared;
use super::stored::Stored;
use super::variants::Variants;
use crate::policy::Use;
use crate::session::Witness;

/// What looking a request up has come to.
pub(super) enum Found {
    Hit(Arc<Stored>),
    /// The service is to be asked; where there is a [`Miss`], the answer is of use to others.
    Miss(Option<Box<Miss>>),
    /// There is no place for it: the key breaks a rule of the store's.
    NoPlace,
}

/// A response that others may wait for, and the place where it belongs.
pub(super) struct Miss {
    pub(super) leader: Box<Leader<Stored>>,
    pub(super) key: String,
    /// Where `key` is that of a variant: the key of the resource, and by what its variants differ.
    pub(super) variant_of: Option<(String, Variants)>,
    /// Kept for a response with `Vary`; the request itself is the service's by then.
    pub(super) request_headers: Option<HeaderMap>,
    /// Of the request's sessions, those that it is given further in included.
    pub(super) witness: Witness,
}

/// The answer, where the store can tell it at once. Otherwise [`find`] goes on from `place`.
pub(super) fn find_now(
    shared: &Shared,
    request: &Parts,
    place: &mut Place,
    usage: Use,
) -> Option<Stored> {
    if usage == Use::Refresh {
        return None;
    }
    loop {
        // A key that breaks a rule is for `find` to report.
        match shared.settings.cache.get_raw_now(&place.key).ok()?? {
            Stored::Variants(variants) if place.variant_of.is_none() => {
                place.enter(&variants, request);
            }
            Stored::Variants(_) => return None,
            stored => return Some(stored),
        }
    }
}

/// Looks the request up that has this head and place.
pub(super) async fn find(
    shared: &Shared,
    request: &mut Parts,
    mut place: Place,
    usage: Use,
) -> Found {
    loop {
        let looked = if usage == Use::Lookup {
            shared.settings.cache.get_raw(&place.key).await.map(|found| match found {
                Some(stored) => Looked::At(stored),
                None => Looked::Missing,
            })
        } else {
            look(shared, &place.key, usage).await
        };
        let stored = match looked {
            Ok(Looked::At(stored)) => stored,
            Ok(Looked::Missing) => return Found::Miss(None),
            Ok(Looked::Leading(leader)) => {
                return Found::Miss(Some(place.miss(leader, shared, request)));
            }
            Err(_) => return Found::NoPlace,
        };
        match &*stored {
            Stored::Variants(variants) if place.variant_of.is_none() => {
                place.enter(variants, request);
            }
            // Nothing that this layer writes: variants of a variant.
            Stored::Variants(_) => return Found::Miss(None),
            _ if usage == Use::Refresh => {
                return match lead(shared, &place.key).await {
                    Ok(leader) => Found::Miss(Some(place.miss(leader, shared, request))),
                    Err(_) => Found::NoPlace,
                };
            }
            _ => return Found::Hit(stored),
        }
    }
}

/// Where the answer to a request stands.
pub(super) struct Place {
    key: String,
    variant_of: Option<(String, Variants)>,
}

impl Place {
    pub(super) fn of(key: String) -> Self {
        Self { key, variant_of: None }
    }

    /// Goes on to the variant that answers the request.
    fn enter(&mut self, variants: &Variants, request: &Parts) {
        let key = variants.key(&self.key, &request.headers);
        let resource = std::mem::replace(&mut self.key, key);
        self.variant_of = Some((resource, variants.clone()));
    }

    fn miss(self, leader: Box<Leader<Stored>>, shared: &Shared, request: &mut Parts) -> Box<Miss> {
        let request_headers = (!shared.settings.is_plain()).then(|| request.headers.clone());
        let Self { key, variant_of } = self;
        let witness = Witness::of(&mut request.extensions);
        Box::new(Miss { leader, key, variant_of, request_headers, witness })
    }
}

enum Looked {
    At(Arc<Stored>),
    Missing,
    Leading(Box<Leader<Stored>>),
}

/// What stands under the key, or the lead of it; waits for another who leads it, within bounds.
async fn look(shared: &Shared, key: &str, usage: Use) -> Result<Looked, Error> {
    let cache = &shared.settings.cache;
    let uncacheable = &shared.seen.uncacheable;
    let runtime = cache.runtime();
    let may_wait = usage == Use::Full
        && !shared.settings.max_wait.is_zero()
        && !uncacheable.remembers(key, runtime.recent());
    if !may_wait {
        return Ok(match cache.get_raw(key).await? {
            Some(stored) => Looked::At(stored),
            None => Looked::Leading(lead(shared, key).await?),
        });
    }
    let mut give_up = None;
    loop {
        let follower = match entry(shared, key).claim_raw().await? {
            Claim::Hit(stored) => return Ok(Looked::At(stored)),
            Claim::Lead(leader) => return Ok(Looked::Leading(Box::new(leader))),
            Claim::Follow(follower) => follower,
        };
        let now = runtime.now();
        let give_up = *give_up.get_or_insert(now + shared.settings.max_wait);
        // Boxed, so that a hit does not carry the room that a wait needs.
        match Box::pin(follower.followed()).await {
            Followed::Value(stored) => return Ok(Looked::At(stored)),
            Followed::Gone if runtime.now() < give_up => {}
            Followed::Overdue => {
                // Whoever comes next should not wait as long for nothing.
                uncacheable.remember(key, runtime.now());
                return Ok(Looked::Leading(lead(shared, key).await?));
            }
            Followed::Gone | Followed::Declined => {
                return Ok(Looked::Leading(lead(shared, key).await?));
            }
        }
    }
}

async fn lead(shared: &Shared, key: &str) -> Result<Box<Leader<Stored>>, Error> {
    entry(shared, key).lead_raw().await.map(Box::new)
}

fn entry<'a>(shared: &'a Shared, key: &'a str) -> Entry<'a, &'a str> {
    // Core waits for a leader a quarter longer than a load may take.
    let wait = shared.settings.max_wait / 5 * 4;
    shared.settings.cache.entry(key).load_timeout(wait.max(Duration::from_millis(1)))
}
