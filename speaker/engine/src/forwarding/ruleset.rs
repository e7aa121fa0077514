use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use landfall_model::{Family, Protocol};
use sha2::{Digest, Sha256};

use super::{ForwardingTable, Frontend, NodeSet, RELAYED, TableName, Target, slots};

/// Chosen once and the same on all speakers, so that a flow has the same slot everywhere.
const NODE_SEED: u32 = 0x6c61_6e64;
/// Differs from [`NODE_SEED`]: the share of a node is a part of the hash's range, which would not spread again.
const ENDPOINT_SEED: u32 = 0x6661_6c6c;
/// The high half of every packet mark that our chains use on the way.
const MARK: usize = 0x4c46_0000;
/// nft wants to see a transport protocol before it accepts a port in `dnat`.
const TRANSPORT: &str = "meta l4proto { tcp, udp, sctp }";

/// A [`ForwardingTable`] as text for `nft -f -`.
///
/// The text replaces the whole of the tables in one transaction, so no packet meets half of it. It uses only forms that
/// nft 1.0.6 (Debian 12) both reads and lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// What is in the tables of the families `inet`, `ip` and `ip6`, without the stamp. A packet can be sent to another node
    /// as it is in the latter two only.
    bodies: [String; 3],
    stamp: Option<String>,
    only_keeps: bool,
}

impl Ruleset {
    /// The text for standard input of `nft -f -` that puts these rules into `table`.
    #[must_use]
    pub fn text(&self, table: &TableName) -> String {
        let mut text = String::new();
        for (table, body) in table.in_all_families().into_iter().zip(&self.bodies) {
            let _ = write!(text, "table {table}\ndelete table {table}\n");
            if !body.is_empty() {
                let _ = write!(text, "table {table} {{\n{body}}}\n");
            }
        }
        text
    }

    /// The name of an empty chain that is in the table exactly when these rules were loaded last: a digest of the
    /// rules. `None` for no rules at all: then the table must not exist.
    #[must_use]
    pub fn stamp(&self) -> Option<&str> {
        self.stamp.as_deref()
    }

    /// Whether they do nothing but keep what rules before them began: where there are none, nothing is to be done.
    #[must_use]
    pub const fn only_keeps(&self) -> bool {
        self.only_keeps
    }

    /// The rules of `table`. An empty one is rendered as the removal of all rules.
    #[must_use]
    pub fn of(table: &ForwardingTable) -> Self {
        let mut bodies = [const { String::new() }; 3];
        let only_keeps = table.is_empty() && table.translates;
        if table.is_empty() && !only_keeps {
            return Self { bodies, stamp: None, only_keeps };
        }
        let families = [Family::V4, Family::V6].map(|family| Rules::of(table, family));
        let [both, v4, v6] = &mut bodies;
        write_body(both, &families, table.translates)
            .and_then(|()| write_relays(v4, table, Family::V4))
            .and_then(|()| write_relays(v6, table, Family::V6))
            .expect("invariant: writing to a String does not fail");
        let digest = bodies.iter().fold(Sha256::new(), |digest, body| digest.chain_update(body)).finalize();
        let stamp = digest[..8].iter().fold("stamp_".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        bodies[0].insert_str(0, &format!("\tchain {stamp} {{\n\t}}\n"));
        Self { bodies, stamp: Some(stamp), only_keeps }
    }
}

/// The rules of one family. What differs between Services is data in maps and sets; the number of chains grows
/// only with the number of different node sets and of different endpoint counts. Verdicts stay out of the big
/// maps, because the kernel follows each of them when it checks a new table for loops.
struct Rules<'a> {
    words: Words,
    node: &'a str,
    frontends: Vec<(&'a Frontend, &'a Target)>,
    /// The ways that frontends go, in order of first use.
    groups: Vec<Group<'a>>,
    /// The place in `groups` of each frontend.
    group_of: Vec<usize>,
}

/// A way that the frontends of many Services go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group<'a> {
    /// Over the NodePorts of these nodes.
    Nodes { nodes: &'a NodeSet, client_affinity: bool },
    /// Straight to endpoints.
    Endpoints { client_affinity: bool },
}

