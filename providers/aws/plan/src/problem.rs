//! Why a Service has no load balancer, or not the one that it asks for. Every text names the annotation or field, the value,
//! the rule and the way out, and holds no request ids, so that equal events are counted together.

use thiserror::Error;

use crate::annotations::PREFIX;

/// One reason. A Service may have several; all are told at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Problem {
    /// An annotation cannot be read.
    #[error("annotation {PREFIX}{annotation}: {value:?} is not allowed: {allowed}")]
    Annotation {
        /// Without its prefix.
        annotation: String,
        /// As written.
        value: String,
        /// What is allowed, beginning with a verb or a noun.
        allowed: String,
    },
    /// Two parts of the Service contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// No subnets, or not those that are asked for.
    #[error("{0}")]
    Subnets(String),
    /// Security groups cannot be found or used.
    #[error("{0}")]
    SecurityGroups(String),
    /// A port cannot be served as asked.
    #[error("port {port}: {text}")]
    Port {
        /// `spec.ports[].port`.
        port: u16,
        /// Rule and way out.
        text: String,
    },
    /// The object belongs to somebody else.
    #[error("{0}")]
    Foreign(String),
    /// `deletion_protection.enabled` forbids deletion.
    #[error(
        "deletion_protection is enabled, cannot delete load balancer {name}: remove deletion_protection.enabled=true from \
         annotation {PREFIX}aws-load-balancer-attributes first"
    )]
    DeletionProtection {
        /// Its name.
        name: String,
    },
}

impl Problem {
    /// The reason word for conditions and metrics; a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Annotation { .. } => "InvalidAnnotation",
            Self::Conflict(_) => "Conflict",
            Self::Subnets(_) => "NoSubnets",
            Self::SecurityGroups(_) => "NoSecurityGroups",
            Self::Port { .. } => "InvalidPort",
            Self::Foreign(_) => "ForeignOwner",
            Self::DeletionProtection { .. } => "DeletionProtection",
        }
    }
}
