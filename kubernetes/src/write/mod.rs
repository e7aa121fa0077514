//! Writes what the pure crates decided. One [`Store`] has two forms: the API server, and files for standalone use.
//!
//! No write is retried here: [`WriteError`] says whether a retry helps, and the caller looks at its lease first.

mod api;
mod configuration_state;
mod error;
mod event;
mod files;
mod l2_status;
mod service;

use std::collections::BTreeSet;

use landfall_model::{Assigned, ServiceKey, ServiceStatusWrite, Verification};

pub(crate) use api::create_once;
pub use api::{OwnerPod, Writer, WriterIdentity, answered, own_pod};
pub use error::{WriteError, describe};
pub use files::FileWriter;

use crate::api::IPAddressPoolStatus;

/// Where results go.
#[derive(Clone)]
pub enum Store {
    /// To the API server.
    Api(Writer),
    /// To files, for a store fed by [`crate::source::files`].
    Files(FileWriter),
}

/// One event about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWrite {
    /// The Service that it is about.
    pub service: ServiceKey,
    /// `metadata.uid` of the Service.
    pub uid: Box<str>,
    /// Whether someone should look.
    pub severity: Severity,
    /// Such as `IPAllocated`.
    pub reason: &'static str,
    /// What was done, CamelCase, such as `Allocate`.
    pub action: &'static str,
    /// For people, at most 1,024 bytes; longer ones are cut.
    pub message: String,
}

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

impl Severity {
    /// The name that Kubernetes uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What the speaker of one node says about one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2StatusWrite {
    /// The Service.
    pub service: ServiceKey,
    /// The node, which is also part of the object's name.
    pub node: Box<str>,
    /// `Some`: the node announces it. `None`: it does not, and the object is deleted.
    pub status: Option<L2Status>,
}

/// How a node announces a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L2Status {
    /// The interfaces that advertisements limit it to; empty where none does.
    pub interfaces: BTreeSet<Box<str>>,
    /// For people: the interfaces that announce, and why these. See [`crate::names::annotation::ANNOUNCED_ON`].
    pub announced_on: Box<str>,
    /// What was found on the wire. See [`crate::names::annotation::VERIFIED`].
    pub verification: Option<Verification>,
}

/// A `ServiceL2Status` that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2StatusFound {
    /// `metadata.name`, for [`Store::delete_l2_status`].
    pub name: Box<str>,
    /// The Service it speaks of.
    pub service: ServiceKey,
    /// Whether it has the name that [`Store::l2_status`] gives; others were written by MetalLB.
    pub ours: bool,
}

impl Store {
    /// Writes the status of a Service, and returns the version that it has now.
    ///
    /// # Errors
    /// See [`WriteError`]. After [`WriteError::Conflict`] wait for the next version of the Service.
    pub async fn service_status(&self, write: &ServiceStatusWrite) -> Result<Box<str>, WriteError> {
        match self {
            Self::Api(writer) => writer.service_status(write).await,
            Self::Files(writer) => writer.service_status(write).await,
        }
    }

    /// Makes the status of a Service what another machine decided. An API server holds one truth for all, so there it
    /// does nothing.
    ///
    /// # Errors
    /// See [`WriteError`]. After [`WriteError::Conflict`] the status is newer, and nothing is to be done.
    pub async fn adopt(&self, assigned: &Assigned) -> Result<(), WriteError> {
        match self {
            Self::Api(_) => Ok(()),
            Self::Files(writer) => writer.adopt(assigned).await,
        }
    }

    /// Writes the counters of a pool.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn pool_status(&self, pool: &str, status: IPAddressPoolStatus) -> Result<(), WriteError> {
        match self {
            Self::Api(writer) => writer.pool_status(pool, status).await,
            Self::Files(writer) => writer.pool_status(pool, status).await,
        }
    }

    /// Records an event. The same event again raises the count of the first one.
    ///
    /// # Errors
    /// See [`WriteError`]. Who tries again after [`WriteError::Unavailable`] may raise the count once too often.
    pub async fn event(&self, event: &EventWrite) -> Result<(), WriteError> {
        match self {
            Self::Api(writer) => writer.event(event).await,
            Self::Files(writer) => {
                writer.event(event);
                Ok(())
            }
        }
    }

    /// Says that a node announces a Service, or no longer does.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn l2_status(&self, write: &L2StatusWrite) -> Result<(), WriteError> {
        match self {
            Self::Api(writer) => writer.l2_status(write).await,
            Self::Files(writer) => writer.l2_status(write).await,
        }
    }

    /// What is written about a node, for instance by the speaker that ran before.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn l2_statuses(&self, node: &str) -> Result<Vec<L2StatusFound>, WriteError> {
        match self {
            Self::Api(writer) => writer.l2_statuses(node).await,
            Self::Files(writer) => writer.l2_statuses(node).await,
        }
    }

    /// Deletes a `ServiceL2Status` by name. One that is gone already is no error.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete_l2_status(&self, name: &str) -> Result<(), WriteError> {
        match self {
            Self::Api(writer) => writer.delete_l2_status(name).await,
            Self::Files(writer) => writer.delete_l2_status(name).await,
        }
    }
}
