//! `actions.<PROTO>-<port>`: a JSON object, the same as that of the AWS Load Balancer Controller.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reader::Reader;
use crate::{Action, TargetPort, Weighted, WeightedTo};

/// The largest weight. API reference, `TargetGroupTuple`.
const MOST: u16 = 999;
/// The weight where none is told.
const DEFAULT: u16 = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    r#type: String,
    forward_config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    base_service_weight: Option<u16>,
    #[serde(default)]
    target_groups: Vec<Group>,
    target_group_stickiness_config: Option<Stickiness>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    #[serde(rename = "targetGroupARN")]
    arn: Option<String>,
    service_name: Option<String>,
    service_port: Option<Port>,
    decrypt: Option<bool>,
    weight: Option<u16>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Name(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stickiness {
    enabled: Option<bool>,
}

/// All actions, by protocol and port of their listener. One that shares nothing is left out.
pub(super) fn read(read: &mut Reader<'_>) -> BTreeMap<(String, u16), Action> {
    let mut actions = BTreeMap::new();
    for (name, suffix) in read.suffixed("actions.") {
        let Some(key) = super::listener_key(&suffix) else {
            read.refuse_as_written(&name, "end its name with a protocol and a port, like TCP-80");
            continue;
        };
        match action(read.text(&name).unwrap_or_default()) {
            Ok(Some(action)) => _ = actions.insert(key, action),
            Ok(None) => {}
            Err(why) => read.refuse_as_written(&name, &format!("failed to parse json annotation; {why}")),
        }
    }
    actions
}

fn action(text: &str) -> Result<Option<Action>, String> {
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if written.r#type != "forward" {
        return Err("the only type of a Network Load Balancer is forward".to_owned());
    }
    let Some(Config { base_service_weight, target_groups, target_group_stickiness_config }) =
        written.forward_config
    else {
        return Ok(None);
    };
    if target_groups.len() > 1 && target_groups.iter().any(|group| group.weight.is_none()) {
        return Err("weight must be set when routing to multiple target groups".to_owned());
    }
    let base = weight(base_service_weight)?;
    let others = target_groups.into_iter().map(weighted).collect::<Result<Vec<_>, _>>()?;
    let sticky = target_group_stickiness_config.and_then(|config| config.enabled).unwrap_or(false);
    Ok((!others.is_empty()).then_some(Action { base, others, sticky }))
}

fn weighted(group: Group) -> Result<Weighted, String> {
    let Group { arn, service_name, service_port, decrypt, weight } = group;
    let to = match (arn, service_name, service_port) {
        (Some(arn), None, _) => WeightedTo::Group(arn.into()),
        (None, Some(name), Some(port)) => WeightedTo::Service {
            name: name.into(),
            port: match port {
                Port::Number(number) => TargetPort::Number(number),
                Port::Name(name) => TargetPort::Name(name.into()),
            },
            decrypt: decrypt.unwrap_or(false),
        },
        (None, Some(_), None) => return Err("missing servicePort".to_owned()),
        _ => return Err("precisely one of targetGroupARN and serviceName can be specified".to_owned()),
    };
    Ok(Weighted { to, weight: self::weight(weight)? })
}

fn weight(weight: Option<u16>) -> Result<u16, String> {
    match weight.unwrap_or(DEFAULT) {
        weight if weight <= MOST => Ok(weight),
        weight => Err(format!("a weight is 0 to {MOST}, and not {weight}")),
    }
}
