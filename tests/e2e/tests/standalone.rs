//! `landfall standalone`: two machines without a cluster share floating addresses, from the manifests of the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use landfall_e2e::requests::{TIMEOUT, counted, http};
use landfall_e2e::wait::{throughout, until};
use landfall_lan::{Host, HostSpec, Lan, Process, Subnets};
use landfall_testbed::programs::Programs;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);
const PORT: u16 = 8080;

/// Two machines with a backend each, a third backend elsewhere, and a client.
struct Site {
    lan: Lan,
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

const POOL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: lan }
spec: { addresses: [10.77.0.200-10.77.0.209] }
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: lan }
";

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
        let site = Self { machines: machines.collect(), client, backends, programs, lan };
        for machine in &site.machines {
            fs::create_dir_all(machine.manifests())?;
            fs::write(machine.folder.join("key"), "a key for this test only, of no use elsewhere")?;
            machine.put("pool.yaml", POOL)?;
            machine.put("web.yaml", &service("web", "", &hosts.iter().collect::<Vec<_>>()))?;
        }
        Ok(site)
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let machine = &self.machines[index];
        let program = self.programs.landfall.as_ref().context("landfall is not built")?;
        let log = fs::File::options().create(true).append(true).open(self.log(machine.host.name()))?;
        let mut command = machine.host.command(program);
        command
            .args(["standalone", "--node-name", machine.host.name(), "--check-interval", "0.2", "-f"])
            .arg(machine.manifests())
            .arg("--state-dir")
            .arg(machine.state())
            .arg("--key-file")
            .arg(machine.folder.join("key"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for machine in &self.machines {
            let address = machine.host.ipv4().context("the LAN has IPv4")?;
            command.arg("--peer").arg(format!("{}={address}", machine.host.name()));
        }
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
        let web = self.agreed("web")?;
        self.answered_by(web, &[n1, n2, n3])?;

        // A target dies: it gets no more connections, and comes back.
        self.backends[2].kill()?;
        self.answered_by(web, &[n1, n2])?;

        // The owner dies: the other machine has the same address, and its rules.
        let owner = self.owner(web)?;
        let other = 1 - owner;
        let dead = self.machines[owner].host.clone();
        self.machines[owner].process.take().context("it runs")?.kill()?;
        until("the other machine to answer", PATIENCE, || {
            ensure!(self.owner(web)? == other, "the owner has not changed");
            self.servers(web, 1)
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
        assert_eq!(self.agreed("web")?, web, "nothing moved");
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

fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}:\n{}", log.display(), lines[lines.len().saturating_sub(40)..].join("\n"))
}
