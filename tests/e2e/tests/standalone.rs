//! `landfall standalone`: two machines without a cluster share floating addresses, from the manifests of the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use landfall_e2e::processes::last_words;
use landfall_e2e::requests::{TIMEOUT, counted, http};
use landfall_e2e::wait::{throughout, until};
use landfall_lan::{Host, HostSpec, Lan, Process, Subnets};
use landfall_testbed::guide;
use landfall_testbed::programs::Programs;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);
const PORT: u16 = 8080;

/// Two machines with a backend each, a third backend elsewhere, and a client.
struct Site {
    lan: Lan,
    /// All that have a backend; the first two are the machines.
    hosts: Vec<Host>,
    machines: Vec<Machine>,
    client: Host,
    backends: Vec<Process>,
    programs: Programs,
}

struct Machine {
    host: Host,
    folder: PathBuf,
    process: Option<Process>,
}

impl Machine {
    fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A manifest arrives in one step.
    fn put(&self, name: &str, text: &str) -> Result<()> {
        let draft = self.folder.join("draft");
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, self.manifests().join(name))?)
    }

    /// The addresses that this machine's state gives a Service.
    fn addresses(&self, service: &str) -> Result<Vec<IpAddr>> {
        let path = self.state().join("status").join(format!("default.{service}.json"));
        let text = fs::read(&path).with_context(|| format!("{} is not there", path.display()))?;
        let status: Value = serde_json::from_slice(&text)?;
        let ingress = status.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        let addresses = ingress.into_iter().flatten().filter_map(|entry| entry["ip"].as_str()?.parse().ok());
        Ok(addresses.collect())
    }
}

/// The documentation's page, and what its machines are on the LAN of this test.
const PAGE: &str = "docs/standalone.md";

fn page(heading: &str, language: &str) -> Result<Vec<String>> {
    let blocks = guide::blocks(PAGE, heading, language)?;
    Ok(blocks.into_iter().map(|block| block.replace("192.0.2.", "10.77.0.")).collect())
}

