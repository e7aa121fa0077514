//! Which AWS actions the provider needs, as data: the policy in `deploy/` is made from it.

use crate::{Need, Op};

/// Actions of the complete listing that [`crate::Listing`] holds.
pub const LISTING: &[&str] = &[
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups",
];

impl Op {
    /// The IAM actions that sending it needs. Creating with tags needs the right to tag as well.
    #[must_use]
    pub const fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::CreateSecurityGroup { .. } => &["ec2:CreateSecurityGroup", "ec2:CreateTags"],
            Self::AuthorizeIngress { .. } => &["ec2:AuthorizeSecurityGroupIngress"],
            Self::RevokeIngress { .. } => &["ec2:RevokeSecurityGroupIngress"],
            Self::DeleteSecurityGroup { .. } => &["ec2:DeleteSecurityGroup"],
            Self::TagSecurityGroup { .. } => &["ec2:CreateTags"],
            Self::UntagSecurityGroup { .. } => &["ec2:DeleteTags"],
            Self::CreateLoadBalancer(_) => &[
                "elasticloadbalancing:CreateLoadBalancer",
                "elasticloadbalancing:AddTags",
                "iam:CreateServiceLinkedRole",
            ],
            Self::SetSubnets { .. } => &["elasticloadbalancing:SetSubnets"],
            Self::SetSecurityGroups { .. } => &["elasticloadbalancing:SetSecurityGroups"],
            Self::SetIpAddressType { .. } => &["elasticloadbalancing:SetIpAddressType"],
            Self::ModifyLoadBalancerAttributes { .. } => {
                &["elasticloadbalancing:ModifyLoadBalancerAttributes"]
            }
            Self::ModifyCapacityReservation { .. } => &["elasticloadbalancing:ModifyCapacityReservation"],
            Self::DeleteLoadBalancer { .. } => &["elasticloadbalancing:DeleteLoadBalancer"],
            Self::CreateTargetGroup(_) => {
                &["elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:AddTags"]
            }
            Self::ModifyTargetGroup { .. } => &["elasticloadbalancing:ModifyTargetGroup"],
            Self::ModifyTargetGroupAttributes { .. } => &["elasticloadbalancing:ModifyTargetGroupAttributes"],
            Self::DeleteTargetGroup { .. } => &["elasticloadbalancing:DeleteTargetGroup"],
            Self::RegisterTargets { .. } => &["elasticloadbalancing:RegisterTargets"],
            Self::DeregisterTargets { .. } => &["elasticloadbalancing:DeregisterTargets"],
            Self::CreateListener { .. } => {
                &["elasticloadbalancing:CreateListener", "elasticloadbalancing:AddTags"]
            }
            Self::ModifyListener { .. } => &["elasticloadbalancing:ModifyListener"],
            Self::DeleteListener { .. } => &["elasticloadbalancing:DeleteListener"],
            Self::AddListenerCertificates { .. } => &["elasticloadbalancing:AddListenerCertificates"],
            Self::RemoveListenerCertificates { .. } => &["elasticloadbalancing:RemoveListenerCertificates"],
            Self::ModifyListenerAttributes { .. } => &["elasticloadbalancing:ModifyListenerAttributes"],
            Self::AddTags { .. } => &["elasticloadbalancing:AddTags"],
            Self::RemoveTags { .. } => &["elasticloadbalancing:RemoveTags"],
        }
    }
}

impl Need {
    /// The IAM actions that answering it needs.
    #[must_use]
    pub const fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::LoadBalancer(_) => &[
                "elasticloadbalancing:DescribeLoadBalancerAttributes",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeListenerAttributes",
                "elasticloadbalancing:DescribeListenerCertificates",
                "elasticloadbalancing:DescribeTags",
            ],
            Self::Capacity(_) => &["elasticloadbalancing:DescribeCapacityReservation"],
            Self::TargetGroup(_) => &["elasticloadbalancing:DescribeTargetGroupAttributes"],
            Self::Targets(_) => &["elasticloadbalancing:DescribeTargetHealth"],
            Self::RouteTables => &["ec2:DescribeRouteTables"],
        }
    }
}