impl<'a> Rules<'a> {
    fn of(table: &'a ForwardingTable, family: Family) -> Self {
        let frontends: Vec<_> =
            table.iter().filter(|(frontend, _)| Family::of(frontend.address) == family).collect();
        let mut groups = Vec::new();
        let mut by_pointer = BTreeMap::new();
        let mut by_content = BTreeMap::new();
        let group_of = frontends
            .iter()
            .map(|(_, target)| {
                let client_affinity = target.client_affinity;
                let nodes = target.node_ports.as_ref().map(|ports| &ports.nodes);
                // Most Services share one set, so its address answers without a comparison of the content.
                let pointer = (nodes.map(|nodes| Arc::as_ptr(nodes).addr()), client_affinity);
                *by_pointer.entry(pointer).or_insert_with(|| {
                    let group = match nodes {
                        Some(nodes) => Group::Nodes { nodes, client_affinity },
                        None => Group::Endpoints { client_affinity },
                    };
                    *by_content.entry(group).or_insert_with(|| {
                        groups.push(group);
                        groups.len() - 1
                    })
                })
            })
            .collect();
        Self { words: Words::of(family), node: table.node(), frontends, groups, group_of }
    }

    fn write_maps(&self, out: &mut String) -> fmt::Result {
        let Words { n, ip, address, .. } = self.words;
        let key = format!("{address} . inet_proto . inet_service");
        let frontends = || self.frontends.iter();
        let groups = frontends().zip(&self.group_of);
        let groups = groups.map(|((frontend, _), group)| format!("{} : {}", Key(frontend), mark(*group)));
        write_set(out, "map", &format!("groups{n}"), &format!("type {key} : mark"), groups)?;
        let ports = frontends().filter_map(|(frontend, target)| {
            Some(format!("{} : {}", Key(frontend), target.node_ports.as_ref()?.port.0))
        });
        write_set(out, "map", &format!("ports{n}"), &format!("type {key} : inet_service"), ports)?;
        let counts = frontends()
            .filter(|(_, target)| !target.local.is_empty())
            .map(|(frontend, target)| format!("{} : {}", Key(frontend), mark(target.local.len())));
        write_set(out, "map", &format!("counts{n}"), &format!("type {key} : mark"), counts)?;
        let endpoints = frontends().flat_map(|(frontend, target)| {
            target.local.iter().enumerate().map(move |(i, endpoint)| {
                format!("{} . {} : {} . {}", Key(frontend), mark(i), endpoint.ip(), endpoint.port())
            })
        });
        let kind = format!("type {key} . mark : {address} . inet_service");
        write_set(out, "map", &format!("endpoints{n}"), &kind, endpoints)?;
        let kind = format!("typeof ct original {ip} daddr . meta l4proto . th dport");
        let all = frontends().map(|(frontend, _)| Key(frontend).to_string());
        write_set(out, "set", &format!("frontends{n}"), &kind, all)?;
        let here = self.endpoints_here();
        let pairs = here.iter().map(|address| format!("{address} . {address}"));
        write_set(out, "set", &format!("hairpin{n}"), &format!("type {address} . {address}"), pairs)?;
        write_set(
            out,
            "set",
            &format!("here{n}"),
            &format!("type {address}"),
            here.iter().map(IpAddr::to_string),
        )
    }

    fn endpoints_here(&self) -> BTreeSet<IpAddr> {
        self.frontends
            .iter()
            .filter(|(_, target)| target.local_here)
            .flat_map(|(_, target)| target.local.iter().map(SocketAddr::ip))
            .collect()
    }

    fn write_chains(&self, out: &mut String) -> fmt::Result {
        let Words { n, .. } = self.words;
        for client_affinity in [false, true] {
            self.write_own_chains(out, client_affinity)?;
        }
        for (number, group) in self.groups.iter().enumerate() {
            if let Group::Nodes { nodes, client_affinity } = *group {
                self.write_node_chain(out, number, nodes, client_affinity)?;
            }
        }
        writeln!(out, "\tchain frontends{n} {{")?;
        writeln!(out, "\t\tmeta mark set {} map @groups{n}", self.words.frontend)?;
        let chains = self.groups.iter().enumerate().map(|(number, group)| match *group {
            Group::Nodes { .. } => format!("{} : goto nodes{n}_{number}", mark(number)),
            Group::Endpoints { client_affinity } => {
                format!("{} : goto own{n}_{}", mark(number), by(client_affinity))
            }
        });
        writeln!(out, "\t\tmeta mark vmap {{ {} }}\n\t}}", join(chains))
    }

