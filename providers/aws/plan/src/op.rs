//! The calls that change AWS, one variant per call, and what each leaves behind in the [`Inventory`].

use std::collections::BTreeSet;

use crate::{
    AddressType, Alpn, Forward, HealthCheck, ListenerArn, ListenerProtocol, LoadBalancerArn, Map, Scheme,
    SecurityGroupId, SubnetMapping, Target, TargetFamily, TargetGroupArn, TargetType, elb::words,
};

/// Targets in one `RegisterTargets` or `DeregisterTargets`.
pub const TARGETS_PER_CALL: usize = 200;

/// One call. Names and fields are the API's; every ARN in it has been observed.
///
/// The shell sends it, and on success passes it to [`crate::Inventory::record`] with what came back. Every variant may be sent
/// twice: AWS answers a repeated create with the object that is there or with an error that names the duplicate, and
/// a repeated delete with success or `…NotFound`, which counts as success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `ec2:CreateSecurityGroup` with its tags.
    CreateSecurityGroup {
        /// `GroupName`.
        name: String,
        /// `Description`.
        description: String,
        /// `VpcId`.
        vpc: String,
        /// `TagSpecifications`.
        tags: Map,
    },
    /// `ec2:AuthorizeSecurityGroupIngress`. A duplicate rule counts as success.
    AuthorizeIngress {
        /// `GroupId`.
        group: SecurityGroupId,
        /// `IpPermissions`.
        permissions: BTreeSet<IpPermission>,
    },
    /// `ec2:RevokeSecurityGroupIngress`.
    RevokeIngress {
        /// `GroupId`.
        group: SecurityGroupId,
        /// `IpPermissions`.
        permissions: BTreeSet<IpPermission>,
    },
    /// `ec2:DeleteSecurityGroup`. `DependencyViolation` is waited for: interfaces of a deleted load balancer go slowly.
    DeleteSecurityGroup {
        /// `GroupId`.
        group: SecurityGroupId,
    },
    /// `ec2:CreateTags` on a security group.
    TagSecurityGroup {
        /// The group.
        group: SecurityGroupId,
        /// `Tags`.
        tags: Map,
    },
    /// `ec2:DeleteTags` on a security group.
    UntagSecurityGroup {
        /// The group.
        group: SecurityGroupId,
        /// Keys.
        keys: Vec<String>,
    },
    /// `CreateLoadBalancer` of type `network`. What comes back must carry these tags: AWS answers a repeated create with the
    /// load balancer of that name, whoever's it is.
    CreateLoadBalancer(Box<CreateLoadBalancer>),
    /// `SetSubnets`.
    SetSubnets {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
        /// `SubnetMappings`.
        subnets: Vec<SubnetMapping>,
        /// `EnablePrefixForIpv6SourceNat`, where it changes.
        source_nat: Option<bool>,
    },
    /// `SetSecurityGroups`.
    SetSecurityGroups {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
        /// `SecurityGroups`.
        groups: BTreeSet<SecurityGroupId>,
        /// `EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic`, where it is asked for.
        private_link_rules: Option<String>,
    },
    /// `SetIpAddressType`.
    SetIpAddressType {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
        /// `IpAddressType`.
        address_type: AddressType,
    },
    /// `ModifyLoadBalancerAttributes` with those that differ.
    ModifyLoadBalancerAttributes {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
        /// `Attributes`.
        attributes: Map,
    },
    /// `ModifyCapacityReservation`; 0 resets.
    ModifyCapacityReservation {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
        /// `MinimumLoadBalancerCapacity.CapacityUnits`.
        units: i32,
    },
    /// `DeleteLoadBalancer`; its listeners go with it.
    DeleteLoadBalancer {
        /// `LoadBalancerArn`.
        arn: LoadBalancerArn,
    },
    /// `CreateTargetGroup`.
    CreateTargetGroup(Box<CreateTargetGroup>),
    /// `ModifyTargetGroup`: the health check.
    ModifyTargetGroup {
        /// `TargetGroupArn`.
        arn: TargetGroupArn,
        /// The whole health check.
        health_check: HealthCheck,
    },
    /// `ModifyTargetGroupAttributes` with those that differ.
    ModifyTargetGroupAttributes {
        /// `TargetGroupArn`.
        arn: TargetGroupArn,
        /// `Attributes`.
        attributes: Map,
    },
    /// `DeleteTargetGroup`. `ResourceInUse` is waited for.
    DeleteTargetGroup {
        /// `TargetGroupArn`.
        arn: TargetGroupArn,
    },
    /// `RegisterTargets`, at most [`TARGETS_PER_CALL`].
    RegisterTargets {
        /// `TargetGroupArn`.
        arn: TargetGroupArn,
        /// `Targets`.
        targets: Vec<Target>,
    },
    /// `DeregisterTargets`, at most [`TARGETS_PER_CALL`].
    DeregisterTargets {
        /// `TargetGroupArn`.
        arn: TargetGroupArn,
        /// `Targets`.
        targets: Vec<Target>,
    },
    /// `CreateListener`.
    CreateListener {
        /// `LoadBalancerArn`.
        load_balancer: LoadBalancerArn,
        /// `Port`.
        port: u16,
        /// Its fields.
        spec: ListenerSpec,
        /// `Tags`.
        tags: Map,
    },
    /// `ModifyListener`: all fields but the port.
    ModifyListener {
        /// `ListenerArn`.
        arn: ListenerArn,
        /// Its fields.
        spec: ListenerSpec,
        /// Its protocol is another one than before, and is sent.
        protocol_changes: bool,
    },
    /// `DeleteListener`.
    DeleteListener {
        /// `ListenerArn`.
        arn: ListenerArn,
    },
    /// `AddListenerCertificates`: one call may carry several.
    AddListenerCertificates {
        /// `ListenerArn`.
        arn: ListenerArn,
        /// `Certificates`, none of them the default.
        certificates: BTreeSet<String>,
    },
    /// `RemoveListenerCertificates`.
    RemoveListenerCertificates {
        /// `ListenerArn`.
        arn: ListenerArn,
        /// `Certificates`.
        certificates: BTreeSet<String>,
    },
    /// `ModifyListenerAttributes` with those that differ.
    ModifyListenerAttributes {
        /// `ListenerArn`.
        arn: ListenerArn,
        /// `Attributes`.
        attributes: Map,
    },
    /// `AddTags` of Elastic Load Balancing.
    AddTags {
        /// `ResourceArns`: one.
        resource: Resource,
        /// `Tags`.
        tags: Map,
    },
    /// `RemoveTags` of Elastic Load Balancing.
    RemoveTags {
        /// `ResourceArns`: one.
        resource: Resource,
        /// `TagKeys`.
        keys: Vec<String>,
    },
}

