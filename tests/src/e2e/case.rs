//! A case, and what it needs.

use anyhow::Result;
use futures::future::BoxFuture;

use super::{Shop, Target};

/// One thing that the demo has to do, whatever it runs on.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its path and name: `users::an_update_is_seen_at_once`.
    pub name: &'static str,
    /// What a server has to offer to be held to it.
    pub needs: &'static [Need],
    /// The case.
    pub run: fn(Shop) -> BoxFuture<'static, Result<()>>,
}

/// What a case needs of a server beyond its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// One process answers every request, so that its counts are those of the whole server.
    OneProcess,
    /// `GET /metrics` answers with Prometheus' text format.
    Metrics,
    /// Clients are limited. The other cases run on a server that limits nobody.
    Limit,
}

impl Need {
    pub(super) fn is_met_by(self, target: Target) -> bool {
        match self {
            Self::OneProcess => target.one_process,
            Self::Metrics => target.metrics,
            Self::Limit => target.limit.is_some(),
        }
    }
}

/// The cases of a module, named after their functions.
macro_rules! cases {
    ($path:literal: $($function:ident $([$($need:expr),+])?),+ $(,)?) => {
        &[$($crate::e2e::Case {
            name: concat!($path, "::", stringify!($function)),
            needs: &[$($($need),+)?],
            run: |shop| Box::pin($function(shop)),
        }),+]
    };
}

pub(super) use cases;
