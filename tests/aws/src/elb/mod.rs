//! Elastic Load Balancing v2 for network load balancers.
//!
//! moto is told of everything that it can take, judges it, and gives ids. What it forgets, cannot do or does otherwise
//! than AWS (clouds.md §3.1) is kept here, and answers are written from here: load balancers, listeners, target groups,
//! targets, attributes, tags. What is not handled here passes through.

mod attributes;
mod balancers;
mod capacity;
mod forwards;
mod groups;
mod listeners;
mod shapes;
mod tags;
mod targets;

use std::{collections::BTreeMap, sync::Arc};

use self::{balancers::Balancer, groups::Group, listeners::Listener};
use crate::{
    moto::Moto,
    query::Parameters,
    refusal::{Refusal, refuse},
    wire::{Answer, Request},
    xml::Element,
};
pub use targets::Health;

/// The service's name in a credential scope.
const SERVICE: &str = "elasticloadbalancing";

/// The namespace of its answers.
pub(crate) const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// For how many reads something stays in its first state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads {
    /// A load balancer is `provisioning`.
    pub(crate) provisioning: u32,
    /// A target is `initial`.
    pub(crate) initial: u32,
    /// A deregistered target is `draining`.
    pub(crate) draining: u32,
}

/// All load balancers, listeners and target groups of the account, by ARN.
#[derive(Debug)]
pub(crate) struct Elb {
    moto: Arc<Moto>,
    sequence: u64,
    balancers: BTreeMap<String, Balancer>,
    listeners: BTreeMap<String, Listener>,
    groups: BTreeMap<String, Group>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) reads: Reads,
    /// The health that a test ordered, by target id.
    pub(crate) health: BTreeMap<String, Health>,
}

/// A call: where, and with what.
#[derive(Clone, Copy)]
struct Asked<'a> {
    region: &'a str,
    action: &'a str,
    parameters: &'a Parameters,
}

impl Asked<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.parameters.get(key)
    }

    fn need(&self, key: &str) -> Result<&str, Refusal> {
        self.parameters.need(key)
    }

    /// Whether an ARN is of the region that is asked.
    fn here(&self, arn: &str) -> bool {
        arn.split(':').nth(3) == Some(self.region)
    }
}

impl Elb {
    pub(crate) fn new(moto: Arc<Moto>) -> Self {
        Self {
            moto,
            sequence: 0,
            balancers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            groups: BTreeMap::new(),
            tags: BTreeMap::new(),
            reads: Reads { provisioning: 1, initial: 1, draining: 1 },
            health: BTreeMap::new(),
        }
    }

    pub(crate) fn answer(&mut self, region: &str, action: &str, parameters: &Parameters) -> Answer {
        let asked = Asked { region, action, parameters };
        match self.carry_out(&asked) {
            Ok(Some(result)) => {
                let result = Element { name: format!("{action}Result"), ..result };
                let metadata = Element::new("ResponseMetadata").leaf("RequestId", "landfall");
                let response = Element::new(&format!("{action}Response")).inside(result).inside(metadata);
                Answer::xml(200, response.document(NAMESPACE))
            }
            Ok(None) => self.pass(&asked),
            Err(refusal) => refusal.answer(SERVICE),
        }
    }

    fn carry_out(&mut self, asked: &Asked<'_>) -> Result<Option<Element>, Refusal> {
        match asked.action {
            "CreateLoadBalancer" => self.create_balancer(asked),
            "DescribeLoadBalancers" => self.describe_balancers(asked),
            "DeleteLoadBalancer" => self.delete_balancer(asked),
            "SetSubnets" => self.set_subnets(asked),
            "SetSecurityGroups" => self.set_security_groups(asked),
            "SetIpAddressType" => self.set_address_type(asked),
            "DescribeLoadBalancerAttributes" | "ModifyLoadBalancerAttributes" => {
                self.balancer_attributes(asked)
            }
            "DescribeCapacityReservation" => self.describe_capacity(asked),
            "ModifyCapacityReservation" => self.modify_capacity(asked),
            "CreateListener" => self.create_listener(asked),
            "DescribeListeners" => self.describe_listeners(asked),
            "ModifyListener" => self.modify_listener(asked),
            "DeleteListener" => self.delete_listener(asked),
            "AddListenerCertificates" => self.add_certificates(asked),
            "RemoveListenerCertificates" => self.remove_certificates(asked),
            "DescribeListenerCertificates" => self.describe_certificates(asked),
            "DescribeListenerAttributes" | "ModifyListenerAttributes" => self.listener_attributes(asked),
            "CreateTargetGroup" => self.create_group(asked),
            "DescribeTargetGroups" => self.describe_groups(asked),
            "ModifyTargetGroup" => self.modify_group(asked),
            "DeleteTargetGroup" => self.delete_group(asked),
            "DescribeTargetGroupAttributes" | "ModifyTargetGroupAttributes" => self.group_attributes(asked),
            "RegisterTargets" => self.register(asked),
            "DeregisterTargets" => self.deregister(asked),
            "DescribeTargetHealth" => self.describe_health(asked),
            "AddTags" => self.add_tags(asked),
            "RemoveTags" => self.remove_tags(asked),
            "DescribeTags" => self.describe_tags(asked),
            _ => return Ok(None),
        }
        .map(Some)
    }

