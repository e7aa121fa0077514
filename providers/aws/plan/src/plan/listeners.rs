//! Listeners: matched by port, the only thing about them that cannot be changed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Pass, differing};
use crate::{
    Forward, Listener, ListenerSpec, Need, Op, Resource, TargetGroupArn, Waiting, WantedListener, tags,
};

impl Pass<'_> {
    pub(super) fn listeners(&mut self, groups: &BTreeMap<&str, TargetGroupArn>) {
        let Some(live) = self.live else { return };
        let Some(have) = self.known(live.listeners.as_ref(), Need::LoadBalancer(live.arn.clone())) else {
            return;
        };
        let stack = self.stack;
        for (port, listener) in have {
            if !stack.listeners.contains_key(port) && self.ours(listener) {
                self.ready.push(Op::DeleteListener { arn: listener.arn.clone() });
            }
        }
        for (port, wanted) in &stack.listeners {
            let Some(forward) = wanted.forward.resolved(groups) else {
                self.waiting.insert(Waiting::Earlier);
                continue;
            };
            let spec = ListenerSpec {
                protocol: wanted.protocol,
                forward,
                certificate: wanted.certificate.clone(),
                ssl_policy: wanted.ssl_policy.clone(),
                alpn: wanted.alpn,
            };
            match have.get(port) {
                Some(listener) if self.ours(listener) => self.mend_listener(listener, wanted, spec),
                Some(_) => _ = self.waiting.insert(Waiting::PortTaken(live.arn.clone(), *port)),
                None => {
                    let (load_balancer, tags) = (live.arn.clone(), wanted.tags.clone());
                    self.ready.push(Op::CreateListener { load_balancer, port: *port, spec, tags });
                    if !wanted.more_certificates.is_empty() || !wanted.attributes.is_empty() {
                        self.waiting.insert(Waiting::Earlier);
                    }
                }
            }
        }
    }

    /// Whether a live listener forwards elsewhere and shall forward to the group of this resource: that has to serve by then.
    pub(super) fn moves(&self, resource: &str, groups: &BTreeMap<&str, TargetGroupArn>) -> bool {
        let Some(have) = self.live.and_then(|lb| lb.listeners.as_ref()) else { return false };
        let names = |listener: &WantedListener| listener.forward.own().any(|own| own == resource);
        let wanted = self.stack.listeners.iter().filter(|(_, listener)| names(listener));
        let mut wanted = wanted.filter_map(|(port, _)| have.get(port));
        wanted.any(|listener| {
            let now = listener.forward.as_ref().zip(groups.get(resource));
            now.is_none_or(|(now, group)| !now.includes(group))
        })
    }

    /// On our own load balancer every listener is ours. On an adopted one those are with our tags or, where listeners are not
    /// tagged, with our target group.
    pub(super) fn ours(&self, listener: &Listener) -> bool {
        let groups = listener.forward.iter().flat_map(Forward::weights);
        let mut groups = groups.filter_map(|(arn, _)| self.inventory.target_group(arn));
        self.stack.load_balancer.adopted.is_none()
            || tags::owned(&listener.tags, &self.settings.cluster, &self.stack.key)
            || groups.any(|group| tags::owned(&group.tags, &self.settings.cluster, &self.stack.key))
    }

    fn mend_listener(&mut self, have: &Listener, wanted: &WantedListener, spec: ListenerSpec) {
        let arn = || have.arn.clone();
        let same = have.protocol == spec.protocol
            && have.forward.as_ref() == Some(&spec.forward)
            && have.certificate == spec.certificate
            && have.ssl_policy == spec.ssl_policy
            && have.alpn.filter(|alpn| *alpn != crate::Alpn::None) == spec.alpn;
        if !same {
            let protocol_changes = have.protocol != spec.protocol;
            self.ready.push(Op::ModifyListener { arn: arn(), spec, protocol_changes });
        }
        let missing: BTreeSet<String> =
            wanted.more_certificates.difference(&have.more_certificates).cloned().collect();
        if !missing.is_empty() {
            self.ready.push(Op::AddListenerCertificates { arn: arn(), certificates: missing });
        }
        let extra: BTreeSet<String> =
            have.more_certificates.difference(&wanted.more_certificates).cloned().collect();
        if !extra.is_empty() && wanted.certificate.is_some() {
            self.ready.push(Op::RemoveListenerCertificates { arn: arn(), certificates: extra });
        }
        let attributes = match &have.attributes {
            Some(known) => differing(known, &wanted.attributes),
            None if self.trusted => crate::Map::new(),
            None => wanted.attributes.clone(),
        };
        if !attributes.is_empty() {
            self.ready.push(Op::ModifyListenerAttributes { arn: arn(), attributes });
        }
        if !wanted.tags.is_empty() {
            self.retag(&Resource::Listener(arn()), &have.tags, &wanted.tags);
        }
    }
}
