use std::{collections::BTreeSet, net::IpAddr};

use landfall_model::{Family, FamilyPolicy, Labels, Reason, ServiceKey, ServiceView};

use crate::{Rejection, Sharing};

/// A Service as the pools' rules see it.
#[derive(Clone, Debug)]
pub struct Claimant<'a> {
    /// Its name; its namespace is what pools select by.
    pub service: &'a ServiceKey,
    /// Its labels.
    pub labels: &'a Labels,
    /// The labels of its namespace.
    pub namespace_labels: &'a Labels,
    /// What decides whether it may sit on an address together with others.
    pub sharing: Sharing,
}

impl<'a> Claimant<'a> {
    /// The claimant behind a Service.
    #[must_use]
    pub fn of(view: &'a ServiceView, namespace_labels: &'a Labels) -> Self {
        Self { service: &view.key, labels: &view.labels, namespace_labels, sharing: Sharing::of(view) }
    }
}

/// Which address families a Service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// One address of this family.
    One(Family),
    /// One of each, or nothing.
    Both,
    /// One of each if a pool has both, else one, rather of the primary family.
    Prefer {
        /// The family of the first cluster address.
        primary: Family,
    },
}

impl Demand {
    /// What the Service's cluster addresses and family policy ask for. A policy is only a wish: a Service with
    /// `PreferDualStack` and cluster addresses of one family gets that family (MetalLB adds and drops the second
    /// for ever).
    ///
    /// # Errors
    /// [`Reason::NoClusterIp`], and [`Reason::NotEnoughClusterIps`] for `RequireDualStack` without both.
    pub fn of(view: &ServiceView) -> Result<Self, Rejection> {
        let Some(&primary) = view.cluster_families.first() else {
            return Err(Rejection::new(Reason::NoClusterIp, "the Service has no cluster IP yet"));
        };
        let dual = view.cluster_families.iter().any(|family| *family != primary);
        match (view.family_policy, dual) {
            (FamilyPolicy::SingleStack, _) | (FamilyPolicy::PreferDualStack, false) => Ok(Self::One(primary)),
            (FamilyPolicy::PreferDualStack, true) => Ok(Self::Prefer { primary }),
            (FamilyPolicy::RequireDualStack, true) => Ok(Self::Both),
            (FamilyPolicy::RequireDualStack, false) => Err(Rejection::new(
                Reason::NotEnoughClusterIps,
                format!(
                    "RequireDualStack needs cluster IPs of both families, the Service has {primary} only"
                ),
            )),
        }
    }

    /// Every family that it can make use of.
    #[must_use]
    pub const fn families(self) -> &'static [Family] {
        match self {
            Self::One(Family::V4) => &[Family::V4],
            Self::One(Family::V6) => &[Family::V6],
            Self::Both | Self::Prefer { .. } => &[Family::V4, Family::V6],
        }
    }

    /// The sets of families to try in turn, each over all pools before the next.
    pub(crate) const fn passes(self) -> &'static [&'static [Family]] {
        const V4: &[Family] = &[Family::V4];
        const V6: &[Family] = &[Family::V6];
        const BOTH: &[Family] = &[Family::V4, Family::V6];
        match self {
            Self::One(Family::V4) => &[V4],
            Self::One(Family::V6) => &[V6],
            Self::Both => &[BOTH],
            Self::Prefer { primary: Family::V4 } => &[BOTH, V4, V6],
            Self::Prefer { primary: Family::V6 } => &[BOTH, V6, V4],
        }
    }
}

/// What a Service asks for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub claimant: Claimant<'a>,
    /// The families it needs.
    pub demand: Demand,
    /// The pool it asks for by name.
    pub pool: Option<&'a str>,
    /// The addresses it asks for, IPv4 first; empty when any will do.
    pub addresses: Vec<IpAddr>,
}

impl<'a> Request<'a> {
    /// Reads what the Service asks for. Empty annotations ask for nothing.
    ///
    /// # Errors
    /// Those of [`Demand::of`]; [`Reason::InvalidRequest`] if the addresses cannot be read, stand in two places, or
    /// are too many; [`Reason::FamilyMismatch`] if they are not of the families of the cluster addresses, all of
    /// them.
    pub fn of(view: &'a ServiceView, namespace_labels: &'a Labels) -> Result<Self, Rejection> {
        let demand = Demand::of(view)?;
        let addresses = requested_addresses(view)?;
        if !addresses.is_empty() {
            let requested: BTreeSet<Family> = addresses.iter().map(|address| Family::of(*address)).collect();
            if !requested.iter().eq(demand.families()) {
                let needed: Vec<&str> = demand.families().iter().map(|family| family.as_str()).collect();
                return Err(Rejection::new(
                    Reason::FamilyMismatch,
                    format!(
                        "requested loadBalancer IP(s) {} are not of the Service's families, {}",
                        crate::quoted(&addresses),
                        needed.join(" and "),
                    ),
                ));
            }
        }
        let pool = view.requests.pool.as_deref().filter(|name| !name.is_empty());
        Ok(Self { claimant: Claimant::of(view, namespace_labels), demand, pool, addresses })
    }
}

fn requested_addresses(view: &ServiceView) -> Result<Vec<IpAddr>, Rejection> {
    let annotation = view.requests.addresses.as_deref().filter(|text| !text.is_empty());
    let field = view.requests.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let (text, limit) = match (annotation, field) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => {
            return Err(invalid(
                "spec.loadBalancerIP and the annotation loadBalancerIPs are both set; remove one of them",
            ));
        }
        (Some(text), None) => (text, 2),
        (None, Some(text)) => (text, 1),
    };
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim) {
        let address: IpAddr =
            part.parse().map_err(|_| invalid(format!("{part:?} in {text:?} is not an IP address")))?;
        addresses.push(address.to_canonical());
    }
    if addresses.len() > limit {
        return Err(invalid(format!("{text:?} names more than {limit} address(es)")));
    }
    addresses.sort_unstable();
    if let [first, second] = addresses.as_slice()
        && Family::of(*first) == Family::of(*second)
    {
        return Err(invalid(format!("{text:?} names two {} addresses", Family::of(*first))));
    }
    Ok(addresses)
}

fn invalid(cause: impl Into<String>) -> Rejection {
    Rejection::new(Reason::InvalidRequest, cause)
}
