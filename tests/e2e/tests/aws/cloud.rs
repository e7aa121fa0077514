//! An API server, AWS, nodes that are in both, and the controller between them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use landfall_aws_double::{CLUSTER, Call, Double, Place};
use landfall_e2e::audit::{Audit, Grant};
use landfall_e2e::manifests::NAMESPACE;
use landfall_e2e::wait::until;
use landfall_testbed::{TestBed, guide};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where the tests' Services are.
pub(crate) const SHOP: &str = "shop";
/// The controller's service account.
const ACCOUNT: &str = "landfall-controller";
/// The prefix of annotations.
pub(crate) const PREFIX: &str = "service.beta.kubernetes.io/";
/// Nobody renews the leases of nodes that are made by hand.
const GRACE: Duration = Duration::from_hours(1);
const REGION: &str = "ap-northeast-2";

/// What is there before the controller starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// What the guide installs, with the rights of the installed controller, before the double of AWS.
    Installed,
    /// Nothing at all, before plain moto.
    Bare,
}

pub(crate) struct Cloud {
    setting: Setting,
    runtime: Runtime,
    bed: Option<TestBed>,
    audit: Audit,
    pub(crate) aws: Double,
    pub(crate) place: Place,
    folder: tempfile::TempDir,
    controller: Option<Child>,
    starts: u32,
}

