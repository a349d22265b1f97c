//! A real Redis for a test: on a free port, empty, gone when it is dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server has to answer after its start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `redis-server` process of its own, without persistence.
///
/// ```no_run
/// use larder_tests::redis_server::RedisServer;
///
/// let mut redis = RedisServer::start();
/// println!("{}", redis.url());
/// redis.kill();
/// redis.restart();
/// ```
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    tls_port: Option<u16>,
    password: Option<String>,
    arguments: Vec<String>,
    program: PathBuf,
    child: Option<Child>,
}

/// The files that a server behind TLS needs, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority whose clients it lets in, where it asks for their certificates.
    pub clients: Option<PathBuf>,
}

/// Sets up a [`RedisServer`].
#[derive(Debug, Clone, Default)]
#[must_use = "call start"]
pub struct RedisServerBuilder {
    password: Option<String>,
    tls: Option<TlsFiles>,
    arguments: Vec<String>,
    program: Option<PathBuf>,
}

impl RedisServerBuilder {
    /// Wants this password of the default user.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Listens with TLS as well, on a port of its own.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Adds arguments of `redis-server`, such as `--maxmemory 10mb`.
    pub fn arguments<I: IntoIterator<Item = S>, S: Into<String>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Starts this program instead of `redis-server`: [`valkey`], say.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When `redis-server` cannot be started.
    #[must_use]
    #[allow(clippy::panic)]
    pub fn start(self) -> RedisServer {
        let mut said = String::new();
        // Another process may take the free port before Redis does.
        for _ in 0..5 {
            match self.try_start() {
                Ok(server) => return server,
                Err(error) => said = error.to_string(),
            }
        }
        let program = self.executable();
        panic!("{} cannot be started: {said}; run `cargo xtask setup`", program.display());
    }

    fn executable(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| PathBuf::from("redis-server"))
    }

    fn try_start(&self) -> io::Result<RedisServer> {
        let port = free_port()?;
        let mut arguments = vec![
            String::from("--port"),
            port.to_string(),
            String::from("--bind"),
            String::from("127.0.0.1"),
            String::from("--save"),
            String::new(),
            String::from("--appendonly"),
            String::from("no"),
            String::from("--daemonize"),
            String::from("no"),
            String::from("--enable-debug-command"),
            String::from("yes"),
            String::from("--dir"),
            std::env::temp_dir().display().to_string(),
            String::from("--dbfilename"),
            database_file(port),
        ];
        if let Some(password) = &self.password {
            arguments.extend([String::from("--requirepass"), password.clone()]);
        }
        let mut tls_port = None;
        if let Some(tls) = &self.tls {
            let port = *tls_port.insert(free_port()?);
            arguments.extend([
                String::from("--tls-port"),
                port.to_string(),
                String::from("--tls-cert-file"),
                tls.certificate.display().to_string(),
                String::from("--tls-key-file"),
                tls.key.display().to_string(),
                String::from("--tls-auth-clients"),
                String::from(if tls.clients.is_some() { "yes" } else { "no" }),
                String::from("--tls-ca-cert-file"),
                tls.clients.as_ref().unwrap_or(&tls.certificate).display().to_string(),
            ]);
        }
        arguments.extend(self.arguments.iter().cloned());
        let (password, program) = (self.password.clone(), self.executable());
        let mut server = RedisServer { port, tls_port, password, arguments, program, child: None };
        server.spawn()?;
        Ok(server)
    }
}

