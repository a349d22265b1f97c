//! Benches of Larder, beside its peers.
