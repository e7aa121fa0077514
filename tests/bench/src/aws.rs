//! Load balancers of AWS, with the double of `tests/aws`, which takes one call after the other: how many calls, how soon.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use landfall_aws_double::{CLUSTER, Double, Limits, Place};
use landfall_testbed::TestBed;
use serde_json::{Value, json};

use crate::{
    controller::{NAMESPACE, SYSTEM, WIDTH},
    figures::Figures,
    process::{Running, landfall},
};

const PATIENCE: Duration = Duration::from_secs(300);
/// Nobody renews the leases of nodes that are made by hand.
const GRACE: Duration = Duration::from_hours(1);
const ZONE: &str = "eu-central-1a";
/// Seconds between listings of a controller that shall do nothing but what Services ask for.
const NEVER: u32 = 3600;
/// Seconds between listings of one that shall see what is changed by hand; they cannot be fewer.
const LISTING: u32 = 10;
/// Minutes in which everything is compared with AWS, for a change by hand. The default is half an hour.
const AUDIT_MINUTES: u32 = 1;

type Parameters = BTreeMap<String, String>;

struct Cloud {
    bed: TestBed,
    client: Client,
    aws: Double,
    place: Place,
    log: PathBuf,
}

/// `few` and `many` are the numbers of Services of the two cases.
pub(crate) async fn measure(figures: &mut Figures, few: usize, many: usize) -> anyhow::Result<()> {
    let bed = TestBed::builder().nodes(0).clients(0).node_grace(GRACE).start().await?;
    let aws = tokio::task::spawn_blocking(Double::start).await??;
    let (aws, place) = tokio::task::spawn_blocking(move || {
        let place = aws.place("eu-central-1", &[ZONE, "eu-central-1b"])?;
        anyhow::Ok((aws, place))
    })
    .await??;
    aws.provisioning_reads(0);
    let (client, log) = (bed.client(), bed.logs().join("bench-aws.log"));
    let cloud = Cloud { bed, client, aws, place, log };
    let result = all(figures, &cloud, few, many).await;
    let down = cloud.bed.teardown().await;
    result?;
    down
}

async fn all(figures: &mut Figures, cloud: &Cloud, few: usize, many: usize) -> anyhow::Result<()> {
    for name in [NAMESPACE, SYSTEM] {
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        Api::all(cloud.client.clone()).create(&PostParams::default(), &namespace).await?;
    }
    for number in 0..3 {
        cloud.node(number).await?;
    }
    one_by_one(figures, cloud).await?;
    cloud.clear().await?;

    let controller = cloud.start(NEVER)?;
    let took = cloud.at_once(few).await?;
    figures.add(format!("AWS: {few} Services with two ports at once, all with a name"), took, "s", Some(6.0));
    controller.end()?;
    steady(figures, cloud, few, 32.0).await?;
    cloud.clear().await?;

    several(figures, cloud, many).await?;
    steady(figures, cloud, many, 40.0).await?;
    changes(figures, cloud, many).await?;
    one_of_many(figures, cloud, many).await?;
    cloud.clear().await?;

    cloud.throttled();
    let controller = cloud.start(NEVER)?;
    let took = cloud.at_once(few).await?;
    figures.add(format!("AWS: {few} Services at once, with the limits of an account"), took, "s", None);
    throttled(figures, cloud);
    controller.end()
}

/// The calls of one new Service, and of one that is touched.
async fn one_by_one(figures: &mut Figures, cloud: &Cloud) -> anyhow::Result<()> {
    let controller = cloud.start(NEVER)?;
    cloud.create(0..1).await?;
    cloud.active(1).await?;
    cloud.aws.forget_calls();
    cloud.create(1..2).await?;
    cloud.active(2).await?;
    figures.add("AWS: calls for a new Service with two ports", cloud.calls(), "calls", Some(20.0));

    cloud.aws.forget_calls();
    let touch = json!({ "metadata": { "annotations": { "example.com/touched": "yes" } } });
    cloud.services().patch("web-0", &PatchParams::default(), &Patch::Merge(touch)).await?;
    // The one that comes after it has been seen when this one is in place.
    cloud.create(2..3).await?;
    cloud.active(3).await?;
    let of_new = cloud.aws.count("CreateLoadBalancer");
    ensure!(of_new == 1, "{of_new} load balancers were made");
    // Its tags have its name, and names of AWS objects have it without the dash.
    let about = |value: &String| value.contains("web-0") || value.contains("-web0-");
    let touched = cloud.aws.calls().iter().filter(|call| call.parameters.values().any(about)).count();
    figures.add(
        "AWS: calls for a touched Service in which nothing changes",
        touched as f64,
        "calls",
        Some(1.0),
    );
    controller.end()
}

