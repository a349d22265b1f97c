//! Certificates for a test, and servers that show them.

use std::path::PathBuf;

use larder_tests::redis_server::{RedisServer, RedisServerBuilder, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Certificates in a folder of a test's own.
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// An authority, a server certificate for 127.0.0.1 and localhost, and a client's.
    pub fn create(name: &str) -> Self {
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

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    pub fn server(&self, asks_clients: bool) -> RedisServer {
        self.listening(RedisServer::builder(), asks_clients)
    }

    /// A server that is otherwise set up as `builder` says.
    pub fn listening(&self, builder: RedisServerBuilder, asks_clients: bool) -> RedisServer {
        let files = TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: asks_clients.then(|| self.path("ca.pem")),
        };
        builder.tls(files).start()
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where it listens with TLS.
pub fn url(redis: &RedisServer) -> String {
    format!("rediss://127.0.0.1:{}", redis.tls_port().unwrap())
}
