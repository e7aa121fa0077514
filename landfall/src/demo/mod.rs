//! `landfall demo`: the main job on one machine, with real ARP, TCP and nftables in network namespaces, and
//! manifests from files instead of a cluster.

mod client;
mod manifests;
mod site;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

use self::{client::Traffic, site::Site};

/// Requests before the owner is killed.
const REQUESTS: u32 = 100;

/// How long the demo waits for anything before it gives up and says what it waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// `landfall demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print the result as one JSON object in the last line
    #[arg(long)]
    json: bool,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Outcome {
    address: String,
    owner: String,
    requests: Requests,
    failover: Failover,
}

#[derive(Debug, Serialize)]
struct Requests {
    ok: u32,
    failed: u32,
}

#[derive(Debug, Serialize)]
struct Failover {
    from: String,
    to: String,
    gap_ms: u64,
}

impl DemoArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { json } = self;
        let story = Story { start: Instant::now() };
        let site = Site::build().context("cannot build the demo's LAN")?;
        let outcome = story.play(&site).with_context(|| site.last_words());
        let removed = site.remove().context("cannot remove the demo's LAN");
        let outcome = outcome?;
        removed?;
        story.tell("everything is removed");
        if json {
            println!("{}", serde_json::to_string(&outcome)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells what happens, with the time since the start.
struct Story {
    start: Instant,
}

impl Story {
    fn tell(&self, line: impl AsRef<str>) {
        println!("[{:5.2} s] {}", self.start.elapsed().as_secs_f64(), line.as_ref());
    }

    fn play(&self, site: &Site) -> anyhow::Result<Outcome> {
        self.tell("a LAN with the nodes n1, n2, n3 and a client that has never heard of Kubernetes");
        site.start_controller()?;
        let asked = Instant::now();
        let address = wait_for("an address in the Service's status", || site.assigned_address())?;
        let took = asked.elapsed().as_millis();
        self.tell(format!(
            "Service shop/web has the address {address}, {took} ms after the controller was started"
        ));

        site.start_speakers()?;
        wait_for("the first answered request", || Ok(client::request(site.client(), address)?.ok()))?;
        let mac = wait_for("the client's neighbour entry", || client::neighbour(site.client(), address))?;
        let owner = site.owner_of(&mac).with_context(|| format!("{mac} is the MAC of no node"))?;
        self.tell(format!("{owner} answers ARP for {address} with {mac}"));

        let hundred = client::burst(site.client(), address, REQUESTS)?;
        let share: Vec<String> =
            hundred.answers.iter().map(|(name, count)| format!("{name} {count}")).collect();
        self.tell(format!("{} of {REQUESTS} requests answered by {}", hundred.ok, share.join(", ")));
        ensure!(hundred.failed == 0, "{} of {REQUESTS} requests failed on a healthy LAN", hundred.failed);

        let traffic = Traffic::start(site.client(), address)?;
        traffic.wait_for_answers(PATIENCE)?;
        site.kill(&owner)?;
        self.tell(format!("{owner} is dead: its processes are killed and its link is down"));
        let successor = wait_for("another node's MAC at the client", || {
            let mac = client::neighbour(site.client(), address)?;
            Ok(mac.and_then(|mac| site.owner_of(&mac)).filter(|node| *node != owner))
        })?;
        traffic.wait_for_answers(PATIENCE)?;
        let seen = traffic.stop()?;
        let gap_ms = u64::try_from(seen.gap.as_millis()).unwrap_or(u64::MAX);
        self.tell(format!(
            "{successor} answers now; the client saw nothing for {gap_ms} ms, {} requests lost",
            seen.failed
        ));
        Ok(Outcome {
            address: address.to_string(),
            owner: owner.clone(),
            requests: Requests { ok: hundred.ok + seen.ok, failed: seen.failed },
            failover: Failover { from: owner, to: successor, gap_ms },
        })
    }
}

/// Asks again and again until there is an answer.
fn wait_for<T>(what: &str, mut answer: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = answer()? {
            return Ok(answer);
        }
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
