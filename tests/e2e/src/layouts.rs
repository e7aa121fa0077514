//! What the machines of a test read: manifests for Landfall, configuration for keepalived. Pure.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use landfall_lan::Host;

/// A pool of these ranges, and what announces it.
#[must_use]
pub fn pool(name: &str, ranges: &[String]) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{ name: {name} }}
spec: {{ addresses: ['{}'] }}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{ name: {name} }}
spec: {{ ipAddressPools: [{name}] }}
",
        ranges.join("', '")
    )
}

/// A Service with this address, one UDP port, and one host behind it.
#[must_use]
pub fn service(name: &str, address: IpAddr, port: u16, behind: IpAddr) -> String {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, annotations: {{ {} }} }}
spec: {{ type: LoadBalancer, ipFamilies: [{family}], ports: [{{ port: {port}, protocol: UDP }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: {family}
ports: [{{ port: {port}, protocol: UDP }}]
endpoints: [{{ addresses: ['{behind}'], conditions: {{ ready: true }} }}]
",
        asks_for(address)
    )
}

/// The annotation of a Service that asks for this address.
#[must_use]
pub fn asks_for(address: IpAddr) -> String {
    format!("metallb.io/loadBalancerIPs: '{address}'")
}

/// keepalived's configuration on the machine with this index, from 0.
pub(crate) fn keepalived(
    machine: &str,
    index: usize,
    advert: Duration,
    addresses: impl Iterator<Item = IpAddr>,
) -> String {
    let addresses: Vec<String> = addresses.map(|address| format!("    {address}/32")).collect();
    format!(
        "global_defs {{
  router_id {machine}
  vrrp_version 3
}}
vrrp_instance lan {{
  state BACKUP
  interface {}
  virtual_router_id 51
  priority {}
  advert_int {}
  nopreempt
  virtual_ipaddress {{
{}
  }}
}}
",
        Host::INTERFACE,
        200 - index,
        advert.as_secs_f64(),
        addresses.join("\n")
    )
}

/// keepalived has no forwarding of its own without IPVS, so these rules do beside it what Landfall's do.
pub(crate) fn rules(port: u16, behind: Ipv4Addr) -> String {
    format!(
        "table ip forwarding {{
  chain in {{ type nat hook prerouting priority dstnat; ip daddr 10.77.1.0/24 udp dport {port} dnat to {behind}; }}
  chain out {{ type nat hook postrouting priority srcnat; ip daddr {behind} masquerade; }}
}}
"
    )
}
