use std::process::ExitCode;

use clap::Args;

use crate::output::print;

/// `landfall crds`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CrdsArgs {}

impl CrdsArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        print(&landfall_kubernetes::api::crds_yaml())?;
        Ok(ExitCode::SUCCESS)
    }
}
