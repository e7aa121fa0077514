//! When a `ConfigurationState` is written, and what. Pure: its IO sibling is the module above.
//!
//! It compares what the object shows with what it should show. What the object shows is the newest of what the watch
//! says and what a write made of it, told apart by `resourceVersion`; so an echo of an older write is not taken for
//! somebody's edit.
//!
//! What somebody else changes is mended after a pause, which grows if it happens again and again: two programs that want
//! the same object to be different must not keep an API server busy.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::{Program, Verdict};
use crate::{
    api::{
        ConditionStatus, ConfigurationResult, ConfigurationState, ConfigurationStateStatus, StateCondition,
    },
    source::backoff::Backoff,
    write::{OwnerPod, WriteError},
};

/// `reason` where all is well.
const RECONCILED: &str = "Reconciled";
/// `reason` where something cannot be used.
const CONFIGURATION_ERROR: &str = "ConfigurationError";

/// A refused write is tried again after this at least: somebody must mend something first.
const REFUSED: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Makes the object, or its labels and its owner, what they should be.
    Metadata,
    /// Makes its status what it should be.
    Status(Box<ConfigurationStateStatus>),
}

/// What one program says about its configuration, and what its object shows of it.
#[derive(Debug)]
pub(crate) struct Machine {
    labels: BTreeMap<String, String>,
    condition: &'static str,
    owner: Option<OwnerPod>,
    wanted: Option<Verdict>,
    /// The first list is complete. Nothing is written before.
    listed: bool,
    shown: Option<Box<ConfigurationState>>,
    /// The last status of the condition that is known, and since when. It outlives the object.
    since: Option<(ConditionStatus, Time)>,
    writing: Option<Write>,
    retry_at: Option<Instant>,
    failures: Backoff,
    /// The object has shown what is wanted now: if it does no more, somebody else changed it.
    fulfilled: bool,
    repairs: Backoff,
}

impl Machine {
    /// A machine that knows nothing yet. `owner` is the Pod that the program runs in, if it runs in one.
    pub(crate) fn new(program: &Program, owner: Option<OwnerPod>) -> Self {
        Self {
            labels: program.labels(),
            condition: program.condition(),
            owner,
            wanted: None,
            listed: false,
            shown: None,
            since: None,
            writing: None,
            retry_at: None,
            failures: Backoff::default(),
            fulfilled: false,
            repairs: Backoff::default(),
        }
    }

    /// What the object should show from now on.
    pub(crate) fn want(&mut self, verdict: Verdict) {
        if self.wanted.as_ref() != Some(&verdict) {
            self.wanted = Some(verdict);
            self.fulfilled = false;
        }
    }

    /// A list is complete: this is the object, or there is none.
    pub(crate) fn list(&mut self, object: Option<Box<ConfigurationState>>) {
        self.listed = true;
        match object {
            Some(object) => self.see(object),
            None => self.shown = None,
        }
    }

    /// The object is like this now.
    pub(crate) fn see(&mut self, object: Box<ConfigurationState>) {
        if self.is_old(&object) {
            return;
        }
        if let Some(condition) = self.condition_of(&object) {
            self.since = Some((condition.status, condition.last_transition_time.clone()));
        }
        self.shown = Some(object);
    }

    /// The object was deleted; this is what the watch says of it.
    pub(crate) fn gone(&mut self, object: &ConfigurationState) {
        if !self.is_old(object) {
            self.shown = None;
        }
    }

    /// The next request, if there is something to write now. To be called after everything that was handed in, and at
    /// the time of [`Machine::wake`]; calling it late delays the write. [`Machine::written`] must follow. `wall` is for the
    /// object, `random` any number, for the jitter of a pause.
    pub(crate) fn write(&mut self, random: u32, now: Instant, wall: Timestamp) -> Option<Write> {
        if !self.listed || self.writing.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let missing = self.missing(wall);
        let before = std::mem::replace(&mut self.fulfilled, missing.is_none());
        if before && missing.is_some() {
            self.retry_at = Some(now + self.repairs.next(random, now));
            return None;
        }
        self.writing.clone_from(&missing);
        missing
    }

