//! The double against what AWS documents, over plain HTTP, one test for each duty.

mod front;
mod listeners;
mod load_balancers;
mod networks;
mod tags;
mod target_groups;

use landfall_aws_double::{Double, Place};

const REGION: &str = "eu-central-1";
const A: &str = "eu-central-1a";
const B: &str = "eu-central-1b";

/// A double with a place in two zones.
struct Bed {
    aws: Double,
    place: Place,
}

/// A document that was answered.
struct Document(String);

impl Document {
    /// The texts of all elements of a name, in order.
    fn all(&self, name: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(&self.0).expect("answers are XML");
        let named = document.descendants().filter(|n| n.tag_name().name() == name);
        named.map(|n| n.text().unwrap_or_default().to_owned()).collect()
    }

    /// The text of the only element of a name.
    fn one(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {}", self.0);
        all.remove(0)
    }

    /// The value beside a key.
    fn value(&self, key: &str) -> Option<String> {
        self.all("Key").iter().position(|k| k == key).map(|n| self.all("Value").remove(n))
    }
}

impl Bed {
    fn new() -> Self {
        let aws = Double::start().expect("moto starts");
        let place = aws.place(REGION, &[A, B]).expect("the region has these zones");
        Self { aws, place }
    }

    /// A call that must succeed.
    fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Document {
        self.call("elasticloadbalancing", action, parameters).unwrap_or_else(|e| panic!("{action}: {e}"))
    }

    /// A call that must be refused; gives the code.
    fn refused(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        match self.call("elasticloadbalancing", action, parameters) {
            Ok(document) => panic!("{action} succeeded: {}", document.0),
            Err(code) => code,
        }
    }

    fn call(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<Document, String> {
        let (status, body) = self.aws.call(service, REGION, action, parameters).expect("the front answers");
        let document = Document(body);
        if status == 200 { Ok(document) } else { Err(document.one("Code")) }
    }

    fn subnet(&self, zone: usize) -> &str {
        &self.place.zones[zone].public
    }

    /// An internet-facing load balancer in the first zone, without security groups. Gives its ARN.
    fn balancer(&self, name: &str) -> String {
        let settings = [("Name", name), ("Type", "network"), ("Subnets.member.1", self.subnet(0))];
        self.ok("CreateLoadBalancer", &settings).one("LoadBalancerArn")
    }

    /// A group of `ip` targets. Gives its ARN.
    fn group(&self, name: &str, protocol: &str) -> String {
        let settings = [
            ("Name", name),
            ("Protocol", protocol),
            ("Port", "8080"),
            ("VpcId", &self.place.vpc),
            ("TargetType", "ip"),
        ];
        self.ok("CreateTargetGroup", &settings).one("TargetGroupArn")
    }

    /// A listener. Gives its ARN.
    fn listener(&self, balancer: &str, protocol: &str, port: &str, group: &str) -> String {
        let settings = listening(balancer, protocol, port, group);
        self.ok("CreateListener", &settings).one("ListenerArn")
    }
}

/// The parameters of a listener that forwards to a group.
fn listening<'a>(
    balancer: &'a str,
    protocol: &'a str,
    port: &'a str,
    group: &'a str,
) -> [(&'static str, &'a str); 5] {
    [
        ("LoadBalancerArn", balancer),
        ("Protocol", protocol),
        ("Port", port),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", group),
    ]
}

/// The parameters that set one attribute of a resource; the first says which kind it is, such as `ListenerArn`.
fn attribute<'a>(
    of: &'static str,
    arn: &'a str,
    key: &'a str,
    value: &'a str,
) -> [(&'static str, &'a str); 3] {
    [(of, arn), ("Attributes.member.1.Key", key), ("Attributes.member.1.Value", value)]
}
