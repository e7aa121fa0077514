//! deploy/overlays/aws/iam-policy.json: the least rights in AWS, written from the calls that the provider makes.
//! `LANDFALL_BLESS=1` writes it anew.

use std::collections::BTreeSet;

use landfall_aws_plan::{iam::actions, tags::CLUSTER};
use serde_json::{Value, json};

/// How an action may be limited.
enum Limit {
    /// It knows no resource, or those of others have to be read or opened too.
    None,
    /// The object carries the cluster's tag.
    Tagged,
    /// The object is made with the cluster's tag.
    MadeTagged,
    /// Tags of an object of the cluster, but never the cluster's.
    Tags(&'static [&'static str]),
    /// Targets of target groups.
    Targets,
    /// The role by which Elastic Load Balancing itself acts.
    ServiceRole,
}

fn limit(action: &str) -> Limit {
    match action {
        "iam:CreateServiceLinkedRole" => Limit::ServiceRole,
        "ec2:CreateTags" | "ec2:DeleteTags" => Limit::Tags(&["arn:aws:ec2:*:*:security-group/*"]),
        "elasticloadbalancing:AddTags" | "elasticloadbalancing:RemoveTags" => Limit::Tags(&[
            "arn:aws:elasticloadbalancing:*:*:targetgroup/*/*",
            "arn:aws:elasticloadbalancing:*:*:loadbalancer/net/*/*",
            "arn:aws:elasticloadbalancing:*:*:listener/net/*/*/*",
        ]),
        "elasticloadbalancing:CreateLoadBalancer" | "elasticloadbalancing:CreateTargetGroup" => {
            Limit::MadeTagged
        }
        "elasticloadbalancing:RegisterTargets" | "elasticloadbalancing:DeregisterTargets" => Limit::Targets,
        "ec2:DeleteSecurityGroup"
        | "elasticloadbalancing:DeleteLoadBalancer"
        | "elasticloadbalancing:DeleteTargetGroup"
        | "elasticloadbalancing:ModifyCapacityReservation"
        | "elasticloadbalancing:ModifyLoadBalancerAttributes"
        | "elasticloadbalancing:ModifyListenerAttributes"
        | "elasticloadbalancing:ModifyTargetGroup"
        | "elasticloadbalancing:ModifyTargetGroupAttributes"
        | "elasticloadbalancing:SetIpAddressType"
        | "elasticloadbalancing:SetSecurityGroups"
        | "elasticloadbalancing:SetSubnets" => Limit::Tagged,
        // Groups of nodes and listeners of adopted load balancers carry no tag of ours.
        _ => Limit::None,
    }
}

/// A condition that the cluster's tag is there, or not, on `what`: `RequestTag` or `ResourceTag`.
fn tag(what: &str, there: bool) -> (String, Value) {
    (format!("aws:{what}/{CLUSTER}"), json!(if there { "false" } else { "true" }))
}

fn allow(id: &str, actions: &[&str], resources: &[&str], null: &[(String, Value)], equal: &Value) -> Value {
    let mut statement = json!({ "Sid": id, "Effect": "Allow", "Action": actions, "Resource": resources });
    if !null.is_empty() {
        let null: serde_json::Map<String, Value> = null.iter().cloned().collect();
        statement["Condition"]["Null"] = Value::Object(null);
    }
    if !equal.is_null() {
        statement["Condition"]["StringEquals"] = equal.clone();
    }
    statement
}

fn policy() -> Value {
    let of = |wanted: fn(&Limit) -> bool| -> Vec<&str> {
        actions().into_iter().filter(|action| wanted(&limit(action))).collect()
    };
    let any = &["*"][..];
    let mut statements = vec![
        allow("Open", &of(|limit| matches!(limit, Limit::None)), any, &[], &Value::Null),
        allow(
            "OfTheCluster",
            &of(|limit| matches!(limit, Limit::Tagged)),
            any,
            &[tag("ResourceTag", true)],
            &Value::Null,
        ),
        allow(
            "ForTheCluster",
            &of(|limit| matches!(limit, Limit::MadeTagged)),
            any,
            &[tag("RequestTag", true)],
            &Value::Null,
        ),
        allow(
            "Targets",
            &of(|limit| matches!(limit, Limit::Targets)),
            &["arn:aws:elasticloadbalancing:*:*:targetgroup/*/*"],
            &[],
            &Value::Null,
        ),
        allow(
            "ServiceRole",
            &of(|limit| matches!(limit, Limit::ServiceRole)),
            any,
            &[],
            &json!({ "iam:AWSServiceName": "elasticloadbalancing.amazonaws.com" }),
        ),
    ];
    for (service, id) in [("ec2:", "Groups"), ("elasticloadbalancing:", "LoadBalancers")] {
        let tagging: Vec<&str> = of(|limit| matches!(limit, Limit::Tags(_)))
            .into_iter()
            .filter(|action| action.starts_with(service))
            .collect();
        let Limit::Tags(resources) = limit(tagging[0]) else { unreachable!("they were chosen for it") };
        let later = [tag("RequestTag", false), tag("ResourceTag", true)];
        statements.push(allow(&format!("TagsOf{id}"), &tagging, resources, &later, &Value::Null));
        let adding: Vec<&str> = tagging
            .into_iter()
            .filter(|action| matches!(*action, "ec2:CreateTags" | "elasticloadbalancing:AddTags"))
            .collect();
        let made: BTreeSet<&str> = actions()
            .into_iter()
            .filter_map(|action| action.strip_prefix(service))
            .filter(|action| action.starts_with("Create") && *action != "CreateTags")
            .collect();
        let equal = json!({ format!("{service}CreateAction"): made });
        statements.push(allow(
            &format!("TagsOfNew{id}"),
            &adding,
            resources,
            &[tag("RequestTag", true)],
            &equal,
        ));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[test]
fn the_policy_is_that_of_the_calls() {
    let policy = policy();
    let mut granted = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        granted.extend(statement["Action"].as_array().unwrap().iter().filter_map(Value::as_str));
    }
    assert_eq!(granted, actions(), "each action once at least, and no other");
    let text = serde_json::to_string_pretty(&policy).unwrap();
    super::is_up_to_date("../../deploy/overlays/aws/iam-policy.json", &format!("{text}\n"));
}
