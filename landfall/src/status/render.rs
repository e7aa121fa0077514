//! The report as tables for people.

use std::fmt::Write as _;

use landfall_model::{Verdict, Verification};

use super::report::{Owner, Report};
use crate::output::table;

const BAR: usize = 20;

/// The report as text: a headline, its problems, then a table for each part that has rows.
pub(crate) fn text(report: &Report) -> String {
    let mut out = format!("{}\n", report.headline());
    for problem in &report.problems {
        _ = writeln!(out, "  ! {problem}");
    }
    let components = report.components.iter().map(|c| {
        let ready = if c.ready { "ready" } else { "not ready" };
        vec![c.component.clone(), c.pod.clone(), c.node.clone(), c.version.clone(), ready.to_owned()]
    });
    table(&mut out, &["COMPONENT", "POD", "NODE", "VERSION", "STATE"], components);
    let pools = report.pools.iter().map(|p| {
        vec![p.name.clone(), p.size.to_string(), p.used.to_string(), p.free.to_string(), bar(p.used, p.size)]
    });
    table(&mut out, &["POOL", "SIZE", "USED", "FREE", ""], pools);
    let services = report.services.iter().map(|s| {
        let or_dash = |text: Option<&str>| text.filter(|t| !t.is_empty()).unwrap_or("-").to_owned();
        vec![
            format!("{}/{}", s.namespace, s.name),
            or_dash(s.class.as_deref()),
            or_dash(Some(&s.addresses.join(","))),
            or_dash(s.pool.as_deref()),
            or_dash(Some(&owners(&s.owners, s.preferred_node.as_deref()))),
            match (&s.reason, &s.message) {
                (None, _) => served(s.verification.as_ref()),
                (Some(reason), Some(message)) if !message.is_empty() => format!("{reason}: {message}"),
                (Some(reason), _) => reason.clone(),
            },
        ]
    });
    table(&mut out, &["SERVICE", "CLASS", "ADDRESS", "POOL", "OWNER", "STATE"], services);
    out
}

/// Whether that was seen on the wire, and by whom.
fn served(verification: Option<&Verification>) -> String {
    let by = verification.filter(|one| one.result == Verdict::Verified).and_then(|one| one.by.as_deref());
    by.map_or_else(|| "served".to_owned(), |by| format!("served, verified by {by}"))
}

/// The owners, and the node that should be the only one where it is not.
fn owners(owners: &[Owner], preferred: Option<&str>) -> String {
    let shown: Vec<String> = owners.iter().map(with_link).collect();
    let elsewhere = |node: &&str| owners.iter().any(|owner| owner.node != **node);
    match preferred.filter(elsewhere) {
        Some(node) => format!("{}, prefers {node}", shown.join(",")),
        None => shown.join(","),
    }
}

/// The owner with the names of its interfaces; why these is left to the JSON form.
fn with_link(owner: &Owner) -> String {
    let Owner { node, link, verification: _ } = owner;
    let Some(link) = link else { return node.clone() };
    let names = link.split(", ").map(|part| part.split_once(" (").map_or(part, |(names, _)| names));
    format!("{node} ({})", names.collect::<Vec<_>>().join(","))
}

/// Used part of a pool: at least one mark when anything is used, never full while something is free.
fn bar(used: i64, size: i64) -> String {
    let (used, size) = (u128::try_from(used).unwrap_or(0), u128::try_from(size).unwrap_or(0).max(1));
    let full = BAR as u128;
    let marks = match used {
        0 => 0,
        used if used >= size => full,
        used => (used * full / size).clamp(1, full - 1),
    };
    let marks = usize::try_from(marks).unwrap_or(BAR);
    format!("[{}{}]", "#".repeat(marks), "·".repeat(BAR - marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_tells_a_little_from_nothing_and_nearly_full_from_full() {
        assert_eq!(bar(0, 10), format!("[{}]", "·".repeat(BAR)));
        assert_eq!(bar(10, 10), format!("[{}]", "#".repeat(BAR)));
        assert!(bar(1, 1_000_000).starts_with("[#·"));
        assert!(bar(999_999, 1_000_000).ends_with("#·]"));
        assert_eq!(bar(0, 0).chars().count(), BAR + 2);
        assert_eq!(bar(i64::MAX, i64::MAX).matches('#').count(), BAR);
    }

    #[test]
    fn a_preferred_node_is_shown_where_another_one_announces() {
        let owner = |node: &str| Owner { node: node.into(), link: None, verification: None };
        for (all, preferred, expected) in [
            (vec![owner("n1")], Some("n1"), "n1"),
            (vec![owner("n1")], Some("n2"), "n1, prefers n2"),
            (vec![owner("n1"), owner("n2")], Some("n2"), "n1,n2, prefers n2"),
            (vec![], Some("n2"), ""),
            (vec![owner("n1")], None, "n1"),
        ] {
            assert_eq!(owners(&all, preferred), expected);
        }
    }

    #[test]
    fn the_owner_is_shown_with_its_interfaces() {
        for (link, expected) in [
            (None, "n1"),
            (Some("eth0 (Subnet)"), "n1 (eth0)"),
            (Some("eth0,eth1 (DefaultRoute)"), "n1 (eth0,eth1)"),
            (Some("eth0 (Subnet), eth1 (Only)"), "n1 (eth0,eth1)"),
        ] {
            let link = link.map(str::to_owned);
            let owner = Owner { node: "n1".into(), link, verification: None };
            assert_eq!(with_link(&owner), expected);
        }
    }
}