impl RedisServer {
    /// Starts a server with Redis' defaults, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When `redis-server` cannot be started; `cargo xtask setup` installs it.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Sets up a server in detail.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that speaks TLS, where there is one.
    #[must_use]
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// `redis://127.0.0.1:<port>/`, with the password where there is one.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", self.port),
            None => format!("redis://127.0.0.1:{}/", self.port),
        }
    }

    /// Ends the process with SIGKILL: clients see their connections break. Nothing where it does
    /// not run.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server again, empty, on the same port; kills it first where it runs.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[allow(clippy::panic)]
    pub fn restart(&mut self) {
        self.kill();
        if let Err(error) = self.spawn() {
            panic!("the server did not come back on port {}: {error}", self.port);
        }
    }

    /// Stops the process (SIGSTOP): it keeps its connections and says nothing more, as one on a
    /// machine that hangs or behind a network that drops all.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn unpause(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(child) = &self.child
            && let Ok(pid) = i32::try_from(child.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Sends one command over a connection of its own, and returns the reply as Redis wrote it:
    /// `+OK`, `:1`, `-ERR …`, or the text of a bulk string; of an array, its first line.
    ///
    /// # Panics
    ///
    /// When there is no whole reply.
    #[allow(clippy::panic)]
    pub fn command(&self, words: &[&str]) -> String {
        match self.try_command(words) {
            Ok(reply) => reply,
            Err(error) => panic!("{words:?} on port {}: {error}", self.port),
        }
    }

    /// How many keys there are, all databases' journals of write-behind left out: those hold what is
    /// How many keys there are, but for the journals of write-behind, which keep what is not saved yet.
    ///
    /// # Panics
    ///
    /// When the server does not answer with a number.
    #[must_use]
    #[allow(clippy::panic)]
    pub fn keys_beside_journals(&self) -> u64 {
        let count = "local n = 0
            for _, key in ipairs(redis.call('KEYS', '*')) do
                if key:sub(1, 16) ~= '{larder-journal:' then n = n + 1 end
            end
            return n";
        let reply = self.command(&["EVAL", count, "0"]);
        let number = reply.strip_prefix(':').and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("no number of keys: {reply}"))
    }

    /// How often each command was called, as `INFO commandstats` has it; 0 where it never was.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    #[must_use]
    pub fn calls_of(&self, command: &str) -> u64 {
        let prefix = format!("cmdstat_{}:calls=", command.to_lowercase());
        let stats = self.command(&["INFO", "commandstats"]);
        stats
            .lines()
            .find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }

    /// What a test made it save, if anything: `DEBUG RELOAD` does.
    fn forget_data(&self) {
        let _ = std::fs::remove_file(std::env::temp_dir().join(database_file(self.port)));
    }

    fn spawn(&mut self) -> io::Result<()> {
        self.forget_data();
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.child = Some(child);
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(io::Error::other(format!("it ended with {status}")));
            }
            match self.try_command(&["PING"]) {
                Ok(reply) if reply == "+PONG" => return Ok(()),
                _ if started.elapsed() > PATIENCE => {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                // The process has no other way to tell that it listens.
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn try_command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = connect(self.port)?;
        if let Some(password) = &self.password {
            exchange(&mut stream, &["AUTH", password])?;
        }
        exchange(&mut stream, words)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        self.forget_data();
    }
}

/// One command to whoever listens on a port of this machine.
pub(crate) fn command_at(port: u16, words: &[&str]) -> io::Result<String> {
    exchange(&mut connect(port)?, words)
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Where `valkey-server` is: in PATH, or where `cargo xtask setup` put it.
#[must_use]
pub fn valkey() -> PathBuf {
    const PROGRAM: &str = "valkey-server";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    let cache = [
        std::env::var_os("LARDER_XTASK_CACHE").map(PathBuf::from),
        std::env::var_os("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("larder-xtask")),
        std::env::home_dir().map(|home| home.join(".cache/larder-xtask")),
    ];
    let cached = cache.into_iter().flatten().map(|cache| cache.join("tools/valkey").join(PROGRAM));
    in_path.chain(cached).find(|file| file.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

fn database_file(port: u16) -> String {
    format!("larder-test-{port}.rdb")
}

fn exchange(stream: &mut TcpStream, words: &[&str]) -> io::Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let line = read_line(stream)?;
    match line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => {
            let mut text = vec![0; length + 2];
            stream.read_exact(&mut text)?;
            text.truncate(length);
            String::from_utf8(text).map_err(io::Error::other)
        }
        None => Ok(line),
    }
}

fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).map_err(io::Error::other)
}

pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
