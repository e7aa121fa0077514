//! Making load balancers and target groups.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types as elb;
use landfall_aws_plan::{
    CreateLoadBalancer, CreateTargetGroup, Failure, FailureKind, Map, Op, Outcome, Settings, tags,
};

use super::{
    Aws,
    apply::{elb_tags, mapping, matches, traffic_port},
    describe::call,
    failure, read, throttle,
};

/// After these times it is asked again for the tags of what was made.
const TAGS_AGAIN: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

impl Aws {
    pub(super) async fn create_load_balancer(
        &self,
        op: &Op,
        create: &CreateLoadBalancer,
        settings: &Settings,
    ) -> Result<Outcome, Failure> {
        let groups: Vec<String> = create.security_groups.iter().map(|id| id.as_str().to_owned()).collect();
        let mut request = self
            .clients
            .elb
            .create_load_balancer()
            .name(&create.name)
            .r#type(elb::LoadBalancerTypeEnum::Network)
            .scheme(create.scheme.as_str().into())
            .ip_address_type(create.address_type.as_str().into())
            .set_subnet_mappings(Some(create.subnets.iter().map(mapping).collect()))
            .set_security_groups(Some(groups).filter(|groups| !groups.is_empty()))
            .set_tags(elb_tags(&create.tags));
        if create.source_nat {
            request = request.enable_prefix_for_ipv6_source_nat(elb::EnablePrefixForIpv6SourceNatEnum::On);
        }
        let answer = call!(self, Create, op.kind().as_str(), request)?;
        let made = answer.load_balancers().first().ok_or_else(|| failure::unreadable("a load balancer"))?;
        let arn = made.load_balancer_arn().ok_or_else(|| failure::unreadable("a load balancer's ARN"))?;
        // A repeated create is answered with the load balancer of that name, whoever's it is.
        let found = self.tags_of_new(arn).await?;
        let same = |key: &str| found.get(key) == create.tags.get(key);
        if found.is_empty() {
            return Err(Failure {
                kind: FailureKind::Stale,
                code: "TagsNotTold".to_owned(),
                message: format!(
                    "AWS does not tell the tags of load balancer {} yet; if it is another one, without any tags, delete it or set \
                     annotation aws-load-balancer-name",
                    create.name
                ),
            });
        }
        if !tags::of_cluster(&found, &settings.cluster) || !same(tags::STACK) {
            return Err(Failure {
                kind: FailureKind::Stale,
                code: "NameTaken".to_owned(),
                message: format!(
                    "a load balancer {} that is not this Service's exists; delete it or set annotation aws-load-balancer-name",
                    create.name
                ),
            });
        }
        let dns_name = made.dns_name().unwrap_or_default().to_owned();
        Ok(Outcome::LoadBalancer { arn: arn.into(), dns_name, state: read::state(made).0 })
    }

    pub(super) async fn create_target_group(
        &self,
        op: &Op,
        create: &CreateTargetGroup,
    ) -> Result<Outcome, Failure> {
        let check = &create.health_check;
        let request = self
            .clients
            .elb
            .create_target_group()
            .name(&create.name)
            .protocol(create.protocol.as_str().into())
            .port(i32::from(create.port))
            .vpc_id(&create.vpc)
            .target_type(create.target_type.as_str().into())
            .ip_address_type(create.family.as_str().into())
            .health_check_enabled(true)
            .health_check_protocol(check.protocol.as_str().into())
            .health_check_port(traffic_port(check.port))
            .set_health_check_path(check.path.clone())
            .health_check_interval_seconds(check.interval)
            .set_health_check_timeout_seconds(check.timeout)
            .healthy_threshold_count(check.healthy_threshold)
            .unhealthy_threshold_count(check.unhealthy_threshold)
            .set_matcher(matches(check.matcher.as_ref()))
            .set_tags(elb_tags(&create.tags));
        let answer = call!(self, Create, op.kind().as_str(), request)?;
        let arn = answer.target_groups().first().and_then(|group| group.target_group_arn());
        Ok(Outcome::TargetGroup(arn.ok_or_else(|| failure::unreadable("a target group's ARN"))?.into()))
    }

    /// The tags of a load balancer that was just made. AWS tells them a little later at times, or not even that it is there.
    async fn tags_of_new(&self, arn: &str) -> Result<Map, Failure> {
        for wait in TAGS_AGAIN {
            match self.tags(vec![arn.to_owned()]).await.map(|mut all| all.remove(arn)) {
                Ok(Some(tags)) if !tags.is_empty() => return Ok(tags),
                Err(failure) if failure.code == throttle::NOT_SENT => return Err(failure),
                Ok(_) | Err(_) => tokio::time::sleep(wait).await,
            }
        }
        Ok(self.tags(vec![arn.to_owned()]).await?.remove(arn).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use landfall_aws_plan::{AddressType, Answer, Scheme};

    use super::*;
    use crate::aws::canned::{Canned, document, is};

    fn create() -> Op {
        let own = [(tags::CLUSTER, "harbor"), (tags::STACK, "shop/web")];
        Op::CreateLoadBalancer(Box::new(CreateLoadBalancer {
            name: "web".to_owned(),
            scheme: Scheme::Internal,
            address_type: AddressType::Ipv4,
            subnets: Vec::new(),
            security_groups: [].into(),
            source_nat: false,
            tags: own.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }))
    }

    /// A load balancer is made, and its tags are told as `tells` says of each question for them.
    async fn made(
        tells: impl Fn(usize) -> Result<&'static [(&'static str, &'static str)], &'static str> + Send + 'static,
    ) -> Result<Answer, String> {
        let questions = AtomicUsize::new(0);
        let canned = Canned::start(move |form| {
            if is(form, "CreateLoadBalancer") {
                let made =
                    "<LoadBalancers><member><LoadBalancerArn>arn</LoadBalancerArn></member></LoadBalancers>";
                return Ok(document("CreateLoadBalancer", made));
            }
            let tags = tells(questions.fetch_add(1, Ordering::Relaxed))?.iter();
            let tags: String = tags
                .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
                .collect();
            let told = format!("<member><ResourceArn>arn</ResourceArn><Tags>{tags}</Tags></member>");
            Ok(document("DescribeTags", &format!("<TagDescriptions>{told}</TagDescriptions>")))
        });
        canned.aws().call(create()).await.map_err(|failure| failure.code)
    }

    #[tokio::test]
    async fn a_name_is_taken_only_where_tags_say_so() {
        const OWN: &[(&str, &str)] = &[(tags::CLUSTER, "harbor"), (tags::STACK, "shop/web")];
        const FOREIGN: &[(&str, &str)] = &[(tags::CLUSTER, "harbor"), (tags::STACK, "shop/other")];
        assert!(made(|_| Ok(OWN)).await.is_ok());
        assert!(made(|times| if times < 1 { Ok(&[]) } else { Ok(OWN) }).await.is_ok(), "told late");
        let known_late = |times| if times < 2 { Err("LoadBalancerNotFound") } else { Ok(OWN) };
        assert!(made(known_late).await.is_ok(), "known late");
        assert_eq!(made(|_| Ok(FOREIGN)).await.unwrap_err(), "NameTaken");
        let (never, unknown) = tokio::join!(made(|_| Ok(&[])), made(|_| Err("LoadBalancerNotFound")));
        assert_eq!(never.unwrap_err(), "TagsNotTold");
        assert_eq!(unknown.unwrap_err(), "LoadBalancerNotFound");
    }
}
