//! Which quotas a key has.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Error;
use crate::key::{self, KeyError};
use crate::rate_limit::Quota;

pub(super) type QuotasOf = Arc<dyn Fn(&str) -> Arc<[Quota]> + Send + Sync>;

/// A plan for all keys, or the caller's function.
#[derive(Clone)]
pub(super) enum Quotas {
    Same(Arc<[Quota]>),
    Of(QuotasOf),
}

impl Quotas {
    #[inline]
    pub(super) fn of(&self, key: &str) -> Result<QuotasOfKey<'_>, Error> {
        match self {
            Self::Same(quotas) => Ok(QuotasOfKey::Same(quotas)),
            Self::Of(quotas) => {
                let quotas = quotas(key);
                check(&quotas, "quotas_by")?;
                Ok(QuotasOfKey::Own(quotas))
            }
        }
    }
}

/// Those of one key. All threads that clone an [`Arc`] wait for one another.
pub(super) enum QuotasOfKey<'a> {
    Same(&'a Arc<[Quota]>),
    Own(Arc<[Quota]>),
}

impl QuotasOfKey<'_> {
    pub(super) fn into_owned(self) -> Arc<[Quota]> {
        match self {
            Self::Same(quotas) => Arc::clone(quotas),
            Self::Own(quotas) => quotas,
        }
    }
}

impl Deref for QuotasOfKey<'_> {
    type Target = [Quota];

    fn deref(&self) -> &[Quota] {
        match self {
            Self::Same(quotas) => quotas,
            Self::Own(quotas) => quotas,
        }
    }
}

/// Counts stand under the name of their quota.
const LONGEST_NAME: usize = 64;

pub(super) fn check(quotas: &[Quota], setting: &'static str) -> Result<(), Error> {
    for (at, quota) in quotas.iter().enumerate() {
        let name = quota.name();
        key::check("quota's name", name, LONGEST_NAME, "a limiter").map_err(not_a_name)?;
        if quotas[..at].iter().any(|other| other.name() == name) {
            let problem =
                format!("two quotas are named {name:?}; give one another name by Quota::named");
            return Err(Error::Config { setting, problem });
        }
    }
    Ok(())
}

fn not_a_name(error: KeyError) -> Error {
    Error::Config { setting: "quota", problem: error.to_string() }
}