    /// The chains for this node's own slots: one for each number of endpoints, and one that dispatches. It
    /// returns when the Service has no endpoint of its own here.
    fn write_own_chains(&self, out: &mut String, client_affinity: bool) -> fmt::Result {
        let Words { n, ip, frontend, .. } = self.words;
        let by = by(client_affinity);
        let counts: BTreeSet<usize> = self
            .frontends
            .iter()
            .filter(|(_, target)| target.client_affinity == client_affinity && !target.local.is_empty())
            .map(|(_, target)| target.local.len())
            .collect();
        if counts.is_empty() {
            return Ok(());
        }
        for &count in &counts {
            let hash = self.hash(client_affinity, count, ENDPOINT_SEED);
            writeln!(out, "\tchain own{n}_{by}_{count} {{")?;
            writeln!(out, "\t\tmeta mark set {hash} offset {}", mark(0))?;
            writeln!(out, "\t\t{TRANSPORT} dnat {ip} to {frontend} . meta mark map @endpoints{n}\n\t}}")?;
        }
        let chains = counts.iter().map(|&count| format!("{} : goto own{n}_{by}_{count}", mark(count)));
        writeln!(out, "\tchain own{n}_{by} {{")?;
        writeln!(out, "\t\tmeta mark set {frontend} map @counts{n}")?;
        writeln!(out, "\t\tmeta mark vmap {{ {} }}\n\t}}", join(chains))
    }

    fn write_node_chain(
        &self,
        out: &mut String,
        group: usize,
        nodes: &NodeSet,
        client_affinity: bool,
    ) -> fmt::Result {
        let Words { n, ip, frontend, .. } = self.words;
        let table = slots(nodes.keys().map(AsRef::as_ref));
        let nodes: Vec<(&str, IpAddr)> = nodes.iter().map(|(name, address)| (&**name, *address)).collect();
        let hash = self.hash(client_affinity, table.len(), NODE_SEED);
        let slots = || table.iter().map(|node| nodes[usize::from(*node)]).enumerate();
        let own: Vec<String> =
            slots().filter(|(_, (name, _))| *name == self.node).map(|(slot, _)| slot.to_string()).collect();
        writeln!(out, "\tchain nodes{n}_{group} {{\n\t\tmeta mark set 0")?;
        let shares = |target: &Target| target.client_affinity == client_affinity && !target.local.is_empty();
        if !own.is_empty() && self.frontends.iter().any(|(_, target)| shares(target)) {
            writeln!(out, "\t\t{hash} {{ {} }} jump own{n}_{}", own.join(", "), by(client_affinity))?;
        }
        let nodes = slots().map(|(slot, (_, address))| format!("{slot} : {address}"));
        writeln!(
            out,
            "\t\t{TRANSPORT} dnat {ip} to {hash} map {{ {} }} : {frontend} map @ports{n}\n\t}}",
            join(nodes)
        )
    }

    fn hash(&self, client_affinity: bool, modulus: usize, seed: u32) -> String {
        let ip = self.words.ip;
        let flow = if client_affinity { "" } else { " . th sport" };
        format!("jhash {ip} saddr{flow} mod {modulus} seed 0x{seed:x}")
    }
}

const fn by(client_affinity: bool) -> &'static str {
    if client_affinity { "client" } else { "flow" }
}

/// `number` as a packet mark. Our chains borrow the mark; the high half tells it from marks of others.
fn mark(number: usize) -> String {
    format!("0x{:08x}", MARK | (number & 0xffff))
}

/// How the `nft` tool spells a family.
#[derive(Clone, Copy)]
struct Words {
    n: char,
    ip: &'static str,
    address: &'static str,
    frontend: &'static str,
}

impl Words {
    const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self {
                n: '4',
                ip: "ip",
                address: "ipv4_addr",
                frontend: "ip daddr . meta l4proto . th dport",
            },
            Family::V6 => Self {
                n: '6',
                ip: "ip6",
                address: "ipv6_addr",
                frontend: "ip6 daddr . meta l4proto . th dport",
            },
        }
    }
}

