use std::time::Duration;

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object changed since the decision was made. Decide again from its new version; do not repeat the write.
    #[error("the object has changed in the meantime: {message}")]
    Conflict {
        /// What the server says.
        message: String,
    },
    /// The object, or its namespace, is gone. A retry does not help.
    #[error("the object is gone: {message}")]
    Gone {
        /// What the server says.
        message: String,
    },
    /// The server is busy. A retry helps, not before `after`.
    #[error("the API server asks to wait for {} s", after.as_secs())]
    Throttled {
        /// How long to wait.
        after: Duration,
    },
    /// The server refuses: missing rights, failed validation. A retry helps only after somebody has mended it.
    #[error("the API server refuses with status {code} ({reason}): {message}")]
    Rejected {
        /// HTTP status.
        code: u16,
        /// Machine-readable reason of the server.
        reason: String,
        /// What the server says.
        message: String,
    },
    /// No answer. The write may have happened or not; a retry helps.
    #[error("no answer to the write: {message}")]
    Unavailable {
        /// What went wrong.
        message: String,
    },
}

impl WriteError {
    /// Whether the same write may be tried again, and after how long at least.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { after } => Some(*after),
            Self::Unavailable { .. } => Some(Duration::from_millis(200)),
            Self::Conflict { .. } | Self::Gone { .. } | Self::Rejected { .. } => None,
        }
    }

    /// A name for metrics and logs, from a closed set.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Gone { .. } => "gone",
            Self::Throttled { .. } => "throttled",
            Self::Rejected { .. } => "rejected",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        // Not our enum: every other kind of failure means that there was no usable answer.
        let kube::Error::Api(status) = error else {
            return Self::Unavailable { message: describe(&error) };
        };
        let after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let message = status.message.clone();
        match status.code {
            404 | 410 => Self::Gone { message },
            // A document with a uid is refused as a conflict when there is nothing left to apply it to.
            409 if message.ends_with("no existing object was found") => Self::Gone { message },
            409 => Self::Conflict { message },
            // A successor of the same name: the server calls the difference an attempt to change the uid.
            422 if names_uid(&status) => Self::Conflict { message },
            429 | 503 | 504 => Self::Throttled { after: Duration::from_secs(u64::from(after.max(1))) },
            500 | 502 => Self::Unavailable { message },
            code => Self::Rejected { code, reason: status.reason.clone(), message },
        }
    }
}

fn names_uid(status: &kube::core::Status) -> bool {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    causes.iter().any(|cause| cause.field == "metadata.uid")
}

/// An error with its causes, on one line.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(code: u16, details: Value) -> WriteError {
        let status = json!({ "code": code, "details": details });
        WriteError::from(kube::Error::Api(serde_json::from_value(status).unwrap()))
    }

    fn kind_of(code: u16, field: &str) -> &'static str {
        answer(code, json!({ "causes": [{ "field": field }] })).kind()
    }

    #[test]
    fn the_answer_of_the_server_says_whether_a_retry_helps() {
        for (code, field, kind) in [
            (404, "", "gone"),
            (409, "", "conflict"),
            (410, "", "gone"),
            (422, "metadata.uid", "conflict"),
            (422, "status.loadBalancer", "rejected"),
            (403, "", "rejected"),
            (429, "", "throttled"),
            (503, "", "throttled"),
            (500, "", "unavailable"),
        ] {
            assert_eq!(kind_of(code, field), kind, "{code} {field}");
        }
    }

    #[test]
    fn the_server_may_say_how_long_to_wait() {
        let error = answer(429, json!({ "retryAfterSeconds": 7 }));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}