words!(
    /// Which call an [`Op`] is: a label for metrics, and what its rights follow from.
    OpKind {
        /// [`Op::CreateSecurityGroup`].
        CreateSecurityGroup = "CreateSecurityGroup",
        /// [`Op::AuthorizeIngress`].
        AuthorizeIngress = "AuthorizeSecurityGroupIngress",
        /// [`Op::RevokeIngress`].
        RevokeIngress = "RevokeSecurityGroupIngress",
        /// [`Op::DeleteSecurityGroup`].
        DeleteSecurityGroup = "DeleteSecurityGroup",
        /// [`Op::TagSecurityGroup`].
        TagSecurityGroup = "CreateTags",
        /// [`Op::UntagSecurityGroup`].
        UntagSecurityGroup = "DeleteTags",
        /// [`Op::CreateLoadBalancer`].
        CreateLoadBalancer = "CreateLoadBalancer",
        /// [`Op::SetSubnets`].
        SetSubnets = "SetSubnets",
        /// [`Op::SetSecurityGroups`].
        SetSecurityGroups = "SetSecurityGroups",
        /// [`Op::SetIpAddressType`].
        SetIpAddressType = "SetIpAddressType",
        /// [`Op::ModifyLoadBalancerAttributes`].
        ModifyLoadBalancerAttributes = "ModifyLoadBalancerAttributes",
        /// [`Op::ModifyCapacityReservation`].
        ModifyCapacityReservation = "ModifyCapacityReservation",
        /// [`Op::DeleteLoadBalancer`].
        DeleteLoadBalancer = "DeleteLoadBalancer",
        /// [`Op::CreateTargetGroup`].
        CreateTargetGroup = "CreateTargetGroup",
        /// [`Op::ModifyTargetGroup`].
        ModifyTargetGroup = "ModifyTargetGroup",
        /// [`Op::ModifyTargetGroupAttributes`].
        ModifyTargetGroupAttributes = "ModifyTargetGroupAttributes",
        /// [`Op::DeleteTargetGroup`].
        DeleteTargetGroup = "DeleteTargetGroup",
        /// [`Op::RegisterTargets`].
        RegisterTargets = "RegisterTargets",
        /// [`Op::DeregisterTargets`].
        DeregisterTargets = "DeregisterTargets",
        /// [`Op::CreateListener`].
        CreateListener = "CreateListener",
        /// [`Op::ModifyListener`].
        ModifyListener = "ModifyListener",
        /// [`Op::DeleteListener`].
        DeleteListener = "DeleteListener",
        /// [`Op::AddListenerCertificates`].
        AddListenerCertificates = "AddListenerCertificates",
        /// [`Op::RemoveListenerCertificates`].
        RemoveListenerCertificates = "RemoveListenerCertificates",
        /// [`Op::ModifyListenerAttributes`].
        ModifyListenerAttributes = "ModifyListenerAttributes",
        /// [`Op::AddTags`].
        AddTags = "AddTags",
        /// [`Op::RemoveTags`].
        RemoveTags = "RemoveTags",
    }
);