    /// When to ask for the next request although nothing is handed in until then.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.writing.is_none())
    }

    /// What came of a request: the object as it is now, or why it failed. True if it is the first failure since a success.
    pub(crate) fn written(
        &mut self,
        result: Result<Box<ConfigurationState>, &WriteError>,
        random: u32,
        now: Instant,
    ) -> bool {
        let written = self.writing.take();
        let error = match result {
            Ok(object) => {
                self.failures.reset();
                let done = written.is_none_or(|write| match write {
                    Write::Metadata => self.is_labelled(&object),
                    Write::Status(status) => self.shows(&object, &status),
                });
                if !done {
                    // Something on the way made another object of it.
                    self.retry_at = Some(now + self.repairs.next(random, now));
                }
                self.see(object);
                return false;
            }
            Err(error) => error,
        };
        let first = !self.failures.failing(now);
        let at_least = match error {
            WriteError::Throttled { after } => *after,
            WriteError::Rejected { .. } => REFUSED,
            // What is written next is the whole object, if it is that which is gone.
            WriteError::Gone { .. } => {
                self.shown = None;
                Duration::ZERO
            }
            WriteError::Conflict { .. } | WriteError::Unavailable { .. } => Duration::ZERO,
        };
        self.retry_at = Some(now + at_least + self.failures.next(random, now));
        first
    }

    /// The first thing that the object does not show as it should.
    fn missing(&self, wall: Timestamp) -> Option<Write> {
        let verdict = self.wanted.as_ref()?;
        let Some(shown) = self.shown.as_ref().filter(|shown| self.is_labelled(shown)) else {
            return Some(Write::Metadata);
        };
        let status = self.status(verdict, wall);
        (!self.shows(shown, &status)).then(|| Write::Status(Box::new(status)))
    }

    /// Whether the object shows `wanted`. What others add is theirs, and the condition's time follows from the rest.
    fn shows(&self, object: &ConfigurationState, wanted: &ConfigurationStateStatus) -> bool {
        let says = |status: &ConfigurationStateStatus| {
            let condition = self.condition_in(status)?;
            let summary = status.error_summary.clone().unwrap_or_default();
            Some((
                status.result,
                summary,
                condition.status,
                condition.reason.clone(),
                condition.message.clone(),
            ))
        };
        object.status.as_ref().and_then(says) == says(wanted)
    }

    fn status(&self, verdict: &Verdict, wall: Timestamp) -> ConfigurationStateStatus {
        let (result, status, reason) = if verdict.is_valid() {
            (ConfigurationResult::Valid, ConditionStatus::True, RECONCILED)
        } else {
            (ConfigurationResult::Invalid, ConditionStatus::False, CONFIGURATION_ERROR)
        };
        let since = match &self.since {
            Some((before, since)) if *before == status => since.clone(),
            Some(_) | None => Time(wall),
        };
        let condition = StateCondition {
            kind: self.condition.to_owned(),
            status,
            reason: reason.to_owned(),
            message: verdict.text().to_owned(),
            last_transition_time: since,
            observed_generation: None,
        };
        ConfigurationStateStatus {
            result: Some(result),
            error_summary: Some(verdict.text().to_owned()),
            conditions: Some(vec![condition]),
        }
    }

    fn condition_of<'a>(&self, object: &'a ConfigurationState) -> Option<&'a StateCondition> {
        object.status.as_ref().and_then(|status| self.condition_in(status))
    }

    fn condition_in<'a>(&self, status: &'a ConfigurationStateStatus) -> Option<&'a StateCondition> {
        status.conditions.iter().flatten().find(|condition| condition.kind == self.condition)
    }

    /// Whether labels and owner are what they should be. What others add is theirs.
    fn is_labelled(&self, object: &ConfigurationState) -> bool {
        let labels = self.labels.iter().all(|(key, value)| object.labels().get(key) == Some(value));
        let owner = self.owner.as_ref();
        labels
            && owner.is_none_or(|owner| object.owner_references().iter().any(|found| found.uid == owner.uid))
    }

    /// Whether something newer is known. Versions of one object are numbers that grow, deletions included.
    fn is_old(&self, object: &ConfigurationState) -> bool {
        let version = |object: &ConfigurationState| object.resource_version()?.parse::<u64>().ok();
        let known = self.shown.as_deref().and_then(version);
        known.zip(version(object)).is_some_and(|(known, found)| found < known)
    }
}

#[cfg(test)]
mod tests;
