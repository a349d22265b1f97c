//! The commands of README.md, run as a reader would run them.
//!
//! `cargo run` starts the demo server: it is given a port, a database and a Redis of its own, has
//! to answer, and is ended by Ctrl-C; so is the demo in workerd. Other commands have to end well by themselves.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;

use crate::{
    examples::REDIS_URL,
    exec,
    redis::{self, free_port},
    setup::Need,
    summary::Tally,
    worker,
    workspace::Workspace,
};

/// The first start fills the database.
const START: Duration = Duration::from_secs(300);
/// Ctrl-C waits for the requests that run.
const DRAIN: Duration = Duration::from_secs(15);

/// A Redis for the demo server, and what the demo in workerd takes.
pub(crate) const NEEDS: [Need; 5] = {
    let [target, packages, bindgen, build] = worker::NEEDS;
    [Need::Redis, target, packages, bindgen, build]
};

/// Runs every cargo command of README.md.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) {
    let text = fs::read_to_string(workspace.root.join("README.md"))
        .context("README.md is missing or cannot be read");
    let commands = match text.and_then(|text| commands(&text)) {
        Ok(commands) => commands,
        Err(error) => return tally.check("README.md", Err(error)),
    };
    for command in commands {
        let result = match command.kind() {
            Kind::Server => server_answers(workspace, &command),
            Kind::Worker => worker_answers(workspace, &command),
            // Their suites are suites of this run: whether there is such a command is left to see.
            Kind::Suites => exec::run(workspace.cargo().args(&command.arguments).arg("--help")),
            Kind::Finite => {
                exec::run(workspace.cargo().args(&command.arguments).envs(command.variables()))
            }
            Kind::Unknown => Err(anyhow!("this test does not know how to run it")),
        };
        tally.check(&command.text, result);
    }
}

