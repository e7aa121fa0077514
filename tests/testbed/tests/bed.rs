//! The bed's own test: a real Deployment on real nodes, faults, and nothing left.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Api;
use kube::api::ListParams;
use landfall_testbed::{Host, TestBed, ask, until};

const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: web}}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute}
      containers:
      - name: web
        image: landfall-testbed/backend
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        securityContext:
          runAsUser: 65532
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ipFamilyPolicy: PreferDualStack
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: udp, port: 81, targetPort: 8081, protocol: UDP}
"#;

/// Asks the API server who it is, with the token, certificate and address that every Pod is given; waits for a Secret that
/// comes late; and sees only what it was granted.
const TOKEN_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: asks}
spec:
  restartPolicy: Never
  containers:
  - name: asks
    image: landfall-testbed/host
    env:
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    command: [sh, -ec]
    args:
    - |
      account=/var/run/secrets/kubernetes.io/serviceaccount
      test "$(cat $account/namespace)" = default
      test "$(cat /late/word)" = "$NODE-hello"
      api() { curl -s --cacert $account/ca.crt -H "Authorization: Bearer $(cat $account/token)" "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT$1"; }
      api /version | grep -q gitVersion
      api /api/v1/namespaces/default/secrets | grep -q 'system:serviceaccount:default:default'
      grep -q '^CapBnd:.*0000000000000000$' /proc/self/status
    securityContext: {capabilities: {drop: [ALL]}}
    volumeMounts: [{name: late, mountPath: /late}]
  volumes:
  - {name: late, secret: {secretName: late}}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, iproute2, nftables and the control plane"]
async fn a_deployment_lives_through_the_death_of_a_node_and_nothing_is_left() -> Result<()> {
    let before = Machine::look();
    let begun = Instant::now();
    let bed = TestBed::builder().nodes(2).clients(1).node_grace(Duration::from_secs(5)).start().await?;
    let name = bed.lan().name().to_owned();
    println!("up after {:?}", begun.elapsed());
    assert_eq!(
        Machine::look().namespaces_of(&name).len(),
        6,
        "switch, router, control plane, two nodes, client"
    );

    bed.apply(WORKLOAD).await?;
    let services: Api<Service> = Api::default_namespaced(bed.client());
    let addresses = cluster_ips(&services.get("web").await?)?;
    assert_eq!(addresses.len(), 2, "one ClusterIP of each family");
    let node = bed.node("n1")?.host().clone();
    for address in &addresses {
        let names = until("both backends answer", PATIENCE, || both_answer(&node, *address)).await?;
        println!("{address} is answered by {names:?}");
    }
    let udp = ask::udp(&node, (addresses[0], 81).into(), "hello", SECOND).await?;
    assert_eq!(udp.echo, "hello");

    pods_see_the_api(&bed).await?;
    a_dead_node_comes_back(&bed, addresses[0]).await?;
    a_paused_api_server_stops_nothing(&bed, addresses[0]).await?;

    bed.kubectl(["delete", "deployment", "web", "--wait", "--timeout=20s"]).await?;
    let pods: Api<Pod> = Api::default_namespaced(bed.client());
    until("the Pods are gone", PATIENCE, || async {
        let left = pods.list(&ListParams::default().labels("app=web")).await?.items.len();
        ensure!(left == 0, "{left} Pods");
        Ok(())
    })
    .await?;

    bed.teardown().await?;
    Machine::look().assert_clean_after(&before, &name);
    Ok(())
}

/// As a speaker: on the host network, root without most of root's rights, a file on the node's disk, an optional Secret.
const DAEMON: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemon}
spec:
  selector: {matchLabels: {app: daemon}}
  template:
    metadata: {labels: {app: daemon}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 10
      containers:
      - name: daemon
        image: landfall-testbed/host
        env:
        - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        command: [sh, -ec]
        args:
        - |
          trap 'echo told >> /state/story; exit 0' TERM
          ip address show eth0 | grep -q "$ADDRESS/"
          nft add table inet daemon
          if mount -t tmpfs none /mnt; then exit 9; fi
          if touch /file; then exit 9; fi
          echo started >> /state/story
          until test -e /key/word; do sleep 0.1; done
          test "$(stat -Lc %a /key/word)" = 400
          touch /scratch/ready
          while true; do sleep 0.1; done
        readinessProbe: {exec: {command: [test, -e, /scratch/ready]}, periodSeconds: 1}
        livenessProbe: {exec: {command: [test, "!", -e, /scratch/sick]}, periodSeconds: 1, failureThreshold: 1}
        securityContext:
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL], add: [NET_ADMIN, NET_RAW]}
        volumeMounts:
        - {name: key, mountPath: /key}
        - {name: state, mountPath: /state}
        - {name: scratch, mountPath: /scratch}
      volumes:
      - {name: key, secret: {secretName: key, optional: true, defaultMode: 0400}}
      - {name: state, hostPath: {path: /var/lib/daemon, type: DirectoryOrCreate}}
      - {name: scratch, emptyDir: {}}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, iproute2, nftables and the control plane"]