impl Op {
    /// Which call it is.
    #[must_use]
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::CreateSecurityGroup { .. } => OpKind::CreateSecurityGroup,
            Self::AuthorizeIngress { .. } => OpKind::AuthorizeIngress,
            Self::RevokeIngress { .. } => OpKind::RevokeIngress,
            Self::DeleteSecurityGroup { .. } => OpKind::DeleteSecurityGroup,
            Self::TagSecurityGroup { .. } => OpKind::TagSecurityGroup,
            Self::UntagSecurityGroup { .. } => OpKind::UntagSecurityGroup,
            Self::CreateLoadBalancer(_) => OpKind::CreateLoadBalancer,
            Self::SetSubnets { .. } => OpKind::SetSubnets,
            Self::SetSecurityGroups { .. } => OpKind::SetSecurityGroups,
            Self::SetIpAddressType { .. } => OpKind::SetIpAddressType,
            Self::ModifyLoadBalancerAttributes { .. } => OpKind::ModifyLoadBalancerAttributes,
            Self::ModifyCapacityReservation { .. } => OpKind::ModifyCapacityReservation,
            Self::DeleteLoadBalancer { .. } => OpKind::DeleteLoadBalancer,
            Self::CreateTargetGroup(_) => OpKind::CreateTargetGroup,
            Self::ModifyTargetGroup { .. } => OpKind::ModifyTargetGroup,
            Self::ModifyTargetGroupAttributes { .. } => OpKind::ModifyTargetGroupAttributes,
            Self::DeleteTargetGroup { .. } => OpKind::DeleteTargetGroup,
            Self::RegisterTargets { .. } => OpKind::RegisterTargets,
            Self::DeregisterTargets { .. } => OpKind::DeregisterTargets,
            Self::CreateListener { .. } => OpKind::CreateListener,
            Self::ModifyListener { .. } => OpKind::ModifyListener,
            Self::DeleteListener { .. } => OpKind::DeleteListener,
            Self::AddListenerCertificates { .. } => OpKind::AddListenerCertificates,
            Self::RemoveListenerCertificates { .. } => OpKind::RemoveListenerCertificates,
            Self::ModifyListenerAttributes { .. } => OpKind::ModifyListenerAttributes,
            Self::AddTags { .. } => OpKind::AddTags,
            Self::RemoveTags { .. } => OpKind::RemoveTags,
        }
    }
}

/// The fields of `CreateLoadBalancer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateLoadBalancer {
    /// `Name`.
    pub name: String,
    /// `Scheme`.
    pub scheme: Scheme,
    /// `IpAddressType`.
    pub address_type: AddressType,
    /// `SubnetMappings`.
    pub subnets: Vec<SubnetMapping>,
    /// `SecurityGroups`; none at all makes one that can never have any.
    pub security_groups: BTreeSet<SecurityGroupId>,
    /// `EnablePrefixForIpv6SourceNat` is `on`.
    pub source_nat: bool,
    /// `Tags`.
    pub tags: Map,
}

/// The fields of `CreateTargetGroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTargetGroup {
    /// `Name`.
    pub name: String,
    /// `Protocol`.
    pub protocol: ListenerProtocol,
    /// `Port`.
    pub port: u16,
    /// `VpcId`.
    pub vpc: String,
    /// `TargetType`.
    pub target_type: TargetType,
    /// `IpAddressType`.
    pub family: TargetFamily,
    /// The health check.
    pub health_check: HealthCheck,
    /// `Tags`.
    pub tags: Map,
}

/// What a listener does, beside its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// `Protocol`.
    pub protocol: ListenerProtocol,
    /// `DefaultActions`: the only one.
    pub forward: Forward,
    /// `Certificates`: the default one.
    pub certificate: Option<String>,
    /// `SslPolicy`.
    pub ssl_policy: Option<String>,
    /// `AlpnPolicy`.
    pub alpn: Option<Alpn>,
}

/// What `AddTags` and `RemoveTags` name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A load balancer.
    LoadBalancer(LoadBalancerArn),
    /// A target group.
    TargetGroup(TargetGroupArn),
    /// A listener.
    Listener(ListenerArn),
}

impl Resource {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        match self {
            Self::LoadBalancer(arn) => arn.as_str(),
            Self::TargetGroup(arn) => arn.as_str(),
            Self::Listener(arn) => arn.as_str(),
        }
    }
}

/// One ingress rule with one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpPermission {
    /// `IpProtocol`: `tcp`, `udp`, `icmp`, `icmpv6`, or a number or `-1` in rules of others.
    pub protocol: String,
    /// `FromPort`, or the type of ICMP.
    pub from: i32,
    /// `ToPort`, or the code of ICMP.
    pub to: i32,
    /// Where from.
    pub source: Source,
    /// `Description` of the source; empty for none.
    pub description: String,
}

/// The source of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `IpRanges` or `Ipv6Ranges`.
    Block(ipnet::IpNet),
    /// `PrefixListIds`.
    PrefixList(String),
    /// `UserIdGroupPairs`.
    Group(SecurityGroupId),
}
