//! The demo application of Larder on a native server.
fn main() {}
