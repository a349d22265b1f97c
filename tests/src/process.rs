//! A program that a test starts: what it says is gathered, and it ends with its owner.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    leads_a_group: bool,
    said: Arc<Said>,
}

/// What a program has written so far, standard output and standard error together.
#[derive(Debug, Default)]
struct Said {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Text {
    lines: Vec<String>,
    /// How many of its two outputs are closed.
    closed: u8,
}

impl Process {
    /// Starts a program; its standard input stays open until it is dropped.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::spawn(command, false)
    }

    /// [`start`](Self::start), for a program that starts others: dropping it kills them too.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start_group(command: &mut Command) -> Result<Self> {
        Self::spawn(command.process_group(0), true)
    }

    fn spawn(command: &mut Command, leads_a_group: bool) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let said = Arc::new(Said::default());
        if let Some(output) = child.stdout.take() {
            gather(output, Arc::clone(&said));
        }
        if let Some(output) = child.stderr.take() {
            gather(output, Arc::clone(&said));
        }
        Ok(Self { child, leads_a_group, said })
    }

    /// Waits for a line in which `find` finds something, among those already said and those to
    /// come.
    ///
    /// # Errors
    ///
    /// Where none comes in time, or the program ends first; with what it said instead.
    pub fn wait_for<T>(
        &self,
        patience: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut read = 0;
        let mut text = self.said.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = text.lines[read..].iter().find_map(|line| find(line)) {
                return Ok(found);
            }
            read = text.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || text.closed == 2 {
                let why = if left.is_zero() { "it did not say so in time" } else { "it ended" };
                bail!("{why}; it said:\n{}", text.lines.join("\n"));
            }
            let waited = self.said.changed.wait_timeout(text, left);
            text = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything that it has said so far, standard output and standard error together.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.text.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    /// Does to it what Ctrl-C does: sends SIGINT.
    ///
    /// # Errors
    ///
    /// Where it has ended already.
    pub fn interrupt(&self) -> Result<()> {
        let pid = self.pid().context("its process id is out of range")?;
        kill_process(pid, Signal::INT).context("cannot interrupt it")
    }

    /// Ends it with SIGKILL, wherever it is; everything that it has said.
    ///
    /// # Errors
    ///
    /// Where what it said cannot be read to its end.
    pub fn killed(mut self) -> Result<String> {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.wait(Duration::from_secs(20))?;
        Ok(self.said())
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Waits until it has ended and everything it said is read.
    ///
    /// # Errors
    ///
    /// Where it does not end in time.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        let mut text = self.said.text.lock().unwrap_or_else(PoisonError::into_inner);
        // Both outputs of a program close when it ends, and there is no other event to wait for.
        while text.closed < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("it still runs after {patience:?}; it said:\n{}", text.lines.join("\n"));
            }
            let waited = self.said.changed.wait_timeout(text, left);
            text = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(text);
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|_| self.leads_a_group) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(output: impl Read + Send + 'static, said: Arc<Said>) {
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            said.text.lock().unwrap_or_else(PoisonError::into_inner).lines.push(text);
            said.changed.notify_all();
            line.clear();
        }
        said.text.lock().unwrap_or_else(PoisonError::into_inner).closed += 1;
        said.changed.notify_all();
    });
}
