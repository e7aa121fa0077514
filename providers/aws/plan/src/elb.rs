//! The words of Elastic Load Balancing v2, spelled as its API spells them.

use std::{cmp::Ordering, collections::BTreeMap, net::IpAddr};

use crate::{InstanceId, SubnetId};

/// A closed set of API values with their spelling.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The API's spelling.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with this spelling.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }
    };
}

pub(crate) use words;

words!(
    /// `Scheme`.
    Scheme {
        /// Nodes have private addresses.
        Internal = "internal",
        /// Nodes have public addresses.
        InternetFacing = "internet-facing",
    }
);
words!(
    /// `IpAddressType` of a load balancer.
    AddressType {
        /// IPv4 only.
        Ipv4 = "ipv4",
        /// Both families.
        Dualstack = "dualstack",
    }
);
words!(
    /// `IpAddressType` of a target group.
    TargetFamily {
        /// IPv4 targets.
        Ipv4 = "ipv4",
        /// IPv6 targets.
        Ipv6 = "ipv6",
    }
);
words!(
    /// `TargetType`.
    TargetType {
        /// EC2 instances, reached at a NodePort.
        Instance = "instance",
        /// Pod addresses.
        Ip = "ip",
    }
);
words!(
    /// `Protocol` of a listener or a target group.
    ListenerProtocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// Both on one number.
        TcpUdp = "TCP_UDP",
        /// TLS, ended at the load balancer.
        Tls = "TLS",
        /// QUIC over UDP.
        Quic = "QUIC",
        /// TCP and QUIC on one number.
        TcpQuic = "TCP_QUIC",
    }
);
words!(
    /// `HealthCheckProtocol`.
    HealthProtocol {
        /// A connection can be opened.
        Tcp = "TCP",
        /// GET over HTTP.
        Http = "HTTP",
        /// GET over HTTPS.
        Https = "HTTPS",
    }
);
words!(
    /// `AlpnPolicy`.
    Alpn {
        /// No negotiation.
        None = "None",
        /// HTTP/1 only.
        Http1Only = "HTTP1Only",
        /// HTTP/2 only.
        Http2Only = "HTTP2Only",
        /// HTTP/1 rather than HTTP/2.
        Http2Optional = "HTTP2Optional",
        /// HTTP/2 rather than HTTP/1.
        Http2Preferred = "HTTP2Preferred",
    }
);
words!(
    /// `State.Code` of a load balancer.
    LoadBalancerState {
        /// Being set up; its name may not resolve yet.
        Provisioning = "provisioning",
        /// Routing traffic.
        Active = "active",
        /// Routing, but short of what it needs to scale.
        ActiveImpaired = "active_impaired",
        /// Could not be set up.
        Failed = "failed",
    }
);
words!(
    /// `TargetHealth.State`.
    TargetState {
        /// Registered, first checks under way.
        Initial = "initial",
        /// Passes its checks.
        Healthy = "healthy",
        /// Fails its checks.
        Unhealthy = "unhealthy",
        /// Its target group is used by no listener, or its zone is not enabled.
        Unused = "unused",
        /// Deregistered; connections are drained.
        Draining = "draining",
        /// No checks possible.
        Unavailable = "unavailable",
    }
);

impl ListenerProtocol {
    /// Whether its listeners have attributes: AWS's own controller asks for those of these two only.
    #[must_use]
    pub const fn has_attributes(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpUdp)
    }

    /// Whether datagrams arrive: targets always see who sent them.
    #[must_use]
    pub const fn carries_datagrams(self) -> bool {
        match self {
            Self::Udp | Self::TcpUdp | Self::Quic | Self::TcpQuic => true,
            Self::Tcp | Self::Tls => false,
        }
    }
}

impl LoadBalancerState {
    /// Whether its DNS name answers.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Active | Self::ActiveImpaired)
    }
}

impl TargetFamily {
    /// Whether it is the family of this address.
    #[must_use]
    pub const fn holds(self, address: IpAddr) -> bool {
        match self {
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}

/// The health check of a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `HealthCheckProtocol`.
    pub protocol: HealthProtocol,
    /// `HealthCheckPort`; `None` is `traffic-port`.
    pub port: Option<u16>,
    /// `HealthCheckPath`; HTTP and HTTPS only.
    pub path: Option<String>,
    /// `Matcher.HttpCode`; HTTP and HTTPS only.
    pub matcher: Option<String>,
    /// `HealthCheckIntervalSeconds`.
    pub interval: i32,
    /// `HealthCheckTimeoutSeconds`; `None` leaves AWS's default.
    pub timeout: Option<i32>,
    /// `HealthyThresholdCount`.
    pub healthy_threshold: i32,
    /// `UnhealthyThresholdCount`.
    pub unhealthy_threshold: i32,
}

/// `TargetDescription`. Id and port are the key under which a group holds it, so two that differ only in the zone are equal: not
/// every answer has the zone that was sent.
#[derive(Clone, Debug)]
pub struct Target {
    /// `Id`.
    pub id: TargetId,
    /// `Port`.
    pub port: u16,
    /// `AvailabilityZone` is `all`: the address lies outside the VPC's blocks.
    pub zone_all: bool,
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.id, self.port).cmp(&(&other.id, other.port))
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Target {}

/// `Id` of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetId {
    /// An instance.
    Instance(InstanceId),
    /// An address.
    Ip(IpAddr),
}

/// `SubnetMapping`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubnetMapping {
    /// `SubnetId`.
    pub subnet: SubnetId,
    /// `AllocationId` of an elastic address.
    pub allocation: Option<String>,
    /// `PrivateIPv4Address`.
    pub private_ipv4: Option<std::net::Ipv4Addr>,
    /// `IPv6Address`.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// `SourceNatIpv6Prefix`: `auto_assigned` or a /80.
    pub source_nat_prefix: Option<String>,
}

impl SubnetMapping {
    /// A subnet with addresses of AWS's choice.
    #[must_use]
    pub const fn plain(subnet: SubnetId) -> Self {
        Self { subnet, allocation: None, private_ipv4: None, ipv6: None, source_nat_prefix: None }
    }
}

/// Tags of a resource, and attributes of one.
pub type Map = BTreeMap<String, String>;
