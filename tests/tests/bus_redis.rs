//! The bus on a real Redis: connections that break, fall silent or hear nonsense, and a master that is
//! another.

mod proxy;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use futures::stream::BoxStream;
use larder_core::invalidation::{Channel, Gap, Heard, Invalidation, Notice, Subject};
use larder_core::{Store, millis, seconds};
use larder_redis::{RedisBus, RedisStore, RedisStoreBuilder};

use larder_tests::redis_cluster::RedisCluster;
use larder_tests::redis_sentinels::RedisSentinels;
use larder_tests::redis_server::RedisServer;
use proxy::Proxy;
use tokio::time::timeout;

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_secs(3);

const CHANNEL: &str = "cache:invalidate";

/// A channel on which anybody can publish.
fn channel() -> Channel {
    Channel::plain(CHANNEL)
}

fn users() -> Notice {
    Notice::anonymous(Subject::Patterns(vec!["users:*".into()]))
}

fn builder(url: impl AsRef<str>) -> RedisStoreBuilder {
    RedisStore::builder().url(url).command_timeout(seconds(10)).backoff(millis(5), millis(50))
}

struct Listener(BoxStream<'static, Heard>);

impl Listener {
    async fn on(bus: &RedisBus, channel: &Channel) -> Result<Self> {
        let mut listener = Self(bus.subscribe(channel));
        ensure!(listener.next().await? == Heard::Connected, "the first it hears is something else");
        Ok(listener)
    }

    async fn next(&mut self) -> Result<Heard> {
        let heard = timeout(seconds(30), self.0.next()).await.context("it hears nothing")?;
        heard.context("the stream has ended")
    }

    async fn hears(&mut self, expected: Heard) -> Result<()> {
        let heard = self.next().await?;
        ensure!(heard == expected, "it hears {heard:?}, not {expected:?}");
        Ok(())
    }
}

#[tokio::test]
async fn who_is_cut_off_again_and_again_is_told_each_time() -> Result<()> {
    let server = RedisServer::start();
    let bus = builder(server.url()).lazy()?.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    for _ in 0..50 {
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        listener.hears(Heard::Lost).await?;
        listener.hears(Heard::Connected).await?;
        bus.publish(&channel(), &users()).await?;
        listener.hears(Heard::Notice(users())).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_heard_before_a_cut_is_told_before_it() -> Result<()> {
    let server = RedisServer::start();
    let bus = builder(server.url()).lazy()?.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    for _ in 0..100 {
        bus.publish(&channel(), &users()).await?;
    }
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    for _ in 0..100 {
        listener.hears(Heard::Notice(users())).await?;
    }
    listener.hears(Heard::Lost).await
}

#[tokio::test]
async fn a_connection_that_is_dead_without_a_word_is_noticed_in_time() -> Result<()> {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port())?;
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let bus = builder(url).command_timeout(millis(500)).lazy()?.bus().heartbeat(millis(100));
    let mut listener = Listener::on(&bus, &channel()).await?;
    // It lives for many heartbeats.
    let quiet = timeout(seconds(1), listener.next()).await;
    ensure!(quiet.is_err(), "it hears {quiet:?} of a connection that stands");

    proxy.silence(true);
    let since = Instant::now();
    listener.hears(Heard::Lost).await?;
    let took = since.elapsed();
    ensure!(took < millis(600) + SLACK, "it took {took:?}");
    proxy.silence(false);
    listener.hears(Heard::Connected).await?;
    bus.publish(&channel(), &users()).await?;
    listener.hears(Heard::Notice(users())).await
}

#[tokio::test]
async fn it_waits_for_a_server_that_is_not_there() -> Result<()> {
    let mut server = RedisServer::start();
    let bus = builder(server.url()).lazy()?.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    server.kill();
    listener.hears(Heard::Lost).await?;
    let late = timeout(millis(300), listener.next()).await;
    ensure!(late.is_err(), "it hears {late:?} of a server that is not there");
    server.restart();
    listener.hears(Heard::Connected).await
}

#[tokio::test]
async fn what_cannot_be_read_is_a_gap() -> Result<()> {
    let server = RedisServer::start();
    let bus = builder(server.url()).lazy()?.bus();
    let larder = Channel::larder("larder:invalidate");
    let mut plain = Listener::on(&bus, &channel()).await?;
    let mut framed = Listener::on(&bus, &larder).await?;
    for message in ["", "users\n*"] {
        server.command(&["PUBLISH", CHANNEL, message]);
        plain.hears(Heard::Gap(Gap::Unreadable)).await?;
    }
    for message in ["users:*", ""] {
        server.command(&["PUBLISH", larder.name(), message]);
        framed.hears(Heard::Gap(Gap::Unreadable)).await?;
    }
    server.command(&["PUBLISH", CHANNEL, "users:*"]);
    plain.hears(Heard::Notice(users())).await
}

#[tokio::test]
async fn a_key_goes_as_the_pattern_of_itself_where_patterns_go() -> Result<()> {
    let server = RedisServer::start();
    let bus = builder(server.url()).lazy()?.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    let keys = Subject::Keys(vec!["app:user:1".into(), "app:what?".into()]);
    bus.publish(&channel(), &Notice::anonymous(keys)).await?;
    for pattern in ["app:user:1", r"app:what\?"] {
        let subject = Subject::Patterns(vec![pattern.into()]);
        listener.hears(Heard::Notice(Notice::anonymous(subject))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_stream_ends_when_the_store_is_closed() -> Result<()> {
    let server = RedisServer::start();
    let store = builder(server.url()).lazy()?;
    let bus = store.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    store.close().await?;
    let next = timeout(seconds(10), listener.0.next()).await.context("it does not end")?;
    ensure!(next.is_none(), "it hears {next:?}");
    ensure!(bus.publish(&channel(), &users()).await.is_err(), "it publishes when it is closed");
    Ok(())
}

#[tokio::test]
async fn who_may_not_publish_is_told() -> Result<()> {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "-publish", "&*"]);
    let url = format!("redis://mute:secret@127.0.0.1:{}", server.port());
    let bus = builder(url).lazy()?.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    let error = bus.publish(&channel(), &users()).await.err().context("it may publish")?;
    ensure!(error.to_string().contains("NOPERM"), "{error}");
    ensure!(!error.to_string().contains("secret"), "{error}");
    server.command(&["PUBLISH", CHANNEL, "users:*"]);
    listener.hears(Heard::Notice(users())).await
}

#[tokio::test]
async fn in_a_cluster_it_follows_the_master_of_its_channel() -> Result<()> {
    let mut cluster = RedisCluster::builder().replicas(1).start();
    let bus = builder(cluster.url()).command_timeout(seconds(2)).lazy()?.bus();
    let master = cluster.first_owner_of(cluster.slot_of(CHANNEL));
    let mut listener = Listener::on(&bus, &channel()).await?;
    // Whoever publishes at another node is heard too.
    for index in 0..3 {
        cluster.node(index).command(&["PUBLISH", CHANNEL, "users:*"]);
        listener.hears(Heard::Notice(users())).await?;
    }
    cluster.nodes()[master].kill();
    listener.hears(Heard::Lost).await?;
    listener.hears(Heard::Connected).await?;
    let started = Instant::now();
    while let Err(error) = bus.publish(&channel(), &users()).await {
        ensure!(started.elapsed() < seconds(20), "it does not publish any more: {error}");
    }
    listener.hears(Heard::Notice(users())).await
}

#[tokio::test]
async fn behind_sentinels_it_follows_the_master() -> Result<()> {
    let mut sentinels = RedisSentinels::start();
    let bus = builder(sentinels.url()).command_timeout(seconds(2)).lazy()?.bus();
    let mut listener = Listener::on(&bus, &channel()).await?;
    let old = sentinels.master_port();
    for server in sentinels.servers() {
        if Some(server.port()) == old {
            server.kill();
        }
    }
    listener.hears(Heard::Lost).await?;
    listener.hears(Heard::Connected).await?;
    let started = Instant::now();
    while let Err(error) = bus.publish(&channel(), &users()).await {
        if started.elapsed() > seconds(20) {
            bail!("it does not publish any more: {error}");
        }
    }
    listener.hears(Heard::Notice(users())).await
}
