//! What Landfall asked of the API server, from the API server's own audit log (`audit.k8s.io/v1`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::manifests::{NAMESPACE, OVERLAYS};

/// An audit log of everything that service accounts in Landfall's namespace do. Its files go when it is dropped.
#[derive(Debug)]
pub struct Audit {
    directory: TempDir,
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service account.
    pub account: String,
    /// The Pod whose token was used.
    pub pod: String,
    /// `get`, `patch` and so on.
    pub verb: String,
    /// `services/status` or such.
    pub resource: String,
    /// Namespace and name of the object; of a list only the namespace.
    pub object: String,
    /// The HTTP status.
    pub code: u64,
    /// Whether the caller had the right to ask. (A status of 403 alone may also mean that a namespace is being deleted.)
    pub allowed: bool,
    /// When the request came, RFC 3339 with microseconds, UTC; such texts are in order of time.
    pub received: String,
}

impl Audit {
    /// Writes the policy. Give [`Audit::flags`] to the API server.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn prepare() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("lf-e2e-").tempdir().context("make a directory")?;
        let installs = std::iter::once(NAMESPACE).chain(OVERLAYS);
        let accounts: Vec<String> = installs.map(|name| format!("system:serviceaccounts:{name}")).collect();
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "Metadata", "userGroups": accounts},
                {"level": "None"},
            ],
        });
        fs::write(directory.path().join("policy.json"), policy.to_string())
            .context("write the audit policy")?;
        Ok(Self { directory })
    }

    /// The API server's flags.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        vec![
            format!("--audit-policy-file={}", self.directory.path().join("policy.json").display()),
            format!("--audit-log-path={}", self.log().display()),
            "--audit-log-mode=blocking".to_owned(),
        ]
    }

    /// Everything that was asked so far, in order of the answers.
    ///
    /// # Errors
    /// When the log cannot be read or understood.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let text = match fs::read_to_string(self.log()) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context("read the audit log"),
        };
        // The last line may be half-written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| Ok(call(&serde_json::from_str(line).context("understand the audit log")?)))
            .collect()
    }

    /// What was forbidden for want of a right. An API server that has just started forbids what it has not read the rules
    /// of yet; the same question was answered before or is afterwards, so it does not count.
    ///
    /// # Errors
    /// As [`Audit::calls`].
    pub fn forbidden(&self) -> Result<Vec<Call>> {
        let (forbidden, answered): (Vec<Call>, Vec<Call>) =
            self.calls()?.into_iter().partition(|call| !call.allowed);
        let answered: BTreeSet<_> = answered.iter().map(Call::question).collect();
        Ok(forbidden.into_iter().filter(|call| !answered.contains(&call.question())).collect())
    }

    /// The successful writes.
    ///
    /// # Errors
    /// As [`Audit::calls`].
    pub fn writes(&self) -> Result<Vec<Call>> {
        let is_write = |call: &Call| matches!(call.verb.as_str(), "create" | "update" | "patch" | "delete");
        Ok(self.calls()?.into_iter().filter(|call| is_write(call) && call.code < 300).collect())
    }

    fn log(&self) -> PathBuf {
        self.path().join("audit.log")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Call {
    fn question(&self) -> [&str; 4] {
        [&self.account, &self.verb, &self.resource, &self.object]
    }
}

fn call(event: &Value) -> Call {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let join =
        |parts: [String; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    Call {
        account: text("/user/username"),
        pod: text("/user/extra/authentication.kubernetes.io~1pod-name/0"),
        verb: text("/verb"),
        resource: join([text("/objectRef/resource"), text("/objectRef/subresource")]),
        object: join([text("/objectRef/namespace"), text("/objectRef/name")]),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
        allowed: text("/annotations/authorization.k8s.io~1decision") == "allow",
        received: text("/requestReceivedTimestamp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_becomes_a_call() {
        let event = json!({
            "stage": "ResponseComplete", "verb": "patch",
            "user": {"username": "system:serviceaccount:landfall-system:landfall-controller",
                "extra": {"authentication.kubernetes.io/pod-name": ["landfall-controller-1"]}},
            "objectRef": {"resource": "services", "namespace": "shop", "name": "web", "subresource": "status"},
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-01-01T00:00:00.000001Z",
        });
        let seen = call(&event);
        assert_eq!((seen.pod.as_str(), seen.verb.as_str()), ("landfall-controller-1", "patch"));
        assert_eq!(
            (seen.resource.as_str(), seen.object.as_str(), seen.code),
            ("services/status", "shop/web", 200)
        );
    }

    #[test]
    fn without_a_log_nothing_was_asked() {
        let audit = Audit::prepare().expect("a temporary directory");
        assert_eq!(audit.calls().expect("no log yet"), []);
        let line = |decision: &str, code: u64| {
            let annotations = json!({"authorization.k8s.io/decision": decision});
            format!(
                "{}\n",
                json!({"verb": "get", "responseStatus": {"code": code}, "annotations": annotations})
            )
        };
        fs::write(audit.log(), line("forbid", 403) + "{\"half").expect("write");
        assert_eq!(audit.forbidden().expect("one whole line").len(), 1);
        assert!(audit.writes().expect("one whole line").is_empty());
        fs::write(audit.log(), line("forbid", 403) + &line("allow", 200)).expect("write");
        assert_eq!(
            audit.forbidden().expect("two lines"),
            [],
            "the right is there, as the second answer shows"
        );
        fs::write(audit.log(), line("allow", 403)).expect("write");
        assert_eq!(audit.forbidden().expect("one line"), [], "its namespace is being deleted");
    }
}
