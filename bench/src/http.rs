//! Requests a second of an axum server: bare, and behind the layers.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use clap::ValueEnum;
use governor::middleware::NoOpMiddleware;
use larder_core::{
    Cache, CacheBuilder, MemoryRateLimits, MemorySessions, MemoryStore, Quota, RateLimiter, minutes,
};
use larder_http::{RateLimit, ResponseCache};
use larder_redis::{RedisSessions, RedisStore};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::PeerIpKeyExtractor;

use crate::Effort;
use crate::client::Client;
use crate::rounds::{self, Pace, Turn};
use crate::servers::{Core, Process, Redis, on_core};
use crate::sessions;
use crate::table::{Figures, Goal, Row};

pub(crate) const PATH: &str = "/api/v1/products";
const TARGET: &str = "/api/v1/products?page=1&limit=20";

/// What stands before the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Front {
    Bare,
    Memory,
    Redis,
    /// With a local tier in front of it.
    Local,
    /// The handler, which sends headers as a limit does.
    BareWithHeaders,
    Limit,
    LimitWithoutHeaders,
    TowerGovernor,
    TowerGovernorWithoutHeaders,
    Session,
    SessionRedis,
    TowerSessions,
    TowerSessionsRedis,
}

impl Front {
    /// The header by which a response tells that it came this way.
    fn header(self) -> Option<&'static str> {
        match self {
            Self::Bare | Self::LimitWithoutHeaders | Self::TowerGovernorWithoutHeaders => None,
            // Their handler answers only who has a session.
            _ if self.has_sessions() => None,
            Self::Memory | Self::Redis | Self::Local => Some("x-cache: hit"),
            _ => Some("x-ratelimit-remaining: "),
        }
    }

    fn has_sessions(self) -> bool {
        use Front::{Session, SessionRedis, TowerSessions, TowerSessionsRedis};

        matches!(self, Session | SessionRedis | TowerSessions | TowerSessionsRedis)
    }
}

/// A limit that is never reached.
const RATE: u32 = 10;
const BURST: u32 = u32::MAX;
const CANNOT_BE: &str = "a limit that cannot be";

/// As long as those of a limit.
const LIMIT_HEADERS: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("x-ratelimit-limit"), "4294967295"),
    (HeaderName::from_static("x-ratelimit-remaining"), "4294967294"),
    (HeaderName::from_static("x-ratelimit-reset"), "1790000000"),
];

fn governor() -> GovernorConfigBuilder<PeerIpKeyExtractor, NoOpMiddleware> {
    let mut config = GovernorConfigBuilder::default();
    config.period(Duration::from_secs(1) / RATE).burst_size(BURST);
    config
}

/// Serves the handler until the process is ended, and says on which port.
pub(crate) fn serve(front: Front, redis: Option<&str>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let body = Bytes::from(page());
        let with_headers = body.clone();
        let handler = get(move || {
            let body = body.clone();
            async move { ([(CONTENT_TYPE, "application/json")], body) }
        });
        let app = Router::new().route(PATH, handler);
        let with_headers = get(move || {
            let body = with_headers.clone();
            async move { (LIMIT_HEADERS, [(CONTENT_TYPE, "application/json")], body) }
        });
        let app = match front {
            Front::Session => sessions::larder(MemorySessions::new())?,
            Front::SessionRedis => {
                let url = redis.context("--redis is missing")?;
                sessions::larder(RedisSessions::connect(url).await?)?
            }
            Front::TowerSessions => {
                sessions::tower_sessions(tower_sessions::MemoryStore::default())
            }
            Front::TowerSessionsRedis => {
                let url = redis.context("--redis is missing")?;
                sessions::tower_sessions(sessions::redis_store(url).await?)
            }
            Front::Bare => app,
            Front::BareWithHeaders => Router::new().route(PATH, with_headers),
            Front::Memory => cached(app, Cache::builder(MemoryStore::new()))?,
            Front::Redis => {
                let url = redis.context("--redis is missing")?;
                cached(app, Cache::builder(RedisStore::connect(url).await?))?
            }
            Front::Local => {
                let url = redis.context("--redis is missing")?;
                cached(app, Cache::builder(RedisStore::connect(url).await?).local(10_000))?
            }
            Front::Limit | Front::LimitWithoutHeaders => {
                let quota = Quota::per_second(RATE.into()).burst(BURST.into());
                let limiter = RateLimiter::builder(MemoryRateLimits::new()).quota(quota).build()?;
                let limit = RateLimit::new(limiter);
                app.layer(if front == Front::Limit { limit } else { limit.headers([]) })
            }
            Front::TowerGovernor => {
                let config = governor().use_headers().finish().context(CANNOT_BE)?;
                app.layer(GovernorLayer::new(config))
            }
            Front::TowerGovernorWithoutHeaders => {
                app.layer(GovernorLayer::new(governor().finish().context(CANNOT_BE)?))
            }
        };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        match front {
            Front::Limit
            | Front::LimitWithoutHeaders
            | Front::TowerGovernor
            | Front::TowerGovernorWithoutHeaders => {
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, app).await?;
            }
            _ => axum::serve(listener, app).await?,
        }
        Ok(())
    })
}

fn cached(app: Router, cache: CacheBuilder) -> Result<Router> {
    let cache = cache.namespace("http").build()?;
    Ok(app.layer(ResponseCache::new(cache).ttl(minutes(10))))
}

