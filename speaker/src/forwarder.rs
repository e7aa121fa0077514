use landfall_engine::forwarding::{ForwardingTable, Ruleset};
use landfall_kubernetes::write::describe;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::nftables::{Applied, Nftables};

/// Makes each table the rules in force and reports whether they are, in order. Ends when the sender of tables is gone;
/// the rules stay.
pub(crate) async fn forward(
    nftables: Nftables,
    mut tables: mpsc::Receiver<ForwardingTable>,
    results: mpsc::Sender<Result<(), Box<str>>>,
) {
    while let Some(table) = tables.recv().await {
        let entries = table.iter().count();
        // Rendering a large table takes longer than a heartbeat may be late.
        let Ok(rules) = spawn_blocking(move || Ruleset::of(&table)).await else { return };
        let result = match nftables.apply(&rules).await {
            Ok(applied) => {
                let adopted = applied == Applied::Adopted;
                tracing::debug!(op = "forward", entries, adopted, "the forwarding rules are in force");
                Ok(())
            }
            Err(error) => {
                let error = describe(&error);
                tracing::warn!(op = "forward", entries, error, "the forwarding rules are not in force");
                Err(error.into())
            }
        };
        if results.send(result).await.is_err() {
            return;
        }
    }
}