/// Connections that began at the owner before, told by their translation there: this node has none, so to its kernel each of
/// their packets seems to begin a connection, though none is the first of one (RFC 9293 §3.5). This comes after the kernel looked
/// for the connection and before kube-proxy would choose an endpoint for it, which would end it.
fn write_relays(out: &mut String, table: &ForwardingTable, family: Family) -> fmt::Result {
    let Words { ip, address, .. } = Words::of(family);
    let relays = table.relays().iter().filter(|(address, _)| Family::of(**address) == family);
    let mut relays = relays.map(|(address, node)| format!("{address} : {node}")).peekable();
    if relays.peek().is_none() {
        return Ok(());
    }
    // The kernel forgets them by itself where nobody is left to take them away.
    let kind = format!("type {address} : {address}\n\t\ttimeout {}s", RELAYED.as_secs());
    write_set(out, "map", "relays", &kind, relays)?;
    writeln!(out, "\tchain relay {{\n\t\ttype filter hook prerouting priority -150; policy accept;")?;
    writeln!(
        out,
        "\t\tct state new tcp flags & (fin | syn | rst | ack) != syn dup to {ip} daddr map @relays counter drop\n\t}}"
    )
}

fn write_body(out: &mut String, families: &[Rules<'_>; 2], translates: bool) -> fmt::Result {
    let used = || families.iter().filter(|rules| !rules.frontends.is_empty());
    if used().next().is_none() {
        if translates {
            // The kernel translates as long as there is a chain of this type, and knows connections as long as a rule asks.
            writeln!(
                out,
                "\tchain prerouting {{\n\t\ttype nat hook prerouting priority -110; policy accept;"
            )?;
            writeln!(out, "\t\tct state established accept\n\t}}")?;
        }
        return Ok(());
    }
    for rules in used() {
        rules.write_maps(out)?;
        rules.write_chains(out)?;
    }
    // Both come before kube-proxy's chains at -100. The second one serves clients on this node itself. The kernel runs
    // all translation at -100 and orders only the chains of that type by their own priority, so a mark can be given
    // back at -99 at the earliest.
    for hook in ["prerouting", "output"] {
        writeln!(out, "\tchain {hook} {{\n\t\ttype nat hook {hook} priority -110; policy accept;")?;
        for Rules { words: Words { n, frontend, .. }, .. } in used() {
            writeln!(out, "\t\t{frontend} @frontends{n} goto frontends{n}")?;
        }
        writeln!(out, "\t}}\n\tchain {hook}_mark {{")?;
        writeln!(out, "\t\ttype filter hook {hook} priority -99; policy accept;")?;
        writeln!(out, "\t\tmeta mark & 0xffff0000 == 0x{MARK:08x} meta mark set 0\n\t}}")?;
    }
    // The answer of another node must come back through this one, which holds the translation. Endpoints of this
    // node answer through it anyway, except when they talk to themselves.
    writeln!(out, "\tchain postrouting {{\n\t\ttype nat hook postrouting priority 90; policy accept;")?;
    for Rules { words: Words { n, ip, .. }, .. } in used() {
        writeln!(out, "\t\t{ip} saddr . {ip} daddr @hairpin{n} masquerade fully-random")?;
        writeln!(out, "\t\t{ip} daddr @here{n} return")?;
        let original = format!("ct original {ip} daddr . meta l4proto . ct original proto-dst");
        writeln!(out, "\t\t{TRANSPORT} {original} @frontends{n} masquerade fully-random")?;
    }
    writeln!(out, "\t}}")
}

/// Writes a map or set, one element on a line. Without elements it has no list, since nft refuses an empty one.
fn write_set(
    out: &mut String,
    what: &str,
    name: &str,
    kind: &str,
    elements: impl Iterator<Item = String>,
) -> fmt::Result {
    writeln!(out, "\t{what} {name} {{\n\t\t{kind}")?;
    let mut separator = "\t\telements = {\n\t\t\t";
    for element in elements {
        write!(out, "{separator}{element}")?;
        separator = ",\n\t\t\t";
    }
    let close = if separator.starts_with(',') { "\n\t\t}\n\t}" } else { "\t}" };
    writeln!(out, "{close}")
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A frontend as the key of our maps.
struct Key<'a>(&'a Frontend);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frontend { address, protocol, port } = self.0;
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{address} . {protocol} . {port}")
    }
}
