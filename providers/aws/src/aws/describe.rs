//! What a plan asks about one object.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use landfall_aws_plan::{
    Answer, Failure, FailureKind, Listener, ListenerArn, ListenerProtocol, LoadBalancerArn, Map, Need,
    TargetGroupArn,
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

/// Sends a request again and again, each time from the mark that the last answer ended with, and shows each page.
macro_rules! pages {
    ($aws:expr, $bucket:ident, $action:expr, $request:expr, $from:ident, $next:ident, |$page:ident| $take:expr) => {{
        let mut mark = None;
        loop {
            let $page = call!($aws, $bucket, $action, $request.$from(mark))?;
            mark = $page.$next().filter(|mark| !mark.is_empty()).map(str::to_owned);
            $take;
            if mark.is_none() {
                break;
            }
        }
    }};
}
pub(super) use pages;

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
                let request = self.clients.ec2.describe_route_tables().filters(self.in_vpc());
                pages!(
                    self,
                    Ec2Describe,
                    "DescribeRouteTables",
                    request.clone(),
                    set_next_token,
                    next_token,
                    |page| {
                        all.extend(page.route_tables.unwrap_or_default());
                    }
                );
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
        let request = self.clients.elb.describe_listeners().load_balancer_arn(arn.as_str());
        pages!(self, Describe, "DescribeListeners", request.clone(), set_marker, next_marker, |page| {
            listeners.extend(page.listeners().iter().filter_map(read::listener));
        });
        let arns = listeners.iter().map(|listener| listener.arn.as_str().to_owned()).collect();
        let mut tags = self.tags(arns).await?;
        for listener in &mut listeners {
            listener.tags = tags.remove(listener.arn.as_str()).unwrap_or_default();
            if listener.protocol == ListenerProtocol::Tls {
                listener.more_certificates = self.more_certificates(&listener.arn).await?;
            } else if listener.protocol.has_attributes() {
                listener.attributes = self.listener_attributes(&listener.arn).await?;
            }
        }
        Ok(listeners.into_iter().map(|listener| (listener.port, listener)).collect())
    }

    async fn more_certificates(&self, arn: &ListenerArn) -> Result<BTreeSet<String>, Failure> {
        let mut all = BTreeSet::new();
        let request = self.clients.elb.describe_listener_certificates().listener_arn(arn.as_str());
        pages!(
            self,
            Describe,
            "DescribeListenerCertificates",
            request.clone(),
            set_marker,
            next_marker,
            |page| {
                let more = page.certificates().iter().filter(|one| one.is_default() != Some(true));
                all.extend(more.filter_map(|one| one.certificate_arn()).map(str::to_owned));
            }
        );
        Ok(all)
    }

    /// `None` where AWS refuses: a listener can be changed and deleted without them.
    async fn listener_attributes(&self, arn: &ListenerArn) -> Result<Option<Map>, Failure> {
        let request = self.clients.elb.describe_listener_attributes().listener_arn(arn.as_str());
        let action = "DescribeListenerAttributes";
        let answer = self.optional(action, call!(self, Describe, action, request))?;
        Ok(answer.map(|answer| pairs(answer.attributes().iter().map(|one| (one.key(), one.value())))))
    }

    /// `None` where AWS refuses to tell something that can be done without, with one warning for each action.
    pub(super) fn optional<T>(
        &self,
        action: &'static str,
        answer: Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure { kind: FailureKind::Refused, code, message }) => {
                if self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(action) {
                    tracing::warn!(
                        op = "aws",
                        action,
                        code,
                        "AWS refuses, and it is done without: {message}"
                    );
                }
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}

fn pairs<'a>(attributes: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Map {
    let pair = |(key, value): (Option<&str>, Option<&str>)| {
        Some((key?.to_owned(), value.unwrap_or_default().to_owned()))
    };
    attributes.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::canned::{Canned, document, is, nothing};

    /// Answers with a listener of each protocol; `attributes` answers for theirs.
    fn canned(attributes: impl Fn() -> Result<String, &'static str> + Send + 'static) -> Canned {
        Canned::start(move |form| {
            if is(form, "DescribeListeners") {
                let member = |(number, protocol): (usize, &ListenerProtocol)| {
                    let (name, port) = (protocol.as_str(), number + 1);
                    format!(
                        "<member><ListenerArn>{name}</ListenerArn><Protocol>{name}</Protocol><Port>{port}</Port></member>"
                    )
                };
                let all: String = ListenerProtocol::ALL.iter().enumerate().map(member).collect();
                return Ok(document("DescribeListeners", &format!("<Listeners>{all}</Listeners>")));
            }
            if is(form, "DescribeListenerAttributes") {
                return attributes();
            }
            Ok(nothing(form))
        })
    }

    async fn listeners(canned: &Canned) -> Result<Vec<Listener>, String> {
        match canned.aws().describe(&Need::LoadBalancer("lb".into())).await {
            Ok(Answer::LoadBalancer { listeners, .. }) => Ok(listeners.into_values().collect()),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure.code),
        }
    }

    #[tokio::test]
    async fn only_listeners_that_have_attributes_are_asked_for_them() {
        let told =
            "<Attributes><member><Key>tcp.idle_timeout.seconds</Key><Value>60</Value></member></Attributes>";
        let canned = canned(move || Ok(document("DescribeListenerAttributes", told)));
        let listeners = listeners(&canned).await.unwrap();
        assert_eq!(listeners.len(), ListenerProtocol::ALL.len());
        for listener in &listeners {
            let tcp = matches!(listener.protocol, ListenerProtocol::Tcp | ListenerProtocol::TcpUdp);
            assert_eq!(listener.attributes.is_some(), tcp, "{listener:?}");
        }
        assert_eq!(canned.asked("DescribeListenerAttributes").len(), 2);
    }

    #[tokio::test]
    async fn attributes_that_aws_refuses_to_tell_are_not_known() {
        let told = listeners(&canned(|| Err("AccessDenied"))).await.unwrap();
        assert!(told.iter().all(|listener| listener.attributes.is_none()));
        assert_eq!(listeners(&canned(|| Err("Throttling"))).await.unwrap_err(), "Throttling");
    }
}
