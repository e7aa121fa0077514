//! The front-end group of a Service.

use std::collections::BTreeSet;

use super::Pass;
use crate::{Op, SecurityGroup, SecurityGroupId, Waiting, tags};

/// The value of [`tags::RESOURCE`] of a front-end group.
pub(super) const RESOURCE: &str = "ManagedLBSecurityGroup";

impl<'a> Pass<'a> {
    pub(super) fn managed_groups(&self) -> Vec<&'a SecurityGroup> {
        let groups = self.inventory.stack_security_groups(&self.settings.cluster, &self.name);
        groups
            .filter(|group| group.tags.get(tags::RESOURCE).is_some_and(|resource| resource == RESOURCE))
            .collect()
    }

    /// Makes the group or mends its rules and tags. Answers its id once it exists; rules are opened before others are closed.
    pub(super) fn security_group(&mut self) -> Option<SecurityGroupId> {
        let wanted = self.stack.security_group.as_ref()?;
        // Where a crash left two, the one in use is kept.
        let used =
            |group: &&SecurityGroup| self.live.is_some_and(|lb| lb.security_groups.contains(&group.id));
        let groups = self.managed_groups();
        let Some(group) = groups.iter().copied().find(used).or_else(|| groups.first().copied()) else {
            self.ready.push(Op::CreateSecurityGroup {
                name: wanted.name.clone(),
                description: wanted.description.clone(),
                vpc: self.settings.vpc.clone(),
                tags: wanted.tags.clone(),
            });
            self.waiting.insert(Waiting::Earlier);
            return None;
        };
        let id = group.id.clone();
        let (add, remove) = tags::difference(&group.tags, &wanted.tags, self.settings);
        if !add.is_empty() {
            self.ready.push(Op::TagSecurityGroup { group: id.clone(), tags: add });
        }
        if !remove.is_empty() {
            self.ready.push(Op::UntagSecurityGroup { group: id.clone(), keys: remove });
        }
        let missing: BTreeSet<_> = wanted.ingress.difference(&group.ingress).cloned().collect();
        if !missing.is_empty() {
            self.ready.push(Op::AuthorizeIngress { group: id.clone(), permissions: missing });
        }
        let extra: BTreeSet<_> = group.ingress.difference(&wanted.ingress).cloned().collect();
        if !extra.is_empty() {
            self.ready.push(Op::RevokeIngress { group: id.clone(), permissions: extra });
        }
        Some(id)
    }

    /// Groups that are no longer wanted, once no load balancer of the stack carries them.
    pub(super) fn delete_security_groups(&mut self, front: Option<&SecurityGroupId>) {
        if front.is_none() && self.stack.security_group.is_some() {
            return;
        }
        let stale: Vec<_> =
            self.managed_groups().into_iter().filter(|group| Some(&group.id) != front).collect();
        for group in stale {
            let balancers = self.live.iter().chain(&self.others);
            if balancers.into_iter().any(|lb| lb.security_groups.contains(&group.id)) {
                self.waiting.insert(Waiting::Earlier);
            } else {
                self.ready.push(Op::DeleteSecurityGroup { group: group.id.clone() });
            }
        }
    }
}
