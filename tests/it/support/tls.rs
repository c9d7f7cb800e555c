//! PostgreSQL behind TLS: a proxy with a certificate of the test's own before the real server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What signs certificates, and nobody knows of.
pub(crate) struct Authority(TempDir);

const CONFIGURATION: &str = "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = authority\n\
    [name]\nCN = lacuna test\n[authority]\nbasicConstraints = critical, CA:TRUE\n\
    keyUsage = keyCertSign\n[server]\nbasicConstraints = CA:FALSE\nsubjectAltName = ";

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a folder"));
        authority.configure("DNS:nobody");
        authority.openssl(&format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2"));
        authority
    }

    /// The file of its own certificate.
    pub(crate) fn roots(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// What a server of this name (`DNS:localhost`, `IP:127.0.0.1`) shows its clients.
    pub(crate) fn certify(&self, name: &str) -> ServerConfig {
        self.configure(name);
        self.openssl(&format!("req -new {KEY} -keyout server.key -out server.csr"));
        self.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile openssl.cnf -extensions server -out server.pem",
        );
        let file = |name: &str| self.0.path().join(name);
        let certificate = CertificateDer::from_pem_file(file("server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key")
    }

    fn configure(&self, name: &str) {
        let text = format!("{CONFIGURATION}{name}\n");
        std::fs::write(self.0.path().join("openssl.cnf"), text).expect("written");
    }

    fn openssl(&self, arguments: &str) {
        run_openssl(self.0.path(), arguments);
    }
}

const KEY: &str =
    "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf -batch";

fn run_openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).current_dir(folder);
    let run = command.output().expect("openssl is installed");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// A server that speaks TLS, and hands on to one that does not.
pub(crate) struct Front {
    pub port: u16,
    handshakes: Arc<AtomicUsize>,
}

impl Front {
    /// Begins to listen, within the runtime of the test.
    pub(crate) async fn start(server: &str, config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let (acceptor, server) = (TlsAcceptor::from(Arc::new(config)), server.to_owned());
        let counted = handshakes.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), server.clone());
                let counted = counted.clone();
                // A client that does not like the certificate goes away: no business of the proxy's.
                tokio::spawn(async move { drop(serve(client, &server, acceptor, &counted).await) });
            }
        });
        Self { port, handshakes }
    }

    /// How many clients came to the end of a handshake.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut client: TcpStream,
    server: &str,
    acceptor: TlsAcceptor,
    counted: &AtomicUsize,
) -> std::io::Result<()> {
    // SSLRequest: its length, and a code in the place of the protocol's version.
    let mut request = [0; 8];
    client.read_exact(&mut request).await?;
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "the client asks for TLS first");
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    counted.fetch_add(1, Ordering::SeqCst);
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
