//! The simulation of write-behind, with thousands of seeds: see [`larder_tests::seeds`] for how to run
//! one of them alone.

use larder_tests::seeds::simulate;
use larder_tests::write_behind::Plan;

const SEEDS: u64 = 1_000;

#[test]
fn what_was_acknowledged_is_saved_in_order_whoever_crashes() {
    simulate::<Plan>(SEEDS, |all| {
        assert!(all.killed > SEEDS && all.dead > SEEDS / 4 && all.saved < 2 * all.written);
    });
}
