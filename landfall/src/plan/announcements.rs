//! Who announces what: the speakers' own rules, with every speaker alive and nothing known of the nodes' interfaces.

use std::collections::{BTreeMap, BTreeSet};

use landfall_engine::{
    cluster::{self, Member},
    links::LinkSummary,
    membership::MemberState,
    ownership::Rank,
    routes::Routes,
};
use landfall_model::{EndpointSlice, NodeView, Observation, Reason, ServiceKey, ServiceView};
use landfall_pool::Allocator;
use landfall_verdict::Objects;

use super::{
    planner::Options,
    report::{Bgp, BgpService, Candidate, Layer2, RejectedNode, Update},
};

/// What speakers see, once the addresses are assigned.
pub(super) struct Cluster<'a> {
    pub(super) views: &'a [ServiceView],
    pub(super) slices: &'a [(ServiceKey, EndpointSlice)],
    pub(super) allocator: &'a Allocator,
}

impl<'a> Cluster<'a> {
    pub(super) fn layer2(&self, configuration: &Objects, options: &Options) -> Vec<Layer2> {
        let cluster = self.seen_by_speakers(configuration, options);
        let mut found = Vec::new();
        for view in self.views {
            for address in view.addresses() {
                let Some(appraisal) = cluster.groups().of(address).and_then(|id| cluster.appraise(id)) else {
                    continue;
                };
                let rank = appraisal.group().rank_address();
                let ranks = appraisal.candidates().map(|(node, merit)| Rank::new(node, rank, merit));
                let owner = ranks.min().map(|rank| rank.node());
                let candidate = |node: &NodeView| {
                    let reason = appraisal.reason(&view.key, &node.name);
                    let own = if owner == Some(&*node.name) { Reason::Owner } else { Reason::NotOwner };
                    Candidate {
                        node: node.name.to_string(),
                        eligible: reason.is_none(),
                        reason: reason.unwrap_or(own).to_string(),
                    }
                };
                let preferred = appraisal.preference().map(|preference| {
                    let node = configuration.nodes.iter().find(|node| *node.name == *preference.node);
                    node.map_or_else(|| unknown(preference.node), candidate)
                });
                let owner = owner.filter(|owner| appraisal.reason(&view.key, owner).is_none());
                let limit = owner.map(|owner| appraisal.interface_limit(&view.key, owner));
                found.push(Layer2 {
                    namespace: view.key.namespace.to_string(),
                    name: view.key.name.to_string(),
                    address,
                    owner: owner.map(str::to_owned),
                    preferred,
                    interfaces: limit.into_iter().flatten().map(Into::into).collect(),
                    candidates: configuration.nodes.iter().map(candidate).collect(),
                });
            }
        }
        found
    }

    fn seen_by_speakers(&self, configuration: &Objects, options: &Options) -> cluster::Cluster {
        let settings = cluster::Settings {
            classes: options.classes.clone(),
            ignore_exclude_lb: options.ignore_exclude_lb,
        };
        let mut cluster = cluster::Cluster::new(settings);
        for pool in self.allocator.pools() {
            cluster.observe(Observation::Pool(pool.name.clone(), Some(Box::new(pool.clone()))));
        }
        for one in &configuration.l2_advertisements {
            cluster.observe(Observation::L2Advertisement(one.name.clone(), Some(Box::new(one.clone()))));
        }
        for (key, slice) in self.slices {
            cluster.observe(Observation::EndpointSlice(key.clone(), Some(Box::new(slice.clone()))));
        }
        let links = any_link(configuration);
        for node in &configuration.nodes {
            cluster.observe(Observation::Node(node.name.clone(), Some(Box::new(node.clone()))));
            if options.speakers.as_ref().is_none_or(|speakers| speakers.contains(&node.name)) {
                let state = MemberState::Alive { settled: true };
                let member = Member { links: Some(links.clone()), node_port: true, ..Member::unread(state) };
                cluster.set_member(&node.name, Some(member));
            }
        }
        for view in self.views {
            cluster.observe(Observation::Service(view.key.clone(), Some(Box::new(view.clone()))));
        }
        cluster.observe(Observation::Synced);
        cluster
    }

    pub(super) fn bgp(&self, configuration: &Objects, options: &Options) -> Bgp {
        let communities = configuration.aliases();
        let routes = Routes {
            advertisements: &configuration.bgp_advertisements,
            peers: &configuration.peers,
            communities: &communities,
            ignore_exclude_lb: options.ignore_exclude_lb,
        };
        let pool_of = |address| self.allocator.pool(self.allocator.pool_of(address)?);
        let mut slices: BTreeMap<&ServiceKey, Vec<&EndpointSlice>> = BTreeMap::new();
        for (_, slice) in self.slices {
            slices.entry(&slice.service).or_default().push(slice);
        }
        let routed = |view: &'a ServiceView| {
            let slices = slices.get(&view.key).into_iter().flatten().copied();
            routes.service(view, slices, pool_of)
        };
        let services: Vec<_> = self.views.iter().map(routed).collect();
        let alive =
            |node: &&NodeView| options.speakers.as_ref().is_none_or(|speakers| speakers.contains(&node.name));
        let mut bgp = Bgp::default();
        for (view, service) in self.views.iter().zip(&services).filter(|(view, _)| !view.ingress.is_empty()) {
            let mut entry = BgpService {
                namespace: view.key.namespace.to_string(),
                name: view.key.name.to_string(),
                nodes: Vec::new(),
                rejected: Vec::new(),
            };
            for node in &configuration.nodes {
                let silent = (!alive(&node)).then_some(Reason::SpeakerNotAlive);
                match silent.or_else(|| routes.reason(service, node)) {
                    None => entry.nodes.push(node.name.to_string()),
                    Some(reason) => entry
                        .rejected
                        .push(RejectedNode { node: node.name.to_string(), reason: reason.to_string() }),
                }
            }
            bgp.services.push(entry);
        }
        for node in configuration.nodes.iter().filter(alive) {
            for ((peer, prefix), update) in routes.updates(services.iter(), node) {
                bgp.updates.push(Update {
                    node: node.name.to_string(),
                    peer: peer.to_owned(),
                    prefix: prefix.to_string(),
                    local_pref: update.local_pref,
                    as_path_prepend: update.as_path_prepend,
                    communities: update.communities.iter().map(ToString::to_string).collect(),
                    services: update.services.iter().map(ToString::to_string).collect(),
                });
            }
        }
        bgp
    }
}

/// A node that an annotation names and no manifest has.
fn unknown(name: &str) -> Candidate {
    Candidate { node: name.to_owned(), eligible: false, reason: Reason::UnknownNode.to_string() }
}

/// Manifests do not tell a node's interfaces, so each node has one of every name that an advertisement asks for, and each
/// of them reaches every address.
fn any_link(configuration: &Objects) -> Vec<LinkSummary> {
    let asked = configuration.l2_advertisements.iter().flat_map(|one| one.interfaces.iter().cloned());
    let names: BTreeSet<Box<str>> = asked.chain(["any".into()]).collect();
    let everywhere = ["0.0.0.0/0", "::/0"].map(|prefix| prefix.parse().expect("invariant: it is a prefix"));
    let link = |name| LinkSummary {
        name,
        prefixes: everywhere.to_vec(),
        default_v4: true,
        default_v6: true,
        arp: true,
        ndp: true,
        mac: None,
    };
    names.into_iter().map(link).collect()
}
