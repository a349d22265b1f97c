//! Objects beside the rule that sessions in memory run: both say the same, whatever is asked.

use larder_core::VirtualRuntime;
use larder_core::session::histories;

use super::network::Network;

#[test]
fn objects_say_what_memory_says() {
    for seed in 0..100 {
        let runtime = VirtualRuntime::seeded(seed);
        let network = Network::new(&runtime, seed, 0);
        let store = network.sessions();
        // Of some networks answers are lost.
        network.lose_every((seed % 5 > 1).then_some(seed as usize % 5));
        let sweeps = |random: &mut fastrand::Rng| {
            if random.u8(0..10) == 0 {
                network.sweep();
            }
        };
        let played = runtime.block_on(histories::play(seed, &store, &runtime, sweeps));
        played.unwrap_or_else(|differs| panic!("seed {seed}: {differs}"));
    }
}
