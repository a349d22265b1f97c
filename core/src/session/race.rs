//! Requests of one visitor that overtake one another, and what must hold then: for tests of stores.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{SessionId, Sessions};
use crate::error::Error;

/// What one of a visitor's requests does with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Act {
    /// Sets a value under a key of its own.
    Save,
    /// Moves the session to another id.
    Renew,
    /// Signs the same user in.
    SignIn,
    /// Reads.
    Touch,
    /// Ends the session.
    LogOut,
    /// Ends all sessions of the user.
    EndAll,
}

/// What a request saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// What it did.
    pub act: Act,
    /// Which of the requests it was.
    pub number: usize,
    /// Whether somebody was signed in when it began.
    pub was_signed_in: bool,
    /// Whether its changes were dropped.
    pub is_lost: bool,
}

/// What is left when all requests are over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Remains {
    /// How many sessions the user has.
    pub live: usize,
    /// The keys of the values in them.
    pub keys: BTreeSet<String>,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Save, Self::Renew, Self::SignIn, Self::Touch, Self::LogOut, Self::EndAll];

    /// A request of `user` that presents `id`, which is one of several and has this number.
    ///
    /// # Errors
    ///
    /// Those of [`Session`](super::Session).
    pub async fn perform(
        self,
        number: usize,
        sessions: &Sessions,
        user: &str,
        id: SessionId,
    ) -> Result<Outcome, Error> {
        let visit = sessions.open(Some(id));
        let was_signed_in = visit.user().await?.is_some();
        match self {
            Self::Save => visit.insert(saved(number), &number).await?,
            Self::Renew => visit.renew().await?,
            Self::SignIn => visit.sign_in(user).await?,
            Self::Touch => {}
            Self::LogOut => drop(visit.end().await?),
            Self::EndAll => drop(visit.end_all().await?),
        }
        let is_lost = visit.save().await?.is_lost;
        Ok(Outcome { act: self, number, was_signed_in, is_lost })
    }
}

impl Remains {
    /// Of the sessions of `user`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails.
    pub async fn of(sessions: &Sessions, user: &str) -> Result<Self, Error> {
        let list = sessions.of_user(user).await?;
        let mut keys = BTreeSet::new();
        for session in &list {
            if let Some(found) = sessions.shared.store.load(&session.key).await? {
                keys.extend(found.session.data.keys().cloned());
            }
        }
        Ok(Self { live: list.len(), keys })
    }
}

/// Whether nothing that was acknowledged is lost, and nobody who logged out is signed in again,
/// where a visitor was signed in when the requests began.
///
/// # Errors
///
/// What is wrong, in words.
pub fn judge(outcomes: &[Outcome], remains: &Remains) -> Result<(), String> {
    let did = |acts: &[Act]| outcomes.iter().filter(|it| acts.contains(&it.act)).count();
    let (ended, signed_in) = (did(&[Act::LogOut, Act::EndAll]) > 0, did(&[Act::SignIn]));
    let wrong = |what: &str| Err(format!("{what}: {outcomes:?} left {remains:?}"));
    if ended && signed_in == 0 && remains.live > 0 {
        return wrong("a session is back");
    }
    if !ended && signed_in == 0 {
        if remains.live != 1 {
            return wrong("the session is gone, or is two");
        }
        for it in outcomes {
            // Who came with an id that was dead by then had no session to save to.
            if it.act == Act::Save
                && it.was_signed_in
                && (it.is_lost || !remains.keys.contains(&saved(it.number)))
            {
                return wrong("a save is lost");
            }
        }
    }
    // Who came with a dead id began a session of their own.
    let strangers = outcomes.iter().filter(|it| !it.was_signed_in).count();
    if remains.live > 1 + signed_in + strangers {
        return wrong("there are more sessions than were begun");
    }
    Ok(())
}

fn saved(number: usize) -> String {
    format!("saved-{number}")
}