async fn a_daemon_has_its_rights_and_volumes_and_is_told_to_stop() -> Result<()> {
    let bed = TestBed::builder().nodes(1).clients(0).start().await?;
    let story = bed.lan().state_directory().join("nodes/n1/files/var/lib/daemon/story");
    let told = |wanted: &'static str| {
        let story = story.clone();
        move || {
            let text = fs::read_to_string(&story).unwrap_or_default();
            async move {
                ensure!(text == wanted, "{text:?}");
                Ok(())
            }
        }
    };
    let pods: Api<Pod> = Api::default_namespaced(bed.client());
    let only = || async {
        let pod =
            pods.list(&ListParams::default().labels("app=daemon")).await?.items.pop().context("no Pod")?;
        let name = pod.metadata.name.context("no name")?;
        let status =
            pod.status.and_then(|status| status.container_statuses?.pop()).context("no container")?;
        let log =
            fs::read_to_string(bed.logs().join(format!("default_{name}_daemon.log"))).unwrap_or_default();
        anyhow::Ok((name, status, log))
    };
    bed.apply(DAEMON).await?;
    until("it has started", PATIENCE, told("started\n")).await?;
    let (name, status, log) = until("its status is there", PATIENCE, only).await?;
    assert!(!status.ready, "it waits for its key: {log}");
    bed.kubectl(["create", "secret", "generic", "key", "--from-literal=word=x"]).await?;
    until("it is ready", PATIENCE, || async {
        let (_, status, log) = only().await?;
        ensure!(status.ready, "{log}");
        Ok(())
    })
    .await?;
    let tables = bed.node("n1")?.host().command("nft").args(["list", "tables"]).output()?;
    assert!(String::from_utf8_lossy(&tables.stdout).contains("inet daemon"));

    for process in bed.pod_processes("default", &name).await? {
        process.signal(nix::sys::signal::Signal::SIGKILL)?;
    }
    until("it was started again", PATIENCE, || async {
        let (same, status, log) = only().await?;
        ensure!(same == name && status.restart_count == 1 && status.ready, "{status:?}: {log}");
        Ok(())
    })
    .await?;
    assert_eq!(fs::read_to_string(&story)?, "started\nstarted\n", "the node's disk outlives a container");

    fs::write(scratch_of(&bed, &name).await?.join("sick"), "")?;
    until("the liveness probe has ended it", PATIENCE, told("started\nstarted\ntold\n")).await?;
    bed.kubectl(["delete", "daemonset", "daemon", "--wait", "--timeout=20s"]).await?;
    until("it is gone", PATIENCE, || async {
        ensure!(pods.list(&ListParams::default()).await?.items.is_empty(), "there is a Pod");
        Ok(())
    })
    .await?;
    bed.teardown().await
}

