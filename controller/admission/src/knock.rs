use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use landfall_kubernetes::write::WriteError;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Shakes hands with whoever answers at a Service, as an API server does that trusts `bundle`. It takes as long as it takes.
///
/// # Errors
/// A sentence, when there is no such Service, nobody answers, or somebody whom the bundle does not vouch for.
pub(crate) async fn knock(
    client: &Client,
    namespace: &str,
    service: &str,
    bundle: &[u8],
) -> Result<(), String> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = api.get(service).await.map_err(|error| WriteError::from(error).to_string())?;
    let spec = found.spec.unwrap_or_default();
    let port = spec.ports.and_then(|ports| ports.first().map(|port| port.port));
    let (Some(ip), Some(port)) = (spec.cluster_ip, port) else {
        return Err(format!("the Service {namespace}/{service} has no cluster address"));
    };
    let ip: IpAddr = ip.parse().map_err(|_| format!("{ip:?} is no address"))?;
    let port = u16::try_from(port).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host =
        ServerName::try_from(format!("{service}.{namespace}.svc")).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect((ip, port)).await.map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::new(config)).connect(host, stream).await;
    connected.map(drop).map_err(|error| error.to_string())
}
