//! From a request to a [`Stack`]: every default, every lookup.

mod groups;
mod health;
mod ports;
mod shares;
mod subnets;

pub(crate) use groups::backend_group;

use crate::{
    AddressType, Backends, Inventory, LoadBalancer, Need, Problem, Request, Scheme, Service, Settings, Stack,
    WantedLoadBalancer, names, tags,
};

/// The names of the Service's target groups. They follow from the Service alone; only a group that was made under other settings,
/// or beside another one of its name, is called otherwise.
pub(crate) fn target_group_names(
    service: &Service,
    request: &Request,
    settings: &Settings,
) -> Result<Vec<String>, Unresolved> {
    let merged = ports::merge(service, request, settings)?;
    let scheme = request.scheme.unwrap_or(settings.default_scheme);
    let address_type = request.address_type;
    // Only its own groups: whom it shares its traffic with does not matter here.
    let context = ports::Context { service, request, settings, address_type, scheme, backends: None };
    let (groups, _) = ports::resolve(&context, &merged)?;
    Ok(groups.into_values().map(|group| group.create.name).collect())
}

/// The tag by which the AWS cloud controller manager knows a Service's load balancer.
const IN_TREE_SERVICE: &str = "kubernetes.io/service-name";

/// Why there is no [`Stack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The user has to change something.
    Problems(Vec<Problem>),
    /// The shell has to ask AWS something.
    Need(Need),
}

impl From<Problem> for Unresolved {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}

impl Stack {
    /// What the Service shall have. A live load balancer of the Service decides what cannot or should not change: its
    /// scheme without an annotation, its subnets without one, and whether it has security groups.
    ///
    /// # Errors
    ///
    /// [`Unresolved::Problems`]: nothing of the Service is changed until they are mended.
    pub fn resolve(
        service: &Service,
        request: &Request,
        settings: &Settings,
        inventory: &Inventory,
        backends: &Backends,
    ) -> Result<Self, Unresolved> {
        let adopted =
            request.adopt.as_deref().map(|name| adopt(name, service, settings, inventory)).transpose()?;
        if adopted.is_none() {
            refuse_in_tree(service, inventory)?;
        }
        let live = adopted.or_else(|| current(service, settings, inventory, None));
        let scheme = adopted.map(|lb| lb.scheme).or(request.scheme).or(live.map(|lb| lb.scheme));
        let scheme = scheme.unwrap_or(settings.default_scheme);
        let same_scheme = adopted.or_else(|| current(service, settings, inventory, Some(scheme)));
        let address_type = adopted.map_or(request.address_type, |lb| lb.address_type);

        let mut problems = Vec::new();
        let mut needs = Vec::new();
        let subnets = match adopted {
            Some(lb) => lb.subnets.clone(),
            None => gather(
                subnets::resolve(
                    &subnets::Wish { scheme, address_type, live: same_scheme },
                    request,
                    settings,
                    inventory,
                ),
                &mut problems,
                &mut needs,
            ),
        };
        let groups =
            gather(groups::frontend(request, settings, inventory, same_scheme), &mut problems, &mut needs);
        let merged = gather(ports::merge(service, request, settings), &mut problems, &mut needs);
        let backends = Some(backends);
        let context = ports::Context { service, request, settings, address_type, scheme, backends };
        let (target_groups, listeners) = gather(ports::resolve(&context, &merged), &mut problems, &mut needs);
        if let Some(range) = request
            .source_ranges
            .iter()
            .find(|range| address_type == AddressType::Ipv4 && range.addr().is_ipv6())
        {
            problems.push(Problem::Conflict(format!(
                "unsupported v6 cidr {range} in the source ranges: lb not dual-stack; set \
                 aws-load-balancer-ip-address-type: dualstack or remove it"
            )));
        }
        if !problems.is_empty() {
            return Err(Unresolved::Problems(problems));
        }
        if let Some(need) = needs.pop() {
            return Err(Unresolved::Need(need));
        }

        let security_group = groups::managed(&groups, service, request, settings, address_type);
        let backend = groups::backend(&groups, &subnets, &target_groups, &context, inventory);
        let wanted = |resource: &str| tags::wanted(settings, service, &request.tags, resource);
        Ok(Self {
            key: service.key.clone(),
            security_group,
            load_balancer: WantedLoadBalancer {
                name: request
                    .name
                    .clone()
                    .unwrap_or_else(|| names::load_balancer(&settings.cluster, service, scheme)),
                scheme,
                address_type,
                subnets,
                groups,
                private_link_rules: request.private_link_rules.clone(),
                source_nat: request.source_nat,
                attributes: request.attributes.clone(),
                capacity_units: request.capacity_units,
                tags: wanted("LoadBalancer"),
                adopted: adopted.map(|lb| lb.arn.clone()),
                create_before_delete: request.create_before_delete,
            },
            target_groups,
            listeners,
            backend,
        })
    }
}