fn service(name: &str, annotations: &str, endpoints: &[&Host]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|host| {
            let address = host.ipv4().expect("the LAN has IPv4");
            format!("{{ addresses: [{address}], nodeName: {}, conditions: {{ ready: true }} }}", host.name())
        })
        .collect();
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: {name}, annotations: {{ {annotations} }} }}
spec: {{ type: LoadBalancer, ports: [{{ port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
ports: [{{ port: {PORT} }}]
endpoints: [{}]
",
        endpoints.join(", ")
    )
}

impl Site {
    fn build() -> Result<Self> {
        let programs = Programs::find()?;
        let lan = Lan::create(&Lan::unique_name("lf-alone"), Subnets::default())?;
        let hosts = [("n1", 11), ("n2", 12), ("n3", 13)]
            .map(|(name, number)| lan.add_host(HostSpec::new(name, number).forwarding()));
        let hosts: Vec<Host> = hosts.into_iter().collect::<landfall_lan::Result<_>>()?;
        let client = lan.add_host(HostSpec::new("client", 100))?;
        let mut backends = Vec::new();
        for host in &hosts {
            let mut command = host.command(&programs.testbed);
            command.args(["backend", "--as-name", host.name(), "--http", &PORT.to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            backends.push(host.spawn(command)?);
        }
        let machines = hosts[..2].iter().map(|host| Machine {
            host: host.clone(),
            folder: lan.state_directory().join(host.name()),
            process: None,
        });
        let site = Self { machines: machines.collect(), hosts, client, backends, programs, lan };
        for machine in &site.machines {
            fs::create_dir_all(machine.manifests())?;
            for (number, manifest) in page("## Two machines", "yaml")?.iter().enumerate() {
                machine.put(&format!("page-{number}.yaml"), manifest)?;
            }
        }
        Ok(site)
    }

    /// Starts the first machine by the page's command, the second as its systemd unit would.
    fn start(&mut self, index: usize) -> Result<()> {
        let machine = &self.machines[index];
        let program = self.programs.landfall.as_ref().context("landfall is not built")?;
        let commands = guide::commands(PAGE, "## Two machines")?;
        let [key, start] = &commands[..] else {
            bail!("a command for the key, and one that starts it: {commands:?}")
        };
        let folder = machine.folder.display().to_string();
        let here = |text: &str| {
            let text = text.replace("/etc/landfall", &folder).replace("192.0.2.", "10.77.0.");
            text.replace("/usr/local/bin/landfall", "landfall")
        };
        if !self.lan.state_directory().join("key").exists() {
            let made = Command::new("sh").args(["-ec", &here(key)]).output()?;
            ensure!(made.status.success(), "{made:?}");
            fs::copy(machine.folder.join("key"), self.lan.state_directory().join("key"))?;
        }
        fs::copy(self.lan.state_directory().join("key"), machine.folder.join("key"))?;

        let log = fs::File::options().create(true).append(true).open(self.log(machine.host.name()))?;
        let mut command = if index == 0 {
            let mut command = machine.host.command("sh");
            command.args(["-ec", &format!("exec {}", here(start))]).env_clear();
            command
        } else {
            let unit = fs::read_to_string(guide::repository().join("deploy/standalone/landfall.service"))?;
            let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("ExecStart")?;
            let mut command = machine.host.command("setpriv");
            let only = "-all,+net_admin,+net_raw";
            ensure!(unit.contains("CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW\n"), "{unit}");
            ensure!(unit.contains("NoNewPrivileges=yes\n"), "{unit}");
            command.args(["--bounding-set", only, "--inh-caps", only, "--no-new-privs", "sh", "-ec"]);
            command.arg(format!("exec {}", here(line))).env_clear();
            command.env("LANDFALL_PEERS", "n1=10.77.0.11,n2=10.77.0.12");
            command.env("LANDFALL_NODE_NAME", machine.host.name());
            command
        };
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let ours = program.parent().context("the program lies in a folder")?.to_owned();
        let path = [ours].into_iter().chain(std::env::split_paths(&inherited));
        command.env("PATH", std::env::join_paths(path)?);
        // The machines of this test share one disk; and it is in a hurry.
        command.env("LANDFALL_STATE_DIR", machine.state()).env("LANDFALL_CHECK_INTERVAL", "0.2");
        command.env("LANDFALL_KEY_FILE", machine.folder.join("key"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = machine.host.spawn(command)?;
        self.machines[index].process = Some(process);
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.lan.state_directory().join(format!("{name}.log"))
    }

    /// The address that both machines give the Service.
    fn agreed(&self, service: &str) -> Result<IpAddr> {
        until(format!("{service} to have one address on both machines"), PATIENCE, || {
            let found = [self.machines[0].addresses(service)?, self.machines[1].addresses(service)?];
            match found.each_ref().map(Vec::as_slice) {
                [[one], [other]] if one == other => Ok(*one),
                _ => bail!("{found:?}"),
            }
        })
    }

    fn servers(&self, address: IpAddr, count: u32) -> Result<BTreeSet<String>> {
        let target = SocketAddr::new(address, 80);
        Ok(counted(count, || http(&self.client, target, TIMEOUT))?.into_keys().collect())
    }

    /// Waits until exactly these backends answer.
    fn answered_by(&self, address: IpAddr, names: &[&str]) -> Result<()> {
        let expected: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        until(format!("{address} to be answered by {names:?}"), PATIENCE, || {
            let found = self.servers(address, 30)?;
            ensure!(found == expected, "answered by {found:?}");
            Ok(())
        })
    }

    /// The machine whose MAC the client has for the address.
    fn owner(&self, address: IpAddr) -> Result<usize> {
        let output = self.client.command("ip").args(["neighbor", "show", &address.to_string()]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let has = |machine: &Machine| machine.host.mac().is_some_and(|mac| text.contains(&mac.to_string()));
        self.machines.iter().position(has).with_context(|| format!("{address} is nobody's: {text:?}"))
    }

    fn play(&mut self) -> Result<()> {
        let [n1, n2, n3] = ["n1", "n2", "n3"];
        self.start(0)?;
        self.start(1)?;
        // The page's Service asks for its address; the other one takes any.
        let page = self.agreed("web")?;
        ensure!(page == IpAddr::from([10, 77, 0, 200]), "{page}");
        self.answered_by(page, &[n1, n2])?;
        let everywhere = service("shop", "", &self.hosts.iter().collect::<Vec<_>>());
        for machine in &self.machines {
            machine.put("shop.yaml", &everywhere)?;
        }
        let shop = self.agreed("shop")?;
        self.answered_by(shop, &[n1, n2, n3])?;

        // A target dies: it gets no more connections, and comes back.
        self.backends[2].kill()?;
        self.answered_by(shop, &[n1, n2])?;

        // The owner dies: the other machine has the same address, and its rules.
        let owner = self.owner(shop)?;
        let other = 1 - owner;
        let dead = self.machines[owner].host.clone();
        self.machines[owner].process.take().context("it runs")?.kill()?;
        until("the other machine to answer", PATIENCE, || {
            ensure!(self.owner(shop)? == other, "the owner has not changed");
            self.servers(shop, 1)
        })?;

        // What is decided while it is away, it learns when it is back.
        let late = service("late", "", &[&self.machines[0].host, &self.machines[1].host]);
        for machine in &self.machines {
            machine.put("late.yaml", &late)?;
        }
        until("an address for what came late", PATIENCE, || {
            ensure!(!self.machines[other].addresses("late")?.is_empty(), "none yet");
            Ok(())
        })?;
        let decided = self.machines[other].addresses("late")?;
        fs::remove_dir_all(self.machines[owner].state())?;
        self.start(owner)?;
        assert_eq!(self.agreed("late")?, decided[0], "{} learns from the other machine", dead.name());
        assert_eq!(self.agreed("shop")?, shop, "nothing moved");
        self.answered_by(decided[0], &[n1, n2])?;

        // An address that is asked for is the same everywhere anyway, and a broken file leaves the last good version.
        let asked = "metallb.io/loadBalancerIPs: 10.77.0.209, landfall.dev/health-check: 'http:/healthz'";
        let wanted = service("wanted", asked, &[&self.machines[0].host]);
        for machine in &self.machines {
            machine.put("wanted.yaml", &wanted)?;
        }
        assert_eq!(self.agreed("wanted")?, IpAddr::from([10, 77, 0, 209]));
        self.answered_by([10, 77, 0, 209].into(), &[n1])?;
        for machine in &self.machines {
            machine.put("late.yaml", "kind: Service\nmetadata: [")?;
        }
        throughout("the last good version", Duration::from_secs(1), || {
            self.servers(decided[0], 1).map(drop)
        })?;
        let words = fs::read_to_string(self.log(self.machines[other].host.name()))?;
        ensure!(words.contains("late.yaml"), "nobody says that late.yaml cannot be read:\n{words}");

        // A manifest that goes takes its address with it.
        for machine in &self.machines {
            fs::remove_file(machine.manifests().join("late.yaml"))?;
        }
        until("silence", PATIENCE, || {
            ensure!(self.servers(decided[0], 1).is_err(), "it is still answered");
            Ok(())
        })
    }
}

#[test]
#[ignore = "needs systemd; make test runs it"]
fn the_unit_is_understood_by_systemd() {
    let programs = Programs::find().expect("programs");
    let program = programs.landfall.expect("landfall is not built: run `cargo build -p landfall`");
    let folder = tempfile::tempdir().expect("a folder");
    let unit =
        fs::read_to_string(guide::repository().join("deploy/standalone/landfall.service")).expect("unit");
    let file = folder.path().join("landfall.service");
    fs::write(&file, unit.replace("/usr/local/bin/landfall", &program.display().to_string()))
        .expect("a copy");
    let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("systemd-analyze");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !words.contains("landfall.service"), "{words}");
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn two_machines_without_a_cluster_share_addresses() {
    let mut site = Site::build().expect("the LAN is laid out");
    let played = site.play();
    let words: Vec<String> =
        site.machines.iter().map(|machine| last_words(&site.log(machine.host.name()))).collect();
    site.lan.teardown().expect("the LAN goes");
    if let Err(error) = played {
        panic!("{error:#}\n{}", words.join("\n"));
    }
}