/// The directory behind the Pod's `scratch` volume.
async fn scratch_of(bed: &TestBed, pod: &str) -> Result<std::path::PathBuf> {
    let pods: Api<Pod> = Api::default_namespaced(bed.client());
    let uid = pods.get(pod).await?.metadata.uid.context("no UID")?;
    Ok(bed.lan().state_directory().join("nodes/n1/pods").join(uid).join("volumes/scratch"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, iproute2, nftables and the control plane"]
async fn a_panic_leaves_nothing_either() -> Result<()> {
    let before = Machine::look();
    let failing = tokio::spawn(async {
        let bed = TestBed::builder().nodes(1).clients(0).start().await.expect("a bed");
        bed.apply(WORKLOAD).await.expect("a workload");
        panic!("{}", bed.lan().name());
    });
    let panic = failing.await.expect_err("it panics").into_panic();
    let name = panic.downcast_ref::<String>().expect("a name").clone();
    Machine::look().assert_clean_after(&before, &name);
    Ok(())
}

async fn pods_see_the_api(bed: &TestBed) -> Result<()> {
    bed.apply(TOKEN_POD).await?;
    let pods: Api<Pod> = Api::default_namespaced(bed.client());
    let waiting = until("the Pod waits for its Secret", PATIENCE, || async {
        let status = pods.get_status("asks").await?.status.context("no status")?;
        let container = status.container_statuses.unwrap_or_default().pop().context("no container")?;
        container
            .state
            .and_then(|state| state.waiting)
            .and_then(|waiting| waiting.message)
            .context("no message")
    });
    assert!(waiting.await?.contains("Secret \"late\" does not exist"));
    let node = until("the Pod is bound", PATIENCE, || async {
        pods.get("asks").await?.spec.and_then(|spec| spec.node_name).context("no node")
    })
    .await?;
    bed.kubectl(["create", "secret", "generic", "late", &format!("--from-literal=word={node}-hello")])
        .await?;
    until("the Pod has asked", PATIENCE, || async {
        let phase = pods.get("asks").await?.status.and_then(|status| status.phase).unwrap_or_default();
        let log = fs::read_to_string(bed.logs().join("default_asks_asks.log")).unwrap_or_default();
        ensure!(phase == "Succeeded", "phase {phase}: {log}");
        Ok(())
    })
    .await
}

async fn a_dead_node_comes_back(bed: &TestBed, address: IpAddr) -> Result<()> {
    let nodes: Api<Node> = Api::all(bed.client());
    let ready = |wanted: &'static str| {
        let nodes = nodes.clone();
        move || {
            let nodes = nodes.clone();
            async move {
                let conditions =
                    nodes.get("n2").await?.status.and_then(|status| status.conditions).unwrap_or_default();
                let ready =
                    conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition")?;
                ensure!(ready.status == wanted, "Ready is {}", ready.status);
                Ok(())
            }
        }
    };
    let second = bed.node("n2")?.host().clone();
    bed.kill_node("n2").await?;
    assert!(ask::get(&second, (IpAddr::from([127, 0, 0, 1]), 10256).into(), "/healthz").await.is_err());
    // No packet of a dead process waits for its neighbour.
    let neighbours = second.command("ip").arg("neigh").output()?;
    assert_eq!(String::from_utf8_lossy(&neighbours.stdout), "");
    until("n2 is not ready", PATIENCE, ready("Unknown")).await?;
    let first = bed.node("n1")?.host().clone();
    let alone = until("only the backend on n1 is left", PATIENCE, || async {
        let names = answers(&first, address, 10).await;
        ensure!(names.len() == 1, "{names:?}");
        Ok(names)
    })
    .await?;
    bed.revive_node("n2").await?;
    until("n2 is ready", PATIENCE, ready("True")).await?;
    let names = until("both backends answer again", PATIENCE, || both_answer(&second, address)).await?;
    assert!(names.is_superset(&alone));
    Ok(())
}

async fn a_paused_api_server_stops_nothing(bed: &TestBed, address: IpAddr) -> Result<()> {
    let nodes: Api<Node> = Api::all(bed.client());
    bed.control_plane().pause_api().await?;
    assert!(tokio::time::timeout(SECOND, nodes.list(&ListParams::default())).await.is_err(), "it is paused");
    let first = bed.node("n1")?.host().clone();
    ask::http(&first, SocketAddr::new(address, 80), SECOND)
        .await
        .context("while the API server is paused")?;
    bed.control_plane().resume_api().await?;
    nodes.list(&ListParams::default()).await?;
    bed.control_plane().stop_api().await?;
    assert!(nodes.list(&ListParams::default()).await.is_err(), "it is stopped");
    bed.control_plane().start_api().await?;
    nodes.list(&ListParams::default()).await?;
    Ok(())
}

async fn both_answer(host: &Host, address: IpAddr) -> Result<BTreeSet<String>> {
    let names = answers(host, address, 20).await;
    ensure!(names.len() == 2, "{names:?}");
    Ok(names)
}

/// Who answers so many requests.
async fn answers(host: &Host, address: IpAddr, requests: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..requests {
        if let Ok(answer) = ask::http(host, SocketAddr::new(address, 80), SECOND).await {
            names.insert(answer.name);
        }
    }
    names
}

fn cluster_ips(service: &Service) -> Result<Vec<IpAddr>> {
    let texts = service.spec.as_ref().and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
    texts.iter().map(|text| text.parse().with_context(|| format!("the ClusterIP {text:?}"))).collect()
}

/// What a bed could leave on the machine.
struct Machine {
    namespaces: BTreeSet<String>,
    links: BTreeSet<String>,
    rules: String,
}

impl Machine {
    fn look() -> Self {
        let names = |directory: &str| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        let rules = std::process::Command::new("nft").args(["list", "tables"]).output().expect("nft runs");
        Self {
            namespaces: names("/run/netns"),
            links: names("/sys/class/net"),
            rules: String::from_utf8_lossy(&rules.stdout).into_owned(),
        }
    }

    fn namespaces_of(&self, bed: &str) -> Vec<&String> {
        self.namespaces.iter().filter(|name| name.starts_with(&format!("lf-{bed}."))).collect()
    }

    /// Nothing of this bed is left. Other beds may come and go meanwhile, but none of them touches links or rules.
    fn assert_clean_after(&self, before: &Self, bed: &str) {
        let left: Vec<_> =
            self.namespaces.iter().filter(|name| name.contains(&format!("lf-{bed}."))).collect();
        assert!(left.is_empty(), "namespaces {left:?} are left");
        assert_eq!(self.links, before.links);
        assert_eq!(self.rules, before.rules);
        for path in [format!("/run/landfall-lan/{bed}"), format!("/run/landfall-lan/{bed}.lock")] {
            assert!(!Path::new(&path).exists(), "{path} is left");
        }
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc is there");
        assert!(!mounts.contains(&format!("landfall-lan/{bed}/")), "mounts are left");
        let commands = fs::read_dir("/proc").expect("/proc is there").flatten().filter_map(|entry| {
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            fs::read_to_string(entry.path().join("cmdline")).ok()
        });
        let running: Vec<String> =
            commands.filter(|line| line.contains(&format!("landfall-lan/{bed}/"))).collect();
        assert!(running.is_empty(), "processes {running:?} are left");
    }
}
