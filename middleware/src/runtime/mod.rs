//! What differs between targets.

#[cfg(test)]
mod harness;

use std::net::IpAddr;

use http::Extensions;

#[cfg(test)]
pub(crate) use harness::test;

/// Where a connection comes from, as the server of axum tells it, which is native.
#[cfg(all(feature = "axum", not(target_arch = "wasm32")))]
pub(crate) fn connected_from(extensions: &Extensions) -> Option<IpAddr> {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

#[cfg(not(all(feature = "axum", not(target_arch = "wasm32"))))]
pub(crate) fn connected_from(_: &Extensions) -> Option<IpAddr> {
    None
}
