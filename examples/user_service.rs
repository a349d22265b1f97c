//! A service over a database: reads go through the cache, writes invalidate it.
//!
//! ```sh
//! cargo run -p larder --example user_service --all-features
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use larder::{Cache, MemoryStore, minutes};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    email: String,
    name: String,
}

/// Stands for a database, and counts the queries it is asked.
#[derive(Default)]
struct Database {
    users: Mutex<BTreeMap<u64, User>>,
    queries: AtomicU32,
}

impl Database {
    async fn find_unique(&self, id: u64) -> anyhow::Result<Option<User>> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        Ok(self.users.lock().await.get(&id).cloned())
    }

    async fn page(&self, page: usize, limit: usize) -> anyhow::Result<Vec<User>> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let users = self.users.lock().await;
        Ok(users.values().skip((page - 1) * limit).take(limit).cloned().collect())
    }

    async fn save(&self, user: User) -> anyhow::Result<()> {
        self.users.lock().await.insert(user.id, user);
        Ok(())
    }

    async fn delete(&self, id: u64) -> anyhow::Result<()> {
        self.users.lock().await.remove(&id);
        Ok(())
    }
}

struct UserService {
    cache: Cache,
    database: Database,
}

impl UserService {
    /// `None` is remembered too: an id that does not exist is not asked for again at once.
    async fn find_by_id(&self, id: u64) -> larder::Result<Option<Arc<User>>> {
        let key = format!("user:{id}");
        self.cache.entry(key).ttl(minutes(5)).get_or_find(|| self.database.find_unique(id)).await
    }

    async fn find_all(&self, page: usize, limit: usize) -> larder::Result<Arc<Vec<User>>> {
        let key = format!("users:page:{page}:limit:{limit}");
        self.cache.entry(key).ttl(minutes(5)).get_or_load(|| self.database.page(page, limit)).await
    }

    async fn update(&self, user: User) -> anyhow::Result<()> {
        let id = user.id;
        self.database.save(user).await?;
        self.invalidate(id).await
    }

    async fn delete(&self, id: u64) -> anyhow::Result<()> {
        self.database.delete(id).await?;
        self.invalidate(id).await
    }

    async fn invalidate(&self, id: u64) -> anyhow::Result<()> {
        self.cache.remove(format!("user:{id}")).await?;
        self.cache.remove_matching("users:*").await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let service = UserService {
        cache: Cache::builder(MemoryStore::new()).namespace("app").build()?,
        database: Database::default(),
    };
    let queries = || service.database.queries.load(Ordering::Relaxed);
    let zoë = User { id: 42, email: "zoe@example.com".into(), name: "Zoë".into() };

    // Absent, and known to be absent.
    assert_eq!(service.find_by_id(42).await?, None);
    assert_eq!(service.find_by_id(42).await?, None);
    assert_eq!(queries(), 1);

    // An update is seen at once, in the value and in the lists.
    service.update(zoë.clone()).await?;
    assert_eq!(service.find_by_id(42).await?.as_deref(), Some(&zoë));
    assert_eq!(service.find_all(1, 20).await?.first(), Some(&zoë));
    assert_eq!(queries(), 3);

    // From here on the database rests.
    service.find_by_id(42).await?;
    service.find_all(1, 20).await?;
    assert_eq!(queries(), 3);

    service.delete(42).await?;
    assert_eq!(service.find_by_id(42).await?, None);
    assert!(service.find_all(1, 20).await?.is_empty());

    println!("{} queries; {:?}", queries(), service.cache.stats());
    Ok(())
}
