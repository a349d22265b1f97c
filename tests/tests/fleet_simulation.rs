//! The simulation of processes that share a store and a bus, with ten thousand seeds: see
//! [`larder_tests::seeds`] for how to run one of them alone.

use larder_tests::fleet::Plan;
use larder_tests::seeds::simulate;

const SEEDS: u64 = 10_000;

#[test]
fn nobody_sees_for_long_what_another_process_has_invalidated() {
    simulate::<Plan>(SEEDS, |all| {
        assert!(all.late > SEEDS / 10 && all.gaps > SEEDS && all.checks > SEEDS / 10);
        assert!(all.withdrawn > SEEDS / 10 && all.invalidations > SEEDS);
    });
}
