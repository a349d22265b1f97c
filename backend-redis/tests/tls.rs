//! `rediss://`, against a Redis with TLS.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "tls")]

mod support;

use larder_core::{Store, StoreErrorKind, seconds};
use larder_redis::RedisStore;
use support::pki::{Pki, url};

#[tokio::test]
async fn a_trusted_authority_lets_the_store_connect() {
    let pki = Pki::create("trusted");
    let redis = pki.server(false);
    let store = RedisStore::builder()
        .url(url(&redis))
        .tls_ca_file(pki.path("ca.pem"))
        .connect()
        .await
        .unwrap();
    store.put("a", "1".into(), seconds(60)).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert!(store.address().starts_with("rediss://127.0.0.1:"));
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let pki = Pki::create("unknown");
    let redis = pki.server(false);
    let error = RedisStore::connect(url(&redis)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("RedisStoreBuilder::tls_ca_file"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let pki = Pki::create("host");
    let redis = pki.server(false);
    let error = RedisStore::builder()
        .host("127.0.0.2")
        .port(redis.tls_port().unwrap())
        .tls(true)
        .tls_ca_file(pki.path("ca.pem"))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let pki = Pki::create("mutual");
    let redis = pki.server(true);
    let builder = || RedisStore::builder().url(url(&redis)).tls_ca_file(pki.path("ca.pem"));
    builder().connect().await.unwrap_err();
    let store = builder()
        .tls_identity_files(pki.path("client.pem"), pki.path("client.key"))
        .connect()
        .await
        .unwrap();
    store.ready().await.unwrap();
}

#[tokio::test]
async fn what_is_no_certificate_is_named() {
    let pki = Pki::create("broken");
    pki.write("text.pem", "no certificate");
    let error =
        RedisStore::builder().tls(true).tls_ca_file(pki.path("text.pem")).lazy().unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("is not a PEM file"), "{error}");
}
