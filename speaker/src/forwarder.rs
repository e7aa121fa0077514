use landfall_engine::forwarding::{ForwardingTable, Ruleset};
use landfall_kubernetes::write::describe;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::nftables::{Commits, NftError, Nftables, Rest};

/// Makes each table the rules in force and reports whether they are, in order. Ends when the sender of tables is gone;
/// the rules stay.
///
/// A takeover waits for this, so rules that cannot be in force already are not looked for: that is one run of the tool less.
/// And it is told when they are in force; only the next table waits until the tool has ended.
pub(crate) async fn forward(
    nftables: Nftables,
    mut tables: mpsc::Receiver<ForwardingTable>,
    results: mpsc::Sender<Result<(), Box<str>>>,
) {
    let mut known = Known::Nothing;
    let commits = Commits::open().inspect_err(|error| {
        tracing::debug!(op = "forward", %error, "that rules are in force is known when the tool ends");
    });
    let commits = commits.ok();
    while let Some(table) = tables.recv().await {
        let entries = table.iter().count();
        // Rendering a large table takes longer than a heartbeat may be late.
        let Ok(rules) = spawn_blocking(move || Ruleset::of(&table)).await else { return };
        let loaded = load(&nftables, &rules, &known, commits.as_ref()).await;
        known = if loaded.is_ok() { Known::of(rules.stamp()) } else { Known::Nothing };
        let result = match &loaded {
            Ok(rest) => {
                let adopted = rest.is_none();
                tracing::debug!(op = "forward", entries, adopted, "the forwarding rules are in force");
                Ok(())
            }
            Err(error) => {
                let error = describe(error);
                tracing::warn!(op = "forward", entries, error, "the forwarding rules are not in force");
                Err(error.into())
            }
        };
        if results.send(result).await.is_err() {
            return;
        }
        if let Ok(Some(rest)) = loaded
            && let Err(error) = rest.ended().await
        {
            let error = describe(&error);
            tracing::warn!(op = "forward", entries, error, "the forwarding rules are looked for again");
            known = Known::Nothing;
        }
    }
}

/// Makes them the rules in force; `None` when they were already.
async fn load(
    nftables: &Nftables,
    rules: &Ruleset,
    known: &Known,
    commits: Option<&Commits>,
) -> Result<Option<Rest>, NftError> {
    if (rules.only_keeps() || !known.excludes(rules.stamp())) && nftables.has(rules).await? {
        return Ok(None);
    }
    nftables.load(rules, commits).await.map(Some)
}

/// What this process knows of the rules in force. Others may have removed them since, and nobody but us makes new ones.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// They may be those of an earlier process, or whatever a failure has left.
    Nothing,
    /// There were none.
    Empty,
    /// Those with this stamp.
    Stamp(Box<str>),
}

impl Known {
    /// After the rules with this stamp, or none, were put into force.
    fn of(stamp: Option<&str>) -> Self {
        stamp.map_or(Self::Empty, |stamp| Self::Stamp(stamp.into()))
    }

    /// Whether the rules with this stamp are some, and cannot be in force.
    fn excludes(&self, stamp: Option<&str>) -> bool {
        stamp.is_some() && *self != Self::Nothing && *self != Self::of(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_looked_for_where_they_can_be_in_force_already() {
        // What is known, what is to be in force, and whether it can be there already.
        for (known, wanted, may_be_there) in [
            (Known::Nothing, Some("stamp_1"), true),
            (Known::Nothing, None, true),
            (Known::of(None), Some("stamp_1"), false),
            (Known::of(Some("stamp_1")), Some("stamp_2"), false),
            // Somebody else may have removed them, or not.
            (Known::of(Some("stamp_1")), Some("stamp_1"), true),
            // Where there are none, the tool need not be there either.
            (Known::of(Some("stamp_1")), None, true),
            (Known::of(None), None, true),
        ] {
            assert_eq!(known.excludes(wanted), !may_be_there, "{known:?} {wanted:?}");
        }
    }
}
