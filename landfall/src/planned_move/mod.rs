//! `landfall move`: a person says which node announces a Service. The speakers do the move; this asks them to, and waits.

mod cluster;
mod target;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use landfall_kubernetes::names::annotation;
use landfall_model::ServiceKey;

use self::{
    cluster::Cluster,
    target::{Chosen, Target},
};
use crate::{
    connection::ConnectionArgs,
    duration::duration,
    output::print,
    plan::{self, Candidates},
    run,
};

/// What it needs of the API server, for its help.
const RIGHTS: &str = "\
It asks with the rights of the kubeconfig: list and patch Services; list Nodes and EndpointSlices; and in the namespace of the \
install list Pods, IPAddressPools and L2Advertisements, and list and watch ServiceL2Statuses. Machines that run `landfall \
standalone` have no API server: there, write the annotation landfall.dev/preferred-node into the manifest of the Service.";

/// `landfall move`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RIGHTS)]
pub(crate) struct MoveArgs {
    /// The Service, as NAMESPACE/NAME or only its name, or one of its addresses
    #[arg(value_name = "SERVICE")]
    target: Target,

    /// The node that is to announce it; without it, the Service prefers no node any more
    #[arg(long, value_name = "NODE")]
    to: Option<String>,

    /// How long to wait until the node announces it, such as 1m; 0 only asks for it
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    wait: Duration,

    #[command(flatten)]
    connection: ConnectionArgs,

    /// Namespace of the Service, where its name says none; without it, of the kubeconfig's context
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Namespace of the install
    #[arg(long, env = "LANDFALL_NAMESPACE", value_name = "NAME", default_value = "landfall-system")]
    install_namespace: String,
}

impl MoveArgs {
    /// Exit code 0: it is done, or asked for without a wait; 1: the node does not announce it yet; 2 (an error): nothing was
    /// asked for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { target, to, wait, connection, namespace, install_namespace } = self;
        let mut done = true;
        run::command(async {
            let connection = connection.connect().await.with_context(|| {
                let annotation = annotation::PREFERRED_NODE;
                format!(
                    "cannot ask a cluster (for `landfall standalone`, write {annotation} into the Service's manifest)"
                )
            })?;
            let namespace = namespace.unwrap_or(connection.namespace);
            let cluster = Cluster { client: connection.client, install_namespace };
            let services = cluster.services().await?;
            let chosen = target::choose(&services, &target, &namespace)?;
            let text = match to {
                Some(node) => {
                    let candidates = cluster.candidates(&chosen).await?;
                    ensure_candidate(&node, &chosen.named, candidates)?;
                    let (text, moved) = announce_from(&cluster, &chosen, &node, wait).await?;
                    done = moved;
                    text
                }
                None => forget(&cluster, &chosen).await?,
            };
            print(&text).map(drop)
        })?;
        Ok(ExitCode::from(u8::from(!done)))
    }
}

/// Asks for the move and waits for it. Says what became of it, and whether it is done.
async fn announce_from(
    cluster: &Cluster,
    chosen: &Chosen,
    node: &str,
    wait: Duration,
) -> anyhow::Result<(String, bool)> {
    let Chosen { named, counts, .. } = chosen;
    let before = cluster.announcers(named).await?;
    let from = before.iter().filter(|one| *one != node).cloned().collect::<Vec<_>>().join(", ");
    let from = if from.is_empty() { "nobody".to_owned() } else { from };
    let start = Instant::now();
    cluster.prefer(counts, Some(node)).await?;
    let by = by(chosen);
    if wait.is_zero() {
        return Ok((format!("Service {named} was asked to move from {from} to {node}{by}\n"), true));
    }
    if before.contains(node) && before.len() == 1 {
        return Ok((
            format!("node {node} announces Service {named} already, and is preferred from now on{by}\n"),
            true,
        ));
    }
    let announced = tokio::time::timeout(wait, cluster.until_announced(named, node)).await;
    if let Ok(announced) = announced {
        announced?;
        let seconds = start.elapsed().as_secs_f64();
        return Ok((format!("Service {named} moved from {from} to {node} in {seconds:.2} s{by}\n"), true));
    }
    let why = match cluster.why_waiting(counts).await {
        Some(message) => message,
        None => format!("`kubectl -n {} describe service {}` may say why", counts.namespace, counts.name),
    };
    Ok((
        format!("node {node} does not announce Service {named} after {wait:?}, {from} does{by}: {why}\n"),
        false,
    ))
}

/// Takes the preference back, which moves nothing.
async fn forget(cluster: &Cluster, chosen: &Chosen) -> anyhow::Result<String> {
    let Chosen { named, counts, preferred, .. } = chosen;
    let Some(node) = preferred else {
        return Ok(format!("Service {named} prefers no node; name one with --to\n"));
    };
    cluster.prefer(counts, None).await?;
    Ok(format!("Service {named} does not prefer {node} any more{}; nothing moves\n", by(chosen)))
}

/// Whose annotation it is, where that is not obvious.
fn by(chosen: &Chosen) -> String {
    if chosen.named == chosen.counts {
        return String::new();
    }
    format!(" (by the annotation of {}, which shares its addresses)", chosen.counts)
}

/// What is known from outside of the nodes: whether the advertisements, endpoints and labels let this one announce.
fn ensure_candidate(node: &str, service: &ServiceKey, candidates: Candidates) -> anyhow::Result<()> {
    let candidates = match candidates {
        Candidates::Nodes(nodes) => nodes,
        Candidates::None(why) => bail!("no node announces Service {service} on layer 2: {why}"),
    };
    let able: Vec<&str> =
        candidates.iter().filter(|one| one.reason.is_none()).map(|one| one.node.as_str()).collect();
    let others = match able.as_slice() {
        [] => "no other node may either".to_owned(),
        able => format!("nodes that may: {}", able.join(", ")),
    };
    match candidates.iter().find(|one| one.node == node) {
        None => bail!("there is no node {node:?} to announce Service {service}; {others}"),
        Some(plan::Place { reason: Some(reason), .. }) => {
            bail!("node {node} may not announce Service {service}: {reason} ({}); {others}", reason.meaning())
        }
        Some(plan::Place { reason: None, .. }) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use landfall_model::Reason;

    use super::*;

    #[test]
    fn a_node_that_may_not_announce_is_refused_with_the_way_out() {
        let web = ServiceKey::new("shop", "web");
        let place = |node: &str, reason: Option<Reason>| plan::Place { node: node.to_owned(), reason };
        let nodes = || {
            Candidates::Nodes(vec![
                place("n1", None),
                place("n2", Some(Reason::NodeExcluded)),
                place("n3", None),
            ])
        };
        let refused =
            |node: &str, candidates| ensure_candidate(node, &web, candidates).unwrap_err().to_string();
        ensure_candidate("n1", &web, nodes()).unwrap();
        let excluded = refused("n2", nodes());
        for part in ["n2", "shop/web", "NodeExcluded", "carries the exclude label", "nodes that may: n1, n3"]
        {
            assert!(excluded.contains(part), "{excluded}");
        }
        let unknown = refused("n9", nodes());
        assert!(unknown.contains("no node \"n9\"") && unknown.contains("n1, n3"), "{unknown}");
        let alone = refused("n2", Candidates::Nodes(vec![place("n2", Some(Reason::SpeakerNotAlive))]));
        assert!(alone.contains("no other node may either"), "{alone}");
        let none = refused("n1", Candidates::None("it has no address".to_owned()));
        assert!(none.ends_with("on layer 2: it has no address"), "{none}");
    }
}
