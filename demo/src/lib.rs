//! The demo application of Larder: a shop, as one axum Router for both targets.