/// Many Services at once, and a node that joins.
async fn several(figures: &mut Figures, cloud: &Cloud, many: usize) -> anyhow::Result<()> {
    let controller = cloud.start(NEVER)?;
    cloud.aws.forget_calls();
    let took = cloud.at_once(many).await?;
    // A tag that vouches for all the rest is the last call of each.
    cloud.until("the fingerprints", |cloud| cloud.answered("AddTags") >= many).await?;
    figures.add(
        format!("AWS: {many} Services with two ports at once, all with a name"),
        took,
        "s",
        Some(25.0),
    );
    // The double takes some 3 ms for a call, 6 ms for one that makes a load balancer, one after the other.
    figures.add("the same, calls", cloud.calls(), "calls", None);
    figures.add("the same, memory of the controller", controller.resident_mib()?, "MiB", Some(40.0));

    let took = cloud.joins(3, many).await?;
    figures.add(format!("AWS: a node joins, {many} Services, until all have it"), took, "s", None);
    figures.add("the same, calls", cloud.calls(), "calls", Some(420.0));
    controller.end()
}

/// A listing of all that is there, of which nothing changes.
async fn steady(figures: &mut Figures, cloud: &Cloud, count: usize, target: f64) -> anyhow::Result<()> {
    // A listing and what the start needs, and then listings only.
    let controller = cloud.start(LISTING)?;
    cloud.listings(2).await?;
    cloud.aws.forget_calls();
    cloud.listings(3).await?;
    figures.add(
        format!("AWS: calls for one listing, {count} Services"),
        cloud.calls() / 3.0,
        "calls",
        Some(target),
    );
    controller.end()
}

/// What happens to many Services that are in place: a bad node beside a good one, a change by hand, limits.
async fn changes(figures: &mut Figures, cloud: &Cloud, many: usize) -> anyhow::Result<()> {
    let controller = cloud.start(NEVER)?;
    cloud.node_of("bad", "i-0123456789abcdef0").await?;
    let took = cloud.joins(4, many).await?;
    figures.add(
        format!("AWS: a node joins beside one without an instance, {many} Services, until all have it"),
        took,
        "s",
        None,
    );
    let target = cloud.parameters_of("RegisterTargets")?;
    controller.end()?;

    cloud.aws.forget_calls();
    let controller = cloud.start_with(NEVER, AUDIT_MINUTES)?;
    // Right after its turn, when that comes again as late as can be. Each group is asked once after the start, too.
    let turns = |cloud: &Cloud| cloud.asked_for(&target) >= 2;
    cloud.until("the turn of the target group", turns).await?;
    let begin = Instant::now();
    cloud.call("elasticloadbalancing", "DeregisterTargets", &target)?;
    cloud.aws.forget_calls();
    cloud.until("the target", |cloud| cloud.aws.count("RegisterTargets") > 0).await?;
    figures.add(
        format!("AWS: a target is removed by hand, {many} Services, with --aws-audit-minutes {AUDIT_MINUTES}, until it is back"),
        begin.elapsed().as_secs_f64(),
        "s",
        Some(60.0 * f64::from(AUDIT_MINUTES)),
    );
    let rate = cloud.calls() / begin.elapsed().as_secs_f64();
    figures.add("the same, calls in a second meanwhile", rate, "calls", None);
    controller.end()?;

    let controller = cloud.start(LISTING)?;
    cloud.listings(2).await?;
    cloud.throttled();
    cloud.listings(3).await?;
    figures.add(
        format!("AWS: calls for one listing, {many} Services, with the limits of an account"),
        cloud.calls() / 3.0,
        "calls",
        Some(40.0),
    );
    throttled(figures, cloud);
    controller.end()?;
    let controller = cloud.start(NEVER)?;
    cloud.throttled();
    let took = cloud.joins(5, many).await?;
    figures.add(
        format!("AWS: a node joins, {many} Services, until all have it, with the limits of an account"),
        took,
        "s",
        None,
    );
    throttled(figures, cloud);
    cloud.aws.throttle(None);
    controller.end()
}

