//! Cache-aside: `get`, `put`, `remove`, `remove_matching` and `get_or_load`.
//!
//! ```sh
//! cargo run -p larder --example cache_aside --all-features
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use larder::{Cache, MemoryStore, hours, minutes};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Keys are `app:<key>`; values live for an hour unless told otherwise.
    let cache = Cache::builder(MemoryStore::new()).namespace("app").ttl(hours(1)).build()?;

    // Set and get.
    let ada = User { id: 1, name: "Ada".into() };
    cache.put("user:1", &ada).await?;
    assert_eq!(cache.get::<User>("user:1").await?.as_deref(), Some(&ada));

    // Read, and load what is missing: a hundred callers, one query.
    let queries = AtomicU32::new(0);
    let find = |id| {
        let queries = &queries;
        async move {
            queries.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(User { id, name: "Grace".into() })
        }
    };
    let callers = (0..100).map(|_| cache.entry("user:2").ttl(minutes(5)).get_or_load(|| find(2)));
    for user in futures::future::join_all(callers).await {
        assert_eq!(user?.name, "Grace");
    }
    assert_eq!(queries.into_inner(), 1);

    // Many keys, one query for those that are missing.
    let users = cache
        .get_or_load_many(
            [1, 2, 3, 4],
            |id| format!("user:{id}"),
            |missing| async move {
                assert_eq!(missing, [3, 4]);
                let load = |id| (id, User { id, name: format!("User {id}") });
                Ok::<_, std::io::Error>(missing.into_iter().map(load).collect::<Vec<_>>())
            },
        )
        .await?;
    assert_eq!(users.len(), 4);

    // Invalidate one key, or all that match a pattern.
    assert!(cache.remove("user:1").await?);
    assert_eq!(cache.remove_matching("user:*").await?, 3);
    assert_eq!(cache.get::<User>("user:2").await?, None);

    println!("{:?}", cache.stats());
    Ok(())
}
