//! A case, what it needs, and how it fails.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use larder_core::rate_limit::Counting;
use larder_core::{Consistency, Layout};

use super::Bench;

/// What a case comes to.
pub type CaseResult = Result<(), Failure>;

/// One thing that every backend has to do.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its path and name: `store::lives::a_value_is_gone_after_its_time`.
    pub name: &'static str,
    /// The promise that it holds the backend to: `store` or `bus` for that of a port, or the number of a
    /// semantic of docs/semantics.md.
    pub semantic: &'static str,
    /// What a backend has to claim to be held to it.
    pub needs: &'static [Need],
    /// The case.
    pub run: fn(Bench) -> BoxFuture<'static, CaseResult>,
}

/// What a case needs of a store's capabilities, its layout or the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Every handle sees a write as soon as it is acknowledged.
    StrongConsistency,
    /// The store itself keeps lives as short as this.
    TimeToLive(Duration),
    /// The store takes values of this many bytes.
    ValueBytes(usize),
    /// The layout keeps lives to the millisecond.
    FramedLayout,
    /// A panic unwinds and can be caught.
    Unwinding,
    /// A task may be woken by another, so that waiting costs no timer.
    SharedTasks,
    /// The backend counts rate limits.
    RateLimits,
    /// Every check sees every check before it.
    ExactCounts,
    /// The backend keeps sessions. Asked of one handle, so that an eventual store has to do it in
    /// one place.
    Sessions,
    /// Every call on a session sees all that was acknowledged before it.
    StrongSessions,
    /// The backend has a bus for invalidations.
    Bus,
}

impl Need {
    /// Why the bench does not offer it.
    pub(super) fn unmet(self, bench: &Bench) -> Option<String> {
        let claimed = bench.store().capabilities();
        match self {
            Self::StrongConsistency => match claimed.consistency {
                Consistency::Strong => None,
                Consistency::Eventual { within } => {
                    Some(format!("a write is seen elsewhere as a rule within {within:?}"))
                }
                other => Some(format!("consistency is {other:?}")),
            },
            Self::TimeToLive(ttl) if ttl < claimed.min_ttl => Some(format!(
                "the store keeps no life shorter than {:?}, the case needs {ttl:?}",
                claimed.min_ttl
            )),
            Self::ValueBytes(bytes) if bytes > claimed.max_value_bytes => Some(format!(
                "values have at most {} bytes, the case needs {bytes}",
                claimed.max_value_bytes
            )),
            Self::FramedLayout if !matches!(bench.layout(), Layout::Framed(_)) => {
                Some("the layout keeps whole seconds, and only in the store".into())
            }
            Self::Unwinding if !cfg!(panic = "unwind") => {
                Some("a panic aborts in this build".into())
            }
            Self::SharedTasks if bench.runtime().isolates_tasks() => Some(
                "no task may be woken by another, so that each caller needs timers of its own"
                    .into(),
            ),
            Self::RateLimits if bench.limits().is_none() => Some("it counts no rate limits".into()),
            Self::Sessions if bench.sessions().is_none() => Some("it keeps no sessions".into()),
            Self::Bus if bench.bus().is_none() => Some("it has no bus for invalidations".into()),
            Self::StrongSessions => match bench.sessions().map(|store| store.capabilities()) {
                Some(claimed) if claimed.is_strong() => None,
                Some(claimed) => Some(format!(
                    "a change of a session is seen elsewhere within {:?}",
                    claimed.visible_within
                )),
                None => Self::Sessions.unmet(bench),
            },
            Self::ExactCounts => {
                match bench.limits().map(|limits| limits.capabilities().counting) {
                    Some(Counting::Exact) => None,
                    Some(Counting::Approximate { within }) => {
                        Some(format!("what others count is heard of as a rule within {within:?}"))
                    }
                    Some(other) => Some(format!("counting is {other:?}")),
                    None => Self::RateLimits.unmet(bench),
                }
            }
            _ => None,
        }
    }
}

/// Why a case failed.
pub struct Failure(String);

impl Failure {
    /// A failure in words.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self(format!("{}: {error}", std::panic::Location::caller()))
    }
}

/// Fails the case with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failure::new(format!(
                "{}:{}: {}", file!(), line!(), format_args!($($message)+)
            )));
        }
    };
}

/// Fails the case unless both are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => ensure!(
                *left == *right,
                "{}: it is {:?}, not {:?}",
                format_args!($($message)+),
                left,
                right
            ),
        }
    };
}

/// The cases of a module as its `CASES`, named after their functions.
///
/// With the feature `browser` each is a test of wasm-bindgen's harness as well, which finds tests
/// by what a program exports and so knows none that are made while it runs.
macro_rules! cases {
    ($path:literal, $semantic:literal: $($function:ident $([$($need:expr),+])?),+ $(,)?) => {
        pub(super) const CASES: &[$crate::conformance::Case] = &[
            $($crate::conformance::Case {
                name: concat!($path, "::", stringify!($function)),
                semantic: $semantic,
                needs: &[$($($need),+)?],
                run: |bench| Box::pin($function(bench)),
            }),+
        ];

        #[cfg(all(test, feature = "browser"))]
        mod on_the_event_loop {
            $(#[wasm_bindgen_test::wasm_bindgen_test]
            async fn $function() {
                $crate::browser::on_the_event_loop(concat!($path, "::", stringify!($function)))
                    .await;
            })+
        }

        #[cfg(all(test, feature = "browser"))]
        mod on_virtual_time {
            $(#[wasm_bindgen_test::wasm_bindgen_test]
            fn $function() {
                $crate::browser::on_virtual_time(concat!($path, "::", stringify!($function)));
            })+
        }
    };
}

pub(super) use {cases, ensure, ensure_eq};