/// About 1 KB of JSON: ten products.
pub(crate) fn page() -> String {
    let products: Vec<String> = (1..=10)
        .map(|id| {
            format!(
                r#"{{"id":{id},"name":"Product number {id}","category":"kitchen","price_cents":{},"rating":4.5,"in_stock":true}}"#,
                1_000 + id
            )
        })
        .collect();
    format!(r#"{{"page":1,"limit":20,"products":[{}]}}"#, products.join(","))
}

pub(crate) fn compare(effort: Effort, mut row: impl FnMut(Row)) -> Result<()> {
    let redis = Redis::start(Some(Core::Client))?;
    let url = redis.url();
    let results = rounds::play_anew(effort.http, || {
        let fronts = [Front::Memory, Front::Redis, Front::Local, Front::Bare];
        fronts
            .map(|front| Server::start(front, Some(&url))?.turn(effort.http))
            .into_iter()
            .collect()
    })?;
    let fronts = [(0, "memory", 0.85), (1, "Redis", 0.5), (2, "local tier over Redis", 0.85)];
    for (who, name, goal) in fronts {
        row(Row {
            what: format!("HTTP, response cache hit, {name}"),
            peer: "bare axum handler",
            figures: Figures::Rate {
                ours: results.median(who),
                peers: results.median(3),
                ratio: results.ratio(who, 3),
            },
            goal: Goal::AtLeast(goal),
        });
    }
    Ok(())
}

pub(crate) fn compare_limits(effort: Effort, mut row: impl FnMut(Row)) -> Result<()> {
    let fronts = [
        Front::Limit,
        Front::LimitWithoutHeaders,
        Front::Bare,
        Front::BareWithHeaders,
        Front::TowerGovernor,
        Front::TowerGovernorWithoutHeaders,
    ];
    let results = rounds::play_anew(effort.http, || {
        fronts.map(|front| Server::start(front, None)?.turn(effort.http)).into_iter().collect()
    })?;
    let (limit, silent) = ("HTTP, rate limit, memory", "HTTP, rate limit, memory, no headers");
    for (what, who, name, peer, goal) in [
        (limit, 0, "bare axum handler", 2, Goal::AtLeast(0.95)),
        (limit, 0, "bare axum handler with such headers", 3, Goal::None),
        (limit, 0, "tower_governor, with headers", 4, Goal::None),
        (silent, 1, "bare axum handler", 2, Goal::AtLeast(0.95)),
        (silent, 1, "tower_governor", 5, Goal::None),
    ] {
        row(Row {
            what: what.into(),
            peer: name,
            figures: Figures::Rate {
                ours: results.median(who),
                peers: results.median(peer),
                ratio: results.ratio(who, peer),
            },
            goal,
        });
    }
    Ok(())
}

/// This program, as a server on a core of its own.
pub(crate) struct Server {
    port: u16,
    front: Front,
    /// What a client of it sends.
    cookie: Option<String>,
    _process: Process,
}

impl Server {
    pub(crate) fn start(front: Front, redis: Option<&str>) -> Result<Self> {
        let program = env::current_exe()?;
        let program = program.to_str().context("this program's path is not UTF-8")?;
        let name = front.to_possible_value().context("every front has a name")?;
        let mut command = on_core(Core::Server, program);
        command.args(["serve", name.get_name()]);
        if let Some(url) = redis {
            command.args(["--redis", url]);
        }
        let mut process = Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        let stdout = process.0.stdout.take().context("the server has no output")?;
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        let port = port.trim().parse().context("the server did not start")?;
        let mut server = Self { port, front, cookie: None, _process: process };
        if front.has_sessions() {
            let head = server.head_of(sessions::BEGIN)?;
            let cookie =
                head.lines().find_map(|line| line.split_once("et-cookie: ")?.1.split(';').next());
            server.cookie = Some(cookie.context("the server began no session")?.to_owned());
        }
        // What a cache has afterwards.
        server.head_of(TARGET)?;
        Ok(server)
    }

    /// Is asked as that one is: what a request weighs is no merit of either.
    pub(crate) fn asked_as(mut self, other: &Self) -> Self {
        self.cookie.clone_from(&other.cookie);
        self
    }

    /// Asked for so long, each time.
    pub(crate) fn turn(self, pace: Pace) -> Result<Turn<'static>> {
        let mut client = Client::connect(self.port, self.request(TARGET, ""))?;
        Ok(Box::new(move || {
            let (rate, head) = client.requests_per_second(pace.turn)?;
            self.expect_front(&head)?;
            Ok(rate)
        }))
    }

    /// A layer that lets everything through would be fast as well.
    fn expect_front(&self, head: &str) -> Result<()> {
        let head = head.to_ascii_lowercase();
        let told =
            ["x-cache: hit", "x-ratelimit-remaining: "].into_iter().find(|it| head.contains(it));
        if told != self.front.header() {
            bail!("the server with {:?} answered with:\n{head}", self.front);
        }
        Ok(())
    }

    /// The head of an answer, on a connection of its own.
    fn head_of(&self, target: &str) -> Result<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        connection.write_all(&self.request(target, "Connection: close\r\n"))?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (head, _) = answer.split_once("\r\n\r\n").context("an answer without an end")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "the server answered with:\n{head}");
        Ok(head.to_owned())
    }

    fn request(&self, target: &str, more: &str) -> Vec<u8> {
        let cookie = self.cookie.as_ref().map(|it| format!("Cookie: {it}\r\n"));
        let (port, cookie) = (self.port, cookie.unwrap_or_default());
        format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}{more}\r\n").into()
    }
}
