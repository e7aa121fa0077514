//! The complete listing, whose cost does not depend on how many Services ask.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::Filter;
use aws_sdk_elasticloadbalancingv2::types as elb;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use landfall_aws_plan::{
    Failure, InstanceId, Interface, Listing, LoadBalancerArn, LoadBalancerState, Map, SecurityGroup, Subnet,
};

use super::{
    Aws,
    describe::{call, pages},
    failure, read,
};

/// The largest page of Elastic Load Balancing.
const PAGE: i32 = 400;
/// The largest page of EC2.
const EC2_PAGE: i32 = 1000;
/// ARNs in one `DescribeTags` or `DescribeLoadBalancers`.
const ARNS_PER_CALL: usize = 20;
/// So many states are asked for by ARN.
const STATES_BY_ARN: usize = 2 * ARNS_PER_CALL;
/// Calls for tags at the same time.
const AT_ONCE: usize = 4;

impl Aws {
    pub(super) async fn list(&self) -> Result<Listing, Failure> {
        let mut load_balancers = self.load_balancers().await?;
        let mut target_groups = self.target_groups().await?;
        // Tags take most of the calls: those of Application Load Balancers are nobody's business here.
        load_balancers.retain(read::is_network);
        target_groups.retain(read::is_for_network);
        let arns = load_balancers.iter().filter_map(|lb| lb.load_balancer_arn());
        let arns = arns.chain(target_groups.iter().filter_map(|group| group.target_group_arn()));
        let mut tags = self.tags(arns.map(str::to_owned).collect()).await?;
        let subnets = self.subnets().await?;
        let mut tags_of = |arn: Option<&str>| arn.and_then(|arn| tags.remove(arn)).unwrap_or_default();
        Ok(Listing {
            load_balancers: load_balancers
                .iter()
                .filter_map(|lb| read::load_balancer(lb, tags_of(lb.load_balancer_arn())))
                .collect(),
            target_groups: target_groups
                .iter()
                .filter_map(|group| read::target_group(group, tags_of(group.target_group_arn())))
                .collect(),
            security_groups: self.security_groups().await?,
            vpc_blocks: self.vpc_blocks(&subnets).await?,
            subnets,
        })
    }

    async fn load_balancers(&self) -> Result<Vec<elb::LoadBalancer>, Failure> {
        let mut all = Vec::new();
        let request = self.clients.elb.describe_load_balancers().page_size(PAGE);
        pages!(self, Describe, "DescribeLoadBalancers", request.clone(), set_marker, next_marker, |page| {
            all.extend(page.load_balancers.unwrap_or_default());
        });
        Ok(all)
    }

    async fn target_groups(&self) -> Result<Vec<elb::TargetGroup>, Failure> {
        let mut all = Vec::new();
        let request = self.clients.elb.describe_target_groups().page_size(PAGE);
        pages!(self, Describe, "DescribeTargetGroups", request.clone(), set_marker, next_marker, |page| {
            all.extend(page.target_groups.unwrap_or_default());
        });
        Ok(all)
    }

