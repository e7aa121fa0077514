//! Many scenarios on one bed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::Cluster;

/// Runs scenarios one after the other on one cluster. A failed one is reported at once, with the state of the cluster, and
/// the next one still runs; [`Sections::finish`] fails the test when any did.
///
/// `LANDFALL_E2E_ONLY=word` runs only the sections with that word in their title, for work on one of them.
#[derive(Debug)]
pub struct Sections {
    cluster: Cluster,
    failed: Vec<&'static str>,
    only: Option<String>,
}

impl Sections {
    /// On a new cluster, after `prepare`, without which no scenario makes sense.
    ///
    /// # Panics
    /// When the cluster does not come up or cannot be prepared; with the state of the cluster.
    #[must_use]
    pub fn on_new_cluster(prepare: impl FnOnce(&Cluster) -> Result<()>) -> Self {
        let cluster = Cluster::start().unwrap_or_else(|error| panic!("no bed: {error:#}"));
        if let Err(error) = prepare(&cluster) {
            panic!("the cluster is not ready for the test: {error:#}\n{}", cluster.diagnosis());
        }
        Self { cluster, failed: Vec::new(), only: std::env::var("LANDFALL_E2E_ONLY").ok() }
    }

    /// Runs one scenario.
    pub fn run(&mut self, title: &'static str, scenario: impl FnOnce(&Cluster) -> Result<()>) {
        if self.only.as_ref().is_some_and(|word| !title.contains(word.as_str())) {
            return;
        }
        eprintln!("== {title}");
        let start = Instant::now();
        let cluster = &self.cluster;
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(cluster)));
        // The text of a panic is on standard error already.
        let outcome = outcome.unwrap_or_else(|_panic| Err(anyhow!("it panicked, see above")));
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => eprintln!("   ok, {seconds:.1} s"),
            Err(error) => {
                eprintln!("   FAILED after {seconds:.1} s: {error:#}\n{}", self.cluster.diagnosis());
                self.failed.push(title);
            }
        }
    }

    /// Takes the cluster apart.
    ///
    /// # Panics
    /// When a section has failed, or something of the bed is left.
    pub fn finish(self) {
        let Self { cluster, failed, only: _ } = self;
        let left = cluster.teardown();
        assert!(failed.is_empty(), "failed: {}", failed.join("; "));
        if let Err(error) = left {
            panic!("the bed was not removed: {error:#}");
        }
    }
}
