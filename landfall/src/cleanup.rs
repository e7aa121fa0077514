mod cluster;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use landfall_engine::forwarding::TableName;
use landfall_speaker::{memory::Memory, nftables::Nftables};

use self::cluster::ClusterArgs;
use crate::{
    logging::{self, LogLevel},
    output::print,
    run,
};

/// `landfall cleanup`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CleanupArgs {
    #[command(subcommand)]
    what: Option<What>,

    /// The nftables table that the speaker was told to use
    #[arg(long, env = "LANDFALL_NFT_TABLE", value_name = "NAME", default_value = "landfall")]
    nft_table: TableName,

    /// The directory that the speaker was told to use; what it remembered there is removed
    #[arg(long, env = "LANDFALL_STATE_DIR", value_name = "DIR", default_value = "/var/lib/landfall")]
    state_dir: PathBuf,

    /// Wait for SIGTERM afterwards, as a container of a DaemonSet must
    #[arg(long)]
    stay: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Take back what Landfall wrote to Services, and remove its Lease, Secret and reports
    Cluster(ClusterArgs),
}

impl CleanupArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { what, nft_table, state_dir, stay } = self;
        if let Some(What::Cluster(args)) = what {
            return args.run();
        }
        let tables = nft_table.in_all_families().join(", ");
        run::daemon(logging::start(LogLevel::default()), async |shutdown| {
            let cleanup = Nftables::new("nft", nft_table);
            cleanup.cleanup().await.context("the forwarding rules could not be removed")?;
            Memory::remove(&state_dir).with_context(|| {
                format!("what this node remembered in {} could not be removed", state_dir.display())
            })?;
            print(&format!("this node has none of the tables {tables} any more, and remembers nothing\n"))?;
            if stay {
                shutdown.cancelled().await;
            }
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
