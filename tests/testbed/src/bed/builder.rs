//! What a bed is to be, and how it comes up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use landfall_lan::{Host, HostSpec, Lan, Subnets};

use super::{NODE_DEADLINE, TestBed};
use crate::ask::until;
use crate::control_plane::{ControlPlane, ControlPlaneSpec};
use crate::node::{Node, NodeSpec, ProxyMode};
use crate::programs::Programs;

/// Host numbers on the LAN: the router, the control plane, the first node, the first client.
const ROUTER: u16 = 1;
const CONTROL: u16 = 2;
const FIRST_NODE: u16 = 11;
const FIRST_CLIENT: u16 = 100;

/// What a bed is to be. Every part has a default: one node, one client, `10.77.0.0/24` and `fd77::/64`.
#[derive(Clone, Debug)]
pub struct Builder {
    name: Option<String>,
    nodes: u16,
    clients: u16,
    subnets: Subnets,
    proxy_mode: ProxyMode,
    node_grace: Duration,
    api_flags: Vec<String>,
    logs: Option<PathBuf>,
    programs: Option<Programs>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: None,
            nodes: 1,
            clients: 1,
            subnets: Subnets::default(),
            proxy_mode: ProxyMode::default(),
            // kube-controller-manager's default.
            node_grace: Duration::from_secs(50),
            api_flags: Vec::new(),
            logs: std::env::var_os("LANDFALL_TESTBED_LOGS").map(PathBuf::from),
            programs: None,
        }
    }
}

impl Builder {
    /// A name that is unique on the machine; by default one made from the process id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many nodes there are, at most 80: `n1`, `n2`, … with host numbers from 11.
    #[must_use]
    pub fn nodes(mut self, nodes: u16) -> Self {
        self.nodes = nodes;
        self
    }

    /// How many clients there are, at most 80: `c1`, `c2`, … with host numbers from 100.
    #[must_use]
    pub fn clients(mut self, clients: u16) -> Self {
        self.clients = clients;
        self
    }

    /// The LAN's subnets. Beds do not see each other, so all may use the same.
    #[must_use]
    pub fn subnets(mut self, subnets: Subnets) -> Self {
        self.subnets = subnets;
        self
    }

    /// How kube-proxy programs the nodes.
    #[must_use]
    pub fn proxy_mode(mut self, mode: ProxyMode) -> Self {
        self.proxy_mode = mode;
        self
    }

    /// How long a node may be silent before the controllers call it unready; the stand-ins report five times as often, at
    /// least every 10 seconds. By default Kubernetes' 50 seconds.
    #[must_use]
    pub fn node_grace(mut self, grace: Duration) -> Self {
        self.node_grace = grace;
        self
    }

    /// One more flag for the API server.
    #[must_use]
    pub fn api_flag(mut self, flag: impl Into<String>) -> Self {
        self.api_flags.push(flag.into());
        self
    }

    /// Where logs go, to be there after the bed; by default the environment variable `LANDFALL_TESTBED_LOGS`, else they go
    /// with the bed.
    #[must_use]
    pub fn logs(mut self, directory: impl Into<PathBuf>) -> Self {
        self.logs = Some(directory.into());
        self
    }

