//! `rediss://`, against a Redis with TLS.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "tls")]

use std::path::PathBuf;

use larder_core::{Store, StoreErrorKind, seconds};
use larder_redis::RedisStore;
use larder_tests::redis_server::{RedisServer, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Certificates in a folder of a test's own.
struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// An authority, a server certificate for 127.0.0.1 and localhost, and a client's.
    fn create(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("larder-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pki = Self { folder };

        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "authority");
        let certificate = authority.self_signed(&authority_key).unwrap();
        pki.write("ca.pem", &certificate.pem());
        let issuer = Issuer::new(authority, authority_key);
        for (name, hosts) in [("server", ["127.0.0.1", "localhost"]), ("client", ["a", "b"])] {
            let key = KeyPair::generate().unwrap();
            let mut certificate = CertificateParams::new(hosts.map(String::from).to_vec()).unwrap();
            certificate.distinguished_name.push(DnType::CommonName, name);
            let certificate = certificate.signed_by(&key, &issuer).unwrap();
            pki.write(&format!("{name}.pem"), &certificate.pem());
            pki.write(&format!("{name}.key"), &key.serialize_pem());
        }
        pki
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn server(&self, asks_clients: bool) -> RedisServer {
        let files = TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: asks_clients.then(|| self.path("ca.pem")),
        };
        RedisServer::builder().tls(files).start()
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url(redis: &RedisServer) -> String {
    format!("rediss://127.0.0.1:{}", redis.tls_port().unwrap())
}

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
