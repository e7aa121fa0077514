//! Pods: hosts behind a host, each on a link of its own to the node that routes for it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use ipnet::IpNet;

use crate::host::{HostInner, Link};
use crate::lan::check_name;
use crate::{Host, MacAddress, Result, namespace, tool};

/// The pod's way out, the same on every link. Nobody has the IPv4 address: the pod knows the MAC behind it, so the node
/// needs no address of its own on the link, and a packet that it sends or masquerades there carries the node's LAN address.
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GATEWAY_MAC: MacAddress = MacAddress([0x02, 0x4c, 0x46, 0xff, 0, 1]);

/// What a pod's network is to be.
#[derive(Clone, Debug)]
pub struct PodSpec {
    name: String,
    addresses: Vec<IpAddr>,
}

impl PodSpec {
    /// A pod with a name that is unique on the LAN (up to 120 lower-case letters, digits and dashes) and its addresses.
    pub fn new(name: impl Into<String>, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { name: name.into(), addresses: addresses.into_iter().collect() }
    }
}

impl Host {
    /// Makes a pod behind this node: a namespace with the addresses on `eth0` and a default route to the node, and on the
    /// node a route to each address. The node must forward ([`HostSpec::forwarding`](crate::HostSpec::forwarding)), and other
    /// hosts need a route to the pod's subnet by way of the node.
    ///
    /// # Errors
    /// When the name is taken, or `ip` fails; nothing is left of the pod then.
    pub fn add_pod(&self, spec: PodSpec) -> Result<Self> {
        let PodSpec { name, addresses } = spec;
        check_name("pod", &name, 120)?;
        let lan = self.lan()?;
        let reserved = lan.reserve(&name)?;
        let interface = lan.next_pod_link();
        let handle = namespace::create(&reserved.namespace, &[])?;
        let pod = Self {
            inner: Arc::new(HostInner {
                name: name.clone(),
                namespace: reserved.namespace.clone(),
                handle,
                lan: Arc::downgrade(&lan),
                addresses: addresses.iter().copied().map(IpNet::from).collect(),
                mac: None,
                link: Link::Node {
                    node: self.name().to_owned(),
                    namespace: self.namespace().to_owned(),
                    interface: interface.clone(),
                },
                processes: Mutex::new(Vec::new()),
            }),
        };
        let add = format!("link add {interface} address {GATEWAY_MAC} type veth peer name eth0 netns");
        self.ip(&[format!("{add} {}", reserved.namespace)])?;
        tool::ip(Some(&reserved.namespace), &pod_side(&addresses))?;
        self.ip(&self.node_side(&interface, &addresses))?;
        tool::wait_until_up(&reserved.namespace, Self::INTERFACE)?;
        tool::wait_until_up(self.namespace(), &interface)?;
        reserved.keep(pod.clone());
        Ok(pod)
    }

    fn node_side(&self, interface: &str, addresses: &[IpAddr]) -> Vec<String> {
        let mut lines = vec![
            format!("addr add {GATEWAY_V6}/64 dev {interface} nodad"),
            format!("link set {interface} up"),
        ];
        for address in addresses {
            let own = self.addresses().iter().map(IpNet::addr).find(|own| own.is_ipv4() == address.is_ipv4());
            let source = own.map(|own| format!(" src {own}")).unwrap_or_default();
            // `replace`: a pod that just went away may have had the same address, and its link goes a moment later.
            lines.push(format!("route replace {address} dev {interface}{source}"));
        }
        lines
    }
}

fn pod_side(addresses: &[IpAddr]) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned(), "link set eth0 up".to_owned()];
    let mut gateways = BTreeMap::new();
    for address in addresses {
        match address {
            IpAddr::V4(_) => {
                lines.push(format!("addr add {address}/32 dev eth0"));
                lines.push(format!("neigh replace {GATEWAY_V4} lladdr {GATEWAY_MAC} dev eth0 nud permanent"));
                gateways.insert(4, format!("route replace default via {GATEWAY_V4} dev eth0 onlink"));
            }
            IpAddr::V6(_) => {
                lines.push(format!("addr add {address}/128 dev eth0 nodad"));
                gateways.insert(6, format!("route replace ::/0 via {GATEWAY_V6} dev eth0"));
            }
        }
    }
    lines.extend(gateways.into_values());
    lines
}
