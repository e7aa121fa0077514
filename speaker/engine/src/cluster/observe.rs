use std::{collections::BTreeSet, net::IpAddr};

use landfall_model::{AddressRange, EndpointSlice, NodeView, Observation, ServiceKey, ServiceView};

use super::{Cluster, Member, Tracked, facts::Serving, groups::Regrouped};

impl Cluster {
    /// Takes a fact in. Speakers are the business of membership and are ignored here, like namespaces, what is about
    /// BGP, and objects that cannot be parsed.
    pub fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Service(key, view) => self.set_service(key, view),
            Observation::Pool(name, pool) => {
                let ranges = self.catalog.set_pool(name, pool);
                self.touched.ranges |= !ranges.is_empty();
                self.revisit(&ranges);
            }
            Observation::L2Advertisement(name, advertisement) => {
                let ranges = self.catalog.set_advertisement(name, advertisement);
                self.revisit(&ranges);
            }
            Observation::Node(name, node) => self.set_node(name, node),
            Observation::EndpointSlice(name, slice) => self.set_slice(name, slice),
            Observation::Bgp(_)
            | Observation::Namespace(_, _)
            | Observation::Speaker(_, _)
            | Observation::Announcement(_, _)
            | Observation::Invalid(_, _) => {}
            Observation::Synced => self.synced = true,
        }
    }

    /// Replaces what membership knows of a node; `None` when it is no member any more.
    pub fn set_member(&mut self, node: &str, member: Option<Member>) {
        if self.members.get(node) == member.as_ref() {
            return;
        }
        match member {
            Some(member) => self.members.insert(node.into(), member),
            None => self.members.remove(node),
        };
        self.touched.nodes.insert(node.into());
    }

    fn set_service(&mut self, key: ServiceKey, view: Option<Box<ServiceView>>) {
        let view = view.filter(|view| self.handles(view));
        let before = self.services.get(&key);
        if before.map(|tracked| &tracked.view) == view.as_ref() {
            return;
        }
        let asked_before = before.and_then(|tracked| tracked.view.requests.preferred_node.as_ref());
        let asked = view.as_ref().and_then(|view| view.requests.preferred_node.as_ref());
        // What a Service asks for when it is first seen is no move: nobody announces it, or this process has just begun.
        if before.is_some() && asked != asked_before && self.synced {
            self.touched.moves.insert(key.clone(), asked.map(|asked| asked.node.clone()));
        }
        for address in before.into_iter().flat_map(|tracked| tracked.view.addresses()) {
            if let Some(users) = self.by_address.get_mut(&address) {
                users.remove(&key);
                if users.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
        for address in view.iter().flat_map(|view| view.addresses()) {
            self.by_address.entry(address).or_default().insert(key.clone());
        }
        self.place(key, view);
    }

    /// Works out the addresses of a Service and its groups.
    fn place(&mut self, key: ServiceKey, view: Option<Box<ServiceView>>) {
        let before = self.services.remove(&key).map(|tracked| tracked.addresses).unwrap_or_default();
        let mut addresses: Vec<(IpAddr, Box<str>)> = Vec::new();
        if let Some(view) = &view {
            let hint = view.requests.allocated_from.as_deref();
            for address in view.addresses() {
                let pool = self.catalog.pool_of(address, hint);
                if let Some(pool) = pool.filter(|_| !addresses.iter().any(|(known, _)| *known == address)) {
                    addresses.push((address, pool.into()));
                }
            }
        }
        let only = |list: &[(IpAddr, Box<str>)]| list.iter().map(|(address, _)| *address).collect::<Vec<_>>();
        let (before, after) = (only(&before), only(&addresses));
        if after.is_empty() {
            self.touched.departed.insert(key.clone());
        } else {
            self.touched.departed.remove(&key);
        }
        if let Some(view) = view {
            self.services.insert(key.clone(), Tracked { view, addresses });
        }
        let services = &self.services;
        let age = |key: &ServiceKey| services.get(key).map_or(i64::MAX, |tracked| tracked.view.created);
        let addresses_of = |key: &ServiceKey| {
            let known = services.get(key).into_iter().flat_map(|tracked| &tracked.addresses);
            known.map(|(address, _)| *address)
        };
        let regrouped = self.groups.change(&key, &before, &after, age, addresses_of);
        self.regrouped(regrouped);
    }

    fn regrouped(&mut self, Regrouped { made, dissolved, orphans }: Regrouped) {
        for id in &dissolved {
            self.touched.groups.remove(id);
        }
        self.touched.gone.extend(dissolved);
        for id in &made {
            self.touched.gone.remove(id);
            for address in self.groups.get(*id).into_iter().flat_map(|group| &group.addresses) {
                self.touched.orphans.remove(address);
            }
        }
        self.touched.groups.extend(made);
        self.touched.orphans.extend(orphans);
    }

    fn handles(&self, view: &ServiceView) -> bool {
        view.load_balancer && !view.deleting && self.settings.classes.handles(view.class.as_deref())
    }

    /// Looks again at every Service with an address in `ranges`.
    fn revisit(&mut self, ranges: &BTreeSet<AddressRange>) {
        let within = ranges.iter().flat_map(|range| self.by_address.range(range.first()..=range.last()));
        let keys: BTreeSet<ServiceKey> = within.flat_map(|(_, keys)| keys.iter().cloned()).collect();
        for key in keys {
            let view = self.services.get(&key).map(|tracked| tracked.view.clone());
            self.place(key, view);
        }
    }

    fn set_node(&mut self, name: Box<str>, node: Option<Box<NodeView>>) {
        if self.nodes.get(&name) == node.as_ref() {
            return;
        }
        self.touched.nodes.insert(name.clone());
        match node {
            Some(node) => self.nodes.insert(name, node),
            None => self.nodes.remove(&name),
        };
    }

    fn set_slice(&mut self, name: ServiceKey, slice: Option<Box<EndpointSlice>>) {
        if self.slices.get(&name) == slice.as_ref() {
            return;
        }
        let now = slice.as_ref().map(|slice| slice.service.clone());
        let before = match slice {
            Some(slice) => self.slices.insert(name.clone(), slice),
            None => self.slices.remove(&name),
        };
        let before = before.map(|slice| slice.service);
        if before != now
            && let Some(service) = &before
            && let Some(names) = self.slices_of.get_mut(service)
        {
            names.remove(&name);
            if names.is_empty() {
                self.slices_of.remove(service);
            }
        }
        if let Some(service) = &now {
            self.slices_of.entry(service.clone()).or_default().insert(name);
        }
        for service in before.into_iter().chain(now).collect::<BTreeSet<_>>() {
            let serving = Serving::of(self.slices(&service));
            if serving.anywhere {
                self.serving.insert(service.clone(), serving);
            } else {
                self.serving.remove(&service);
            }
            let addresses = self.services.get(&service).into_iter().flat_map(|tracked| &tracked.addresses);
            let ids = addresses.filter_map(|(address, _)| self.groups.of(*address));
            self.touched.groups.extend(ids);
        }
    }
}
