//! Where a server keeps what it does not keep in the database.

use std::sync::Arc;

use anyhow::{Context, ensure};
use larder_core::invalidation::Invalidation;
use larder_core::{
    DurableJournal, LocalBus, MemoryRateLimits, MemorySessions, MemoryStore, RateLimiter,
    RateLimiterBuilder, Store, StrongSessionStore,
};
use larder_http::rate_limit::ClientIp;
use larder_redis::RedisStore;
use larder_sqlite::SqliteJournal;

use crate::{Args, RateLimitLayout};

/// Where caches, sessions and counts are kept.
pub(crate) struct Kept {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sessions: Arc<dyn StrongSessionStore>,
    /// One in a file where there is none.
    pub(crate) journal: Option<Arc<dyn DurableJournal>>,
    /// Of requests, and of attempts to sign in.
    pub(crate) limiter: RateLimiterBuilder,
    pub(crate) sign_in: RateLimiterBuilder,
    /// By what a client is known.
    pub(crate) client: ClientIp,
    /// What tells others of the same store what is changed.
    pub(crate) bus: Arc<dyn Invalidation>,
    /// How to speak of it.
    pub(crate) place: String,
}

/// What is kept in this process, for all of its servers.
#[derive(Clone)]
pub(crate) struct InMemory {
    store: MemoryStore,
    sessions: MemorySessions,
    counts: MemoryRateLimits,
    bus: LocalBus,
}

impl InMemory {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            sessions: MemorySessions::new(),
            counts: MemoryRateLimits::new(),
            bus: LocalBus::new(),
        }
    }
}

/// In Redis over connections of its own, or in memory.
pub(crate) fn open(args: &Args, memory: &InMemory) -> anyhow::Result<Kept> {
    let client = ClientIp::behind_proxies(args.trusted_proxies);
    let for_express = args.rate_limit_layout == RateLimitLayout::Express;
    let Some(url) = args.redis.as_deref().filter(|url| !url.is_empty()) else {
        ensure!(
            !for_express,
            "--rate-limit-layout express is for counts in Redis; name it with --redis"
        );
        let InMemory { store, sessions, counts, bus } = memory.clone();
        return Ok(Kept {
            store: Arc::new(store),
            sessions: Arc::new(sessions),
            journal: None,
            limiter: RateLimiter::builder(counts.clone()),
            sign_in: RateLimiter::builder(counts),
            client,
            bus: Arc::new(bus),
            place: "memory".into(),
        });
    };
    let store = RedisStore::builder()
        .url(url)
        .client_name("larder-demo")
        .lazy()
        .context("--redis (or LARDER_REDIS_URL) cannot be used")?;
    let (counts, place) = (store.rate_limits(), store.address().to_owned());
    let (sessions, sign_in) = (Arc::new(store.sessions()), counts.clone());
    let sign_in = RateLimiter::builder(sign_in).namespace("shop");
    let (limiter, client) = if for_express {
        let counts = counts.layout(larder_redis::RateLimitLayout::Express);
        // express-rate-limit counts IPv6 by the first 56 bits.
        (RateLimiter::builder(counts), client.ipv6_prefix(56))
    } else {
        (RateLimiter::builder(counts).namespace("shop"), client)
    };
    let journal = store.journal("shop:last-seen")?;
    let journal: Option<Arc<dyn DurableJournal>> = Some(Arc::new(journal));
    let bus = Arc::new(store.bus());
    Ok(Kept { store: Arc::new(store), sessions, journal, limiter, sign_in, client, bus, place })
}

pub(crate) fn journal_in_a_file(args: &Args) -> anyhow::Result<Arc<dyn DurableJournal>> {
    let path = args.journal.clone().unwrap_or_else(|| {
        let mut name = args.database.clone().into_os_string();
        name.push(".journal");
        name.into()
    });
    let journal = SqliteJournal::open(&path).with_context(|| {
        format!("the journal {} cannot be used; name another file (--journal)", path.display())
    })?;
    Ok(Arc::new(journal))
}
