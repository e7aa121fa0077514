//! Where our verdict is another one on purpose. A row of `rows` shows each.

use landfall_model::Reason;

use crate::{Set, answers::Complaint};

/// A difference and its reason.
pub(crate) struct Difference {
    pub(crate) what: &'static str,
    /// For whoever reads the table.
    _why: &'static str,
    pub(crate) side: Side,
}

/// Who refuses the set, alone, and how one knows that it is for this difference.
pub(crate) enum Side {
    Ours(fn(&Complaint, &Set) -> bool),
    /// By the words of MetalLB.
    Theirs(fn(&str, &Set) -> bool),
}

const fn ours(what: &'static str, why: &'static str, is: fn(&Complaint, &Set) -> bool) -> Difference {
    Difference { what, _why: why, side: Side::Ours(is) }
}

const fn theirs(what: &'static str, why: &'static str, is: fn(&str, &Set) -> bool) -> Difference {
    Difference { what, _why: why, side: Side::Theirs(is) }
}

const SCHEMA: &str = "MetalLB leaves it to the schema, which a manifest has not passed yet";

pub(crate) const DELIBERATE: &[Difference] = &[
    ours("an aggregation length of 0", SCHEMA, |complaint, _| {
        out_of_range(complaint, "spec.aggregationLength")
    }),
    ours("an AS path that is prepended 0 or 11 times", SCHEMA, |complaint, _| {
        out_of_range(complaint, "spec.asPathPrepend")
    }),
    ours("a peer port above 16384", SCHEMA, |complaint, _| out_of_range(complaint, "spec.peerPort")),
    ours("the local autonomous system 0", SCHEMA, |complaint, _| out_of_range(complaint, "spec.localASN")),
    ours("a connect time of 0 or with a fraction", SCHEMA, |complaint, _| {
        out_of_range(complaint, "spec.connectTime")
    }),
    ours("a weight of 0 or 101", SCHEMA, |complaint, _| {
        complaint.field.starts_with("spec.preferredNodeSelectors[") && complaint.field.ends_with("].weight")
    }),
    ours(
        "an aggregation length of IPv6 below 0",
        "there is no such prefix; neither MetalLB's schema nor its parser asks unless the pool has IPv6",
        |complaint, _| out_of_range(complaint, "spec.aggregationLengthV6"),
    ),
    ours(
        "a priority beyond 32 bits",
        "nobody has so many pools, and the value is an int32 inside",
        |complaint, _| out_of_range(complaint, "spec.serviceAllocation.priority"),
    ),
    ours(
        "a preference of nodes that names a value or an expression twice",
        "MetalLB looks for that in every selector but those; it is a slip of the pen there too",
        |complaint, _| {
            let twice = complaint.message.ends_with("twice");
            complaint.field.ends_with("].preference") && complaint.reason == Reason::InvalidSelector && twice
        },
    ),
    ours(
        "a timer below 0",
        "MetalLB takes it unless it is a whole negative second, and then gives it to a back end that cannot",
        |complaint, _| {
            let timer = ["spec.holdTime", "spec.keepaliveTime", "spec.connectTime"];
            timer.contains(&complaint.field.as_str()) && complaint.message.contains("\"-")
        },
    ),
    ours(
        "advertisements that clash where no Node is known",
        "MetalLB sees no common node. A cluster has nodes, so the manifests of one that are without them are judged as if \
         all were selected; MetalLB itself does so with peers",
        |complaint, set| {
            let clash = ["spec.localPref", "spec.asPathPrepend"].contains(&complaint.field.as_str());
            clash
                && complaint.reason == Reason::Conflict
                && !set.objects.iter().any(|object| object["kind"] == "Node")
        },
    ),
    ours(
        "one address of a router in two forms",
        "MetalLB compares the texts and starts two sessions with one router, which keeps one of them",
        |complaint, set| {
            let texts = peers(set, "peerAddress");
            complaint.field == "spec.peerAddress" && complaint.reason == Reason::Conflict && twofold(&texts)
        },
    ),
    theirs("one router id in two forms", "MetalLB compares the texts; it is one router id", |error, set| {
        error.contains("has RouterID different from") && twofold(&peers(set, "routerID"))
    }),
    theirs(
        "an interface whose name is that of another one and its VRF, with a dash between",
        "MetalLB joins interface and VRF into one text; they are two interfaces",
        |error, set| {
            let joined = peers(set, "interface").into_iter().any(|name| name.contains('-'));
            error.contains("doesn't support duplicate BGPPeers") && joined
        },
    ),
    ours(
        "pools that overlap, one of them written as IPv4 in IPv6",
        "MetalLB compares the lengths of both as if they counted the same bits",
        |complaint, set| complaint.reason == Reason::Overlap && mapped(set),
    ),
    theirs(
        "an advertisement that reaches a pool written as IPv4 in IPv6",
        "MetalLB compares its length of IPv4 with that of the text, which counts from 96, and can only refuse",
        |error, set| error.contains("more specific than the aggregation length") && mapped(set),
    ),
    ours(
        "a name of a community that looks like a community and is none",
        "MetalLB's admission refuses it too, since it does not look names with a colon up there",
        |complaint, _| {
            complaint.field.starts_with("spec.communities[") && complaint.reason == Reason::InvalidValue
        },
    ),
    theirs(
        "a peer of v1beta1 with a keepalive time alone",
        "MetalLB's webhook makes a hold time of 0 of one that was left out, so this one is longer: docs/metallb-kinds.md",
        |error, set| {
            let old = set
                .objects
                .iter()
                .any(|object| object["apiVersion"] == "metallb.io/v1beta1" && object["kind"] == "BGPPeer");
            error.contains("invalid keepaliveTime") && old
        },
    ),
];

fn out_of_range(complaint: &Complaint, field: &str) -> bool {
    complaint.field == field && complaint.reason == Reason::InvalidValue
}

/// A field of all peers, of those that have it.
fn peers(set: &Set, field: &str) -> Vec<String> {
    let peers = set.objects.iter().filter(|object| object["kind"] == "BGPPeer");
    peers.filter_map(|peer| peer["spec"][field].as_str()).map(str::to_owned).collect()
}

/// Whether two of the texts differ and are one address.
fn twofold(texts: &[String]) -> bool {
    let read = |text: &String| text.parse::<std::net::IpAddr>().ok().map(|address| address.to_canonical());
    texts
        .iter()
        .any(|one| texts.iter().any(|other| one != other && read(one).is_some() && read(one) == read(other)))
}

fn mapped(set: &Set) -> bool {
    let lists = set.objects.iter().filter_map(|object| object["spec"]["addresses"].as_array());
    lists
        .flatten()
        .filter_map(|text| text.as_str())
        .any(|text| text.starts_with("::ffff:") && text.contains('/'))
}
