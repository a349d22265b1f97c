//! The database's first start: tables and rows, in one transaction.
//!
//! The marks of a complete database, SQLite's `application_id` and `user_version`, are written in
//! the same transaction. A start that is interrupted leaves an empty database, which the next one
//! fills. A database of an older version is given what it lacks.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deadpool_sqlite::rusqlite::{
    self, Connection, ErrorCode, Transaction, TransactionBehavior, params,
};
use larder_demo::{seed, sql};

/// «Lard», as SQLite's header keeps it.
const APPLICATION_ID: i32 = 0x4c61_7264;
const VERSION: i32 = 3;
/// Before there were accounts, and before it was known when they were last seen.
const WITHOUT_ACCOUNTS: i32 = 1;
const WITHOUT_LAST_SEEN: i32 = 2;
/// As long as another process may write, the first start of another server included.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const ROWS_PER_STEP: usize = 500;

/// How far the database has been filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filling {
    /// Products and users that are in.
    pub done: usize,
    /// How many there will be.
    pub of: usize,
}

/// Why a database cannot be used. Each says which file, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be opened, created or written.
    #[error(
        "the database {} cannot be used; name a file in a folder that can be written \
         (--database)", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },

    /// It can only be read.
    #[error(
        "the database {} cannot be written; change the file's permissions, or name another \
         (--database)", path.display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },

    /// It is something else's.
    #[error(
        "{} is not a database of this shop; name another file (--database)", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },

    /// It was made by another version.
    #[error(
        "the database {} has version {found}, this program reads {VERSION}; remove the file to \
         have it made anew, or name another (--database)", path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
    },

    /// The file that keeps others from preparing it at the same time cannot be locked.
    #[error(
        "the database {0} cannot be prepared: {0}.lock cannot be locked; change the folder's \
         permissions, or name another file (--database)", path.display()
    )]
    Locked {
        /// The file of the database.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// The caller broke the filling off.
    #[error("the database {} was not filled", path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
}

/// Opens a connection with the settings that all have.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -16_384)
}

/// Makes sure that `path` is a complete database, and fills an empty one; whether it did.
pub(crate) fn prepare(
    path: &Path,
    progress: &mut dyn FnMut(Filling) -> ControlFlow<()>,
) -> Result<bool, OpenError> {
    let error = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.into() },
        Some(ErrorCode::ReadOnly) => OpenError::ReadOnly { path: path.into() },
        _ => OpenError::Unusable { path: path.into(), source },
    };
    let mut connection = Connection::open(path).map_err(error)?;
    configure(&connection).map_err(error)?;
    let state = state(&connection, path, &error)?;
    if state != State::Empty && connection.is_readonly("main").map_err(error)? {
        return Err(OpenError::ReadOnly { path: path.into() });
    }
    if state == State::Complete {
        return Ok(false);
    }
    let alone =
        Alone::with(path).map_err(|source| OpenError::Locked { path: path.into(), source })?;
    // Readers go on while one connection writes. Kept in the file.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(error)?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
    // Another process may have filled it while this one waited for the lock.
    let state = self::state(&transaction, path, &error)?;
    match state {
        State::Complete => {
            alone.done();
            return Ok(false);
        }
        State::WithoutAccounts | State::WithoutLastSeen => {}
        State::Empty => match fill(&transaction, progress).map_err(error)? {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(()) => return Err(OpenError::Interrupted { path: path.into() }),
        },
    }
    if state != State::WithoutLastSeen {
        transaction.execute_batch(sql::ACCOUNTS).map_err(error)?;
    }
    transaction.execute_batch(sql::LAST_SEEN).map_err(error)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(error)?;
    transaction.commit().map_err(error)?;
    alone.done();
    // The planner's statistics. Without them it is slower, and as right.
    let _ = connection.execute_batch("PRAGMA optimize = 0x10002");
    Ok(state == State::Empty)
}

/// That nobody else prepares the database: where two connections want a file to have a WAL at once,
/// SQLite fails for one of them and does not wait.
///
/// By a lock on a file beside the database, which its owner's end gives back, however that comes.
struct Alone {
    path: PathBuf,
    _locked: File,
}

impl Alone {
    /// Waits for who prepares it already.
    fn with(database: &Path) -> std::io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock()?;
        Ok(Self { path, _locked: file })
    }

    /// It is complete. Whoever still waits for this file, or for one in its place, will find it so.
    fn done(&self) {
        // A file that is left is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a file holds that can be this shop's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    WithoutAccounts,
    WithoutLastSeen,
    Complete,
}

fn state(
    connection: &Connection,
    path: &Path,
    error: &impl Fn(rusqlite::Error) -> OpenError,
) -> Result<State, OpenError> {
    let number =
        |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(error);
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        return match version {
            VERSION => Ok(State::Complete),
            WITHOUT_ACCOUNTS => Ok(State::WithoutAccounts),
            WITHOUT_LAST_SEEN => Ok(State::WithoutLastSeen),
            found => Err(OpenError::OtherVersion { path: path.into(), found }),
        };
    }
    let things: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(error)?;
    match (application, version, things) {
        (0, 0, 0) => Ok(State::Empty),
        _ => Err(OpenError::Foreign { path: path.into() }),
    }
}

fn fill(
    to: &Transaction<'_>,
    progress: &mut dyn FnMut(Filling) -> ControlFlow<()>,
) -> rusqlite::Result<ControlFlow<()>> {
    const OF: usize = seed::PRODUCTS + seed::USERS;
    to.execute_batch(sql::SCHEMA)?;
    let mut done = 0;
    let mut step = || {
        done += 1;
        if done % ROWS_PER_STEP == 0 { progress(Filling { done, of: OF }) } else { CONTINUE }
    };
    let mut insert_product = to.prepare(sql::INSERT_PRODUCT)?;
    let mut insert_review = to.prepare(sql::INSERT_REVIEW)?;
    for it in seed::products() {
        insert_product.execute(params![it.id, it.name, it.category, it.price_cents, it.stock])?;
        for stars in it.reviews {
            insert_review.execute([it.id, stars])?;
        }
        if step().is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let mut insert_user = to.prepare(sql::INSERT_USER)?;
    for it in seed::users() {
        insert_user.execute(params![it.id, it.email, it.name, it.created_at])?;
        if step().is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    for (name, value) in seed::SETTINGS {
        to.execute(sql::INSERT_SETTING, [name, value])?;
    }
    to.execute_batch(sql::INDEXES)?;
    Ok(CONTINUE)
}

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());
