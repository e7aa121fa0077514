//! Where packets for an announced address go in mode `node-port`: from (address, protocol, port) to a healthy
//! node, chosen by consistent hashing, or straight to an endpoint where the port has no NodePort (KEP-1864, or no
//! cluster at all). Mode `announce` needs none of it: the owner's own kube-proxy takes those packets.
//!
//! In both modes connections that are open when a living owner is succeeded are known to its kernel alone. Their packets go
//! back there: see [`ForwardingTable::relay`].
//!
//! Three parts, all pure: [`ForwardingTable`] says what should be in force on this node, [`slots`] spreads slots
//! over nodes, and [`Ruleset`] writes the table as text for the `nft` tool. The IO sibling is
//! `landfall_speaker::nftables`.
//!
//! # The local share
//! Slots of the node that applies the rules need another way than the NodePorts of the others. A connection is
//! translated once, so after our rule kube-proxy's own rule for the NodePort no longer applies, and nothing may
//! listen there. So the local share goes straight to endpoints: those of this node, or (policy Cluster, none here)
//! any. Only when no endpoint names a port does it go to this node's own NodePort, where a plain process must
//! listen then. That is the case without kube-proxy.

mod maglev;
mod ruleset;
mod table_name;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use landfall_model::{
    EndpointSlice, Family, NodePort, NodeView, PortSpec, Protocol, Reason, ServiceView, TrafficPolicy,
};

pub use maglev::{SLOTS, slots};
pub use ruleset::Ruleset;
pub use table_name::{BadTableName, TableName};

/// For so long the connections that were open when an address moved are relayed to the owner before.
pub const RELAYED: Duration = Duration::from_hours(1);

/// What clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The announced address.
    pub address: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The Service port.
    pub port: u16,
}

/// Nodes that take traffic, by name, each with its address of one family. The order of the names and nothing
/// else decides the slots, so every speaker that sees the same nodes has the same slots.
pub type NodeSet = BTreeMap<Box<str>, IpAddr>;

/// Where the packets of one [`Frontend`] go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The NodePorts that share the slots; without them the endpoints take everything.
    pub node_ports: Option<NodePorts>,
    /// Hash the client's address only (`sessionAffinity: ClientIP`), otherwise its address and port.
    pub client_affinity: bool,
    /// Endpoints that take the share of the node that applies the rules, sorted; empty: its own NodePort does.
    pub local: Vec<SocketAddr>,
    /// Whether those endpoints run on this node. The client's address is kept on the way to them.
    pub local_here: bool,
}

/// The same port on several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// The nodes. Frontends with the same nodes share one set, and one hash table.
    pub nodes: Arc<NodeSet>,
    /// The port.
    pub port: NodePort,
}

/// One destination of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// A port that kube-proxy, or a plain process, opened on a node.
    NodePort {
        /// The node's address.
        address: IpAddr,
        /// The port.
        port: NodePort,
    },
    /// An endpoint itself.
    Endpoint(SocketAddr),
}

/// The healthy nodes by family, computed once for all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthyNodes {
    v4: Arc<NodeSet>,
    v6: Arc<NodeSet>,
}

impl HealthyNodes {
    /// Those of `nodes` that take traffic: their speaker is a living member, they are Ready, their network is
    /// available, they are not leaving, and carry no exclude label unless `ignore_exclude_lb`. A node counts for a
    /// family if it has an `InternalIP` of it; the first one is used.
    pub fn new<'a>(
        nodes: impl IntoIterator<Item = &'a NodeView>,
        ignore_exclude_lb: bool,
        alive: impl Fn(&str) -> bool,
    ) -> Self {
        let mut v4 = NodeSet::new();
        let mut v6 = NodeSet::new();
        for node in nodes {
            let healthy = node.ready
                && !node.network_unavailable
                && (ignore_exclude_lb || !node.excluded())
                && !node.leaving
                && alive(&node.name);
            if !healthy {
                continue;
            }
            for &address in &node.addresses {
                match Family::of(address) {
                    Family::V4 => v4.entry(node.name.clone()).or_insert(address),
                    Family::V6 => v6.entry(node.name.clone()).or_insert(address),
                };
            }
        }
        Self { v4: Arc::new(v4), v6: Arc::new(v6) }
    }

    /// The healthy nodes that have an address of `family`.
    #[must_use]
    pub const fn of(&self, family: Family) -> &Arc<NodeSet> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// The whole of a node's forwarding rules. Equal tables have equal rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardingTable {
    node: Box<str>,
    targets: BTreeMap<Frontend, Target>,
    /// Node sets that are smaller than all healthy nodes, so that equal ones are shared.
    subsets: BTreeSet<Arc<NodeSet>>,
    /// Addresses that others owned before, each with an address of the node that did.
    relays: BTreeMap<IpAddr, IpAddr>,
    /// Nothing is forwarded any more, and what was is kept.
    translates: bool,
}

