//! What a test can see and steer: the log of calls, faults, and the budget of calls.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use crate::refusal::Refusal;

/// One call that arrived at the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service of the credential scope, such as `elasticloadbalancing`.
    pub service: String,
    /// The action, such as `CreateListener`. For JSON services the part of the target after the dot.
    pub action: String,
    /// The parameters as the Query protocol spells them (`Subnets.member.1`), without `Action` and `Version`. For JSON
    /// services the document, as `body`.
    pub parameters: BTreeMap<String, String>,
    /// The HTTP status of the answer; 0 if the connection was closed without one.
    pub status: u16,
}

/// What goes wrong with the next call of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is refused and changes nothing.
    Before {
        /// The error code of the API, such as `InternalFailure`.
        code: String,
        /// The text for people.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The call is carried out, and the connection closes without an answer.
    After,
}

impl Fault {
    /// A client error (HTTP 400) before anything changes.
    #[must_use]
    pub fn refused(code: &str) -> Self {
        Self::Before { code: code.to_owned(), message: "refused by the test".to_owned(), status: 400 }
    }
}

/// Whether the action may change something.
fn changes(action: &str) -> bool {
    !["Describe", "Get", "List"].iter().any(|verb| action.starts_with(verb))
}

/// A token bucket: how many calls at once, and how many a second after that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Tokens of a full bucket.
    pub burst: u32,
    /// Tokens that return in a second.
    pub per_second: f64,
}

/// The token buckets of an account in a region (clouds.md §4.1). AWS documents the first of them; the others are what is
/// observed, and what the AWS Load Balancer Controller assumes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// `Describe…` of Elastic Load Balancing.
    pub elb_describe: Bucket,
    /// `RegisterTargets` and `DeregisterTargets`.
    pub elb_register: Bucket,
    /// All other calls of Elastic Load Balancing.
    pub elb_modify: Bucket,
    /// `Describe…` of EC2.
    pub ec2_describe: Bucket,
    /// All other calls of EC2.
    pub ec2_modify: Bucket,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            elb_describe: Bucket { burst: 40, per_second: 10.0 },
            elb_register: Bucket { burst: 20, per_second: 4.0 },
            elb_modify: Bucket { burst: 20, per_second: 3.0 },
            ec2_describe: Bucket { burst: 100, per_second: 20.0 },
            ec2_modify: Bucket { burst: 50, per_second: 5.0 },
        }
    }
}

impl Limits {
    /// The bucket of an action, by a name; none for services that are not throttled here.
    fn bucket(&self, service: &str, action: &str) -> Option<(&'static str, Bucket)> {
        let describe = action.starts_with("Describe");
        match service {
            "elasticloadbalancing" if describe => Some(("elb describe", self.elb_describe)),
            "elasticloadbalancing" if matches!(action, "RegisterTargets" | "DeregisterTargets") => {
                Some(("elb register", self.elb_register))
            }
            "elasticloadbalancing" => Some(("elb modify", self.elb_modify)),
            "ec2" if describe => Some(("ec2 describe", self.ec2_describe)),
            "ec2" => Some(("ec2 modify", self.ec2_modify)),
            _ => None,
        }
    }
}

/// Whether calls reach AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    #[default]
    Up,
    /// Up, until a call has changed something.
    UntilChange,
    Cut,
}

/// The state behind the controls of a [`crate::Double`].
#[derive(Debug, Default)]
pub(crate) struct Controls {
    pub(crate) calls: Vec<Call>,
    pub(crate) line: Line,
    faults: BTreeMap<String, VecDeque<Fault>>,
    limits: Option<Limits>,
    /// Tokens left, and when that was.
    levels: BTreeMap<&'static str, (f64, Instant)>,
}

impl Controls {
    pub(crate) fn fail(&mut self, action: &str, fault: Fault) {
        self.faults.entry(action.to_owned()).or_default().push_back(fault);
    }

    /// The fault that was ordered for this call; each is used once.
    pub(crate) fn fault(&mut self, action: &str) -> Option<Fault> {
        if self.line == Line::UntilChange && changes(action) {
            self.line = Line::Cut;
            return Some(Fault::After);
        }
        self.faults.get_mut(action)?.pop_front()
    }

    /// Sets the limits, with full buckets.
    pub(crate) fn throttle(&mut self, limits: Option<Limits>) {
        self.limits = limits;
        self.levels.clear();
    }

    /// Takes a token for a call, or says how AWS refuses it: `Throttling`, "Rate exceeded" for Elastic Load Balancing,
    /// `RequestLimitExceeded` with status 503 for EC2 (clouds.md §4.1).
    pub(crate) fn admit(&mut self, service: &str, action: &str, now: Instant) -> Result<(), Refusal> {
        let Some((name, bucket)) = self.limits.and_then(|l| l.bucket(service, action)) else {
            return Ok(());
        };
        let full = f64::from(bucket.burst);
        let (level, since) = self.levels.entry(name).or_insert((full, now));
        let refilled = now.saturating_duration_since(*since).as_secs_f64() * bucket.per_second;
        *level = (*level + refilled).min(full);
        *since = now;
        if *level >= 1.0 {
            *level -= 1.0;
            return Ok(());
        }
        Err(if service == "ec2" {
            let message = "Request limit exceeded.".to_owned();
            Refusal { code: "RequestLimitExceeded".to_owned(), message, status: 503 }
        } else {
            Refusal::new("Throttling", "Rate exceeded")
        })
    }
}
