//! Where a listener sends what it accepts.

use std::collections::BTreeMap;

use crate::TargetGroupArn;

/// The only action that a listener of a Network Load Balancer has: `forward`, to one target group or to several by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    weights: BTreeMap<TargetGroupArn, u16>,
    sticky: bool,
}

impl Forward {
    /// To one group.
    #[must_use]
    pub fn to(group: TargetGroupArn) -> Self {
        Self { weights: BTreeMap::from([(group, 1)]), sticky: false }
    }

    /// To several groups with their weights; `None` without any. Weight and stickiness of a single one mean nothing and are not
    /// kept.
    pub fn among(groups: impl IntoIterator<Item = (TargetGroupArn, u16)>, sticky: bool) -> Option<Self> {
        let mut weights: BTreeMap<TargetGroupArn, u16> = groups.into_iter().collect();
        if weights.len() == 1 {
            return weights.pop_first().map(|(group, _)| Self::to(group));
        }
        (!weights.is_empty()).then_some(Self { weights, sticky })
    }

    /// `TargetGroups` and their `Weight`.
    pub fn weights(&self) -> impl Iterator<Item = (&TargetGroupArn, u16)> {
        self.weights.iter().map(|(group, weight)| (group, *weight))
    }

    /// The only group; `None` where there are several.
    #[must_use]
    pub fn only(&self) -> Option<&TargetGroupArn> {
        self.weights.first_key_value().map(|(group, _)| group).filter(|_| self.weights.len() == 1)
    }

    /// `TargetGroupStickinessConfig.Enabled`.
    #[must_use]
    pub const fn sticky(&self) -> bool {
        self.sticky
    }

    /// Whether traffic of the listener may go to a group.
    #[must_use]
    pub fn includes(&self, group: &TargetGroupArn) -> bool {
        self.weights.contains_key(group)
    }
}
