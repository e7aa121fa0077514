//! What a plan asks about one object.

use std::collections::BTreeMap;

use landfall_aws_plan::{
    Answer, Failure, Listener, ListenerArn, ListenerProtocol, LoadBalancerArn, Map, Need, TargetGroupArn,
};

use super::{Aws, read};

/// Sends one request of an SDK client in its turn.
macro_rules! call {
    ($aws:expr, $bucket:ident, $action:expr, $request:expr) => {{
        let request = $request;
        let sent = async { request.send().await.map_err(|error| $crate::aws::failure::of(&error)) };
        $aws.throttle.send($crate::aws::throttle::Bucket::$bucket, $action, sent).await
    }};
}
pub(super) use call;

impl Aws {
    pub(super) async fn describe(&self, need: &Need) -> Result<Answer, Failure> {
        Ok(match need {
            Need::LoadBalancer(arn) => {
                let attributes = self.load_balancer_attributes(arn).await?;
                Answer::LoadBalancer { attributes, listeners: self.listeners(arn).await? }
            }
            Need::Capacity(arn) => {
                let request =
                    self.clients.elb.describe_capacity_reservation().load_balancer_arn(arn.as_str());
                let answer = call!(self, Describe, "DescribeCapacityReservation", request)?;
                let wanted = answer.minimum_load_balancer_capacity();
                Answer::Capacity(wanted.and_then(|capacity| capacity.capacity_units()).unwrap_or(0))
            }
            Need::TargetGroup(arn) => Answer::TargetGroup(self.target_group_attributes(arn).await?),
            Need::Targets(arn) => {
                let request = self.clients.elb.describe_target_health().target_group_arn(arn.as_str());
                let answer = call!(self, Describe, "DescribeTargetHealth", request)?;
                Answer::Targets(answer.target_health_descriptions().iter().filter_map(read::target).collect())
            }
            Need::RouteTables => {
                let mut all = Vec::new();
                let mut token = None;
                loop {
                    let request = self.clients.ec2.describe_route_tables();
                    let request = request.filters(self.in_vpc()).set_next_token(token);
                    let page = call!(self, Ec2Describe, "DescribeRouteTables", request)?;
                    all.extend(page.route_tables.unwrap_or_default());
                    token = page.next_token.filter(|token| !token.is_empty());
                    if token.is_none() {
                        break;
                    }
                }
                Answer::RouteTables(read::route_tables(&all))
            }
        })
    }

    async fn load_balancer_attributes(&self, arn: &LoadBalancerArn) -> Result<Map, Failure> {
        let request = self.clients.elb.describe_load_balancer_attributes().load_balancer_arn(arn.as_str());
        let answer = call!(self, Describe, "DescribeLoadBalancerAttributes", request)?;
        Ok(pairs(answer.attributes().iter().map(|one| (one.key(), one.value()))))
    }

    async fn target_group_attributes(&self, arn: &TargetGroupArn) -> Result<Map, Failure> {
        let request = self.clients.elb.describe_target_group_attributes().target_group_arn(arn.as_str());
        let answer = call!(self, Describe, "DescribeTargetGroupAttributes", request)?;
        Ok(pairs(answer.attributes().iter().map(|one| (one.key(), one.value()))))
    }

    async fn listeners(&self, arn: &LoadBalancerArn) -> Result<BTreeMap<u16, Listener>, Failure> {
        let mut listeners = Vec::new();
        let mut marker = None;
        loop {
            let request = self.clients.elb.describe_listeners();
            let request = request.load_balancer_arn(arn.as_str()).set_marker(marker);
            let page = call!(self, Describe, "DescribeListeners", request)?;
            listeners.extend(page.listeners().iter().filter_map(read::listener));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        let arns = listeners.iter().map(|listener| listener.arn.as_str().to_owned()).collect();
        let mut tags = self.tags(arns).await?;
        for listener in &mut listeners {
            listener.tags = tags.remove(listener.arn.as_str()).unwrap_or_default();
            if listener.protocol == ListenerProtocol::Tls {
                listener.more_certificates = self.more_certificates(&listener.arn).await?;
            } else {
                listener.attributes = self.listener_attributes(&listener.arn).await?;
            }
        }
        Ok(listeners.into_iter().map(|listener| (listener.port, listener)).collect())
    }

    async fn more_certificates(
        &self,
        arn: &ListenerArn,
    ) -> Result<std::collections::BTreeSet<String>, Failure> {
        let mut all = std::collections::BTreeSet::new();
        let mut marker = None;
        loop {
            let request = self.clients.elb.describe_listener_certificates();
            let request = request.listener_arn(arn.as_str()).set_marker(marker);
            let page = call!(self, Describe, "DescribeListenerCertificates", request)?;
            let more = page.certificates().iter().filter(|one| one.is_default() != Some(true));
            all.extend(more.filter_map(|one| one.certificate_arn()).map(str::to_owned));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    async fn listener_attributes(&self, arn: &ListenerArn) -> Result<Map, Failure> {
        let request = self.clients.elb.describe_listener_attributes().listener_arn(arn.as_str());
        let answer = call!(self, Describe, "DescribeListenerAttributes", request)?;
        Ok(pairs(answer.attributes().iter().map(|one| (one.key(), one.value()))))
    }
}

fn pairs<'a>(attributes: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Map {
    let pair = |(key, value): (Option<&str>, Option<&str>)| {
        Some((key?.to_owned(), value.unwrap_or_default().to_owned()))
    };
    attributes.filter_map(pair).collect()
}
