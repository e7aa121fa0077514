use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{Protocol, Reason, ServiceKey, ServiceView, TrafficPolicy};

use crate::Rejection;

/// What decides whether Services may sit on one address together: the same key, no port in common, and the same
/// backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// The key, never empty; `None` shares nothing.
    pub key: Option<Box<str>>,
    /// Empty for traffic policy Cluster; for Local the selector, `k=v` sorted with commas between.
    pub backend: Box<str>,
    /// The ports that it opens.
    pub ports: BTreeSet<(Protocol, u16)>,
}

impl Sharing {
    /// The sharing traits of a Service.
    #[must_use]
    pub fn of(view: &ServiceView) -> Self {
        let backend = match view.traffic_policy {
            TrafficPolicy::Cluster => String::new(),
            TrafficPolicy::Local => {
                let pairs: Vec<String> =
                    view.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
                pairs.join(",")
            }
        };
        Self {
            key: view.requests.sharing_key.clone().filter(|key| !key.is_empty()),
            backend: backend.into(),
            ports: view.ports.iter().map(|port| (port.protocol, port.port)).collect(),
        }
    }
}

/// Who uses one address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occupancy {
    pub(crate) users: BTreeSet<ServiceKey>,
    pub(crate) key: Option<Box<str>>,
    backend: Box<str>,
    ports: BTreeMap<(Protocol, u16), ServiceKey>,
}

impl Occupancy {
    pub(crate) fn join(&mut self, service: &ServiceKey, sharing: &Sharing) {
        self.users.insert(service.clone());
        self.key.clone_from(&sharing.key);
        self.backend.clone_from(&sharing.backend);
        for port in &sharing.ports {
            self.ports.insert(*port, service.clone());
        }
    }

    pub(crate) fn leave(&mut self, service: &ServiceKey) {
        self.users.remove(service);
        self.ports.retain(|_, user| user != service);
    }

    /// Whether a Service of this namespace is among the users.
    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        let first = ServiceKey { namespace: namespace.into(), name: Box::default() };
        self.users.range(first..).next().is_some_and(|user| *user.namespace == *namespace)
    }

    /// Whether `service` may be on `address` with the other users of it.
    pub(crate) fn admits(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        sharing: &Sharing,
    ) -> Result<(), Rejection> {
        if self.users.iter().all(|user| user == service) {
            return Ok(());
        }
        let keyless = self.key.is_none() || sharing.key.is_none();
        if keyless || self.key != sharing.key || self.backend != sharing.backend {
            let others: Vec<String> =
                self.users.iter().filter(|user| *user != service).map(ToString::to_string).collect();
            let detail = if keyless {
                "no common sharing key"
            } else if self.key != sharing.key {
                "the sharing keys differ"
            } else {
                "externalTrafficPolicy or, with Local, the selector differs"
            };
            return Err(Rejection::new(
                if keyless { Reason::AddressInUse } else { Reason::SharingConflict },
                format!(
                    "can't change sharing key for \"{service}\", address also in use by {}: {detail}",
                    others.join(",")
                ),
            ));
        }
        let taken =
            sharing.ports.iter().find(|port| self.ports.get(port).is_some_and(|user| user != service));
        if let Some((protocol, port)) = taken {
            return Err(Rejection::new(
                Reason::SharingConflict,
                format!("port {}/{port} is already in use on \"{address}\"", protocol.as_str()),
            ));
        }
        Ok(())
    }
}

/// A place in a pool: index of the range, offset inside it. Its order is the order of allocation.
pub(crate) type Position = (usize, u128);

/// Backend and ports: what two Services of one sharing key may differ in.
type Kind = (Box<str>, BTreeSet<(Protocol, u16)>);

/// The addresses of one pool and family that carry one sharing key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    members: BTreeSet<Position>,
    /// For a backend and set of ports: no member before this place admits such a Service.
    searched: BTreeMap<Kind, Position>,
}

impl Group {
    /// Above this many kinds of Services the memory of past searches is dropped; it only saves time.
    const REMEMBERED: usize = 64;

    pub(crate) fn insert(&mut self, position: Position) {
        self.members.insert(position);
        self.loosen(position);
    }

    pub(crate) fn remove(&mut self, position: Position) {
        self.members.remove(&position);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// To be told when the place may admit a Service that it did not before.
    pub(crate) fn loosen(&mut self, position: Position) {
        for from in self.searched.values_mut() {
            *from = position.min(*from);
        }
    }

    /// The first member before `limit` that passes `admits`.
    pub(crate) fn first(
        &mut self,
        sharing: &Sharing,
        limit: Option<Position>,
        admits: impl Fn(Position) -> bool,
    ) -> Option<Position> {
        let kind = (sharing.backend.clone(), sharing.ports.clone());
        let mut from = self.searched.get(&kind).copied().unwrap_or((0, 0));
        let mut found = None;
        for position in self.members.range(from..).copied() {
            if limit.is_some_and(|limit| position >= limit) {
                break;
            }
            if admits(position) {
                found = Some(position);
                break;
            }
            from = match position.1.checked_add(1) {
                Some(next) => (position.0, next),
                None => (position.0 + 1, 0),
            };
        }
        if self.searched.len() >= Self::REMEMBERED {
            self.searched.clear();
        }
        self.searched.insert(kind, from);
        found
    }
}
