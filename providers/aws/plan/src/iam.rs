//! Which AWS actions the provider needs, as data: the policy in `deploy/` is made from it.

use std::collections::BTreeSet;

use crate::{Need, OpKind};

/// Actions of the complete listing that [`crate::Listing`] holds.
pub const LISTING: &[&str] = &[
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups",
];

/// AWS looks at networks and instances in the name of whoever creates or registers, so these calls need rights that no call of ours
/// names (Elastic Load Balancing user guide, "API permissions").
impl OpKind {
    /// The IAM actions that sending it needs. Creating with tags needs the right to tag as well.
    #[must_use]
    pub const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::CreateSecurityGroup => &["ec2:CreateSecurityGroup", "ec2:CreateTags"],
            Self::AuthorizeIngress => &["ec2:AuthorizeSecurityGroupIngress"],
            Self::RevokeIngress => &["ec2:RevokeSecurityGroupIngress"],
            Self::DeleteSecurityGroup => &["ec2:DeleteSecurityGroup"],
            Self::TagSecurityGroup => &["ec2:CreateTags"],
            Self::UntagSecurityGroup => &["ec2:DeleteTags"],
            Self::CreateLoadBalancer => &[
                "elasticloadbalancing:CreateLoadBalancer",
                "elasticloadbalancing:AddTags",
                "iam:CreateServiceLinkedRole",
                "ec2:DescribeAccountAttributes",
                "ec2:DescribeAddresses",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            Self::SetSubnets => &["elasticloadbalancing:SetSubnets"],
            Self::SetSecurityGroups => &["elasticloadbalancing:SetSecurityGroups"],
            Self::SetIpAddressType => &["elasticloadbalancing:SetIpAddressType"],
            Self::ModifyLoadBalancerAttributes => &["elasticloadbalancing:ModifyLoadBalancerAttributes"],
            Self::ModifyCapacityReservation => &["elasticloadbalancing:ModifyCapacityReservation"],
            Self::DeleteLoadBalancer => &["elasticloadbalancing:DeleteLoadBalancer"],
            Self::CreateTargetGroup => &[
                "elasticloadbalancing:CreateTargetGroup",
                "elasticloadbalancing:AddTags",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeVpcs",
            ],
            Self::ModifyTargetGroup => &["elasticloadbalancing:ModifyTargetGroup"],
            Self::ModifyTargetGroupAttributes => &["elasticloadbalancing:ModifyTargetGroupAttributes"],
            Self::DeleteTargetGroup => &["elasticloadbalancing:DeleteTargetGroup"],
            Self::RegisterTargets => &[
                "elasticloadbalancing:RegisterTargets",
                "ec2:DescribeInstances",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            Self::DeregisterTargets => &["elasticloadbalancing:DeregisterTargets"],
            Self::CreateListener => &["elasticloadbalancing:CreateListener", "elasticloadbalancing:AddTags"],
            Self::ModifyListener => &["elasticloadbalancing:ModifyListener"],
            Self::DeleteListener => &["elasticloadbalancing:DeleteListener"],
            Self::AddListenerCertificates => &["elasticloadbalancing:AddListenerCertificates"],
            Self::RemoveListenerCertificates => &["elasticloadbalancing:RemoveListenerCertificates"],
            Self::ModifyListenerAttributes => &["elasticloadbalancing:ModifyListenerAttributes"],
            Self::AddTags => &["elasticloadbalancing:AddTags"],
            Self::RemoveTags => &["elasticloadbalancing:RemoveTags"],
        }
    }
}

/// Every action that the provider may need.
#[must_use]
pub fn actions() -> BTreeSet<&'static str> {
    let calls = OpKind::ALL.iter().flat_map(|kind| kind.actions());
    let needs = [LOAD_BALANCER, CAPACITY, TARGET_GROUP, TARGETS, ROUTE_TABLES];
    LISTING.iter().chain(calls).chain(needs.into_iter().flatten()).copied().collect()
}

const LOAD_BALANCER: &[&str] = &[
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeListenerAttributes",
    "elasticloadbalancing:DescribeListenerCertificates",
    "elasticloadbalancing:DescribeTags",
];
const CAPACITY: &[&str] = &["elasticloadbalancing:DescribeCapacityReservation"];
const TARGET_GROUP: &[&str] = &["elasticloadbalancing:DescribeTargetGroupAttributes"];
const TARGETS: &[&str] = &["elasticloadbalancing:DescribeTargetHealth"];
const ROUTE_TABLES: &[&str] = &["ec2:DescribeRouteTables"];

impl Need {
    /// The IAM actions that answering it needs.
    #[must_use]
    pub const fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::LoadBalancer(_) => LOAD_BALANCER,
            Self::Capacity(_) => CAPACITY,
            Self::TargetGroup(_) => TARGET_GROUP,
            Self::Targets(_) => TARGETS,
            Self::RouteTables => ROUTE_TABLES,
        }
    }
}
