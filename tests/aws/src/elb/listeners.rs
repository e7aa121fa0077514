//! Listeners, with their certificates.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, Elb, attributes, balancer_not_found, forwards::Forward, listener_not_found, page};
use crate::{
    query::Parameters,
    refusal::{Refusal, refuse},
    wire::Request,
    xml::Element,
};

/// The policy of a TLS listener that names none.
const POLICY: &str = "ELBSecurityPolicy-2016-08";
/// Quotas for Network Load Balancers: listeners of each, and certificates besides the default ones (clouds.md §4.1).
const LISTENERS: usize = 50;
const CERTIFICATES: usize = 25;

/// A listener of a network load balancer.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    sequence: u64,
    /// The load balancer's ARN.
    pub(super) balancer: String,
    pub(super) protocol: String,
    port: u16,
    pub(super) forward: Forward,
    /// Only TLS has these three.
    policy: Option<String>,
    certificate: Option<String>,
    alpn: Vec<String>,
    /// Certificates besides the default one.
    more: Vec<String>,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Listener {
    fn element(&self, arn: &str) -> Element {
        let certificate = self.certificate.iter().map(|c| Element::new("member").leaf("CertificateArn", c));
        let element = Element::new("member")
            .leaf("ListenerArn", arn)
            .leaf("LoadBalancerArn", &self.balancer)
            .leaf("Port", self.port)
            .leaf("Protocol", &self.protocol)
            .list("DefaultActions", [self.forward.element()])
            .leaf_if("SslPolicy", self.policy.as_ref());
        let element = if self.certificate.is_some() {
            element.list("Certificates", certificate.collect::<Vec<_>>())
        } else {
            element
        };
        if self.alpn.is_empty() { element } else { element.texts("AlpnPolicy", &self.alpn) }
    }

    /// Takes policy, certificate and ALPN from a call. API reference, `CreateListener`: they belong to TLS, which needs a
    /// certificate. `ModifyListener`: a change to another protocol removes them.
    fn secure(&mut self, parameters: &Parameters) -> Result<(), Refusal> {
        let certificates = parameters.members("Certificates");
        let policy = parameters.get("SslPolicy").map(ToOwned::to_owned);
        if self.protocol != "TLS" {
            (self.policy, self.certificate) = (None, None);
            (self.alpn, self.more) = (Vec::new(), Vec::new());
            if policy.is_some() || !certificates.is_empty() || !parameters.texts("AlpnPolicy").is_empty() {
                let message =
                    format!("Policies and certificates cannot be specified for {} listeners", self.protocol);
                return refuse("ValidationError", message);
            }
            return Ok(());
        }
        match certificates.as_slice() {
            [] => {}
            [one] => self.certificate = Some(one.need("CertificateArn")?.to_owned()),
            _ => return refuse("ValidationError", "Exactly one default certificate can be specified"),
        }
        if self.certificate.is_none() {
            return refuse("CertificateNotFound", "A TLS listener needs a certificate");
        }
        self.policy = policy.or_else(|| self.policy.take()).or_else(|| Some(POLICY.to_owned()));
        if parameters.has("AlpnPolicy") {
            self.alpn = parameters.texts("AlpnPolicy").into_iter().map(ToOwned::to_owned).collect();
            let known = ["HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred", "None"];
            if let Some(unknown) = self.alpn.iter().find(|a| !known.contains(&a.as_str())) {
                return refuse("ALPNPolicyNotFound", format!("ALPN policy '{unknown}' not found"));
            }
        }
        Ok(())
    }
}

