//! What the comparisons (`cargo xtask bench`) and the criterion benches (`cargo bench -p
//! larder-bench`) have in common.
//!
//! - [`workload`]: keys, values, and the order in which keys are asked for.

pub mod workload;
