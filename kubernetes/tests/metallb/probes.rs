//! Objects at the edges of what the rules allow. Where the two definitions word a rule differently, the verdicts tell
//! whether they mean the same.

use serde_json::{Value, json};

/// What both definitions are asked about.
pub(crate) struct Probe {
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) data: Value,
    /// Whether both say the same.
    pub(crate) same: bool,
}

/// All of them.
pub(crate) fn probes() -> Vec<Probe> {
    let mut all = Vec::new();
    let chosen = json!([{ "matchLabels": { "app": "web" } }]);
    for spec in [
        json!({}),
        json!({ "serviceSelectors": chosen }),
        json!({ "serviceSelectors": [], "aggregationLength": 24 }),
        json!({ "serviceSelectors": null, "aggregationLength": 24 }),
        json!({ "serviceSelectors": chosen, "aggregationLength": 24 }),
        json!({ "serviceSelectors": chosen, "aggregationLength": 32 }),
        json!({ "serviceSelectors": chosen, "aggregationLength": null, "aggregationLengthV6": null }),
        json!({ "serviceSelectors": chosen, "aggregationLengthV6": 64 }),
        json!({ "aggregationLength": 0 }),
        json!({ "aggregationLength": 33 }),
        json!({ "aggregationLengthV6": -1 }),
        json!({ "asPathPrepend": 11 }),
        json!({ "localPref": 4_294_967_295_u32 }),
    ] {
        let data = json!({ "spec": spec });
        all.push(Probe { kind: "BGPAdvertisement", plural: "bgpadvertisements", data, same: true });
    }
    // See the table in `compare`.
    for preference in [json!(-1), json!(4_294_967_296_u64)] {
        let data = json!({ "spec": { "localPref": preference } });
        all.push(Probe { kind: "BGPAdvertisement", plural: "bgpadvertisements", data, same: false });
    }
    for time in [
        "0s",
        "999ms",
        "1s",
        "1s1us",
        "1001ms",
        "1500ms",
        "2m",
        "18h12m15s",
        "65535s",
        "65535s500us",
        "65535.5s",
        "65536s",
        "-5s",
        "soon",
        "",
    ] {
        let data = json!({ "spec": { "myASN": 64500, "connectTime": time } });
        all.push(Probe { kind: "BGPPeer", plural: "bgppeers", data, same: true });
    }
    for data in [json!({}), json!({ "spec": {} }), json!({ "spec": { "myASN": 0, "peerPort": 0 } })] {
        all.push(Probe { kind: "BGPPeer", plural: "bgppeers", data, same: true });
    }
    for (kind, plural) in [
        ("BFDProfile", "bfdprofiles"),
        ("BGPAdvertisement", "bgpadvertisements"),
        ("Community", "communities"),
        ("ConfigurationState", "configurationstates"),
        ("IPAddressPool", "ipaddresspools"),
        ("L2Advertisement", "l2advertisements"),
        ("ServiceBGPStatus", "servicebgpstatuses"),
        ("ServiceL2Status", "servicel2statuses"),
    ] {
        all.push(Probe { kind, plural, data: json!({}), same: true });
    }
    all
}