impl Elb {
    /// API reference, `CreateListener`: `DuplicateListener` for a second one on a port, whatever its protocol;
    /// `TooManyListeners`; groups and certificates must fit. moto checks none of these (clouds.md §3.1).
    pub(super) fn create_listener(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let balancer = asked.need("LoadBalancerArn")?;
        if !self.balancers.contains_key(balancer) {
            return balancer_not_found();
        }
        let Some(port) = asked.parameters.number("Port")? else {
            return refuse("ValidationError", "A listener port must be specified");
        };
        let protocol = asked.need("Protocol")?.to_owned();
        let mut listener = Listener {
            sequence: 0,
            balancer: balancer.to_owned(),
            attributes: attributes::of_listener(&protocol),
            protocol,
            port,
            forward: Forward::of(asked)?,
            policy: None,
            certificate: None,
            alpn: Vec::new(),
            more: Vec::new(),
        };
        listener.secure(asked.parameters)?;
        self.check_listener(asked, None, &listener)?;
        if self.listeners.values().filter(|l| l.balancer == balancer).count() >= LISTENERS {
            return refuse(
                "TooManyListeners",
                "The quota of listeners of the load balancer has been reached",
            );
        }
        let tags = super::tags::parsed(asked)?;
        let told = self.tell(asked, |_| {})?;
        let arn = super::of_aws(told.anywhere("ListenerArn").map_or("", |e| &e.text));
        listener.sequence = self.next();
        let element = listener.element(&arn);
        self.listeners.insert(arn.clone(), listener);
        self.tags.insert(arn, tags);
        Ok(Element::new("Result").list("Listeners", [element]))
    }

    /// API reference, `DescribeListeners`: those of a load balancer, or by ARN, in pages.
    pub(super) fn describe_listeners(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let balancer = asked.get("LoadBalancerArn");
        let arns = asked.parameters.texts("ListenerArns");
        if balancer.is_none() && arns.is_empty() {
            return refuse("ValidationError", "You must specify either listener ARNs or a load balancer ARN");
        }
        if balancer.is_some_and(|arn| !self.balancers.contains_key(arn)) {
            return balancer_not_found();
        }
        let wanted = |arn: &str, l: &Listener| match balancer {
            Some(balancer) => l.balancer == balancer,
            None => arns.contains(&arn),
        };
        let found: Vec<_> = self
            .listeners
            .iter()
            .filter(|(arn, l)| wanted(arn, l))
            .map(|(arn, l)| (l.sequence, l.element(arn)))
            .collect();
        if balancer.is_none() && arns.iter().collect::<BTreeSet<_>>().len() > found.len() {
            return listener_not_found();
        }
        page(asked, "Listeners", found)
    }

    /// API reference, `ModifyListener`: what is left out stays. moto takes no protocol but TCP, and then ignores certificates,
    /// so it is told of port, policy and actions only (clouds.md §3.1).
    pub(super) fn modify_listener(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("ListenerArn")?;
        let Some(old) = self.listeners.get(arn) else { return listener_not_found() };
        let mut listener = old.clone();
        if let Some(port) = asked.parameters.number("Port")? {
            listener.port = port;
        }
        if let Some(protocol) = asked.get("Protocol").filter(|p| *p != old.protocol) {
            protocol.clone_into(&mut listener.protocol);
            listener.attributes = attributes::of_listener(protocol);
        }
        if asked.parameters.has("DefaultActions") {
            listener.forward = Forward::of(asked)?;
        }
        listener.secure(asked.parameters)?;
        self.check_listener(asked, Some(arn), &listener)?;
        self.tell(asked, |p| {
            for key in ["Protocol", "Certificates", "AlpnPolicy"] {
                p.remove(key);
            }
        })?;
        let element = listener.element(arn);
        self.listeners.insert(arn.to_owned(), listener);
        Ok(Element::new("Result").list("Listeners", [element]))
    }

    /// API reference, `DeleteListener`: one that is not there gives `ListenerNotFound`.
    pub(super) fn delete_listener(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("ListenerArn")?;
        if !self.listeners.contains_key(arn) {
            return listener_not_found();
        }
        self.tell(asked, |_| {})?;
        self.listeners.remove(arn);
        self.tags.remove(arn);
        Ok(Element::new("Result"))
    }

    /// API reference, `AddListenerCertificates`: adding one again changes nothing; at most 25 besides the default one.
    pub(super) fn add_certificates(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arns = self.certificates_of(asked)?;
        for arn in &arns {
            self.check_certificate(asked.region, arn)?;
        }
        let arn = asked.need("ListenerArn")?;
        let Some(listener) = self.listeners.get_mut(arn) else { return listener_not_found() };
        let mut more = listener.more.clone();
        for certificate in &arns {
            if !more.contains(certificate) && listener.certificate.as_ref() != Some(certificate) {
                more.push(certificate.clone());
            }
        }
        if more.len() > CERTIFICATES {
            return refuse(
                "TooManyCertificates",
                "The quota of certificates of the load balancer has been reached",
            );
        }
        listener.more = more;
        let member = |c: String| Element::new("member").leaf("CertificateArn", c).leaf("IsDefault", false);
        Ok(Element::new("Result").list("Certificates", arns.into_iter().map(member)))
    }