    /// Tells moto of a call, after an edit, and gives what it answers.
    fn tell(&self, asked: &Asked<'_>, edit: impl FnOnce(&mut Parameters)) -> Result<Element, Refusal> {
        let mut parameters = asked.parameters.clone();
        edit(&mut parameters);
        for value in parameters.0.values_mut() {
            *value = of_moto(value);
        }
        self.moto.ask(SERVICE, asked.region, &parameters)
    }

    /// Hands a call over that only moto knows, with the ARNs as each side spells them.
    fn pass(&self, asked: &Asked<'_>) -> Answer {
        let body = of_moto(&asked.parameters.encode());
        let answer = self.moto.forward(SERVICE, &Request::query(SERVICE, asked.region, body));
        let text = String::from_utf8_lossy(&answer.body);
        match Element::parse(&text) {
            Ok(_) => Answer { body: of_aws(&text).into_bytes(), ..answer },
            // A page instead of a document: moto does not know the action.
            Err(_) => Refusal::of_moto(&answer).answer(SERVICE),
        }
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Whether a load balancer is in that security group.
    pub(crate) fn uses_group(&self, group: &str) -> bool {
        self.balancers.values().any(|b| b.has_group(group))
    }

    /// Gives a load balancer a state, such as `failed`, whatever it would be in.
    pub(crate) fn set_state(&mut self, arn: &str, state: &str) -> bool {
        let found = self.balancers.get_mut(arn);
        found.map(|b| b.state = Some(state.to_owned())).is_some()
    }
}

/// The ARNs of network load balancers say `net`; moto's say `app` for all kinds (clouds.md §3.1). All load balancers here
/// are network ones, so the rewriting needs no table. The second pair is the form-encoded spelling.
const SPELLINGS: [(&str, &str); 4] = [
    (":loadbalancer/net/", ":loadbalancer/app/"),
    (":listener/net/", ":listener/app/"),
    ("%3Aloadbalancer%2Fnet%2F", "%3Aloadbalancer%2Fapp%2F"),
    ("%3Alistener%2Fnet%2F", "%3Alistener%2Fapp%2F"),
];

fn of_moto(text: &str) -> String {
    SPELLINGS.iter().fold(text.to_owned(), |text, (aws, moto)| text.replace(aws, moto))
}

fn of_aws(text: &str) -> String {
    SPELLINGS.iter().fold(text.to_owned(), |text, (aws, moto)| text.replace(moto, aws))
}

/// What a describing call gives: all that was asked for, each with its place in the order of creation.
///
/// API reference, `DescribeLoadBalancers` and `DescribeTargetGroups`: `PageSize` is 1 to 400; without it a page holds 400.
fn page(asked: &Asked<'_>, list: &str, mut found: Vec<(u64, Element)>) -> Result<Element, Refusal> {
    let size = asked.parameters.number("PageSize")?.unwrap_or(400_usize);
    if !(1..=400).contains(&size) {
        return refuse("ValidationError", format!("PageSize must be between 1 and 400, and is {size}"));
    }
    let after = asked.parameters.number("Marker")?.unwrap_or(0_u64);
    found.sort_by_key(|(sequence, _)| *sequence);
    found.retain(|(sequence, _)| *sequence > after);
    let more = found.len() > size;
    found.truncate(size);
    let marker = found.last().filter(|_| more).map(|(sequence, _)| *sequence);
    let members: Vec<Element> = found.into_iter().map(|(_, element)| element).collect();
    Ok(Element::new("Result").list(list, members).leaf_if("NextMarker", marker))
}

/// The name that a network load balancer or a target group may have. API reference, `CreateLoadBalancer`: at most 32
/// letters, digits and hyphens, no hyphen at either end, no `internal-` in front.
fn check_name(kind: &str, name: &str) -> Result<(), Refusal> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let ends = name.starts_with('-') || name.ends_with('-') || name.starts_with("internal-");
    if name.is_empty() || name.len() > 32 {
        return refuse(
            "ValidationError",
            format!("{kind} name '{name}' cannot be longer than '32' characters"),
        );
    }
    if !plain || ends {
        return refuse(
            "ValidationError",
            format!("{kind} name '{name}' has characters that it cannot have there"),
        );
    }
    Ok(())
}

fn balancer_not_found<T>() -> Result<T, Refusal> {
    refuse("LoadBalancerNotFound", "One or more load balancers not found")
}

fn listener_not_found<T>() -> Result<T, Refusal> {
    refuse("ListenerNotFound", "One or more listeners not found")
}

fn group_not_found<T>() -> Result<T, Refusal> {
    refuse("TargetGroupNotFound", "One or more target groups not found")
}
