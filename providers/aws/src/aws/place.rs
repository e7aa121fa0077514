//! Region and VPC: from flags, environment, the nodes, and instance metadata at last; each may be missing.

use aws_config::{SdkConfig, imds};
use aws_sdk_ec2::types::Filter;
use landfall_aws_plan::{InstanceId, Node};

use super::client::{Clients, Options, configuration};

/// Where load balancers are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Region, such as `eu-west-1`.
    pub(crate) region: String,
    /// VPC, such as `vpc-0a1b`.
    pub(crate) vpc: String,
}

/// Why it is not known where load balancers are made. All of these may end without a change of ours, so it is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    /// No region.
    #[error(
        "the region is not known: set --aws-region or AWS_REGION; no node has the label topology.kubernetes.io/region, and there \
         is no instance metadata"
    )]
    Region,
    /// No VPC.
    #[error(
        "the VPC is not known: set --aws-vpc-id; no node's spec.providerID names an instance of region {0} whose VPC AWS tells, \
         and there is no instance metadata"
    )]
    Vpc(String),
    /// `--aws-vpc-tags` do not name one VPC.
    #[error("--aws-vpc-tags fit {0} VPCs of the region, not one: set --aws-vpc-id")]
    VpcTags(usize),
    /// AWS refuses to tell.
    #[error("AWS does not tell the VPC: {code}: {message}")]
    Refused {
        /// AWS's error code.
        code: String,
        /// What AWS says.
        message: String,
    },
}

/// The label with a node's region.
const REGION: &str = "topology.kubernetes.io/region";

impl Options {
    /// Finds the place, and connects to it.
    pub(crate) async fn connect(&self, nodes: &[Node]) -> Result<(Place, Clients), PlaceError> {
        let told = self.region.clone().or_else(|| {
            let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
            set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"))
        });
        let config = configuration(told.or_else(|| region_of(nodes)), &self.endpoints).await;
        let region = config.region().map(ToString::to_string).ok_or(PlaceError::Region)?;
        let clients = Clients::new(&config, &self.endpoints);
        let vpc = match &self.vpc {
            Some(vpc) => vpc.clone(),
            None => self.find_vpc(&config, &clients, &region, nodes).await?,
        };
        Ok((Place { region, vpc }, clients))
    }

    async fn find_vpc(
        &self,
        config: &SdkConfig,
        clients: &Clients,
        region: &str,
        nodes: &[Node],
    ) -> Result<String, PlaceError> {
        if !self.vpc_tags.is_empty() {
            let filters = self.vpc_tags.iter();
            let filters = filters
                .map(|(key, value)| Filter::builder().name(format!("tag:{key}")).values(value).build());
            let request = clients.ec2.describe_vpcs().set_filters(Some(filters.collect()));
            let answer = request.send().await.map_err(|error| refused(super::failure::of(&error)))?;
            let ids: Vec<&str> = answer.vpcs().iter().filter_map(|vpc| vpc.vpc_id()).collect();
            return match ids.as_slice() {
                [only] => Ok((*only).to_owned()),
                other => Err(PlaceError::VpcTags(other.len())),
            };
        }
        let instances: Vec<InstanceId> = nodes.iter().filter_map(Node::instance).take(5).collect();
        if !instances.is_empty() {
            let values = instances.iter().map(|id| id.as_str().to_owned()).collect();
            let filter = Filter::builder().name("instance-id").set_values(Some(values)).build();
            let request = clients.ec2.describe_instances().filters(filter);
            let answer = request.send().await.map_err(|error| refused(super::failure::of(&error)))?;
            let mut found = answer.reservations().iter().flat_map(|reservation| reservation.instances());
            if let Some(vpc) = found.find_map(|instance| instance.vpc_id()) {
                return Ok(vpc.to_owned());
            }
        }
        own_vpc(config).await.ok_or_else(|| PlaceError::Vpc(region.to_owned()))
    }
}

fn refused(failure: landfall_aws_plan::Failure) -> PlaceError {
    PlaceError::Refused { code: failure.code, message: failure.message }
}

/// The region that the nodes' labels or provider ids (`aws:///ZONE/INSTANCE`) name.
fn region_of(nodes: &[Node]) -> Option<String> {
    let labelled = nodes.iter().find_map(|node| node.labels.get(REGION)).map(|region| region.to_string());
    labelled.or_else(|| nodes.iter().find_map(region_of_zone))
}

/// A zone begins with its region, which ends with its first number: `us-gov-west-1a`, `us-west-2-lax-1a`.
fn region_of_zone(node: &Node) -> Option<String> {
    let zone = node.provider_id.strip_prefix("aws:///")?.split('/').next()?;
    let digit = zone.find(|letter: char| letter.is_ascii_digit())?;
    let digits = zone[digit..].bytes().take_while(u8::is_ascii_digit).count();
    Some(zone[..digit + digits].to_owned())
}

/// The VPC of this machine's first interface, from instance metadata.
async fn own_vpc(config: &SdkConfig) -> Option<String> {
    let provider = aws_config::provider_config::ProviderConfig::without_region();
    let provider = match config.http_client() {
        Some(client) => provider.with_http_client(client),
        None => provider,
    };
    let client = imds::Client::builder().configure(&provider).max_attempts(1).build();
    let mac = client.get("/latest/meta-data/mac").await.ok()?;
    let path = format!("/latest/meta-data/network/interfaces/macs/{}/vpc-id", mac.as_ref().trim());
    let vpc = client.get(path).await.ok()?;
    Some(vpc.as_ref().trim().to_owned()).filter(|vpc| vpc.starts_with("vpc-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use landfall_aws_plan::Readiness;

    use super::*;

    fn node(provider: &str, region: Option<&str>) -> Node {
        let labels = region.map(|region| (REGION.into(), region.into()));
        Node {
            name: "n1".into(),
            labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
            provider_id: provider.into(),
            taints: Vec::new(),
            ready: Readiness::Ready,
        }
    }

    #[test]
    fn nodes_tell_the_region_by_label_or_zone() {
        let label = node("", Some("cn-north-1"));
        let zone = node("aws:///ap-northeast-2c/i-01", None);
        assert_eq!(region_of(&[zone.clone(), label]), Some("cn-north-1".to_owned()));
        assert_eq!(region_of(&[node("kind://x", None), zone]), Some("ap-northeast-2".to_owned()));
        for (other, expected) in [
            ("", None),
            ("aws:///local/i-1", None),
            ("gce://project/zone/x", None),
            ("aws:///us-west-2-lax-1a/i-1", Some("us-west-2")),
            ("aws:///us-gov-west-1b/i-1", Some("us-gov-west-1")),
        ] {
            assert_eq!(region_of(&[node(other, None)]).as_deref(), expected, "{other}");
        }
    }
}