    /// API reference, `RemoveListenerCertificates`: the default one cannot be removed.
    pub(super) fn remove_certificates(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arns = self.certificates_of(asked)?;
        let arn = asked.need("ListenerArn")?;
        let Some(listener) = self.listeners.get_mut(arn) else { return listener_not_found() };
        if listener.certificate.as_ref().is_some_and(|default| arns.contains(default)) {
            return refuse("OperationNotPermitted", "The default certificate cannot be removed");
        }
        listener.more.retain(|certificate| !arns.contains(certificate));
        Ok(Element::new("Result"))
    }

    /// API reference, `DescribeListenerCertificates`: the default one, marked, and all others.
    pub(super) fn describe_certificates(&mut self, asked: &Asked<'_>) -> Result<Element, Refusal> {
        let arn = asked.need("ListenerArn")?;
        let Some(listener) = self.listeners.get(arn) else { return listener_not_found() };
        let default = listener.certificate.iter().map(|c| (c, true));
        let all = default.chain(listener.more.iter().map(|c| (c, false)));
        let members = all
            .enumerate()
            .map(|(n, (c, default))| {
                let member = Element::new("member").leaf("CertificateArn", c).leaf("IsDefault", default);
                (n as u64 + 1, member)
            })
            .collect();
        page(asked, "Certificates", members)
    }

    fn certificates_of(&self, asked: &Asked<'_>) -> Result<Vec<String>, Refusal> {
        if !self.listeners.contains_key(asked.need("ListenerArn")?) {
            return listener_not_found();
        }
        let certificates = asked.parameters.members("Certificates");
        certificates.iter().map(|c| Ok(c.need("CertificateArn")?.to_owned())).collect()
    }

    fn check_listener(
        &self,
        asked: &Asked<'_>,
        own: Option<&str>,
        listener: &Listener,
    ) -> Result<(), Refusal> {
        let Listener { balancer, port, protocol, .. } = listener;
        if !matches!(protocol.as_str(), "TCP" | "TLS" | "UDP" | "TCP_UDP") {
            return refuse(
                "UnsupportedProtocol",
                format!("this double of AWS has no listeners of {protocol}"),
            );
        }
        let taken = self
            .listeners
            .iter()
            .any(|(arn, l)| Some(arn.as_str()) != own && l.balancer == *balancer && l.port == *port);
        if taken {
            return refuse(
                "DuplicateListener",
                "A listener already exists on this port for this load balancer",
            );
        }
        self.check_forward(&listener.forward, protocol, balancer)?;
        if let Some(certificate) = &listener.certificate {
            self.check_certificate(asked.region, certificate)?;
        }
        if let Some(policy) = asked.get("SslPolicy") {
            let pairs = [("Names.member.1", policy)];
            let question = Parameters::call("DescribeSSLPolicies", "2015-12-01", &pairs);
            let found = self.moto.ask(super::SERVICE, asked.region, &question)?;
            if found.items("DescribeSSLPoliciesResult/SslPolicies").is_empty() {
                return refuse("SSLPolicyNotFound", format!("SSL policy '{policy}' not found"));
            }
        }
        Ok(())
    }

    /// Whether ACM has a certificate. Those of IAM are believed.
    fn check_certificate(&self, region: &str, arn: &str) -> Result<(), Refusal> {
        if !arn.contains(":acm:") {
            return Ok(());
        }
        let body = format!("{{\"CertificateArn\":{arn:?}}}");
        let question = Request::json("acm", region, "CertificateManager.DescribeCertificate", body);
        match self.moto.forward("acm", &question).status {
            200 => Ok(()),
            _ => refuse("CertificateNotFound", format!("Certificate ARN '{arn}' is not valid")),
        }
    }
}
