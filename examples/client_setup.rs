//! Setting up the Redis client: lazy connection, retries, time-outs, a circuit breaker, connection
//! events, and a graceful end.
//!
//! ```sh
//! LARDER_REDIS_URL=redis://127.0.0.1:6379 cargo run -p larder --example client_setup --all-features
//! ```

use larder::redis::{ConnectionEvent, RedisStore};
use larder::{Cache, Store, millis, seconds};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("LARDER_REDIS_URL").unwrap_or("redis://127.0.0.1:6379".into());
    let store = RedisStore::builder()
        .url(&url) // or .host("127.0.0.1").port(6379).password("…").database(0).tls(true)
        .client_name("client-setup")
        // These are the defaults.
        .max_retries(3)
        .backoff(millis(50), seconds(2)) // min(attempt × 50 ms, 2 s), with jitter
        // What the client may spend on a Redis that is down.
        .connect_timeout(seconds(2))
        .command_timeout(seconds(1))
        .circuit_breaker(5, seconds(1))
        .on_event(|event| match event {
            ConnectionEvent::Ready { .. } => println!("Redis connected: {event}"),
            ConnectionEvent::Error { error, .. } => eprintln!("Redis error: {error}"),
            ConnectionEvent::Closed { .. } => println!("Redis connection closed"),
            event => println!("{event}"),
        })
        // Connects when it is first used. `.connect().await?` would do it now, or fail.
        .lazy()?;
    assert!(!store.is_connected());

    let cache = Cache::builder(store.clone()).namespace("client-setup").build()?;
    cache.put("greeting", "hello").await?;
    assert_eq!(
        cache.get::<String>("greeting").await?.as_deref().map(String::as_str),
        Some("hello")
    );
    assert!(store.is_connected());
    cache.remove("greeting").await?;

    // Lets what is in flight finish.
    store.close().await?;
    assert!(cache.put("greeting", "too late").await.is_err());
    Ok(())
}
