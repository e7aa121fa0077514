//! The controller with a thousand pools, and what an edit of one of them costs.

use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use landfall_kubernetes::api::{IPAddressPool, IPAddressPoolSpec};
use landfall_testbed::until;
use serde_json::json;

use crate::{
    controller::{SYSTEM, WIDTH},
    figures::Figures,
    process::Running,
};

const POOLS: usize = 1_000;
/// Edits behind the figure, so that the kernel's clock of 10 ms does not matter.
const EDITS: usize = 20;
/// Addresses of a range.
const RANGE: i64 = 16;
const PATIENCE: Duration = Duration::from_secs(60);

/// With these pools beside the one that has all the Services. They stay.
pub(crate) async fn add(client: &Client) -> anyhow::Result<()> {
    let api = pools(client);
    let create = |n: usize| {
        let spec = IPAddressPoolSpec {
            addresses: vec![format!("10.{}.{}.0/28", 101 + n / 250, n % 250)],
            ..IPAddressPoolSpec::default()
        };
        let pool = IPAddressPool::new(&name(n), spec);
        let api = &api;
        async move { api.create(&PostParams::default(), &pool).await.context("cannot create a pool") }
    };
    futures::stream::iter(0..POOLS)
        .map(create)
        .buffer_unordered(WIDTH)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    until("every pool has a status", PATIENCE, || async {
        let all = api.list(&Default::default()).await?;
        let told = all.items.iter().filter(|pool| pool.status.is_some()).count();
        anyhow::ensure!(told > POOLS, "{told} have one");
        Ok(())
    })
    .await
}

/// An edit that moves no address: one range more.
pub(crate) async fn edit(figures: &mut Figures, client: &Client, controller: &Running) -> anyhow::Result<()> {
    let api = pools(client);
    let before = controller.cpu_seconds()?;
    for n in 0..EDITS {
        let addresses = [format!("10.101.{n}.0/28"), format!("10.111.{n}.0/28")];
        let patch = Patch::Merge(json!({ "spec": { "addresses": addresses } }));
        api.patch(&name(n), &PatchParams::default(), &patch).await?;
        until("the pool's status shows both ranges", PATIENCE, || async {
            let pool = api.get(&name(n)).await?;
            let free = pool.status.map(|status| status.available_ipv4);
            anyhow::ensure!(free == Some(2 * RANGE), "{free:?} are free");
            Ok(())
        })
        .await?;
    }
    let each = (controller.cpu_seconds()? - before) / EDITS as f64;
    figures.add(
        format!("an edit of one of {POOLS} pools, CPU of the controller"),
        each * 1e3,
        "ms",
        Some(100.0),
    );
    Ok(())
}

fn pools(client: &Client) -> Api<IPAddressPool> {
    Api::namespaced(client.clone(), SYSTEM)
}

fn name(n: usize) -> String {
    format!("small-{n:04}")
}
