//! Network Load Balancers: the real controller, a real API server, and AWS behind the double of `tests/aws`.

mod cloud;
mod life;
mod plain;
mod shared;
mod trouble;
mod weighted;

use anyhow::Result;

use self::cloud::{Cloud, Setting};

/// Runs a scenario, and shows what a person would look at if it fails.
fn in_the_cloud(setting: Setting, scenario: impl FnOnce(&mut Cloud) -> Result<()>) {
    let mut cloud = Cloud::start(setting).expect("the cloud comes up");
    if let Err(error) = scenario(&mut cloud) {
        panic!("{error:#}\n{}", cloud.diagnosis());
    }
    cloud.end().expect("nothing is left");
}

#[test]
#[ignore = "needs root, the control plane and moto from PyPI; make test runs it"]
fn a_service_gets_a_load_balancer_that_follows_it_and_goes_with_it() {
    in_the_cloud(Setting::Installed, life::of_a_service);
}

#[test]
#[ignore = "needs root, the control plane and moto from PyPI; make test runs it"]
fn a_kill_after_any_call_leaves_nothing_behind() {
    in_the_cloud(Setting::Installed, trouble::kills);
}

#[test]
#[ignore = "needs root, the control plane and moto from PyPI; make test runs it"]
fn mistakes_refusals_and_throttling_are_told_and_outlived() {
    in_the_cloud(Setting::Installed, trouble::refusals);
}

#[test]
#[ignore = "needs root, the control plane and moto from PyPI; make test runs it"]
fn a_bare_cluster_and_plain_moto_are_enough() {
    in_the_cloud(Setting::Bare, plain::all);
}