impl Cloud {
    /// Two nodes, and no controller yet.
    pub(crate) fn start(setting: Setting) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let audit = Audit::prepare()?;
        let mut builder = TestBed::builder().nodes(0).clients(0).node_grace(GRACE);
        for flag in audit.flags() {
            builder = builder.api_flag(flag);
        }
        let bed = runtime.block_on(builder.start())?;
        let aws = match setting {
            Setting::Installed => Double::start()?,
            Setting::Bare => Double::plain()?,
        };
        let place = aws.place(REGION, &["ap-northeast-2a", "ap-northeast-2b"])?;
        let folder = tempfile::Builder::new().prefix("lf-aws-").tempdir()?;
        let (bed, controller) = (Some(bed), None);
        let cloud = Self { setting, runtime, bed, audit, aws, place, folder, controller, starts: 0 };
        cloud.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SHOP } }))?;
        // No node runs Pods here: the controller is a process of the test, with the rights of the installed one.
        if setting == Setting::Installed {
            for line in guide::commands("docs/aws.md", "## Install")? {
                cloud.runtime.block_on(cloud.bed().shell(&line))?;
            }
            cloud.write_kubeconfig()?;
        }
        cloud.node("n1", "ap-northeast-2a")?;
        cloud.node("n2", "ap-northeast-2b")?;
        Ok(cloud)
    }

    fn bed(&self) -> &TestBed {
        self.bed.as_ref().expect("the bed is up")
    }

    /// A node and the instance it runs on; answers the instance's id and address.
    pub(crate) fn node(&self, name: &str, zone: &str) -> Result<(String, String)> {
        let (instance, address) = self.aws.instance(&self.place, zone)?;
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "topology.kubernetes.io/region": REGION } },
            "spec": { "providerID": format!("aws:///{zone}/{instance}") },
        }))?;
        let ready =
            r#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Test","message":""}]}}"#;
        self.kubectl(&["patch", "node", name, "--subresource=status", "-p", ready])?;
        Ok((instance, address))
    }

    /// Writes a kubeconfig with the rights of the controller's service account.
    fn write_kubeconfig(&self) -> Result<()> {
        let token = until("the service account", PATIENCE, || {
            self.kubectl(&["create", "token", ACCOUNT, "-n", NAMESPACE, "--duration=1h"])
        })?;
        let mut config: Value =
            serde_json::from_str(&self.kubectl(&["config", "view", "--raw", "-o", "json"])?)?;
        config["users"][0]["user"] = json!({ "token": token.trim() });
        Ok(fs::write(self.kubeconfig(), config.to_string())?)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Starts the controller with these flags more.
    pub(crate) fn run(&mut self, flags: &[&str]) -> Result<()> {
        ensure!(self.controller.is_none(), "it runs already");
        self.starts += 1;
        let landfall = self.bed().programs().landfall.as_deref();
        let landfall = landfall.context("landfall is not built: run `cargo build -p landfall`")?;
        let endpoint = self.aws.endpoint();
        let mut command = Command::new(landfall);
        command.env_clear();
        command.args(["controller", "--provider", "aws", "--cluster-name", CLUSTER]);
        command.args(["--health-probe-port", "0", "--port", "0"]);
        match self.setting {
            Setting::Installed => {
                command.arg("--kubeconfig").arg(self.kubeconfig()).args(["--namespace", NAMESPACE]);
                command.args(["--log-level", "debug"]);
            }
            Setting::Bare => {
                command.args(["--aws-region", REGION, "--aws-vpc-id", &self.place.vpc]);
                command.env("KUBECONFIG", self.bed().kubeconfig());
            }
        }
        command.arg(format!(
            "--aws-api-endpoints=ElasticLoadBalancing={endpoint},EC2={endpoint},sts={endpoint}"
        ));
        command.args(flags);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "hidden-value");
        command.stdin(Stdio::null()).stdout(File::create(self.log())?).stderr(File::create(self.errors())?);
        self.controller = Some(command.spawn().context("start the controller")?);
        Ok(())
    }

    /// Kills the controller. The next one does not wait for its lease.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut controller = self.controller.take().context("it does not run")?;
        controller.kill()?;
        controller.wait()?;
        let leases: Api<Lease> = Api::namespaced(self.bed().client(), NAMESPACE);
        match self.runtime.block_on(leases.delete("landfall-controller", &Default::default())) {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the controller to end, which takes a moment.
    fn stop(&mut self) -> Result<()> {
        let Some(controller) = &mut self.controller else { return Ok(()) };
        let pid = Pid::from_raw(i32::try_from(controller.id())?);
        kill(pid, Signal::SIGTERM)?;
        let code = until("the controller to end", Duration::from_secs(5), || {
            controller.try_wait()?.context("it goes on")
        })?;
        ensure!(code.success(), "it ended with {code}");
        self.controller = None;
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(format!("controller-{}.log", self.starts))
    }

    fn errors(&self) -> PathBuf {
        self.folder.path().join(format!("controller-{}.err", self.starts))
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.runtime.block_on(self.bed().kubectl(arguments.iter().copied()))
    }

    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        self.runtime.block_on(self.bed().apply(&object.to_string())).map(drop)
    }

    pub(crate) fn service(&self, name: &str) -> Result<Service> {
        let services: Api<Service> = Api::namespaced(self.bed().client(), SHOP);
        Ok(self.runtime.block_on(services.get(name))?)
    }

    /// What `landfall status` prints.
    pub(crate) fn status(&self) -> Result<String> {
        let landfall = self.bed().programs().landfall.as_deref().context("landfall is not built")?;
        let output = Command::new(landfall)
            .args(["status", "-A"])
            .env("KUBECONFIG", self.bed().kubeconfig())
            .output()?;
        Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
    }

    /// What the condition says.
    pub(crate) fn message(&self, name: &str) -> Result<String> {
        let path = "jsonpath={.status.conditions[?(@.type==\"landfall.dev/Provisioned\")].message}";
        self.kubectl(&["get", "service", name, "-n", SHOP, "-o", path])
    }

    /// The name in the status, as `kubectl get` shows it.
    pub(crate) fn hostname(&self, name: &str) -> Result<String> {
        let path = "jsonpath={.status.loadBalancer.ingress[0].hostname}";
        let shown = self.kubectl(&["get", "service", name, "-n", SHOP, "-o", path])?;
        ensure!(!shown.is_empty(), "no host name; the condition is {:?}", self.condition(name));
        Ok(shown)
    }

    /// Status and reason of the condition.
    pub(crate) fn condition(&self, name: &str) -> Result<(String, String)> {
        let service = self.service(name)?;
        let conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
        let condition = conditions.into_iter().find(|one| one.type_ == "landfall.dev/Provisioned");
        let condition = condition.context("there is no condition yet")?;
        Ok((condition.status, condition.reason))
    }

    pub(crate) fn becomes(&self, name: &str, reason: &str) -> Result<()> {
        until(format!("{name} to be {reason}"), PATIENCE, || {
            let now = self.condition(name)?;
            ensure!(now.1 == reason, "it is {now:?}");
            Ok(())
        })
    }

    /// The reasons of the events about a Service.
    pub(crate) fn events(&self, name: &str) -> Result<BTreeSet<String>> {
        let selector = format!("regarding.name={name}");
        let path = "jsonpath={range .items[*]}{.reason}{\"\\n\"}{end}";
        let kind = "events.events.k8s.io";
        let shown = self.kubectl(&["get", kind, "-n", SHOP, "--field-selector", &selector, "-o", path])?;
        Ok(shown.lines().map(str::to_owned).collect())
    }

    /// The calls that changed something, in their order.
    pub(crate) fn changes(&self) -> Vec<Call> {
        let mut calls = self.aws.calls();
        calls.retain(|call| !call.action.starts_with("Describe"));
        calls
    }

    /// An answer of AWS as text.
    pub(crate) fn ask(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let (status, text) = self.aws.call(service, REGION, action, parameters)?;
        ensure!(status == 200, "{action} answers {status}: {text}");
        Ok(text)
    }

    /// The texts of all elements of this name in an answer.
    pub(crate) fn texts(&self, service: &str, action: &str, element: &str) -> Result<Vec<String>> {
        Ok(texts(&self.ask(service, action, &[])?, element))
    }

    /// The ids of the targets of a target group that are not drained.
    pub(crate) fn targets(&self, group: &str) -> Result<BTreeSet<(String, String)>> {
        let text = self.ask("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", group)])?;
        let members = text.split("<TargetHealthDescriptions>").nth(1).unwrap_or_default();
        let mut targets = BTreeSet::new();
        for (id, (port, state)) in texts(members, "Id")
            .into_iter()
            .zip(texts(members, "Port").into_iter().zip(texts(members, "State")))
        {
            if state != "draining" {
                targets.insert((id, port));
            }
        }
        Ok(targets)
    }

    /// Nothing of the cluster is left in AWS.
    pub(crate) fn is_empty(&self) -> Result<()> {
        let balancers = self.texts("elasticloadbalancing", "DescribeLoadBalancers", "LoadBalancerName")?;
        let groups = self.texts("elasticloadbalancing", "DescribeTargetGroups", "TargetGroupName")?;
        let ours = self.ask(
            "ec2",
            "DescribeSecurityGroups",
            &[("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "elbv2.k8s.aws/cluster")],
        )?;
        let security: Vec<String> = texts(&ours, "groupName");
        let nodes = self.ask("ec2", "DescribeSecurityGroups", &[("GroupId.1", &self.place.node_group)])?;
        let inbound =
            nodes.split("<ipPermissions>").nth(1).and_then(|rest| rest.split("</ipPermissions>").next());
        let rules = texts(inbound.unwrap_or_default(), "ipProtocol");
        ensure!(
            balancers.is_empty() && groups.is_empty() && security.is_empty() && rules.is_empty(),
            "left: {balancers:?} {groups:?} {security:?}, rules on the nodes' group: {rules:?}"
        );
        Ok(())
    }

    /// Each right that the overlay adds was used.
    pub(crate) fn rights_are_used(&self) -> Result<()> {
        let roles = self.kubectl(&["get", "clusterroles", "-l", "component=controller", "-o", "json"])?;
        let mut roles: Value = serde_json::from_str(&roles)?;
        if let Some(items) = roles["items"].as_array_mut() {
            items.retain(|role| role["metadata"]["name"] == "landfall-controller-aws");
        }
        let calls = self.audit.calls()?;
        let mut grants = Grant::of_roles(&roles)?;
        // No Pod runs here, so this controller serves no webhooks; those of an installed one are tested in `admission`.
        grants.retain(|grant| grant.resource != "mutatingwebhookconfigurations");
        ensure!(grants.len() > 5, "{grants:?}");
        let unused: Vec<&Grant> =
            grants.iter().filter(|grant| !calls.iter().any(|call| grant.is_used_by(call))).collect();
        ensure!(unused.is_empty(), "not used: {unused:?}");
        Ok(())
    }

    /// What was asked is allowed, at the API server and by the policy for AWS.
    fn rights_suffice(&self) -> Result<()> {
        let forbidden = self.audit.forbidden()?;
        ensure!(forbidden.is_empty(), "forbidden: {forbidden:?}");
        let policy = fs::read_to_string(guide::repository().join("deploy/overlays/aws/iam-policy.json"))?;
        for call in self.aws.calls() {
            let action = format!("\"{}:{}\"", call.service, call.action);
            ensure!(policy.contains(&action), "{action} is not in the policy");
        }
        Ok(())
    }

    /// What a person would look at after a failure.
    pub(crate) fn diagnosis(&self) -> String {
        let services = self.kubectl(&["get", "services", "-n", SHOP, "-o", "yaml"]);
        let events = self.kubectl(&["get", "events", "-n", SHOP]);
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let errors = fs::read_to_string(self.errors()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(60)..].join("\n");
        let calls: Vec<String> =
            self.aws.calls().iter().map(|call| format!("{} {}", call.action, call.status)).collect();
        format!("{services:?}\n{events:?}\n{}\n{end}\n{errors}", calls.join(", "))
    }

    /// Ends everything. No secret was logged.
    pub(crate) fn end(mut self) -> Result<()> {
        self.stop()?;
        self.rights_suffice()?;
        for start in 1..=self.starts {
            self.starts = start;
            let log = fs::read_to_string(self.log())?;
            ensure!(!log.contains("hidden-value"), "the secret key is in the log");
            let said = fs::read_to_string(self.errors())?;
            ensure!(!said.contains("panicked"), "{said}");
        }
        let bed = self.bed.take().ok_or_else(|| anyhow!("the bed is down"))?;
        self.runtime.block_on(bed.teardown())
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            drop(controller.kill());
            drop(controller.wait());
        }
        if let Some(bed) = self.bed.take()
            && let Err(error) = self.runtime.block_on(bed.teardown())
        {
            eprintln!("the bed was not removed: {error:#}");
        }
    }
}

/// The texts of all elements of this name.
pub(crate) fn texts(xml: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let parts = xml.split(&open).skip(1).filter_map(|part| part.split_once(&close));
    parts.map(|(text, _)| text.to_owned()).collect()
}

/// A Service for AWS with these ports and annotations.
pub(crate) fn service(name: &str, ports: &[(&str, u16)], annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
    let port = |(name, number): &(&str, u16)| json!({ "name": name, "port": number, "targetPort": name });
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": SHOP, "annotations": annotations },
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb", "selector": { "app": name },
            "ports": ports.iter().map(port).collect::<Vec<_>>(),
        },
    })
}