/// Takes the value, or notes why there is none and goes on with an empty one, so that all problems are told at once.
fn gather<T: Default>(
    result: Result<T, Unresolved>,
    problems: &mut Vec<Problem>,
    needs: &mut Vec<Need>,
) -> T {
    match result {
        Ok(value) => return value,
        Err(Unresolved::Problems(more)) => problems.extend(more),
        Err(Unresolved::Need(need)) => needs.push(need),
    }
    T::default()
}

/// The load balancer of the Service's stack, of one scheme if given; the oldest by ARN where a crash left two.
pub(crate) fn current<'a>(
    service: &Service,
    settings: &'a Settings,
    inventory: &'a Inventory,
    scheme: Option<Scheme>,
) -> Option<&'a LoadBalancer> {
    let stack = service.key.to_string();
    let mut all = inventory.stack_load_balancers(&settings.cluster, &stack);
    all.find(|lb| scheme.is_none_or(|scheme| lb.scheme == scheme))
}

/// The cloud controller manager names a Service's load balancer after its UID. Two load balancers for one Service would fight
/// over its status.
fn refuse_in_tree(service: &Service, inventory: &Inventory) -> Result<(), Unresolved> {
    let name: String =
        std::iter::once('a').chain(service.uid.chars().filter(|char| *char != '-')).take(32).collect();
    let stack = service.key.to_string();
    match inventory.load_balancer_named(&name) {
        Some(lb) if lb.tags.get(IN_TREE_SERVICE) == Some(&stack) => {
            Err(Unresolved::from(Problem::Foreign(format!(
                "load balancer {name} with tag {IN_TREE_SERVICE}={stack} was made for this Service by the AWS cloud controller manager; \
             delete it, or remove its kubernetes.io tags and name it in annotation {}",
                crate::ADOPT
            ))))
        }
        Some(_) | None => Ok(()),
    }
}

/// An existing load balancer to use; refused where its tags say that another controller or cluster owns it.
fn adopt<'a>(
    name: &str,
    service: &Service,
    settings: &Settings,
    inventory: &'a Inventory,
) -> Result<&'a LoadBalancer, Unresolved> {
    let found = inventory.load_balancer(&name.into()).or_else(|| inventory.load_balancer_named(name));
    let found = found.ok_or_else(|| {
        Problem::Foreign(format!(
            "annotation {}: no Network Load Balancer {name:?} in this region; give its ARN or name",
            crate::ADOPT
        ))
    })?;
    let foreign = |key: &str| {
        [tags::CLUSTER, tags::LEGACY_CLUSTER, tags::STACK, "ingress.k8s.aws/stack", "gateway.k8s.aws/stack"]
            .contains(&key)
            || key.starts_with("kubernetes.io/cluster/")
            || key == IN_TREE_SERVICE
    };
    let owner = found.tags.iter().find(|(key, _)| foreign(key));
    match owner {
        Some((key, value)) if !tags::owned(&found.tags, &settings.cluster, &service.key) => {
            Err(Unresolved::from(Problem::Foreign(format!(
                "annotation {}: load balancer {} carries tag {key}={value}, so another controller owns it; remove that \
                 controller's claim and tag first",
                crate::ADOPT,
                found.name
            ))))
        }
        _ => Ok(found),
    }
}
