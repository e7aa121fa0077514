//! The manifests of the demo, as a user would write them.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use landfall_lan::Host;

/// The Service's port.
pub(super) const SERVICE_PORT: u16 = 80;

/// The NodePort that the backends of the demo listen on, in place of kube-proxy.
pub(super) const NODE_PORT: u16 = 30080;

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: lan, namespace: landfall-system }
spec:
  addresses: [10.77.0.200-10.77.0.209]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: lan, namespace: landfall-system }
spec:
  ipAddressPools: [lan]
";

/// Writes pool, nodes with their speakers, Service and endpoints into `directory`.
pub(super) fn write(directory: &Path, nodes: &[Host]) -> anyhow::Result<()> {
    let file = |name: &str, text: &str| {
        fs::write(directory.join(name), text).with_context(|| format!("cannot write the demo's {name}"))
    };
    file("pool.yaml", POOL)?;
    file("nodes.yaml", &self::nodes(nodes))?;
    file("service.yaml", &service(nodes))
}

fn nodes(nodes: &[Host]) -> String {
    let mut text = String::new();
    for node in nodes {
        let (name, address) = (node.name(), address(node));
        _ = writeln!(
            text,
            "---
apiVersion: v1
kind: Node
metadata: {{ name: {name} }}
status:
  addresses: [{{ type: InternalIP, address: {address} }}]
  conditions: [{{ type: Ready, status: \"True\" }}]
---
apiVersion: v1
kind: Pod
metadata: {{ name: speaker-{name}, namespace: landfall-system, labels: {{ app: landfall, component: speaker }} }}
spec: {{ nodeName: {name}, hostNetwork: true, containers: [{{ name: speaker }}] }}
status: {{ phase: Running, podIP: {address}, podIPs: [{{ ip: {address} }}] }}"
        );
    }
    text
}

fn service(nodes: &[Host]) -> String {
    let mut text = format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations: {{ landfall.dev/forwarding: node-port }}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.80
  clusterIPs: [10.96.0.80]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  externalTrafficPolicy: Cluster
  selector: {{ app: web }}
  ports: [{{ name: http, protocol: TCP, port: {SERVICE_PORT}, nodePort: {NODE_PORT} }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {{ kubernetes.io/service-name: web }}
addressType: IPv4
ports: [{{ name: http, protocol: TCP, port: {NODE_PORT} }}]
endpoints:
"
    );
    for node in nodes {
        let (name, address) = (node.name(), address(node));
        _ = writeln!(
            text,
            "  - {{ addresses: [{address}], nodeName: {name}, conditions: {{ ready: true }} }}"
        );
    }
    text
}

fn address(node: &Host) -> String {
    node.ipv4().map(|address| address.to_string()).unwrap_or_default()
}
