use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use landfall_engine::forwarding::TableName;
use landfall_speaker::nftables::Nftables;

use crate::run;

/// `landfall cleanup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CleanupArgs {
    /// The nftables table that the speaker was told to use
    #[arg(long, env = "LANDFALL_NFT_TABLE", value_name = "NAME", default_value = "landfall")]
    nft_table: TableName,
}

impl CleanupArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { nft_table } = self;
        let said = format!("this node has no table {nft_table} any more");
        run::command(async {
            Nftables::new("nft", nft_table)
                .cleanup()
                .await
                .context("the forwarding rules could not be removed")
        })?;
        println!("{said}");
        Ok(ExitCode::SUCCESS)
    }
}
