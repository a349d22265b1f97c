//! The one connection of a store: made when it is needed, looked after by a task, made again when
//! it breaks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::connect::{Connector, Opened, ping};
use crate::connection::Connection;
use crate::error::STORE;
use crate::events::{ConnectionEvent, Listener};
use crate::gate::Gate;
use crate::log::Log;
use crate::meter::Meter;

/// How many notes may wait for the task; more of them say nothing new.
const INBOX: usize = 16;

/// A connection that goes to a ready server.
#[derive(Clone)]
pub(crate) struct Live {
    /// Which connection of its task, counting from 1.
    pub(crate) id: u64,
    pub(crate) connection: Connection,
    lost: Arc<Notify>,
}

impl Live {
    /// Whether it is the same connection. Numbers start anew with the task.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lost, &other.lost)
    }
}

enum State {
    /// Nobody needed a connection yet.
    Idle,
    /// There is none: so many attempts failed since there was one, and that is how the last did.
    Down {
        failed: u64,
        last: Option<StoreError>,
    },
    Live(Live),
    Closed,
}

/// What callers tell the task.
enum Note {
    /// No answer came in time on that connection.
    Suspect { id: u64 },
    /// Somebody needs a connection now.
    Hurry,
}

/// The connection, as its users see it.
pub(crate) struct Link {
    shared: Arc<Shared>,
    task: Mutex<Task>,
}

enum Task {
    NotStarted,
    Started(Keeper),
    Closed,
}

/// What users and the task have in common. The task ends when the [`Link`] is dropped.
struct Shared {
    connector: Connector,
    address: Arc<str>,
    backoff: Backoff,
    /// How long a suspect connection has for an answer.
    patience: Duration,
    state: watch::Sender<State>,
    gate: Arc<Gate>,
    listener: Listener,
    log: Log,
    meter: Meter,
}

struct Keeper {
    handle: JoinHandle<()>,
    inbox: mpsc::Sender<Note>,
}

impl Link {
    pub(crate) fn new(
        connector: Connector,
        config: &Config,
        gate: Arc<Gate>,
        listener: Listener,
        meter: Meter,
    ) -> Self {
        let shared = Shared {
            connector,
            address: config.target.address(),
            backoff: config.backoff,
            patience: config.command_timeout,
            state: watch::Sender::new(State::Idle),
            gate,
            listener,
            log: Log::default(),
            meter,
        };
        Self { shared: Arc::new(shared), task: Mutex::new(Task::NotStarted) }
    }

    /// A connection to a ready server: the one that stands, or the next one.
    ///
    /// Every attempt that fails meanwhile takes one of `tries`; the last one's error is returned
    /// when none is left. What no attempt can mend, such as a wrong password, is returned at once.
    pub(crate) async fn live(
        &self,
        operation: &'static str,
        tries: &mut u32,
    ) -> Result<Live, StoreError> {
        if let State::Live(live) = &*self.shared.state.borrow() {
            return Ok(live.clone());
        }
        let mut state = self.shared.state.subscribe();
        let mut seen = None;
        loop {
            match &*state.borrow_and_update() {
                State::Live(live) => return Ok(live.clone()),
                State::Closed => return Err(closed(operation)),
                State::Idle => seen = Some(0),
                State::Down { failed, last } => {
                    let before = *seen.get_or_insert(*failed);
                    let attempts = u32::try_from(failed.saturating_sub(before)).unwrap_or(u32::MAX);
                    seen = Some(*failed);
                    *tries = tries.saturating_sub(attempts);
                    if let Some(last) = last
                        && (*tries == 0 || !last.is_retryable())
                    {
                        return Err(not_connected(operation, last));
                    }
                }
            }
            self.ensure_keeper(operation)?;
            if state.changed().await.is_err() {
                return Err(closed(operation));
            }
        }
    }