    /// The programs to use, where [`Programs::find`] does not find the right ones.
    #[must_use]
    pub fn programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Brings the bed up: returns when the API server answers, every node is ready and Pods can be made.
    ///
    /// # Errors
    /// Names what did not come up, with the end of its log. Nothing is left then.
    pub async fn start(self) -> Result<TestBed> {
        let Self { name, nodes, clients, subnets, proxy_mode, node_grace, api_flags, logs, programs } = self;
        ensure!(nodes <= 80 && clients <= 80, "a bed has at most 80 nodes and 80 clients");
        let programs = match programs {
            Some(programs) => programs,
            None => tokio::task::spawn_blocking(Programs::find).await??,
        };
        let name = name.unwrap_or_else(|| Lan::unique_name("bed"));
        let lan = Lan::create(&name, subnets)?;
        let state = lan.state_directory().to_owned();
        let logs = logs.map_or_else(|| state.join("logs"), |logs| logs.join(&name));
        std::fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        let router = lan.add_host(HostSpec::new("router", ROUTER).forwarding())?;
        let control = lan.add_host(HostSpec::new("control", CONTROL))?;
        let ranges = Ranges::of(&subnets)?;
        let spec = ControlPlaneSpec {
            service_ranges: ranges.services.clone(),
            pod_ranges: ranges.pods.clone(),
            node_grace,
            api_flags,
        };
        let (plane, machines) = tokio::try_join!(
            ControlPlane::start(control.clone(), &programs, spec, &state, &logs),
            plug_in(&lan, nodes, clients)
        )?;
        let node_spec = NodeSpec {
            proxy_mode,
            pod_ranges: ranges.pods.clone(),
            api: plane.address(),
            api_service: ranges.api_service()?,
            programs: programs.clone(),
            logs: logs.clone(),
            heartbeat: (node_grace / 5).min(Duration::from_secs(10)),
        };
        // As on any LAN. Behind the router is nothing, but kernels send nothing to an address without any route to it.
        for host in machines.nodes.iter().chain(&machines.clients).chain([&control]) {
            route_all(host, &router)?;
        }
        let mut made = BTreeMap::new();
        for (host, number) in machines.nodes.iter().zip(1..) {
            let directory = state.join("nodes").join(host.name());
            let pods = ranges.of_node(number);
            for other in machines.nodes.iter().chain([&control]).filter(|other| other.name() != host.name()) {
                route_pods(other, host, &pods)?;
            }
            let node = Node::new(host.clone(), pods, node_spec.clone(), directory, plane.authority())?;
            made.insert(host.name().to_owned(), node);
        }
        let bed = TestBed { nodes: made, plane, clients: machines.clients, programs, logs, lan };
        try_join_all(bed.nodes.values().map(|node| node.start(bed.plane.authority()))).await?;
        let client = bed.client();
        try_join_all(bed.nodes.values().map(|node| node.wait_until_ready(&client, NODE_DEADLINE))).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        until("the default service account exists", NODE_DEADLINE, || async {
            accounts.get("default").await.map(drop).map_err(anyhow::Error::from)
        })
        .await?;
        Ok(bed)
    }
}

struct Machines {
    nodes: Vec<Host>,
    clients: Vec<Host>,
}

/// Plugs in nodes and clients while the control plane starts. It blocks for about 50 ms each.
async fn plug_in(lan: &Lan, nodes: u16, clients: u16) -> Result<Machines> {
    let node = |number| {
        let name = format!("n{}", number + 1);
        lan.add_host(HostSpec::new(name, FIRST_NODE + number).forwarding())
    };
    let client = |number| lan.add_host(HostSpec::new(format!("c{}", number + 1), FIRST_CLIENT + number));
    Ok(Machines {
        nodes: (0..nodes).map(node).collect::<Result<_, _>>()?,
        clients: (0..clients).map(client).collect::<Result<_, _>>()?,
    })
}

fn route_all(from: &Host, router: &Host) -> Result<()> {
    for net in router.addresses() {
        let everything = if net.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        from.add_route(everything.parse()?, net.addr())?;
    }
    Ok(())
}

fn route_pods(from: &Host, node: &Host, pods: &[IpNet]) -> Result<()> {
    for range in pods {
        let via =
            node.addresses().iter().map(IpNet::addr).find(|via| via.is_ipv4() == range.addr().is_ipv4());
        from.add_route(*range, via.context("a family of Pods that the LAN does not have")?)?;
    }
    Ok(())
}

/// The cluster's address ranges, for the families that the LAN has; IPv4 first.
struct Ranges {
    services: Vec<IpNet>,
    pods: Vec<IpNet>,
}

impl Ranges {
    fn of(subnets: &Subnets) -> Result<Self> {
        ensure!(subnets.v4.is_some(), "a bed needs an IPv4 subnet");
        let mut services: Vec<IpNet> = vec!["10.96.0.0/16".parse()?];
        let mut pods: Vec<IpNet> = vec!["10.244.0.0/16".parse()?];
        if subnets.v6.is_some() {
            services.push("fd77:96::/112".parse()?);
            pods.push("fd77:244::/48".parse()?);
        }
        Ok(Self { services, pods })
    }

    /// The Pod subnets of the node with this number: `10.244.N.0/24` and `fd77:244:0:N::/64`.
    fn of_node(&self, number: u16) -> Vec<IpNet> {
        let part = |range: &IpNet| match range {
            IpNet::V4(range) => {
                let network = u32::from(range.network()) + (u32::from(number) << 8);
                IpNet::new_assert(IpAddr::V4(network.into()), 24)
            }
            IpNet::V6(range) => {
                let network = u128::from(range.network()) + (u128::from(number) << 64);
                IpNet::new_assert(IpAddr::V6(network.into()), 64)
            }
        };
        self.pods.iter().map(part).collect()
    }

    /// The `kubernetes` Service has the first address of the first range.
    fn api_service(&self) -> Result<SocketAddr> {
        let first =
            self.services.first().and_then(|range| range.hosts().next()).context("no Service range")?;
        Ok(SocketAddr::new(first, 443))
    }
}
