use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use landfall_speaker::nftables::Nftables;

use crate::run;

/// `landfall cleanup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CleanupArgs {}

impl CleanupArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        run::command(async {
            Nftables::new("nft").cleanup().await.context("the forwarding rules could not be removed")
        })?;
        println!("this node has no forwarding rules of Landfall");
        Ok(ExitCode::SUCCESS)
    }
}
