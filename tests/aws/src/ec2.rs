//! EC2: what moto gets wrong, and what load balancers ask about networks, groups and instances. All else passes through.

use std::collections::BTreeMap;

use crate::{
    front::Front,
    moto::Moto,
    query::Parameters,
    refusal::{Refusal, refuse},
    wire::{Answer, Request},
    xml::Element,
};

/// The version of the API that own questions speak.
pub(crate) const VERSION: &str = "2016-11-15";

pub(crate) fn answer(
    front: &Front,
    region: &str,
    action: &str,
    parameters: &Parameters,
    request: &Request,
) -> Answer {
    let answer = carry_out(front, region, action, parameters, request);
    if changes_places(action) {
        front.moto.forget();
    }
    answer
}

fn carry_out(
    front: &Front,
    region: &str,
    action: &str,
    parameters: &Parameters,
    request: &Request,
) -> Answer {
    match action {
        "DeleteSecurityGroup" => {
            // Held until the group is gone, so that no load balancer begins to use it in between.
            let elb = front.elb();
            let unused = match parameters.get("GroupId") {
                Some(group) if elb.uses_group(group) => refuse_in_use(group),
                Some(group) => unreferenced(&front.moto, region, group),
                None => Ok(()),
            };
            match unused {
                Ok(()) => front.moto.forward("ec2", request),
                Err(refusal) => refusal.answer("ec2"),
            }
        }
        "DescribeSubnets" => associated(front.moto.forward("ec2", request)),
        _ => front.moto.forward("ec2", request),
    }
}

/// API reference, `DeleteSecurityGroup`: a group that an interface or another group's rule refers to is refused with
/// `DependencyViolation`. moto deletes it (clouds.md §3.1).
fn refuse_in_use(group: &str) -> Result<(), Refusal> {
    refuse("DependencyViolation", format!("resource {group} has a dependent object"))
}

fn unreferenced(moto: &Moto, region: &str, group: &str) -> Result<(), Refusal> {
    let groups = moto.ask("ec2", region, &Parameters::call("DescribeSecurityGroups", VERSION, &[]))?;
    let refers = |other: &Element| {
        other.at("groupId") != Some(group)
            && ["ipPermissions", "ipPermissionsEgress"]
                .iter()
                .flat_map(|rules| other.items(rules))
                .flat_map(|rule| rule.items("groups"))
                .any(|pair| pair.at("groupId") == Some(group))
    };
    if groups.items("securityGroupInfo").iter().any(refers) {
        return refuse_in_use(group);
    }
    let filter = [("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group)];
    let interfaces =
        moto.ask("ec2", region, &Parameters::call("DescribeNetworkInterfaces", VERSION, &filter))?;
    if interfaces.items("networkInterfaceSet").is_empty() { Ok(()) } else { refuse_in_use(group) }
}

/// moto writes a dictionary where the state of an IPv6 association belongs (clouds.md §3.1); every one it keeps is
/// associated.
fn associated(answer: Answer) -> Answer {
    let text = String::from_utf8_lossy(&answer.body);
    let Ok((mut root, namespace)) = Element::parse(&text) else { return answer };
    let subnets = root.children.iter_mut().filter(|c| c.name == "subnetSet").flat_map(|s| &mut s.children);
    let sets = subnets.flat_map(|s| &mut s.children).filter(|c| c.name == "ipv6CidrBlockAssociationSet");
    let states = sets
        .flat_map(|s| &mut s.children)
        .flat_map(|item| &mut item.children)
        .filter(|c| c.name == "ipv6CidrBlockState");
    for state in states {
        state.text.clear();
        state.children =
            vec![Element { name: "state".to_owned(), text: "associated".to_owned(), children: vec![] }];
    }
    Answer::xml(answer.status, root.document(&namespace))
}

/// What a load balancer must know of a subnet.
pub(crate) struct Subnet {
    pub(crate) zone: String,
    pub(crate) vpc: String,
    /// Whether it has an IPv6 range.
    pub(crate) ipv6: bool,
}

/// Looks subnets up by id.
pub(crate) fn subnets(moto: &Moto, region: &str, ids: &[&str]) -> Result<BTreeMap<String, Subnet>, Refusal> {
    let answer = numbered(moto, region, "DescribeSubnets", "SubnetId", ids)
        .map_err(|r| Refusal { code: "SubnetNotFound".to_owned(), ..r })?;
    let text = |item: &Element, path| item.at(path).unwrap_or_default().to_owned();
    let subnet = |item: &Element| {
        let ipv6 = !item.items("ipv6CidrBlockAssociationSet").is_empty();
        let subnet = Subnet { zone: text(item, "availabilityZone"), vpc: text(item, "vpcId"), ipv6 };
        (text(item, "subnetId"), subnet)
    };
    Ok(answer.items("subnetSet").iter().map(subnet).collect())
}

/// Refuses security groups that do not exist.
pub(crate) fn security_groups(moto: &Moto, region: &str, ids: &[&str]) -> Result<(), Refusal> {
    if ids.is_empty() {
        return Ok(());
    }
    numbered(moto, region, "DescribeSecurityGroups", "GroupId", ids)
        .map(drop)
        .map_err(|r| Refusal { code: "InvalidSecurityGroup".to_owned(), ..r })
}

/// The public address of an allocation.
pub(crate) fn public_address(moto: &Moto, region: &str, allocation: &str) -> Result<String, Refusal> {
    let answer = numbered(moto, region, "DescribeAddresses", "AllocationId", &[allocation])
        .map_err(|r| Refusal { code: "AllocationIdNotFound".to_owned(), ..r })?;
    let address = answer.items("addressesSet").first().and_then(|a| a.at("publicIp"));
    Ok(address.unwrap_or_default().to_owned())
}

/// Refuses instances that do not exist, do not run or are of another VPC, as `RegisterTargets` does with `InvalidTarget`.
pub(crate) fn targets(moto: &Moto, region: &str, vpc: &str, ids: &[&str]) -> Result<(), Refusal> {
    if ids.is_empty() {
        return Ok(());
    }
    let invalid = |r: Refusal| Refusal { code: "InvalidTarget".to_owned(), ..r };
    let answer = numbered(moto, region, "DescribeInstances", "InstanceId", ids).map_err(invalid)?;
    let instances = answer.items("reservationSet").iter().flat_map(|r| r.items("instancesSet"));
    for instance in instances {
        let text = |path| instance.at(path).unwrap_or_default();
        let id = text("instanceId");
        let wrong = if text("vpcId") != vpc {
            format!("The following targets are not in the target group VPC '{vpc}': '{id}'")
        } else if !matches!(text("instanceState/name"), "pending" | "running") {
            format!("The following targets are not in a running state: '{id}'")
        } else {
            continue;
        };
        return refuse("InvalidTarget", wrong);
    }
    Ok(())
}

fn numbered(moto: &Moto, region: &str, action: &str, key: &str, ids: &[&str]) -> Result<Element, Refusal> {
    let mut parameters = Parameters::call(action, VERSION, &[]);
    for (n, id) in ids.iter().enumerate() {
        parameters.set(&format!("{key}.{}", n + 1), *id);
    }
    // Ours alone would be most of what moto does, at 3 ms each.
    match action {
        "DescribeSubnets" | "DescribeInstances" => moto.recall("ec2", region, &parameters),
        _ => moto.ask("ec2", region, &parameters),
    }
}

/// Whether a call may change what is asked of subnets and instances.
fn changes_places(action: &str) -> bool {
    !action.starts_with("Describe") && !action.contains("SecurityGroup")
}