impl ForwardingTable {
    /// An empty table for the node of this name.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// Adds `address` with every port of `service`. A port without a NodePort goes to the endpoints: to those of this
    /// node with policy Local, to all otherwise; it is left out when none of them names the port.
    ///
    /// `slices` are the EndpointSlices of that Service. Policy Local sends only to nodes with an endpoint that
    /// answers, since kube-proxy drops the packets elsewhere.
    ///
    /// # Errors
    /// The reason why nothing was added: [`Reason::NoEndpoints`] (none of the address's family answers at a port of the
    /// Service), [`Reason::NoLocalEndpoints`] (policy Local, and no healthy node has one, or this node has none and there
    /// is no NodePort) or [`Reason::NoCandidates`] (no healthy node has an address of the family).
    pub fn add<'a>(
        &mut self,
        address: IpAddr,
        service: &ServiceView,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
        healthy: &HealthyNodes,
    ) -> Result<(), Reason> {
        let family = Family::of(address);
        let endpoints = Endpoints::of_family(family, slices);
        if endpoints.nothing_answers() {
            return Err(Reason::NoEndpoints);
        }
        let nodes = match service.traffic_policy {
            TrafficPolicy::Cluster => Arc::clone(healthy.of(family)),
            TrafficPolicy::Local => self.shared(endpoints.nodes_among(healthy.of(family))),
        };
        let mut outcome = Err(Reason::NoEndpoints);
        for port in &service.ports {
            let target = match port.node_port {
                Some(node_port) => self.through_nodes(&nodes, node_port, service, &endpoints, port).ok_or(
                    if healthy.of(family).is_empty() {
                        Reason::NoCandidates
                    } else {
                        Reason::NoLocalEndpoints
                    },
                ),
                None => self.straight(service, &endpoints, port),
            };
            let frontend = Frontend { address, protocol: port.protocol, port: port.port };
            match target {
                Ok(target) => {
                    self.targets.insert(frontend, target);
                    outcome = Ok(());
                }
                Err(reason) => outcome = outcome.map_err(|_| reason),
            }
        }
        outcome
    }

    /// Relays what comes to `address` and belongs to a TCP connection that this node did not see begin to `node`, which
    /// owned the address before: it knows where the connection goes. Both are of one family, and `node` is on a segment
    /// with this node.
    pub fn relay(&mut self, address: IpAddr, node: IpAddr) {
        self.relays.insert(address, node);
    }

    /// What [`Self::relay`] was told.
    #[must_use]
    pub const fn relays(&self) -> &BTreeMap<IpAddr, IpAddr> {
        &self.relays
    }

    /// Keeps what the kernel translates already, although nothing new is forwarded: it goes on with that only as long as any
    /// chain translates, and on a node without kube-proxy there may be no other one than ours.
    pub const fn keep_translations(&mut self) {
        self.translates = true;
    }

    /// The name of the node that it is for.
    #[must_use]
    pub const fn node(&self) -> &str {
        &self.node
    }

    /// Whether there is nothing to forward, nor to relay.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.relays.is_empty()
    }

    /// All entries in order of address, protocol and port.
    pub fn iter(&self) -> impl Iterator<Item = (&Frontend, &Target)> {
        self.targets.iter()
    }

    /// Every place that packets for `frontend` may go to, sorted; empty when it is not in the table.
    #[must_use]
    pub fn backends(&self, frontend: &Frontend) -> Vec<Backend> {
        let Some(target) = self.targets.get(frontend) else { return Vec::new() };
        let endpoints = || target.local.iter().copied().map(Backend::Endpoint);
        let Some(NodePorts { nodes, port }) = &target.node_ports else { return endpoints().collect() };
        let mut backends = Vec::new();
        for (name, &address) in nodes.iter() {
            if *name == self.node && !target.local.is_empty() {
                backends.extend(endpoints());
            } else {
                backends.push(Backend::NodePort { address, port: *port });
            }
        }
        backends.sort_unstable();
        backends
    }

    /// Over the NodePorts of `nodes`; `None` when there are no nodes.
    fn through_nodes(
        &self,
        nodes: &Arc<NodeSet>,
        port: NodePort,
        service: &ServiceView,
        endpoints: &Endpoints<'_>,
        spec: &PortSpec,
    ) -> Option<Target> {
        if nodes.is_empty() {
            return None;
        }
        let here = nodes.contains_key(&self.node);
        let local = if here { endpoints.addresses(spec, Some(&self.node)) } else { Vec::new() };
        let elsewhere = here && local.is_empty() && service.traffic_policy == TrafficPolicy::Cluster;
        Some(Target {
            node_ports: Some(NodePorts { nodes: Arc::clone(nodes), port }),
            client_affinity: service.client_affinity,
            local: if elsewhere { endpoints.addresses(spec, None) } else { local },
            local_here: here && !elsewhere,
        })
    }

    /// To the endpoints themselves.
    fn straight(
        &self,
        service: &ServiceView,
        endpoints: &Endpoints<'_>,
        spec: &PortSpec,
    ) -> Result<Target, Reason> {
        let all = endpoints.addresses(spec, None);
        if all.is_empty() {
            return Err(Reason::NoEndpoints);
        }
        let local_here = service.traffic_policy == TrafficPolicy::Local;
        let local = if local_here { endpoints.addresses(spec, Some(&self.node)) } else { all };
        if local.is_empty() {
            return Err(Reason::NoLocalEndpoints);
        }
        Ok(Target { node_ports: None, client_affinity: service.client_affinity, local, local_here })
    }

    fn shared(&mut self, nodes: NodeSet) -> Arc<NodeSet> {
        if let Some(known) = self.subsets.get(&nodes) {
            return Arc::clone(known);
        }
        let nodes = Arc::new(nodes);
        self.subsets.insert(Arc::clone(&nodes));
        nodes
    }
}

