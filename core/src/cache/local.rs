//! The tier in front of the store, as the cache uses it.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::form::Form;
use crate::error::Error;
use crate::glob::Glob;
use crate::key::KeyBuffer;
use crate::layout::{Life, Presence};
use crate::local::{Found, Mark};
use crate::time::Timestamp;

/// A moment before the store was read or a load began, for what came of it to be put in front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    mark: Mark,
    at: Timestamp,
    /// When the life of it is over, as far as the entry itself does not tell.
    until: Timestamp,
}

impl Moment {
    /// Before what lives for `ttl` was read.
    pub(super) fn until_after(self, ttl: Duration) -> Self {
        Self { until: self.at + ttl, ..self }
    }
}

impl Moment {
    fn found<'a, 't, F: Form>(
        &self,
        value: &Presence<Arc<F::Value>>,
        life: Life,
        stored: &'a [u8],
        tags: &'a mut (dyn Iterator<Item = &'t str> + 'a),
    ) -> Found<'a, 't> {
        let value = value.as_ref().map(|value| Arc::clone(value) as _);
        let until = life.fresh_until.min(self.until);
        Found { value, kind: TypeId::of::<F>(), until, stored, tags }
    }
}

impl Cache {
    /// What stands in front of the store, if anything good does.
    #[inline]
    pub(super) fn local<F: Form>(
        &self,
        key: &str,
    ) -> Result<Option<Presence<Arc<F::Value>>>, Error> {
        let Some(local) = &self.shared.local else { return Ok(None) };
        let mut buffer = KeyBuffer::default();
        let (max, store) = (self.shared.max_key_bytes, self.shared.store);
        let key = self.namespace.full_key_in(&mut buffer, key, max, store)?;
        let found = local.get(key, TypeId::of::<F>(), &*self.runtime);
        Ok(found.and_then(|found| match found {
            None => Some(None),
            Some(value) => value.downcast().ok().map(Some),
        }))
    }

    /// [`local`](Self::local) for a complete key.
    pub(super) fn local_full<F: Form>(&self, key: &str) -> Option<Presence<Arc<F::Value>>> {
        let local = self.shared.local.as_ref()?;
        match local.get(key, TypeId::of::<F>(), &*self.runtime)? {
            None => Some(None),
            Some(value) => value.downcast().ok().map(Some),
        }
    }

    /// `None` where nothing is kept in front of the store.
    pub(super) fn moment(&self) -> Option<Moment> {
        let mark = self.shared.local.as_ref()?.mark();
        Some(Moment { mark, at: self.runtime.now(), until: Timestamp::MAX })
    }

    /// Keeps what was found since `moment` in front of the store.
    pub(super) fn keep_local<'t, F: Form>(
        &self,
        key: &str,
        moment: Option<Moment>,
        value: &Presence<Arc<F::Value>>,
        life: Life,
        stored: &[u8],
        mut tags: impl Iterator<Item = &'t str>,
    ) {
        if let (Some(local), Some(moment)) = (&self.shared.local, moment) {
            let found = moment.found::<F>(value, life, stored, &mut tags);
            local.put(key, moment.mark, found, moment.at);
        }
    }

    /// Keeps what was written since `moment` in front of the store, in place of what stood there.
    pub(super) fn replace_local<'t, F: Form>(
        &self,
        key: &str,
        moment: Option<Moment>,
        value: &Presence<Arc<F::Value>>,
        life: Life,
        stored: &[u8],
        mut tags: impl Iterator<Item = &'t str>,
    ) {
        if let (Some(local), Some(moment)) = (&self.shared.local, moment) {
            let found = moment.found::<F>(value, life, stored, &mut tags);
            local.replace(key, moment.mark, found, moment.at);
        }
    }

    /// What stands in front of the store, if `stored`, which was read there since `moment`, is its
    /// stored form: then it needs not be decoded again.
    pub(super) fn recheck_local<F: Form>(
        &self,
        key: &str,
        stored: &[u8],
        moment: Option<Moment>,
    ) -> Option<Presence<Arc<F::Value>>> {
        let (local, moment) = (self.shared.local.as_ref()?, moment?);
        let fleet = self.shared.fleet.as_ref()?;
        let kind = TypeId::of::<F>();
        let found = local.recheck(key, kind, stored, moment.mark, &*self.runtime)?;
        fleet.meter.checked();
        match found {
            None => Some(None),
            Some(value) => value.downcast().ok().map(Some),
        }
    }

    /// Forgets what stands in front of the store of these keys or tags: once the store has done it,
    /// or may have.
    pub(super) fn invalidate_local(&self, keys: &[impl AsRef<str>]) {
        if let Some(local) = &self.shared.local {
            keys.iter().for_each(|key| local.invalidate(key.as_ref()));
        }
    }

    pub(super) fn invalidate_local_matching(&self, pattern: &Glob) {
        if let Some(local) = &self.shared.local {
            local.invalidate_matching(pattern);
        }
    }
}
