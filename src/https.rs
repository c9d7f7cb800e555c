//! One request to a server of somebody else's and its answer, over TLS. It knows no service.
//!
//! Nothing is sent in the clear but to this machine; no redirect is followed, since where it leads may be
//! anywhere; an answer has an end in time and in length.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::domain::address::SafeAddress;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A longer answer is none, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The address cannot be asked.
    #[error(
        "not an address to send to: write it as https://HOST/PATH; http:// is for this machine alone"
    )]
    Address,
    /// Nobody is there.
    #[error("the server cannot be reached")]
    Unreachable,
    /// It is not known whether it is the right one.
    #[error("no secure connection to the server")]
    Insecure,
    /// It took too long.
    #[error("the server did not answer in time")]
    Late,
    /// It said something else.
    #[error("the server's answer is no HTTP, or too long")]
    Unreadable,
}

/// Sends a request, whose address is whole, and reads the answer, whatever its status.
///
/// # Errors
///
/// [`NoAnswer`].
pub async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
    tokio::time::timeout(PATIENCE, exchange(request)).await.unwrap_or(Err(NoAnswer::Late))
}

async fn exchange(mut request: Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
    let whole = request.uri().to_string();
    let address = SafeAddress::parse(&whole).ok_or(NoAnswer::Address)?;
    let SafeAddress { host, port, is_secure } = address;
    let authority = request.uri().authority().ok_or(NoAnswer::Address)?;
    let shown = authority.as_str().parse().map_err(|_| NoAnswer::Address)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = path.parse().map_err(|_| NoAnswer::Address)?;
    request.headers_mut().insert(header::HOST, shown);
    *request.uri_mut() = path;
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = stream.map_err(|_| NoAnswer::Unreachable)?;
    if !is_secure {
        return over(stream, request).await;
    }
    let name = ServerName::try_from(host).map_err(|_| NoAnswer::Address)?;
    let connector = TlsConnector::from(trusted().ok_or(NoAnswer::Insecure)?);
    let stream = connector.connect(name, stream).await.map_err(|_| NoAnswer::Insecure)?;
    over(stream, request).await
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, NoAnswer> {
    let unreadable = |_| NoAnswer::Unreadable;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreadable)?;
    let exchange = async {
        // Gone at the end, so that the connection ends as well.
        let mut sender = sender;
        let answer = sender.send_request(request.map(Full::new)).await.map_err(unreadable)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|_| NoAnswer::Unreadable)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// The certificates of this machine, read once; `None` where there are none.
fn trusted() -> Option<Arc<ClientConfig>> {
    static TRUSTED: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return None;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().ok()?;
        Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    };
    TRUSTED.get_or_init(read).clone()
}