/// One of many Services gets a third port; and a rule of it is removed by hand, which a listing sees.
async fn one_of_many(figures: &mut Figures, cloud: &Cloud, many: usize) -> anyhow::Result<()> {
    cloud.aws.forget_calls();
    let controller = cloud.start(NEVER)?;
    let asked = |cloud: &Cloud| cloud.answered("DescribeTargetHealth") >= 2 * many;
    cloud.until("what is in each target group", asked).await?;
    let took = cloud.third_port("web-0").await?;
    figures.add(
        format!("AWS: one of {many} Services gets a third port, until all is in place"),
        took,
        "s",
        None,
    );
    figures.add("the same, calls", cloud.calls(), "calls", None);
    let rule = cloud.parameters_of("AuthorizeSecurityGroupIngress")?;
    cloud.throttled();
    let took = cloud.third_port("web-1").await?;
    figures.add(
        format!("AWS: one of {many} Services gets a third port, with the limits of an account"),
        took,
        "s",
        None,
    );
    throttled(figures, cloud);
    cloud.aws.throttle(None);
    controller.end()?;

    let controller = cloud.start(LISTING)?;
    cloud.listings(2).await?;
    let begin = Instant::now();
    cloud.call("ec2", "RevokeSecurityGroupIngress", &rule)?;
    cloud.aws.forget_calls();
    cloud.until("the rule", |cloud| cloud.answered("AuthorizeSecurityGroupIngress") > 0).await?;
    figures.add(
        format!("AWS: a rule is removed by hand, {many} Services, with --aws-list-seconds {LISTING}, until it is back"),
        begin.elapsed().as_secs_f64(),
        "s",
        None,
    );
    controller.end()
}

/// How often AWS said no since the calls were forgotten, of how many.
fn throttled(figures: &mut Figures, cloud: &Cloud) {
    let refused = cloud.aws.calls().iter().filter(|call| matches!(call.status, 400 | 503)).count();
    figures.add("the same, calls that AWS throttled", refused as f64, "calls", None);
    figures.add("the same, all calls", cloud.calls(), "calls", None);
}

impl Cloud {
    fn start(&self, list_seconds: u32) -> anyhow::Result<Running> {
        self.start_with(list_seconds, 24 * 60)
    }

