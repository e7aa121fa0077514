//! What Landfall asked of the API server, from the API server's own audit log (`audit.k8s.io/v1`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
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
    /// The API group, empty for the core.
    pub group: String,
    /// `services/status` or such.
    pub resource: String,
    /// Namespace and name of the object; of a list, and of one that must not be created, only the namespace.
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
    /// Who asked what of which object. The API server reads the name of a new one only when it has allowed to create it, so
    /// there the namespace is the question.
    fn question(&self) -> [&str; 5] {
        let object = match self.verb.as_str() {
            "create" => self.object.split('/').next().unwrap_or_default(),
            _ => &self.object,
        };
        [&self.account, &self.verb, &self.group, &self.resource, object]
    }
}

/// One verb that a role grants to a service account of Landfall.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The service account.
    pub account: String,
    /// The API group, empty for the core.
    pub group: String,
    /// `services/status` or such.
    pub resource: String,
    /// `get`, `patch` and so on.
    pub verb: String,
    /// The only object that it is granted for, if there is one.
    pub name: Option<String>,
    /// It is granted everywhere, not only in Landfall's namespace.
    pub everywhere: bool,
}

impl Grant {
    /// What a list of roles grants; the label `component` of a role names the service account.
    ///
    /// # Errors
    /// When a role does not look like one of ours, or grants something with a wildcard.
    pub fn of_roles(roles: &Value) -> Result<BTreeSet<Self>> {
        let texts = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        let mut grants = BTreeSet::new();
        for role in roles["items"].as_array().context("a list of roles")? {
            let component =
                role["metadata"]["labels"]["component"].as_str().context("a role with a component")?;
            let account = format!("system:serviceaccount:{NAMESPACE}:landfall-{component}");
            for rule in role["rules"].as_array().into_iter().flatten() {
                let names = texts(&rule["resourceNames"]);
                let names = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
                for group in texts(&rule["apiGroups"]) {
                    for resource in texts(&rule["resources"]) {
                        for verb in texts(&rule["verbs"]) {
                            for name in &names {
                                let wide = [&group, &resource, &verb].into_iter().any(|text| text == "*");
                                ensure!(!wide, "{account} is granted {group} {resource} {verb}: a wildcard");
                                grants.insert(Self {
                                    account: account.clone(),
                                    group: group.clone(),
                                    resource: resource.clone(),
                                    verb: verb.clone(),
                                    name: name.clone(),
                                    everywhere: role["kind"] == "ClusterRole",
                                });
                            }
                        }
                    }
                }
            }
        }
        Ok(grants)
    }

    /// Whether a call needed it: the call succeeded, and what it did is what is granted, no less.
    #[must_use]
    pub fn is_used_by(&self, call: &Call) -> bool {
        // An apply of an object that is not there needs the right to create it too.
        let created = call.verb == "patch" && call.code == 201 && self.verb == "create";
        // An object without a namespace has nothing but its name.
        let (namespace, name) = match (call.object.split_once('/'), &self.name) {
            (Some(both), _) => both,
            (None, Some(_)) => ("", &*call.object),
            (None, None) => (&*call.object, ""),
        };
        call.code < 300
            && call.account == self.account
            && (&call.group, &call.resource) == (&self.group, &self.resource)
            && (call.verb == self.verb || created)
            && self.name.as_deref().is_none_or(|only| only == name)
            && self.everywhere == (namespace != NAMESPACE)
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
        group: text("/objectRef/apiGroup"),
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
    fn a_grant_is_used_by_what_needs_no_less() {
        let roles = json!({"items": [{
            "kind": "Role", "metadata": {"labels": {"component": "controller"}},
            "rules": [
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["a"], "verbs": ["get"]},
                {"apiGroups": ["metallb.io"], "resources": ["servicel2statuses"], "verbs": ["create"]},
            ],
        }]});
        let grants: Vec<Grant> = Grant::of_roles(&roles).expect("roles").into_iter().collect();
        let [lease, status] = &grants[..] else { panic!("{grants:?}") };
        let call = |group: &str, resource: &str, verb: &str, object: &str, code: u64| Call {
            account: "system:serviceaccount:landfall-system:landfall-controller".to_owned(),
            pod: String::new(),
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            object: object.to_owned(),
            code,
            allowed: true,
            received: String::new(),
        };
        let leases =
            |verb: &str, object: &str, code: u64| call("coordination.k8s.io", "leases", verb, object, code);
        assert!(lease.is_used_by(&leases("get", "landfall-system/a", 200)));
        assert!(!lease.is_used_by(&leases("get", "landfall-system/a", 404)), "it failed");
        assert!(!lease.is_used_by(&leases("get", "landfall-system/b", 200)), "another one");
        assert!(!lease.is_used_by(&leases("get", "shop/a", 200)), "elsewhere");
        assert!(!lease.is_used_by(&leases("list", "landfall-system/a", 200)), "another verb");
        let apply = |code| call("metallb.io", "servicel2statuses", "patch", "landfall-system/l2-1", code);
        assert!(status.is_used_by(&apply(201)) && !status.is_used_by(&apply(200)));
        let wide = json!({"items": [{"kind": "Role", "metadata": {"labels": {"component": "speaker"}},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]}]});
        assert!(Grant::of_roles(&wide).expect_err("a wildcard").to_string().contains("wildcard"));
    }

    #[test]
    fn without_a_log_nothing_was_asked() {
        let audit = Audit::prepare().expect("a temporary directory");
        assert_eq!(audit.calls().expect("no log yet"), []);
    }

    #[test]
    fn a_right_that_is_there_now_or_was_there_was_not_wanting() {
        let line = |verb: &str, name: Option<&str>, decision: &str, code: u64| {
            let object = json!({"resource": "events", "namespace": "shop", "name": name});
            let annotations = json!({"authorization.k8s.io/decision": decision});
            let answer = json!({"code": code});
            let event = json!({"verb": verb, "objectRef": object, "responseStatus": answer, "annotations": annotations});
            format!("{event}\n")
        };
        let get = |name: &str, decision: &str, code: u64| line("get", Some(name), decision, code);
        let refused = |lines: String| {
            let audit = Audit::prepare().expect("a temporary directory");
            fs::write(audit.log(), lines + "{\"half").expect("write");
            audit.forbidden().expect("whole lines").len()
        };
        assert_eq!(refused(get("a", "forbid", 403)), 1);
        assert_eq!(refused(get("a", "forbid", 403) + &get("a", "allow", 200)), 0);
        assert_eq!(refused(get("a", "forbid", 403) + &get("b", "allow", 200)), 1, "another object");
        assert_eq!(refused(get("a", "allow", 403)), 0, "its namespace is being deleted");
        let create = line("create", None, "forbid", 403);
        assert_eq!(refused(create.clone()), 1);
        assert_eq!(
            refused(create + &line("create", Some("b"), "allow", 201)),
            0,
            "no name is known of what was refused"
        );
    }
}