    /// Why there is no connection, for a caller whose time is over.
    pub(crate) fn down(&self, operation: &'static str, timeout: Duration) -> StoreError {
        match &*self.shared.state.borrow() {
            State::Down { last: Some(last), .. } => not_connected(operation, last),
            _ => {
                let address = &self.shared.address;
                let detail = format!(
                    "{address}: no connection within {timeout:?} (see \
                     RedisStoreBuilder::command_timeout)"
                );
                StoreError::new(StoreErrorKind::Unavailable, STORE, operation, detail)
            }
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(&*self.shared.state.borrow(), State::Live(_))
    }

    /// Whether a connection is wanted and there is none.
    pub(crate) fn is_down(&self) -> bool {
        matches!(&*self.shared.state.borrow(), State::Down { .. })
    }

    /// That connection broke: nobody is given it any more.
    pub(crate) fn broken(&self, broken: &Live) {
        self.shared.state.send_if_modified(|state| {
            let stands = matches!(state, State::Live(live) if live.is(broken));
            if stands {
                *state = State::Down { failed: 0, last: None };
            }
            stands
        });
        broken.lost.notify_one();
    }

    /// No answer came in time on that connection.
    pub(crate) fn suspect(&self, live: &Live) {
        self.tell(Note::Suspect { id: live.id });
    }

    /// The next attempt should be made now.
    pub(crate) fn hurry(&self) {
        if !self.is_live() {
            self.tell(Note::Hurry);
        }
    }

    /// Drops the connection for good. Idempotent.
    pub(crate) async fn close(&self) {
        let task = std::mem::replace(&mut *self.lock(), Task::Closed);
        if let Task::Started(Keeper { handle, inbox }) = task {
            // The task ends when nobody can write to it.
            drop(inbox);
            let _ = handle.await;
        }
        self.shared.state.send_replace(State::Closed);
    }

    /// A note is lost where the inbox is full, which then holds as much as this one says.
    fn tell(&self, note: Note) {
        if let Task::Started(keeper) = &*self.lock() {
            let _ = keeper.inbox.try_send(note);
        }
    }

    /// Starts the task where there is none: at the first use, and when it went down with the Tokio
    /// runtime it ran on.
    fn ensure_keeper(&self, operation: &'static str) -> Result<(), StoreError> {
        let mut task = self.lock();
        match &*task {
            Task::Started(keeper) if !keeper.handle.is_finished() => return Ok(()),
            Task::Closed => return Err(closed(operation)),
            Task::Started(_) | Task::NotStarted => {}
        }
        let runtime = Handle::try_current().map_err(|error| {
            let detail = "a Redis store needs a running Tokio runtime";
            StoreError::new(StoreErrorKind::Config, STORE, operation, detail).with_source(error)
        })?;
        self.shared.state.send_replace(State::Down { failed: 0, last: None });
        let (inbox, notes) = mpsc::channel(INBOX);
        let handle = runtime.spawn(keep(Arc::clone(&self.shared), notes));
        *task = Task::Started(Keeper { handle, inbox });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a connection, or the waiting for one, ended.
enum End {
    /// Without a word.
    Lost,
    /// It kept silent when asked.
    Mute,
    /// The link is closed or dropped.
    Closed,
}

/// Looks after the connection until the link is closed or dropped.
async fn keep(shared: Arc<Shared>, mut notes: mpsc::Receiver<Note>) {
    let mut id = 0;
    let mut failed = 0;
    loop {
        let opened = tokio::select! {
            opened = shared.connector.open(|| shared.connected()) => opened,
            () = dropped(&mut notes) => break,
        };
        match opened {
            Ok(Opened { connection, lost }) => {
                id += 1;
                failed = 0;
                shared.ready(Live { id, connection: connection.clone(), lost: Arc::clone(&lost) });
                let end = tokio::select! {
                    () = lost.notified() => End::Lost,
                    end = watch_over(id, connection, &mut notes, shared.patience) => end,
                };
                shared.ended(&end);
                if matches!(end, End::Closed) {
                    break;
                }
            }
            Err(error) => {
                failed += 1;
                shared.failed(failed, error);
            }
        }
        let attempt = u32::try_from(failed + 1).unwrap_or(u32::MAX);
        if pause(&shared, attempt, &mut notes).await.is_break() {
            break;
        }
    }
    shared.state.send_replace(State::Closed);
}

/// Waits before an attempt, until its time has come or somebody is in a hurry.
async fn pause(
    shared: &Shared,
    attempt: u32,
    notes: &mut mpsc::Receiver<Note>,
) -> std::ops::ControlFlow<()> {
    let delay = shared.backoff.draw(attempt);
    let address = Arc::clone(&shared.address);
    shared.emit(&ConnectionEvent::Reconnecting { address, attempt, delay });
    let hurry = async {
        loop {
            match notes.recv().await {
                Some(Note::Hurry) => return std::ops::ControlFlow::Continue(()),
                Some(Note::Suspect { .. }) => {}
                None => return std::ops::ControlFlow::Break(()),
            }
        }
    };
    tokio::select! {
        () = tokio::time::sleep(delay) => std::ops::ControlFlow::Continue(()),
        flow = hurry => flow,
    }
}

/// Completes when nobody can write notes any more.
async fn dropped(notes: &mut mpsc::Receiver<Note>) {
    while notes.recv().await.is_some() {}
}

/// Reads notes about connection `id` until it is over with it.
async fn watch_over(
    id: u64,
    mut connection: Connection,
    notes: &mut mpsc::Receiver<Note>,
    patience: Duration,
) -> End {
    loop {
        match notes.recv().await {
            None => return End::Closed,
            Some(Note::Suspect { id: suspect }) if suspect == id => {
                match tokio::time::timeout(patience, ping(&mut connection)).await {
                    // An error is an answer, too; a broken connection is noticed elsewhere.
                    Ok(_) => {}
                    Err(_) => return End::Mute,
                }
            }
            Some(_) => {}
        }
    }
}

impl Shared {
    fn emit(&self, event: &ConnectionEvent) {
        self.log.note(event);
        self.listener.call(event);
    }

    fn connected(&self) {
        let address = Arc::clone(&self.address);
        self.emit(&ConnectionEvent::Connected { address });
    }

    fn ready(&self, live: Live) {
        self.meter.connected();
        self.gate.reachable();
        let address = Arc::clone(&self.address);
        self.emit(&ConnectionEvent::Ready { address });
        self.state.send_replace(State::Live(live));
    }

    fn ended(&self, end: &End) {
        self.meter.disconnected();
        let said = match end {
            End::Lost => Some("the connection broke"),
            End::Mute => Some("the server did not answer PING on a connection that timed out"),
            End::Closed => None,
        };
        let error = said.map(|said| {
            let detail = format!("{}: {said}", self.address);
            StoreError::new(StoreErrorKind::Unavailable, STORE, "connection", detail)
        });
        // The connection is out of reach before anybody hears of its end.
        self.state.send_replace(match &error {
            Some(error) => State::Down { failed: 0, last: Some(error.clone()) },
            None => State::Closed,
        });
        if let Some(error) = error {
            self.emit(&ConnectionEvent::Error { error });
        }
        let address = Arc::clone(&self.address);
        self.emit(&ConnectionEvent::Closed { address });
    }

    fn failed(&self, failed: u64, error: StoreError) {
        self.meter.connection_failed();
        self.emit(&ConnectionEvent::Error { error: error.clone() });
        self.state.send_replace(State::Down { failed, last: Some(error) });
    }
}

/// A call that found no connection, after `last`.
pub(crate) fn not_connected(operation: &'static str, last: &StoreError) -> StoreError {
    if last.operation() == operation {
        return last.clone();
    }
    let detail = format!("not connected: {last}");
    StoreError::new(last.kind(), STORE, operation, detail).with_source(last.clone())
}

/// A call after [`Store::close`](larder_core::Store::close).
pub(crate) fn closed(operation: &'static str) -> StoreError {
    let detail = "the store was closed; make a new one to go on";
    StoreError::new(StoreErrorKind::Closed, STORE, operation, detail)
}
