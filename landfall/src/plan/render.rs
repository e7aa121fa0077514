//! The report as tables for people. Pure.

use std::fmt::Write as _;

use super::report::{Candidate, ConfigError, Report};
use crate::output::table;

pub(super) fn text(report: &Report) -> String {
    let Report { config, services, layer2, bgp } = report;
    let mut text = String::new();
    for ConfigError { kind, namespace, name, field, message, transient, .. } in &config.errors {
        let weight = if *transient { "waiting" } else { "invalid" };
        let object = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        let field = if field.is_empty() { String::new() } else { format!(" {field}") };
        _ = writeln!(text, "{weight}: {kind} {object}{field}: {message}");
    }
    text.push_str(if config.valid { "VALID\n" } else { "INVALID\n" });

    let rows = services.iter().map(|service| {
        vec![
            format!("{}/{}", service.namespace, service.name),
            joined(service.addresses.iter().map(ToString::to_string)),
            service.pool.clone().unwrap_or_else(|| "-".to_owned()),
            if service.changed { "yes" } else { "no" }.to_owned(),
            if service.addresses.is_empty() { service.message.clone() } else { service.reason.clone() },
        ]
    });
    table(&mut text, &["SERVICE", "ADDRESSES", "POOL", "CHANGED", "WHY"], rows);

    let rows = layer2.iter().map(|entry| {
        let known = |one: &&Candidate| !entry.candidates.contains(one);
        let candidates = entry.candidates.iter().chain(entry.preferred.iter().filter(known));
        let others = candidates.filter(|candidate| Some(&candidate.node) != entry.owner.as_ref());
        vec![
            format!("{}/{}", entry.namespace, entry.name),
            entry.address.to_string(),
            entry.owner.clone().unwrap_or_else(|| "-".to_owned()),
            joined(entry.interfaces.iter().cloned()),
            joined(others.map(|candidate| format!("{} ({})", candidate.node, candidate.reason))),
        ]
    });
    table(&mut text, &["LAYER 2", "ADDRESS", "OWNER", "INTERFACES", "OTHERS"], rows);

    let rows = bgp.services.iter().map(|service| {
        let rejected = service.rejected.iter();
        vec![
            format!("{}/{}", service.namespace, service.name),
            joined(service.nodes.iter().cloned()),
            joined(rejected.map(|rejected| format!("{} ({})", rejected.node, rejected.reason))),
        ]
    });
    table(&mut text, &["BGP", "NODES", "NOT FROM"], rows);

    let rows = bgp.updates.iter().map(|update| {
        vec![
            update.node.clone(),
            update.peer.clone(),
            update.prefix.clone(),
            update.local_pref.to_string(),
            joined(update.communities.iter().cloned()),
            joined(update.services.iter().cloned()),
        ]
    });
    table(&mut text, &["NODE", "PEER", "PREFIX", "LOCALPREF", "COMMUNITIES", "FOR"], rows);
    text
}

fn joined(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}
