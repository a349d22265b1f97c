//! The scripts beside the rule that sessions in memory run, in a real Redis: both say the same,
//! whatever is asked.

use std::sync::Arc;

use larder_core::session::histories;
use larder_core::{Runtime, VirtualRuntime};
use larder_tests::redis_server::RedisServer;

use super::RedisSessions;

#[tokio::test]
async fn scripts_say_what_memory_says() {
    let server = RedisServer::start();
    for seed in 0..100 {
        let clock = VirtualRuntime::seeded(seed);
        let mut store = RedisSessions::connect(server.url()).await.unwrap();
        let shared = Arc::get_mut(&mut store.shared).unwrap();
        shared.runtime = Arc::new(clock.clone()) as Arc<dyn Runtime>;
        let played = histories::play(seed, &store, &clock, |_| {}).await;
        played.unwrap_or_else(|differs| panic!("seed {seed}: {differs}"));
    }
}
