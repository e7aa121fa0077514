use std::time::Duration;

use axum::{Router, routing::get};
use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;

const NAME: &str = "webhook.example";

fn made() -> Made<rcgen::KeyPair> {
    generate_simple_self_signed([NAME.to_owned()]).unwrap()
}

fn serve(made: &Made<rcgen::KeyPair>, identity: &Identity) {
    identity.set(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
}

async fn listen(identity: Identity, oldest: Version) -> (SocketAddr, CancellationToken) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TlsListener::bind(any, "tests", identity, oldest, false).await.unwrap();
    let address = listener.address;
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let routes = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(async move { axum::serve(listener, routes).with_graceful_shutdown(stopped).await });
    (address, stop)
}

async fn connect(
    address: SocketAddr,
    trusted: &Made<rcgen::KeyPair>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connect_by(address, trusted.cert.der().clone(), NAME, versions).await
}

/// A connection to a server of this name whose certificate is trusted.
pub(crate) async fn connect_by(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    name: &'static str,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

async fn ask(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: webhook.example\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_run() {
    let identity = Identity::default();
    let (address, stop) = listen(identity.clone(), Version::Tls12).await;
    let (first, second) = (made(), made());
    assert!(connect(address, &first, &[&TLS13]).await.is_err(), "there is no certificate yet");
    serve(&first, &identity);
    let mut open = connect(address, &first, &[&TLS12]).await.unwrap();
    assert!(ask(&mut open).await.ends_with("hello"));
    serve(&second, &identity);
    assert!(connect(address, &first, &[&TLS13]).await.is_err(), "the new one is another");
    let mut new = connect(address, &second, &[&TLS13]).await.unwrap();
    assert!(ask(&mut new).await.ends_with("hello") && ask(&mut open).await.ends_with("hello"));
    stop.cancel();
}

#[tokio::test]
async fn an_old_version_and_a_client_without_tls_are_refused() {
    let identity = Identity::default();
    let made = made();
    serve(&made, &identity);
    let (address, stop) = listen(identity, Version::Tls13).await;
    assert!(connect(address, &made, &[&TLS12]).await.is_err());
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(5), plain.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && !answer.starts_with(b"HTTP"), "{answer:?}");
    // A client that says nothing holds up nobody.
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut other = connect(address, &made, &[&TLS13]).await.unwrap();
    assert!(ask(&mut other).await.ends_with("hello"));
    stop.cancel();
}

#[test]
fn what_is_no_certificate_is_refused_and_the_last_one_stays() {
    let identity = Identity::default();
    let (one, other) = (made(), made());
    let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    for (chain, key, words) in [
        ("", key.as_str(), "there is no certificate in PEM form"),
        (chain.as_str(), "", "there is no private key in PEM form"),
        (chain.as_str(), other.signing_key.serialize_pem().as_str(), "the private key cannot be used"),
    ] {
        let error = identity.set(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
        assert!(!identity.is_set());
    }
    serve(&one, &identity);
    identity.set(b"", b"").unwrap_err();
    assert!(identity.is_set());
    assert_eq!(format!("{identity:?}"), "Identity { set: true, .. }", "no key is shown");
}
