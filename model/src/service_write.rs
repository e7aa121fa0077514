use std::net::IpAddr;

use crate::{Condition, IpMode, ServiceKey};

/// A new status of one Service: what the plan decides and the writer writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatusWrite {
    /// The Service.
    pub key: ServiceKey,
    /// Its `metadata.uid`: a successor of the same name is never written to.
    pub uid: Box<str>,
    /// The version that the decision is based on. A newer one on the server is a conflict.
    pub resource_version: Box<str>,
    /// The addresses.
    pub assignment: Assignment,
    /// The addresses that the status showed when this was decided.
    pub observed_addresses: Vec<IpAddr>,
    /// All our conditions, complete: one that is missing here is removed.
    pub conditions: Vec<Condition>,
    /// Our conditions as they were observed ([`crate::ServiceView::conditions`]): the time of the last transition is
    /// kept where the status is the same.
    pub observed_conditions: Vec<Condition>,
}

/// What becomes of `status.loadBalancer` and of the annotation `metallb.io/ip-allocated-from-pool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// Neither is touched: the status belongs to somebody else, or the Service has none and gets none. Only for
    /// Services without addresses of ours: with server-side apply, leaving out what one owns removes it.
    Leave,
    /// The addresses are taken back: an explicit empty list, and no annotation, whoever wrote it.
    Release,
    /// The Service has exactly these addresses. Replaces entries of anybody else.
    Set {
        /// The entries of `status.loadBalancer.ingress`, in the order in which they are shown.
        ingress: Vec<(IpAddr, IpMode)>,
        /// The pool for the annotation; `None` removes it.
        pool: Option<Box<str>>,
    },
}

impl ServiceStatusWrite {
    /// The addresses that the status shows after it.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let (ingress, kept): (&[_], &[_]) = match &self.assignment {
            Assignment::Leave => (&[], &self.observed_addresses),
            Assignment::Release => (&[], &[]),
            Assignment::Set { ingress, .. } => (ingress, &[]),
        };
        ingress.iter().map(|(address, _)| *address).chain(kept.iter().copied())
    }

    /// The addresses that it takes back.
    pub fn taken_back(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let observed = self.observed_addresses.iter().copied();
        observed.filter(|observed| self.addresses().all(|address| address != *observed))
    }

    /// The addresses that it gives.
    pub fn given(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses().filter(|address| !self.observed_addresses.contains(address))
    }
}
