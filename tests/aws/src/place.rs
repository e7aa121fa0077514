//! A place for load balancers: a VPC with subnets, a group for nodes, instances. Made at moto directly, so that none of it is
//! in the log of calls.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, anyhow, ensure};

use crate::{Double, ec2, query::Parameters, wire::Request, xml::Element};

/// The cluster that the node security group of a [`Place`] is tagged for.
pub const CLUSTER: &str = "bed";

/// A VPC `10.0.0.0/16`, with an IPv6 range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The region that all of it is in.
    pub region: String,
    /// The VPC's id.
    pub vpc: String,
    /// Its IPv4 range.
    pub cidr: String,
    /// Its zones, in the order in which they were asked for.
    pub zones: Vec<Zone>,
    /// The security group of the nodes, tagged `kubernetes.io/cluster/` and [`CLUSTER`] with `owned`.
    pub node_group: String,
}

/// A zone with two subnets, `10.0.n.0/24` and `10.0.100+n.0/24`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name, such as `eu-central-1a`.
    pub name: String,
    /// A subnet with a route to the internet, an IPv6 range, and the tag `kubernetes.io/role/elb`.
    pub public: String,
    /// A subnet without these, and the tag `kubernetes.io/role/internal-elb`.
    pub private: String,
}

impl Double {
    /// Makes a VPC with a public and a private subnet in each zone, an internet gateway and its route, and a security group
    /// for nodes.
    ///
    /// # Errors
    ///
    /// If moto refuses a step, for instance a zone that the region does not have.
    pub fn place(&self, region: &str, zones: &[&str]) -> Result<Place> {
        let cidr = "10.0.0.0/16";
        let made =
            self.ec2(region, "CreateVpc", &[("CidrBlock", cidr), ("AmazonProvidedIpv6CidrBlock", "true")])?;
        let vpc = text(&made, "vpc/vpcId")?;
        let associations = made.items("vpc/ipv6CidrBlockAssociationSet");
        let ipv6 =
            associations.first().and_then(|a| a.at("ipv6CidrBlock")).context("the VPC has no IPv6 range")?;
        let ipv6: Ipv6Addr = ipv6.split('/').next().unwrap_or_default().parse()?;

        let gateway =
            text(&self.ec2(region, "CreateInternetGateway", &[])?, "internetGateway/internetGatewayId")?;
        self.ec2(region, "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)])?;
        let table =
            text(&self.ec2(region, "CreateRouteTable", &[("VpcId", &vpc)])?, "routeTable/routeTableId")?;
        for destination in [("DestinationCidrBlock", "0.0.0.0/0"), ("DestinationIpv6CidrBlock", "::/0")] {
            let route = [("RouteTableId", table.as_str()), destination, ("GatewayId", &gateway)];
            self.ec2(region, "CreateRoute", &route)?;
        }

        let mut placed = Vec::new();
        for (n, zone) in zones.iter().enumerate() {
            let range = Ipv6Addr::from_bits(ipv6.to_bits() | (n as u128) << 64);
            let range = format!("{range}/64");
            let public = [("CidrBlock", format!("10.0.{n}.0/24")), ("Ipv6CidrBlock", range)];
            let public = self.subnet(region, &vpc, zone, &public)?;
            self.ec2(region, "AssociateRouteTable", &[("RouteTableId", &table), ("SubnetId", &public)])?;
            self.tag(region, &public, "kubernetes.io/role/elb", "1")?;
            let private = [("CidrBlock", format!("10.0.{}.0/24", 100 + n))];
            let private = self.subnet(region, &vpc, zone, &private)?;
            self.tag(region, &private, "kubernetes.io/role/internal-elb", "1")?;
            placed.push(Zone { name: (*zone).to_owned(), public, private });
        }

        let group = [("GroupName", "nodes"), ("GroupDescription", "nodes of a cluster"), ("VpcId", &vpc)];
        let node_group = text(&self.ec2(region, "CreateSecurityGroup", &group)?, "groupId")?;
        self.tag(region, &node_group, &format!("kubernetes.io/cluster/{CLUSTER}"), "owned")?;
        Ok(Place { region: region.to_owned(), vpc, cidr: cidr.to_owned(), zones: placed, node_group })
    }

    /// Starts an instance in the private subnet of a zone, in the node security group. Gives its id and private address.
    ///
    /// # Errors
    ///
    /// If the place does not have the zone, or moto refuses.
    pub fn instance(&self, place: &Place, zone: &str) -> Result<(String, String)> {
        let zone = place
            .zones
            .iter()
            .find(|z| z.name == zone)
            .with_context(|| format!("the place has no zone {zone}"))?;
        let wanted = [
            ("ImageId", "ami-12c6146b"),
            ("InstanceType", "t3.micro"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("SubnetId", &zone.private),
            ("SecurityGroupId.1", &place.node_group),
        ];
        let made = self.ec2(&place.region, "RunInstances", &wanted)?;
        let instance = made.items("instancesSet").first().context("moto started no instance")?;
        Ok((text(instance, "instanceId")?, text(instance, "privateIpAddress")?))
    }

    /// Requests a certificate from ACM, which issues it at once. Gives its ARN.
    ///
    /// # Errors
    ///
    /// If moto refuses.
    pub fn certificate(&self, region: &str, domain: &str) -> Result<String> {
        let body = format!("{{\"DomainName\":{domain:?},\"ValidationMethod\":\"DNS\"}}");
        let request = Request::json("acm", region, "CertificateManager.RequestCertificate", body);
        let answer = self.front.moto.forward("acm", &request);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(answer.status == 200, "RequestCertificate: {text}");
        let arn = text.split('"').find(|part| part.starts_with("arn:"));
        Ok(arn.with_context(|| format!("no ARN in {text}"))?.to_owned())
    }

    fn subnet(&self, region: &str, vpc: &str, zone: &str, ranges: &[(&str, String)]) -> Result<String> {
        let mut wanted = vec![("VpcId", vpc), ("AvailabilityZone", zone)];
        wanted.extend(ranges.iter().map(|(key, range)| (*key, range.as_str())));
        text(&self.ec2(region, "CreateSubnet", &wanted)?, "subnet/subnetId")
    }

    fn tag(&self, region: &str, id: &str, key: &str, value: &str) -> Result<()> {
        let wanted = [("ResourceId.1", id), ("Tag.1.Key", key), ("Tag.1.Value", value)];
        self.ec2(region, "CreateTags", &wanted).map(drop)
    }

    fn ec2(&self, region: &str, action: &str, pairs: &[(&str, &str)]) -> Result<Element> {
        let parameters = Parameters::call(action, ec2::VERSION, pairs);
        let made = self.front.moto.ask("ec2", region, &parameters);
        made.map_err(|r| anyhow!("{action}: {} ({})", r.message, r.code))
    }
}

fn text(element: &Element, path: &str) -> Result<String> {
    Ok(element.at(path).with_context(|| format!("moto's answer has no {path}"))?.to_owned())
}
