//! The way to the server: what a URL says, the password, and TLS. It knows no table.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config};
use tokio_rustls::TlsConnector;

use super::failure::Attempt;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the database is, and how it is reached.
#[derive(Clone)]
pub struct PostgresSettings {
    config: Config,
    tls: Tls,
    shown: String,
}

impl PostgresSettings {
    /// Reads a URL, `postgres://user@host:port/database?sslmode=…`. Besides what the server's own
    /// clients know, of which `sslmode` may be `disable`, `prefer`, `require` and `verify-full`, and
    /// `sslrootcert` name a file of certificates, nothing is taken from the environment.
    ///
    /// # Errors
    ///
    /// [`MetastoreErrorKind::Other`] where it is no such URL, or the certificates cannot be read.
    pub fn new(url: &str, password: Option<&str>) -> Result<Self> {
        let wrong = |message: &str| {
            MetastoreError::new(MetastoreErrorKind::Other, format!("`metastore.url`: {message}"))
        };
        let (plain, tls) = TlsWish::split(url).map_err(|message| wrong(&message))?;
        let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            wrong("not a URL of a database").caused_by(error)
        })?;
        if let Some(password) = password {
            config.password(password);
        }
        config.ssl_mode(tls.mode);
        config.application_name("lacuna");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        let shown = plain.split(['?', '#']).next().unwrap_or_default().to_owned();
        Ok(Self { tls: Tls(Arc::new(tls.client()?)), config, shown })
    }

    /// The database, without secrets.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// A new connection, driven by a task of its own.
    pub(super) async fn connect(&self) -> Attempt<Client> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        // It ends with the client; what breaks it is told to whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgresSettings({})", self.shown)
    }
}

/// What a URL says about TLS.
struct TlsWish {
    mode: SslMode,
    verifies: bool,
    roots: Option<PathBuf>,
}

impl TlsWish {
    /// Takes what is about TLS out of a URL. As libpq does it, `prefer` and `require` check the
    /// server's certificate only where `sslrootcert` says against what.
    fn split(url: &str) -> std::result::Result<(String, Self), String> {
        let mut wish = Self { mode: SslMode::Prefer, verifies: false, roots: None };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "disable")) => wish.mode = SslMode::Disable,
                Some(("sslmode", "prefer")) => wish.mode = SslMode::Prefer,
                Some(("sslmode", "require")) => wish.mode = SslMode::Require,
                Some(("sslmode", "verify-full")) => {
                    (wish.mode, wish.verifies) = (SslMode::Require, true);
                }
                Some(("sslmode", _)) => {
                    let known = "disable, prefer, require or verify-full";
                    return Err(format!("sslmode is not one of {known}"));
                }
                Some(("sslrootcert", file)) => {
                    wish.roots = Some(PathBuf::from(file));
                    wish.verifies = true;
                }
                _ => rest.push(pair),
            }
        }
        let plain =
            if rest.is_empty() { base.into() } else { format!("{base}?{}", rest.join("&")) };
        Ok((plain, wish))
    }

    fn client(&self) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| no_tls("TLS cannot be set up").caused_by(error))?;
        if !self.verifies {
            let verifier = Arc::new(AnyCertificate(provider));
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth());
        }
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(file) => {
                let unreadable = |error| {
                    let file = file.display();
                    no_tls(&format!("the certificates in {file} cannot be read")).caused_by(error)
                };
                let read = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
                    .map_err(|error| unreadable(error.to_string()))?;
                roots.add_parsable_certificates(read);
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(no_tls(
                "no certificate to check the server's against: name a file of them \
                               with sslrootcert=FILE",
            ));
        }
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn no_tls(message: &str) -> MetastoreError {
    MetastoreError::new(MetastoreErrorKind::Other, message)
}

/// Encrypts without asking who is at the other end: what `prefer` and `require` mean.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes TLS connections for the driver.
#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Handshake { connector: TlsConnector::from(self.0.clone()), name })
    }
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(Encrypted) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
