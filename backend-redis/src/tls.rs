//! TLS: which authorities are trusted, and what the server is shown.

use std::path::Path;

use larder_core::StoreError;
use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};

use crate::config::{TlsFiles, problem};

/// A client for a server behind TLS.
pub(crate) fn client(info: ConnectionInfo, files: &TlsFiles) -> Result<Client, StoreError> {
    choose_crypto();
    let root_cert = files.authority.as_deref().map(|path| read(path, "tls_ca_file")).transpose()?;
    let client_tls = match &files.identity {
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: read(certificate, "tls_identity_files")?,
            client_key: read(key, "tls_identity_files")?,
        }),
        None => None,
    };
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
        .map_err(|error| problem(format!("the TLS certificates cannot be used: {error}")))
}

/// rustls panics where a program has two providers compiled in and chose none.
fn choose_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails where another thread was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn read(path: &Path, setting: &str) -> Result<Vec<u8>, StoreError> {
    let pem = std::fs::read(path).map_err(|error| {
        problem(format!("{setting}: {} cannot be read: {error}", path.display()))
    })?;
    if pem.windows(10).any(|window| window == b"-----BEGIN") {
        Ok(pem)
    } else {
        Err(problem(format!("{setting}: {} is not a PEM file", path.display())))
    }
}
