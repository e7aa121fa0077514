//! The allocator alone: no API server, one thread.

use std::time::Instant;

use anyhow::ensure;
use landfall_model::{Family, Labels, Pool, ServiceKey};
use landfall_pool::{Allocator, Claimant, Demand, Request, Sharing};

use crate::figures::Figures;

const SERVICES: usize = 16_000;
const POOLS: u32 = 3_000;

pub(crate) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let labels = Labels::new();
    let keys: Vec<ServiceKey> = (0..SERVICES).map(|n| ServiceKey::new("bench", &format!("s{n}"))).collect();
    let mut allocator = Allocator::default();
    allocator.set_pool(pool("lan", "10.100.0.0/16")?);
    let start = Instant::now();
    for service in &keys {
        let sharing = Sharing::default();
        let claimant = Claimant { service, labels: &labels, namespace_labels: &labels, sharing };
        let request =
            Request { claimant, demand: Demand::One(Family::V4), pool: None, addresses: Vec::new() };
        ensure!(allocator.allocate(&request).is_ok(), "{service} got no address from a pool with room");
    }
    figures.add(
        format!("allocation alone, {SERVICES} Services"),
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
        Some(100.0),
    );

    let pools = (0..POOLS)
        .map(|n| {
            pool(&format!("p{n}"), &format!("10.{}.{}.0-10.{}.{}.9", n / 250, n % 250, n / 250, n % 250))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut allocator = Allocator::default();
    let start = Instant::now();
    for pool in pools {
        allocator.set_pool(pool);
    }
    let took = start.elapsed();
    ensure!(allocator.refused().next().is_none(), "disjoint pools were refused");
    figures.add(format!("overlap check, {POOLS} pools"), took.as_secs_f64() * 1e3, "ms", Some(50.0));
    Ok(())
}

fn pool(name: &str, range: &str) -> anyhow::Result<Pool> {
    Ok(Pool {
        name: name.into(),
        labels: Labels::new(),
        ranges: vec![range.parse()?],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
        rules: landfall_model::PoolRules::default(),
    })
}
