//! Listeners.

use crate::{Bed, REGION, attribute, listening};

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_listener_has_a_port_of_its_own_and_forwards_in_both_spellings() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let group = bed.group("web", "TCP");
    let listener = bed.listener(&arn, "TCP", "80", &group);
    assert!(listener.starts_with(&arn.replace(":loadbalancer/", ":listener/")), "{listener}");
    assert_eq!(bed.refused("CreateListener", &listening(&arn, "TCP", "80", &group)), "DuplicateListener");
    let read = bed.ok("DescribeListeners", &[("LoadBalancerArn", &arn)]);
    assert_eq!(read.one("ListenerArn"), listener);
    assert_eq!(read.all("TargetGroupArn"), [group.as_str(), &group], "by itself and in ForwardConfig");
    assert_eq!(read.one("Weight"), "1");
    assert_eq!(read.all("SslPolicy").len(), 0);

    let other = bed.group("other", "TCP");
    let part = "DefaultActions.member.1.ForwardConfig.TargetGroups.member";
    let weighted = [
        ("ListenerArn".to_owned(), listener.as_str()),
        ("DefaultActions.member.1.Type".to_owned(), "forward"),
        (format!("{part}.1.TargetGroupArn"), &group),
        (format!("{part}.1.Weight"), "90"),
        (format!("{part}.2.TargetGroupArn"), &other),
        (format!("{part}.2.Weight"), "10"),
        (part.replace("TargetGroups.member", "TargetGroupStickinessConfig.Enabled"), "true"),
    ];
    let mut weighted = weighted.each_ref().map(|(k, v)| (k.as_str(), *v));
    let read = bed.ok("ModifyListener", &weighted);
    assert_eq!(
        (read.all("TargetGroupArn"), read.all("Weight")),
        (vec![group.clone(), other.clone()], vec!["90".to_owned(), "10".to_owned()])
    );
    assert_eq!(read.one("Enabled"), "true");
    assert_eq!(bed.refused("DeleteTargetGroup", &[("TargetGroupArn", &other)]), "ResourceInUse");
    weighted[5].1 = "1000";
    assert_eq!(bed.refused("ModifyListener", &weighted), "ValidationError");
    bed.ok("DeleteListener", &[("ListenerArn", &listener)]);
    assert_eq!(bed.refused("DeleteListener", &[("ListenerArn", &listener)]), "ListenerNotFound");
    bed.ok("DeleteTargetGroup", &[("TargetGroupArn", &other)]);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn protocols_of_listener_and_group_must_fit() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let groups = ["TCP", "TLS", "UDP", "TCP_UDP"].map(|p| (p, bed.group(&p.replace('_', "-"), p)));
    let certificate = bed.aws.certificate(REGION, "example.com").unwrap();
    for (n, listener) in ["TCP", "TLS", "UDP", "TCP_UDP"].into_iter().enumerate() {
        for (m, (protocol, group)) in groups.iter().enumerate() {
            let port = (100 * n + m + 1).to_string();
            let mut settings = listening(&arn, listener, &port, group).to_vec();
            if listener == "TLS" {
                settings.push(("Certificates.member.1.CertificateArn", &certificate));
            }
            let fits = match listener {
                "TCP" | "TLS" => matches!(*protocol, "TCP" | "TLS"),
                same => same == *protocol,
            };
            if fits {
                bed.ok("CreateListener", &settings);
            } else {
                assert_eq!(
                    bed.refused("CreateListener", &settings),
                    "IncompatibleProtocols",
                    "{listener} {protocol}"
                );
            }
        }
    }
    let second = bed.balancer("second");
    let taken = listening(&second, "TCP", "80", &groups[0].1);
    assert_eq!(bed.refused("CreateListener", &taken), "TargetGroupAssociationLimit");
    let unknown = groups[0].1.replace("TCP", "XXX");
    assert_eq!(
        bed.refused("CreateListener", &listening(&second, "TCP", "80", &unknown)),
        "TargetGroupNotFound"
    );
    assert_eq!(
        bed.refused("CreateListener", &listening(&second, "HTTP", "80", &groups[0].1)),
        "UnsupportedProtocol"
    );
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_listener_changes_its_protocol_with_all_that_belongs_to_it() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let group = bed.group("web", "TCP");
    let certificate = bed.aws.certificate(REGION, "example.com").unwrap();
    let tls = listening(&arn, "TLS", "443", &group);
    assert_eq!(bed.refused("CreateListener", &tls), "CertificateNotFound");
    let unknown = certificate.replace(|c: char| c.is_ascii_hexdigit() && c.is_ascii_lowercase(), "0");
    let with =
        |certificate| [tls.as_slice(), &[("Certificates.member.1.CertificateArn", certificate)]].concat();
    assert_eq!(bed.refused("CreateListener", &with(unknown.as_str())), "CertificateNotFound");
    let listener = bed.listener(&arn, "TCP", "443", &group);
    let it = ("ListenerArn", listener.as_str());
    assert_eq!(bed.refused("ModifyListener", &[it, ("Protocol", "TLS")]), "CertificateNotFound");
    let policy = ("SslPolicy", "ELBSecurityPolicy-TLS13-1-2-2021-06");
    assert_eq!(bed.refused("ModifyListener", &[it, policy]), "ValidationError");
    let changes = [
        it,
        ("Protocol", "TLS"),
        policy,
        ("Certificates.member.1.CertificateArn", &certificate),
        ("AlpnPolicy.member.1", "HTTP2Preferred"),
    ];
    bed.ok("ModifyListener", &changes);
    let read = bed.ok("DescribeListeners", &[("ListenerArns.member.1", &listener)]);
    assert_eq!(
        [read.one("Protocol"), read.one("SslPolicy"), read.one("CertificateArn")],
        ["TLS", policy.1, &certificate]
    );
    assert!(read.0.contains("<AlpnPolicy><member>HTTP2Preferred</member></AlpnPolicy>"));
    assert_eq!(bed.refused("ModifyListener", &[it, ("SslPolicy", "Nobody-2020")]), "SSLPolicyNotFound");

    let other = bed.aws.certificate(REGION, "example.org").unwrap();
    let add = [it, ("Certificates.member.1.CertificateArn", other.as_str())];
    bed.ok("AddListenerCertificates", &add);
    bed.ok("AddListenerCertificates", &add);
    let read = bed.ok("DescribeListenerCertificates", &[it]);
    assert_eq!(read.all("CertificateArn"), [certificate.as_str(), &other]);
    assert_eq!(read.all("IsDefault"), ["true", "false"]);
    bed.ok("RemoveListenerCertificates", &add);
    assert_eq!(bed.ok("DescribeListenerCertificates", &[it]).one("CertificateArn"), certificate);

    let udp = bed.group("datagrams", "UDP");
    assert_eq!(bed.refused("ModifyListener", &[it, ("Protocol", "UDP")]), "IncompatibleProtocols");
    let changes = [
        it,
        ("Protocol", "UDP"),
        ("Port", "53"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", &udp),
    ];
    let read = bed.ok("ModifyListener", &changes);
    assert_eq!([read.one("Protocol"), read.one("Port")], ["UDP", "53"]);
    assert_eq!(read.all("SslPolicy").len() + read.all("CertificateArn").len(), 0);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn only_a_tcp_listener_has_an_idle_timeout() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let tcp = bed.listener(&arn, "TCP", "80", &bed.group("tcp", "TCP"));
    let udp = bed.listener(&arn, "UDP", "53", &bed.group("udp", "UDP"));
    let key = "tcp.idle_timeout.seconds";
    let set = |arn, seconds| attribute("ListenerArn", arn, key, seconds);
    let read = |arn| bed.ok("DescribeListenerAttributes", &[("ListenerArn", arn)]).value(key);
    assert_eq!(read(tcp.as_str()).as_deref(), Some("350"));
    bed.ok("ModifyListenerAttributes", &set(tcp.as_str(), "900"));
    assert_eq!(read(tcp.as_str()).as_deref(), Some("900"));
    assert_eq!(bed.refused("ModifyListenerAttributes", &set(tcp.as_str(), "10")), "ValidationError");
    assert_eq!(read(udp.as_str()), None);
    assert_eq!(
        bed.refused("ModifyListenerAttributes", &set(udp.as_str(), "900")),
        "InvalidConfigurationRequest"
    );
}
