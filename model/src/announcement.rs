use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::{Reason, ServiceKey};

/// What the speaker of one node says about one Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Announcement {
    /// The Service.
    pub service: ServiceKey,
    /// The node that announces it.
    pub node: Box<str>,
    /// What was found on the wire; `None`: an older version, or MetalLB, does not say.
    pub verification: Option<Verification>,
}

/// What a peer found when it asked for the addresses of a Service on the wire, and what is known of the last takeover. Its
/// JSON stands in the annotation `landfall.dev/verified`, so what it says never changes its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// The worst result over the addresses.
    pub result: Verdict,
    /// Since when it is so, RFC 3339 in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Box<str>>,
    /// The node that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
    /// The Ethernet address of another host that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Box<str>>,
    /// For so many milliseconds nobody had the addresses at the last takeover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<u64>,
}

/// The result of a [`Verification`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The node that announces the addresses answers for them, and nobody else does.
    Verified,
    /// It was not found out yet.
    Pending,
    /// Nobody on the segment can find out.
    Unable,
    /// The node is not heard.
    Silent,
    /// Another host answers.
    Wrong,
}

impl Verification {
    /// Why a client that asks for the addresses is not answered by the node that announces them, as far as anybody knows.
    #[must_use]
    pub const fn fault(&self) -> Option<Reason> {
        match self.result {
            Verdict::Verified | Verdict::Pending | Verdict::Unable => None,
            Verdict::Silent => Some(Reason::NotHeard),
            Verdict::Wrong => Some(Reason::OtherHostAnswers),
        }
    }
}

impl Announcement {
    /// Whether a peer confirmed it.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verification.as_ref().is_some_and(|verification| verification.result == Verdict::Verified)
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node \"{}\" announces it", self.node)?;
        self.verification.as_ref().map_or(Ok(()), |verification| write!(f, "; {verification}"))
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by = self.by.as_ref().map_or_else(|| "a peer".to_owned(), |by| format!("node \"{by}\""));
        if let Some(since) = &self.since {
            let _ = write!(by, ", since {since}");
        }
        match self.result {
            Verdict::Verified => write!(f, "verified on the wire by {by}")?,
            Verdict::Pending => write!(f, "not verified yet")?,
            Verdict::Unable => write!(f, "not verified: no other speaker on the segment can look for it")?,
            Verdict::Silent => write!(f, "not heard on the wire by {by}")?,
            Verdict::Wrong => {
                let other = self.other.as_deref().unwrap_or("another host");
                write!(f, "{other} answers on the wire, found by {by}")?;
            }
        }
        self.gap_ms.map_or(Ok(()), |gap| write!(f, "; nobody had it for {gap} ms at the last takeover"))
    }
}