    fn start_with(&self, list_seconds: u32, audit_minutes: u32) -> anyhow::Result<Running> {
        let endpoint = self.aws.endpoint();
        let mut command = Command::new(landfall()?);
        command.arg("controller").arg("--kubeconfig").arg(self.bed.kubeconfig());
        command.args(["--provider", "aws", "--cluster-name", CLUSTER, "--namespace", SYSTEM]);
        command.args(["--aws-region", &self.place.region, "--aws-vpc-id", &self.place.vpc]);
        command.args(["--port", "0", "--health-probe-port", "0"]);
        command.arg(format!("--aws-audit-minutes={audit_minutes}"));
        command.arg(format!("--aws-list-seconds={list_seconds}"));
        command.arg(format!("--aws-api-endpoints=elasticloadbalancing={endpoint},ec2={endpoint}"));
        command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
        Running::start(command, &self.log)
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn calls(&self) -> f64 {
        self.aws.calls().len() as f64
    }

    /// A node and its instance.
    async fn node(&self, number: usize) -> anyhow::Result<()> {
        let (id, _) = tokio::task::block_in_place(|| self.aws.instance(&self.place, ZONE))?;
        self.node_of(&format!("n{number}"), &id).await
    }

    async fn node_of(&self, name: &str, id: &str) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node: Value = json!({
            "metadata": { "name": name }, "spec": { "providerID": format!("aws:///{ZONE}/{id}") } });
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
        let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(ready)).await?;
        Ok(())
    }

    async fn create(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let create = |number: usize| async move {
            let service: Service = serde_json::from_value(json!({
                "metadata": { "name": format!("web-{number}") },
                "spec": { "type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb",
                    "ports": [{ "name": "http", "port": 80 }, { "name": "https", "port": 443 }] },
            }))?;
            self.services()
                .create(&PostParams::default(), &service)
                .await
                .context("cannot create a Service")?;
            anyhow::Ok(())
        };
        futures::stream::iter(numbers).map(create).buffer_unordered(WIDTH).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// Seconds from the first of so many new Services to the last name.
    async fn at_once(&self, count: usize) -> anyhow::Result<f64> {
        let begin = Instant::now();
        self.create(0..count).await?;
        self.active(count).await?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Seconds from a new node until it is in both target groups of each Service.
    async fn joins(&self, number: usize, services: usize) -> anyhow::Result<f64> {
        self.aws.forget_calls();
        let begin = Instant::now();
        self.node(number).await?;
        self.until("the node in every group", |cloud| cloud.answered("RegisterTargets") >= 2 * services)
            .await?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Seconds until a Service with two ports has a third one.
    async fn third_port(&self, name: &str) -> anyhow::Result<f64> {
        self.aws.forget_calls();
        let begin = Instant::now();
        let ports = json!({ "spec": { "ports": [{ "name": "third", "port": 8443 }] } });
        self.services().patch(name, &PatchParams::default(), &Patch::Strategic(ports)).await?;
        // One tag marks the begin of a change, and one that all of it is made.
        self.until("the third port", |cloud| cloud.answered("AddTags") >= 2).await?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// What one call of an action asked for.
    fn parameters_of(&self, action: &str) -> anyhow::Result<Parameters> {
        let calls = self.aws.calls().into_iter();
        let mut of_action = calls.filter(|call| call.action == action && call.status == 200);
        Ok(of_action.next().with_context(|| format!("there was no {action}"))?.parameters)
    }

    /// A call by hand.
    fn call(&self, service: &str, action: &str, parameters: &Parameters) -> anyhow::Result<()> {
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let region = &self.place.region;
        let (status, answer) =
            tokio::task::block_in_place(|| self.aws.call(service, region, action, &parameters))?;
        ensure!(status == 200, "{action}: {answer}");
        Ok(())
    }

    /// How often the target group of a call was asked for its targets.
    fn asked_for(&self, of: &Parameters) -> usize {
        let calls = self.aws.calls();
        let asks = calls.iter().filter(|call| call.action == "DescribeTargetHealth");
        asks.filter(|call| call.parameters.get("TargetGroupArn") == of.get("TargetGroupArn")).count()
    }

    /// Calls of an action that AWS did not refuse.
    fn answered(&self, action: &str) -> usize {
        let calls = self.aws.calls();
        calls.iter().filter(|call| call.action == action && call.status == 200).count()
    }

    /// From here on with the limits of an account, each of which begins full.
    fn throttled(&self) {
        self.aws.forget_calls();
        self.aws.throttle(Some(Limits::default()));
    }

    /// Waits until so many Services have a name.
    async fn active(&self, count: usize) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let named =
                self.services().list(&ListParams::default()).await?.items.into_iter().filter(|service| {
                    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
                    status
                        .and_then(|balancer| balancer.ingress.as_ref())
                        .is_some_and(|ingress| !ingress.is_empty())
                });
            let named = named.count();
            if named >= count {
                return Ok(());
            }
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            ensure!(begin.elapsed() < PATIENCE, "{named} of {count} have a name: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes all Services, and waits until nothing is left of any.
    async fn clear(&self) -> anyhow::Result<()> {
        let controller = self.start(NEVER)?;
        self.services().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let begin = Instant::now();
        while !self.services().list(&ListParams::default()).await?.items.is_empty() {
            ensure!(begin.elapsed() < PATIENCE, "Services are left");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        controller.end()
    }

    /// Waits for so many complete listings.
    async fn listings(&self, count: usize) -> anyhow::Result<()> {
        let before = self.aws.count("DescribeVpcs");
        self.until("the listings", |cloud| cloud.aws.count("DescribeVpcs") >= before + count).await
    }

    async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !seen(self) {
            ensure!(begin.elapsed() < PATIENCE, "waited for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
