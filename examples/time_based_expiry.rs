//! Time-based expiry: what is kept for a while and never invalidated.
//!
//! ```sh
//! cargo run -p larder --example time_based_expiry --all-features
//! ```

use larder::{Cache, Lookup, MemoryStore, Runtime, VirtualRuntime, hours, seconds};

fn main() -> larder::Result<()> {
    // A clock that this program moves: a minute passes at once.
    let clock = VirtualRuntime::seeded(1);
    clock.block_on(expire(&clock))
}

async fn expire(clock: &VirtualRuntime) -> larder::Result<()> {
    let store = MemoryStore::builder().on(clock.clone());
    let cache = Cache::builder(store).ttl(hours(1)).absent_ttl(seconds(10)).build()?;

    // 60 seconds for this entry, an hour for the others.
    cache.entry("config").ttl(seconds(60)).put("dark mode").await?;
    cache.put("motd", "hello").await?;
    assert_eq!(cache.time_to_live("config").await?, Some(seconds(60)));

    clock.sleep(seconds(59)).await;
    assert!(cache.contains("config").await?);
    clock.sleep(seconds(1)).await;
    assert!(!cache.contains("config").await?);
    assert!(cache.contains("motd").await?);

    // What does not exist is remembered for a shorter time.
    let none = || async { Ok::<Option<String>, std::io::Error>(None) };
    cache.get_or_find("user:0", none).await?;
    assert_eq!(cache.lookup::<String>("user:0").await?, Lookup::Absent);
    clock.sleep(seconds(10)).await;
    assert_eq!(cache.lookup::<String>("user:0").await?, Lookup::Miss);

    // Jitter keeps what was stored together from expiring together.
    for n in 0..100 {
        cache.entry(format!("page:{n}")).ttl(seconds(100)).jitter(0.2).put(&n).await?;
    }
    let mut lives = Vec::new();
    for n in 0..100 {
        lives.extend(cache.time_to_live(format!("page:{n}")).await?);
    }
    let (shortest, longest) = (lives.iter().min(), lives.iter().max());
    println!("100 lives of 80 to 100 s: from {shortest:?} to {longest:?}");
    assert!(lives.iter().all(|life| (seconds(80)..=seconds(100)).contains(life)));
    Ok(())
}