    /// Tags of objects of Elastic Load Balancing, by ARN.
    pub(super) async fn tags(&self, arns: Vec<String>) -> Result<BTreeMap<String, Map>, Failure> {
        let batches: Vec<Vec<String>> = arns.chunks(ARNS_PER_CALL).map(<[String]>::to_vec).collect();
        let answers = stream::iter(batches).map(async |batch| {
            let request = self.clients.elb.describe_tags().set_resource_arns(Some(batch));
            call!(self, Describe, "DescribeTags", request)
        });
        let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).try_collect().await?;
        let described = answers.into_iter().flat_map(|answer| answer.tag_descriptions.unwrap_or_default());
        Ok(described
            .filter_map(|one| Some((one.resource_arn()?.to_owned(), read::tags(one.tags()))))
            .collect())
    }

    async fn security_groups(&self) -> Result<Vec<SecurityGroup>, Failure> {
        let mut all = Vec::new();
        let request =
            self.clients.ec2.describe_security_groups().filters(self.in_vpc()).max_results(EC2_PAGE);
        pages!(
            self,
            Ec2Describe,
            "DescribeSecurityGroups",
            request.clone(),
            set_next_token,
            next_token,
            |page| {
                all.extend(page.security_groups().iter().filter_map(read::security_group));
            }
        );
        Ok(all)
    }

    async fn subnets(&self) -> Result<Vec<Subnet>, Failure> {
        let request = self.clients.ec2.describe_availability_zones();
        // Without them every zone counts as an availability zone.
        let action = "DescribeAvailabilityZones";
        let zones = self.optional(action, call!(self, Ec2Describe, action, request))?;
        let locales = zones.map(|zones| read::locales(zones.availability_zones())).unwrap_or_default();
        let mut all = Vec::new();
        let request = self.clients.ec2.describe_subnets().filters(self.in_vpc()).max_results(EC2_PAGE);
        pages!(self, Ec2Describe, "DescribeSubnets", request.clone(), set_next_token, next_token, |page| {
            all.extend(page.subnets().iter().filter_map(|subnet| read::subnet(subnet, &locales)));
        });
        Ok(all)
    }

    /// Where AWS refuses to tell them, those of the subnets hold all that is in the VPC. A wrong VPC is an error all the same.
    async fn vpc_blocks(&self, subnets: &[Subnet]) -> Result<Vec<ipnet::IpNet>, Failure> {
        let request = self.clients.ec2.describe_vpcs().vpc_ids(&self.vpc);
        let answer = match call!(self, Ec2Describe, "DescribeVpcs", request) {
            Err(failure) if failure.code.starts_with("InvalidVpcID") => return Err(failure),
            answer => self.optional("DescribeVpcs", answer)?,
        };
        let Some(answer) = answer else {
            return Ok(subnets.iter().flat_map(|subnet| subnet.blocks.iter().copied()).collect());
        };
        let vpc = answer.vpcs().first().ok_or_else(|| failure::unreadable("the VPC"))?;
        Ok(read::vpc_blocks(vpc))
    }

    /// The states of some load balancers; those that are gone are left out. Few are asked for by ARN, many with all others of
    /// the region, which takes fewer calls.
    pub(super) async fn states(
        &self,
        arns: &BTreeSet<LoadBalancerArn>,
    ) -> Result<BTreeMap<LoadBalancerArn, (LoadBalancerState, Option<String>)>, Failure> {
        let found = if arns.len() <= STATES_BY_ARN {
            let mut found = Vec::new();
            let asked: Vec<String> = arns.iter().map(|arn| arn.as_str().to_owned()).collect();
            for some in asked.chunks(ARNS_PER_CALL) {
                let request =
                    self.clients.elb.describe_load_balancers().set_load_balancer_arns(Some(some.to_vec()));
                let answer = call!(self, Describe, "DescribeLoadBalancers", request)?;
                found.extend(answer.load_balancers.unwrap_or_default());
            }
            found
        } else {
            self.load_balancers().await?
        };
        let state = |lb: &elb::LoadBalancer| Some((lb.load_balancer_arn()?.into(), read::state(lb)));
        Ok(found.iter().filter_map(state).filter(|(arn, _)| arns.contains(arn)).collect())
    }

    /// The interfaces of some instances. Those that do not exist, are of another VPC or do not run are left out: AWS refuses them as
    /// targets.
    pub(super) async fn instances(
        &self,
        ids: &BTreeSet<InstanceId>,
    ) -> Result<BTreeMap<InstanceId, Vec<Interface>>, Failure> {
        let values = ids.iter().map(|id| id.as_str().to_owned()).collect();
        // By filter: a list of ids is refused as a whole when one of them is gone.
        let filter = Filter::builder().name("instance-id").set_values(Some(values)).build();
        let mut found = BTreeMap::new();
        let request = self.clients.ec2.describe_instances().filters(filter).filters(self.in_vpc());
        pages!(self, Ec2Describe, "DescribeInstances", request.clone(), set_next_token, next_token, |page| {
            let instances = page.reservations().iter().flat_map(|reservation| reservation.instances());
            let instances = instances.filter(|one| read::runs(one));
            found
                .extend(instances.filter_map(|one| Some((one.instance_id()?.into(), read::interfaces(one)))));
        });
        Ok(found)
    }

    /// The filter that leaves objects of the VPC.
    pub(super) fn in_vpc(&self) -> Filter {
        Filter::builder().name("vpc-id").values(&self.vpc).build()
    }
}

#[cfg(test)]
mod tests {
    use crate::aws::canned::{Canned, is, nothing};

    const SUBNETS: &str = "<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-a</subnetId>\
        <availabilityZone>eu-west-1a</availabilityZone><cidrBlock>10.0.1.0/24</cidrBlock></item></subnetSet>\
        </DescribeSubnetsResponse>";

    #[tokio::test]
    async fn a_listing_does_without_what_there_is_another_source_for() {
        let canned = |code: &'static str| {
            Canned::start(move |form| {
                let refused = is(form, "DescribeVpcs") || is(form, "DescribeAvailabilityZones");
                match (refused, is(form, "DescribeSubnets")) {
                    (true, _) => Err(code),
                    (false, true) => Ok(SUBNETS.to_owned()),
                    (false, false) => Ok(nothing(form)),
                }
            })
        };
        let listing = canned("UnauthorizedOperation").aws().list().await.unwrap();
        assert_eq!(listing.vpc_blocks, ["10.0.1.0/24".parse().unwrap()]);
        assert_eq!(listing.subnets[0].locale, landfall_aws_plan::Locale::AvailabilityZone);
        for code in ["InvalidVpcID.NotFound", "RequestLimitExceeded"] {
            assert_eq!(canned(code).aws().list().await.unwrap_err().code, code);
        }
    }

    #[tokio::test]
    async fn instances_are_looked_for_in_the_vpc() {
        let canned = Canned::start(|form| Ok(nothing(form)));
        assert!(canned.aws().instances(&["i-01".into()].into()).await.unwrap().is_empty());
        let asked = canned.asked("DescribeInstances").concat();
        assert!(asked.contains("instance-id") && asked.contains("i-01"), "{asked}");
        assert!(asked.contains("vpc-id") && asked.contains("vpc-1"), "{asked}");
    }
}
