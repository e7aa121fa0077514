//! Tags, and pages of lists.

use crate::{Bed, Document, listening};

fn numbered(key: &str, values: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    values.into_iter().enumerate().map(|(n, value)| (format!("{key}.member.{}", n + 1), value)).collect()
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn tags_are_kept_for_each_kind_and_gone_with_it() {
    let bed = Bed::new();
    let tag = [("Tags.member.1.Key", "elbv2.k8s.aws/cluster"), ("Tags.member.1.Value", "bed")];
    let settings =
        [("Name", "web"), ("Type", "network"), ("Subnets.member.1", bed.subnet(0)), tag[0], tag[1]];
    let arn = bed.ok("CreateLoadBalancer", &settings).one("LoadBalancerArn");
    let group = bed.group("web", "TCP");
    let tagged = [listening(&arn, "TCP", "80", &group).as_slice(), &tag].concat();
    let listener = bed.ok("CreateListener", &tagged).one("ListenerArn");
    let all = borrowed_arns([&arn, &listener, &group]);
    let read = bed.ok("DescribeTags", &all);
    assert_eq!(read.all("ResourceArn"), [arn.as_str(), &listener, &group]);
    assert_eq!(read.all("Value"), ["bed", "bed"]);
    bed.ok("RemoveTags", &[all[0], ("TagKeys.member.1", tag[0].1), ("TagKeys.member.2", "other")]);
    assert_eq!(bed.ok("DescribeTags", &all[..1]).all("Key").len(), 0);
    bed.ok("DeleteLoadBalancer", &[("LoadBalancerArn", &arn)]);
    bed.ok("DeleteTargetGroup", &[("TargetGroupArn", &group)]);
    for (gone, code) in
        [(&arn, "LoadBalancerNotFound"), (&listener, "ListenerNotFound"), (&group, "TargetGroupNotFound")]
    {
        assert_eq!(bed.refused("DescribeTags", &[("ResourceArns.member.1", gone)]), code);
        assert_eq!(bed.refused("AddTags", &[("ResourceArns.member.1", gone), tag[0]]), code);
    }
}

fn borrowed_arns(arns: [&str; 3]) -> [(&'static str, &str); 3] {
    let [a, b, c] = arns;
    [("ResourceArns.member.1", a), ("ResourceArns.member.2", b), ("ResourceArns.member.3", c)]
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_resource_has_at_most_fifty_tags_and_a_call_twenty_resources() {
    let bed = Bed::new();
    let group = bed.group("web", "TCP");
    let add = |range: std::ops::Range<u32>| {
        let mut pairs = numbered("Tags", range.map(|n| format!("key-{n}")));
        for (key, _) in &mut pairs {
            key.push_str(".Key");
        }
        pairs.push(("ResourceArns.member.1".to_owned(), group.clone()));
        pairs
    };
    bed.ok("AddTags", &borrowed(&add(0..30)));
    bed.ok("AddTags", &borrowed(&add(20..50)));
    assert_eq!(bed.refused("AddTags", &borrowed(&add(50..51))), "TooManyTags");
    let arns = |n| numbered("ResourceArns", std::iter::repeat_n(group.clone(), n));
    assert_eq!(bed.ok("DescribeTags", &borrowed(&arns(20))).all("Key").len(), 20 * 50);
    assert_eq!(bed.refused("DescribeTags", &borrowed(&arns(21))), "ValidationError");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn lists_come_in_pages() {
    let bed = Bed::new();
    let balancers: Vec<String> = (0..55).map(|n| bed.balancer(&format!("web-{n}"))).collect();
    let all = bed.ok("DescribeLoadBalancers", &[]);
    assert_eq!((all.all("LoadBalancerArn"), all.all("NextMarker").len()), (balancers.clone(), 0));
    let mut paged = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let mut asked = vec![("PageSize", "20")];
        asked.extend(marker.as_deref().map(|m| ("Marker", m)));
        let Document(text) = bed.ok("DescribeLoadBalancers", &asked);
        let page = Document(text);
        paged.extend(page.all("LoadBalancerArn"));
        marker = page.all("NextMarker").pop();
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(paged, balancers);
    assert_eq!(bed.aws.count("DescribeLoadBalancers"), 4);
    for size in ["0", "401"] {
        assert_eq!(bed.refused("DescribeTargetGroups", &[("PageSize", size)]), "ValidationError");
    }
}
