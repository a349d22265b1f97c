//! Running other programs: each says what it runs, and names itself when it fails.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit(['/', '\\']).next().unwrap_or(&program).to_owned();
    let words = command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        if arg.is_empty() || arg.contains([' ', '"', '$']) {
            format!("'{arg}'")
        } else {
            arg.into_owned()
        }
    });
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// Whether there is such a program.
pub(crate) fn exists(program: &str) -> bool {
    // Some answer with an error to the question, but answer.
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Where in PATH a program stands.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is missing: run `cargo xtask setup`"))
}

/// PATH with a folder before all others: what is in it is taken first.
pub(crate) fn path_with(bin: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(bin.to_owned()).chain(env::split_paths(&path)))
        .with_context(|| format!("{} cannot stand in PATH", bin.display()))
}

fn announce(command: &Command) {
    println!("$ {}", shown(command));
}

fn expect_success(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end, with the output on the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    expect_success(command, status)
}

/// Like [`run`], but ends the program after `limit`.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return expect_success(command, status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` was ended: it ran longer than {} s", shown(command), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// How long a program may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs until the program ends by itself, or Ctrl-C ends it and all that it has started. Calls
/// `meanwhile` again and again.
pub(crate) fn run_until_ctrl_c(command: &mut Command, mut meanwhile: impl FnMut()) -> Result<()> {
    announce(command);
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Nobody waits for it when the program has ended.
        let _ = stop.send(());
    })
    .context("cannot listen for Ctrl-C")?;
    let mut group = Group::start(command)?;
    while stopped.recv_timeout(Duration::from_millis(100)).is_err() {
        if let Some(status) = group.0.try_wait()? {
            return expect_success(command, status);
        }
        meanwhile();
    }
    group.signal(Signal::INT);
    let asked = Instant::now();
    while group.0.try_wait()?.is_none() && asked.elapsed() < FAREWELL {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A program and all that it starts, which end with their owner.
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        Ok(Self(child.with_context(|| format!("cannot start `{}`", shown(command)))?))
    }

    fn signal(&self, signal: Signal) {
        // All of it may have ended.
        let _ = kill_process_group(Pid::from_child(&self.0), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Runs quietly and returns standard output. Standard error shows only in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs with standard error on the terminal, and hands standard output over line by line.
pub(crate) fn stdout_lines(command: &mut Command, line: impl FnMut(&str)) -> Result<ExitStatus> {
    announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if let Some(stdout) = child.stdout.take() {
        for_each_line(stdout, line)?;
    }
    Ok(child.wait()?)
}

/// Runs with both outputs in one stream, in the order they were written: each line goes to the
/// terminal and then to `line`.
pub(crate) fn echoed_lines(
    command: &mut Command,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus> {
    announce(command);
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    // The command holds the write ends that it handed down: without this the stream never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for_each_line(reader, |text| {
        // A terminal that went away must not end the run.
        let _ = writeln!(std::io::stdout(), "{text}");
        line(text);
    })?;
    Ok(child.wait()?)
}

fn for_each_line(stream: impl std::io::Read, mut line: impl FnMut(&str)) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
        bytes.clear();
    }
    Ok(())
}
