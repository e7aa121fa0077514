//! A listening socket with TLS, for [`axum::serve`]. The certificate may be replaced at any time: connections that are
//! open go on, new ones get the new one.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::AbortOnDropHandle;

use crate::{BindError, Gate};

/// Connections at once. More wait in the kernel's queue.
const CONNECTIONS: usize = 512;
/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may say nothing. API servers keep theirs open for a minute and a half.
const IDLE: Duration = Duration::from_secs(120);
/// How often the files of a directory are read again.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// How long to wait after an error of the socket, such as no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is no certificate in the text.
    #[error("there is no certificate in PEM form")]
    NoCertificate,
    /// There is no private key in the text.
    #[error("there is no private key in PEM form")]
    NoKey,
    /// The two do not belong together, or cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(#[from] rustls::Error),
}

/// The certificate that is served, if there is one yet. Clones share it. Without one each handshake fails.
#[derive(Clone, Default)]
pub struct Identity(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Identity {
    /// Serves this certificate from now on, its chain and its key in PEM form.
    ///
    /// # Errors
    /// See [`CertificateError`]; then the one before stays.
    pub fn set(&self, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().unwrap_or_default();
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
        Ok(())
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.current().is_some()
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

/// Serves the certificate `tls.crt` with its key `tls.key` of a directory, whoever keeps them there, and what they are
/// replaced by. The gate opens when there is one. What cannot be used is said once, and the last good one stays.
///
/// Runs for ever.
pub async fn follow(directory: PathBuf, identity: Identity, gate: Gate) {
    let mut last = None;
    loop {
        let read = |name: &str| fs::read(directory.join(name));
        let now = read("tls.crt").and_then(|chain| Ok((chain, read("tls.key")?)));
        let now = now.map_err(|error| error.to_string());
        if last.as_ref() != Some(&now) {
            let set = now.as_ref().map_err(Clone::clone);
            match set.and_then(|(chain, key)| identity.set(chain, key).map_err(|error| error.to_string())) {
                Ok(()) => gate.set(true),
                Err(error) => {
                    let directory = directory.display();
                    tracing::warn!(op = "certificate", %directory, error, "the certificate cannot be used; tls.crt and \
                        tls.key must be in PEM form");
                }
            }
            last = Some(now);
        }
        sleep(READ_AGAIN).await;
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    fn and_newer(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&TLS12, &TLS13],
            Self::Tls13 => vec![&TLS13],
        }
    }
}

/// A socket on which every connection speaks TLS. Dropping it closes it.
#[derive(Debug)]
pub struct TlsListener {
    address: SocketAddr,
    established: mpsc::Receiver<(Connection, SocketAddr)>,
    _accepting: AbortOnDropHandle<()>,
}

impl TlsListener {
    /// Opens the socket. `purpose` is for the error; with `plain`, clients may also speak without TLS.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(
        address: SocketAddr,
        purpose: &'static str,
        identity: Identity,
        oldest: Version,
        plain: bool,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError { address, purpose, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&oldest.and_newer())
            .map_err(|error| failed(io::Error::other(error)))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (sender, established) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), plain, sender));
        Ok(Self { address, established, _accepting: AbortOnDropHandle::new(accepting) })
    }
}

impl TlsListener {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Shakes hands with each client in a task of its own, so that a slow one holds up nobody.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    plain: bool,
    established: mpsc::Sender<(Connection, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Nobody closes the semaphore.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                drop(tokio::spawn(shake_hands(
                    acceptor.clone(),
                    plain,
                    stream,
                    from,
                    place,
                    established.clone(),
                )));
            }
            Err(error) => {
                tracing::warn!(op = "accept", %error, "a connection was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    plain: bool,
    stream: TcpStream,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
    established: mpsc::Sender<(Connection, SocketAddr)>,
) {
    // An answer is written at once, and nothing follows it.
    drop(stream.set_nodelay(true));
    let established_by = async {
        if plain && !begins_tls(&stream).await? {
            return Ok(Stream::Plain(stream));
        }
        acceptor.accept(stream).await.map(|stream| Stream::Tls(Box::new(stream)))
    };
    match timeout(HANDSHAKE, established_by).await {
        Ok(Ok(stream)) => {
            let connection = Connection { stream, idle: Box::pin(sleep(IDLE)), _place: place };
            drop(established.send((connection, from)).await);
        }
        Ok(Err(error)) => tracing::debug!(op = "accept", client = %from, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(op = "accept", client = %from, "a TLS handshake took too long"),
    }
}

/// Whether the first byte of a client is that of a TLS handshake (RFC 8446 §5.1), which no HTTP request begins with.
async fn begins_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first == [22])
}

impl axum::serve::Listener for TlsListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.established.recv().await {
            Some(connection) => connection,
            // The task that accepts lives as long as this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// One connection. It ends when the client says nothing for two minutes.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

impl Connection {
    /// Whether it is encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if read.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE);
        } else if self.idle.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
