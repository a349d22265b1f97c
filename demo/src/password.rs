//! Passwords: what they have to be, and their hashes.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use futures::channel::oneshot;

use crate::problem::Problem;

/// OWASP ASVS 5.0, 6.2.1.
const MIN_CHARS: usize = 8;
/// More than the 64 that ASVS 6.2.9 wants to be allowed, and little to hash.
const MAX_BYTES: usize = 512;
/// As RFC 9106, section 3.1, recommends.
const SALT_BYTES: usize = 16;

/// Argon2id with 19 MiB, two passes and one lane: OWASP's password storage cheat sheet.
const PARAMS: Params = Params::DEFAULT;

/// A hash that no password has, verified where there is no account, so that this takes as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keS1ub2JvZHk$\
                       QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE";

/// A password as it was sent. It is never shown.
pub(crate) struct Password(String);

impl Password {
    /// One that somebody wants to have.
    pub(crate) fn chosen(text: &str) -> Result<Self, String> {
        if text.chars().count() < MIN_CHARS {
            return Err(format!("must have at least {MIN_CHARS} characters"));
        }
        Self::presented(text)
    }

    /// One that is said to be somebody's. It is taken as it is, space included.
    pub(crate) fn presented(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => Err("must not be empty".into()),
            1..=MAX_BYTES => Ok(Self(text.to_owned())),
            _ => Err(format!("may have {MAX_BYTES} bytes")),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Where work goes that keeps a processor busy for a while, and must not hold other requests up:
/// the hash of a password takes some 20 ms and 19 MiB.
///
/// ```
/// use async_trait::async_trait;
/// use larder_demo::{Busy, HeavyWork};
///
/// #[derive(Debug)]
/// struct Threads;
///
/// #[async_trait]
/// impl HeavyWork for Threads {
///     async fn run(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
///         std::thread::spawn(work);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait HeavyWork: fmt::Debug + Send + Sync + 'static {
    /// Runs `work`, now or soon, with a bound on how much is under way.
    ///
    /// # Errors
    ///
    /// [`Busy`] where too much is under way already.
    async fn run(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), Busy>;
}

/// There is more [`HeavyWork`] than can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much is under way")]
pub struct Busy;

/// [`HeavyWork`] that is done on the spot: for Workers, whose isolates have one thread, and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnTheSpot;

#[async_trait]
impl HeavyWork for OnTheSpot {
    async fn run(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        work();
        Ok(())
    }
}

/// Hashes passwords, and compares them with hashes.
#[derive(Debug, Clone)]
pub(crate) struct Passwords(Arc<dyn HeavyWork>);

impl Passwords {
    pub(crate) fn new(work: impl HeavyWork) -> Self {
        Self(Arc::new(work))
    }

    /// The password's hash as a PHC string, with the algorithm, its parameters and the salt.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Problem> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
        self.run(move || hash(&password, &salt)).await?.map_err(|error| failed(&error))
    }

    /// Whether it is the password of that hash. Without one it takes as long to say that it is not.
    pub(crate) async fn is_of(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Problem> {
        self.run(move || {
            let is_equal = verify(&password, hash.as_deref().unwrap_or(NOBODYS))?;
            Ok(is_equal && hash.is_some())
        })
        .await?
        .map_err(|error: password_hash::Error| failed(&error))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::unavailable("too many are signing in; try again shortly");
        let (done, wait) = oneshot::channel();
        // The client may be gone, and then nobody waits.
        let work = Box::new(move || drop(done.send(work())));
        self.0.run(work).await.map_err(|Busy| busy())?;
        wait.await.map_err(|_| busy())
    }
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

fn hash(password: &Password, salt: &[u8]) -> password_hash::Result<String> {
    let hash = argon2().hash_password_with_salt(password.0.as_bytes(), salt)?;
    Ok(hash.to_string())
}

/// With the parameters that the hash names; compared in constant time.
fn verify(password: &Password, hash: &str) -> password_hash::Result<bool> {
    let hash = PasswordHash::new(hash)?;
    match argon2().verify_password(password.0.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(error: &dyn fmt::Display) -> Problem {
    tracing::error!(%error, "a password could not be hashed");
    Problem::internal()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[derive(Debug)]
    struct Refuses;

    #[async_trait]
    impl HeavyWork for Refuses {
        async fn run(&self, _: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
            Err(Busy)
        }
    }

    fn password(text: &str) -> Password {
        Password::chosen(text).unwrap()
    }

    #[test]
    fn a_password_is_known_by_its_hash_and_another_is_not() {
        let passwords = Passwords::new(OnTheSpot);
        let hash = block_on(passwords.hash(password("grüne Soße"))).unwrap();
        let again = block_on(passwords.hash(password("grüne Soße"))).unwrap();
        assert_ne!(hash, again, "the salt is another each time");
        let is_of = |text, hash: &str| block_on(passwords.is_of(password(text), Some(hash.into())));
        assert!(is_of("grüne Soße", &hash).unwrap() && is_of("grüne Soße", &again).unwrap());
        assert!(!is_of("Grüne Soße", &hash).unwrap() && !is_of("grüne Soße ", &hash).unwrap());
        assert_eq!(is_of("grüne Soße", "plain text").unwrap_err().status().as_u16(), 500);
    }

    /// A constant that could not be read would be quick to refuse, and tell who has an account.
    #[test]
    fn nobodys_hash_costs_as_much_as_anybodys() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(
            parameters(NOBODYS),
            parameters(&hash(&password("password"), &[7; 16]).unwrap())
        );
        assert!(!verify(&password("password"), NOBODYS).unwrap());
        assert!(!block_on(Passwords::new(OnTheSpot).is_of(password("password"), None)).unwrap());
    }

    #[test]
    fn work_that_nobody_takes_is_a_problem() {
        let problem = block_on(Passwords::new(Refuses).hash(password("password"))).unwrap_err();
        assert_eq!(problem.status().as_u16(), 503);
    }

    #[test]
    fn passwords_have_a_least_and_a_most() {
        for (text, is_fine) in
            [("1234567", false), ("12345678", true), ("äöüäöüäö", true), ("ä ö ü ä", false)]
        {
            assert_eq!(Password::chosen(text).is_ok(), is_fine, "{text}");
        }
        assert!(Password::chosen(&"x".repeat(512)).is_ok());
        assert!(Password::chosen(&"x".repeat(513)).is_err());
        assert!(Password::presented("short").is_ok());
        assert!(Password::presented("").is_err());
        assert_eq!(format!("{:?}", password("password")), "Password(…)");
    }
}
