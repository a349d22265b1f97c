//! Write-behind: the cache shows a change at once, and the database hears of it a little later.
//!
//! ```sh
//! cargo run -p larder --example write_behind --all-features
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use larder::write_behind::{SinkError, Write};
use larder::{Cache, MemoryJournal, MemoryStore, WriteBehind, minutes, seconds};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// Stands in for a table: what was saved, and by which write.
type Table = Arc<Mutex<HashMap<u64, (User, u64)>>>;

struct Service {
    cache: Cache,
    users: WriteBehind<User>,
}

impl Service {
    /// The journal has the change when this returns, and so does the cache.
    async fn update(&self, user: &User) -> larder::Result<()> {
        self.users.write(user.id.to_string(), user).await?;
        self.cache.entry(format!("user:{}", user.id)).ttl(minutes(5)).put(user).await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let table = Table::default();
    let save = {
        let table = Arc::clone(&table);
        move |writes: Vec<Write<User>>| {
            let table = Arc::clone(&table);
            async move {
                let nameless = |(at, write): (usize, &Write<User>)| {
                    write.value.name.is_empty().then_some((at, "a user needs a name"))
                };
                let rejected: Vec<_> = writes.iter().enumerate().filter_map(nameless).collect();
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                for write in writes.into_iter().filter(|write| !write.value.name.is_empty()) {
                    // UPDATE … WHERE id = ? AND sequence <= ?: nothing older than what is there.
                    let sequence = write.id.sequence().number();
                    let row =
                        table.entry(write.value.id).or_insert((write.value.clone(), sequence));
                    if row.1 <= sequence {
                        *row = (write.value, sequence);
                    }
                }
                if rejected.is_empty() { Ok(()) } else { Err(SinkError::rejected(rejected)) }
            }
        }
    };
    // In memory, for the example's sake: a service takes a journal that outlives it.
    let users = WriteBehind::volatile(MemoryJournal::new(), save).name("users").build()?;
    let service = Service { cache: Cache::builder(MemoryStore::new()).build()?, users };

    for name in ["Zoe", "Zoé", "Zoë"] {
        service.update(&User { id: 42, name: name.into() }).await?;
    }
    let shown = service.cache.get::<User>("user:42").await?;
    assert_eq!(shown.map(|user| user.name.clone()).as_deref(), Some("Zoë"));

    // One that the table never takes becomes a dead letter.
    service.update(&User { id: 43, name: String::new() }).await?;
    assert_eq!(service.users.drain(seconds(5)).await?.writes, 0);
    let dead = service.users.dead_letters(None, 10).await?;
    println!("{} was not saved: {}", dead[0].key, dead[0].reason);
    service.users.discard(dead[0].id.sequence()).await?;

    // Before the program ends, what waits is saved.
    assert_eq!(service.users.stop(seconds(5)).await?.writes, 0);
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(table[&42].0.name, "Zoë");
    println!("{:?}", service.users.stats());
    Ok(())
}