/// The endpoints of one Service and family that may answer.
struct Endpoints<'a> {
    slices: Vec<&'a EndpointSlice>,
    family: Family,
}

impl<'a> Endpoints<'a> {
    fn of_family(family: Family, slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Self {
        Self { slices: slices.into_iter().collect(), family }
    }

    fn answering(&self) -> impl Iterator<Item = (&'a EndpointSlice, &'a landfall_model::Endpoint)> + '_ {
        self.slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (*slice, endpoint)))
            .filter(|(_, endpoint)| endpoint.answers() && Family::of(endpoint.address) == self.family)
    }

    fn nothing_answers(&self) -> bool {
        self.answering().next().is_none()
    }

    fn nodes_among(&self, healthy: &NodeSet) -> NodeSet {
        self.answering()
            .filter_map(|(_, endpoint)| endpoint.node.as_ref())
            .filter_map(|name| healthy.get_key_value(name))
            .map(|(name, address)| (name.clone(), *address))
            .collect()
    }

    /// Where the Service port `port` listens on endpoints of `node`, or of any node: on those that are ready, or,
    /// when none is, on those that terminate and still serve (KEP-1669).
    fn addresses(&self, port: &PortSpec, node: Option<&str>) -> Vec<SocketAddr> {
        let mut ready = BTreeSet::new();
        let mut terminating = BTreeSet::new();
        for (slice, endpoint) in self.answering() {
            if node.is_some() && endpoint.node.as_deref() != node {
                continue;
            }
            let named = slice
                .ports
                .iter()
                .find(|candidate| candidate.name == port.name && candidate.protocol == port.protocol);
            if let Some(named) = named {
                let class = if endpoint.ready { &mut ready } else { &mut terminating };
                class.insert(SocketAddr::new(endpoint.address, named.port));
            }
        }
        if ready.is_empty() { terminating } else { ready }.into_iter().collect()
    }
}