/// A line of README.md that runs cargo.
#[derive(Debug, PartialEq)]
struct Line {
    text: String,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

enum Kind {
    Server,
    Worker,
    Suites,
    Finite,
    Unknown,
}

impl Line {
    fn kind(&self) -> Kind {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["xtask", "test" | "check", ..] => Kind::Suites,
            ["xtask", "worker", "dev", ..] => Kind::Worker,
            ["run", ..] if !arguments.contains(&"--example") && !arguments.contains(&"--help") => {
                Kind::Server
            }
            ["run" | "xtask", ..] => Kind::Finite,
            _ => Kind::Unknown,
        }
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The cargo commands in the blocks marked `sh` and in the text, in code that begins with `cargo`.
fn commands(readme: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut fence = None;
    for text in readme.lines().map(str::trim) {
        if let Some(language) = text.strip_prefix("```") {
            fence = fence.is_none().then(|| language.trim());
        } else if fence == Some("sh") {
            if text.split_whitespace().any(|word| word == "cargo") {
                lines.push(parse(text)?);
            }
        } else if fence.is_none() {
            let codes = text.split('`').skip(1).step_by(2);
            for code in codes.filter(|code| code.starts_with("cargo ")) {
                lines.push(parse(code)?);
            }
        }
    }
    ensure!(!lines.is_empty(), "README.md shows no cargo command");
    Ok(lines)
}

fn parse(text: &str) -> Result<Line> {
    let code = text.split_once(" #").map_or(text, |(code, _)| code).trim();
    ensure!(
        !code.contains(['"', '\'', '\\', '|', ';', '&', '<', '>', '`']),
        "`{code}` asks more of a shell than this test knows: keep README commands plain"
    );
    let mut words = code.split_whitespace().map(str::to_owned).peekable();
    let mut variables = Vec::new();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        variables.push((name.to_owned(), value.to_owned()));
        words.next();
    }
    ensure!(words.next().as_deref() == Some("cargo"), "`{code}` does not start with cargo");
    Ok(Line { text: code.to_owned(), variables, arguments: words.collect() })
}

fn server_answers(workspace: &Workspace, line: &Line) -> Result<()> {
    let (of_cargo, of_server) = match line.arguments.iter().position(|argument| argument == "--") {
        Some(dashes) => (&line.arguments[1..dashes], &line.arguments[dashes + 1..]),
        None => (&line.arguments[1..], &[][..]),
    };
    // Compiling is not part of the time that a start may take.
    exec::run(workspace.cargo().arg("build").args(of_cargo))?;

    let dir = TempDir::new()?;
    let port = free_port()?;
    let redis = redis::Server::start()?;
    let mut arguments = of_server.to_vec();
    set(&mut arguments, "--port", &port.to_string());
    set(&mut arguments, "--database", &dir.path().join("shop.db").display().to_string());
    if arguments.iter().any(|argument| argument == "--redis") {
        set(&mut arguments, "--redis", &redis.url());
    }
    let mut command = workspace.cargo();
    // A reader's shell does not have it set.
    command.env_remove(REDIS_URL);
    command.arg("run").args(of_cargo).arg("--").args(arguments).stdin(Stdio::null());
    for (name, value) in line.variables() {
        let value = if value.starts_with("redis://") { redis.url() } else { value.to_owned() };
        command.env(name, value);
    }
    shows_a_page(&mut command, port)
}

/// The demo in workerd.
fn worker_answers(workspace: &Workspace, line: &Line) -> Result<()> {
    exec::run(workspace.cargo().args(["xtask", "worker", "build"]))?;
    let port = free_port()?;
    let mut arguments = line.arguments.clone();
    set(&mut arguments, "--port", &port.to_string());
    let mut command = workspace.cargo();
    shows_a_page(command.args(arguments).stdin(Stdio::null()), port)
}

fn shows_a_page(command: &mut Command, port: u16) -> Result<()> {
    println!("$ {}", exec::shown(command));
    let mut server = Server(command.spawn().context("cannot start cargo")?);
    let address = format!("http://127.0.0.1:{port}");
    server.wait_until_ready(&format!("{address}/healthz"))?;
    let page = get(&format!("{address}/"))?;
    ensure!(page.status_code == 200, "GET / answered {}", page.status_code);
    let body = page.as_str().context("GET / is not text")?;
    ensure!(body.contains("</html>"), "GET / is no whole page: it has no </html>");
    server.interrupt()
}

/// Gives a flag that value, whether or not it is there.
fn set(arguments: &mut Vec<String>, flag: &str, value: &str) {
    if let Some(at) = arguments.iter().position(|argument| argument == flag) {
        arguments.drain(at..(at + 2).min(arguments.len()));
    }
    arguments.extend([flag.to_owned(), value.to_owned()]);
}

fn get(url: &str) -> Result<minreq::Response> {
    minreq::get(url).with_timeout(10).send().with_context(|| format!("cannot get {url}"))
}

/// A server process, ended with its owner.
struct Server(Child);

impl Server {
    fn wait_until_ready(&mut self, url: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                bail!("the server ended before it answered: {status}");
            }
            if get(url).is_ok_and(|response| response.status_code == 200) {
                return Ok(());
            }
            ensure!(start.elapsed() < START, "{url} did not answer 200 in {} s", START.as_secs());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What Ctrl-C sends.
    fn interrupt(mut self) -> Result<()> {
        exec::run(Command::new("kill").args(["-INT", &self.0.id().to_string()]))?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "the server ended with {status} on Ctrl-C");
                return Ok(());
            }
            ensure!(
                start.elapsed() < DRAIN,
                "the server still runs {} s after Ctrl-C",
                DRAIN.as_secs()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{commands, set};

    #[test]
    fn cargo_commands_are_taken_from_shell_blocks_and_from_code_in_the_text() {
        let readme = "Run `cargo bench`, with `cargo` of `1.91`, or `cargo test`.\n\
                      ```sh\n\
                      git clone somewhere\n\
                      cargo run   # listens on a port\n\
                      A=1 cargo run -- --redis redis://127.0.0.1:6379\n\
                      ```\n\
                      ```toml\n\
                      cargo = \"`cargo run`\"\n\
                      ```\n";
        let lines = commands(readme).unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let with_redis = "A=1 cargo run -- --redis redis://127.0.0.1:6379";
        assert_eq!(texts, ["cargo bench", "cargo test", "cargo run", with_redis]);
        assert_eq!(lines[3].variables, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(lines[3].arguments, ["run", "--", "--redis", "redis://127.0.0.1:6379"]);
    }

    #[test]
    fn a_readme_without_commands_or_with_one_that_cannot_be_run_is_refused() {
        assert!(commands("# Larder\n").is_err());
        assert!(commands("```sh\ncargo run | tee log\n```\n").is_err());
        assert!(commands("```sh\nsudo cargo run\n```\n").is_err());
    }

    #[test]
    fn a_flag_is_set_whether_or_not_it_is_there() {
        let mut arguments = vec!["--port".to_owned(), "1".to_owned(), "--quiet".to_owned()];
        set(&mut arguments, "--port", "2");
        set(&mut arguments, "--host", "::1");
        assert_eq!(arguments, ["--quiet", "--port", "2", "--host", "::1"]);
    }
}
