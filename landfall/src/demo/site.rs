//! Where the demo takes place: the LAN, the processes on it, and how they end.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use landfall_lan::{Host, HostSpec, Lan, Subnets};

use super::manifests::{self, NODE_PORT};

const NODES: u16 = 3;

/// A LAN with three nodes, a client, and a host for the controller.
pub(super) struct Site {
    lan: Lan,
    nodes: Vec<Host>,
    client: Host,
    control: Host,
    manifests: PathBuf,
    program: PathBuf,
}

impl Site {
    /// Lays out the LAN, writes the manifests and starts the backends.
    pub(super) fn build() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let lan = Lan::create(&Lan::unique_name("lf-demo"), Subnets::default())?;
        let control = lan.add_host(HostSpec::new("control", 5))?;
        let nodes = (1..=NODES)
            .map(|n| lan.add_host(HostSpec::new(format!("n{n}"), 10 + n).forwarding()))
            .collect::<Result<Vec<_>, _>>()?;
        let client = lan.add_host(HostSpec::new("client", 100))?;
        let manifests = lan.state_directory().join("manifests");
        fs::create_dir(&manifests).context("cannot make the folder for manifests")?;
        manifests::write(&manifests, &nodes)?;
        for node in &nodes {
            serve(node)?;
        }
        let site = Self { lan, nodes, client, control, manifests, program };
        site.write_key()?;
        Ok(site)
    }

    pub(super) fn client(&self) -> &Host {
        &self.client
    }

    /// Starts `landfall controller` on the manifests.
    pub(super) fn start_controller(&self) -> anyhow::Result<()> {
        self.start(&self.control, &["controller"])
    }

    /// Starts `landfall speaker` on every node.
    pub(super) fn start_speakers(&self) -> anyhow::Result<()> {
        let key = self.key_file();
        let key = key.to_str().context("the state directory has a name that is not UTF-8")?;
        self.nodes.iter().try_for_each(|node| {
            let address = node.ipv4().context("the demo's LAN has IPv4")?.to_string();
            let arguments = [
                "speaker",
                "--node-name",
                node.name(),
                "--ml-bindaddr",
                &address,
                "--ml-secret-key-path",
                key,
            ];
            self.start(node, &arguments)
        })
    }

    /// The address in the Service's status, once the controller has written it.
    pub(super) fn assigned_address(&self) -> anyhow::Result<Option<IpAddr>> {
        let Ok(text) = fs::read(self.manifests.join("status/shop.web.json")) else { return Ok(None) };
        let status: serde_json::Value =
            serde_json::from_slice(&text).context("the Service's status is not JSON")?;
        let address = status.pointer("/status/loadBalancer/ingress/0/ip").and_then(|ip| ip.as_str());
        address.map(|ip| ip.parse().with_context(|| format!("{ip:?} is not an address"))).transpose()
    }

    /// The node with this MAC.
    pub(super) fn owner_of(&self, mac: &str) -> Option<String> {
        let owner = self.nodes.iter().find(|node| node.mac().is_some_and(|own| own.to_string() == mac));
        owner.map(|node| node.name().to_owned())
    }

    /// Kills every process of a node and unplugs its cable.
    pub(super) fn kill(&self, name: &str) -> anyhow::Result<()> {
        let node = self.nodes.iter().find(|node| node.name() == name).context("no such node")?;
        node.link_down()?;
        node.kill_all()?;
        Ok(())
    }

    /// The last lines of every log, for a demo that failed.
    pub(super) fn last_words(&self) -> String {
        let mut text = String::from("the demo failed; what its processes said last:\n");
        for host in self.nodes.iter().chain([&self.control]) {
            let log = fs::read_to_string(self.log_file(host.name())).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(5)..] {
                text.push_str(&format!("  {}: {line}\n", host.name()));
            }
        }
        text
    }

    /// Ends every process and removes the LAN and its files.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        Ok(self.lan.teardown()?)
    }

    fn start(&self, host: &Host, arguments: &[&str]) -> anyhow::Result<()> {
        let log = File::create(self.log_file(host.name())).context("cannot make a log file")?;
        let mut command = host.command(&self.program);
        command
            .args(arguments)
            .args(["--port", "0", "--health-probe-port", "0", "--log-level", "debug"])
            .arg("--files")
            .arg(&self.manifests)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().context("cannot share a log file")?)
            .stderr(log);
        host.spawn(command)?;
        Ok(())
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.lan.state_directory().join(format!("{name}.log"))
    }

    fn key_file(&self) -> PathBuf {
        self.lan.state_directory().join("secretkey")
    }

    /// A shared key for this LAN only; the folder is readable by root alone and goes with the LAN.
    fn write_key(&self) -> anyhow::Result<()> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness for the key: {error}"))?;
        write_file(&self.key_file(), &key)
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Answers every connection to the node's NodePort with the node's name, as a pod behind kube-proxy would.
fn serve(node: &Host) -> anyhow::Result<()> {
    let address = node.ipv4().context("the demo's LAN has IPv4")?;
    let listener =
        node.within(|| TcpListener::bind((address, NODE_PORT)))?.context("cannot listen on the NodePort")?;
    let name = format!("{}\n", node.name());
    thread::Builder::new()
        .name(format!("backend-{}", node.name()))
        .spawn(move || {
            // A client that goes away before the answer is its own business.
            for mut stream in listener.incoming().flatten() {
                _ = answer(&mut stream, &name);
            }
        })
        .context("cannot start a backend")?;
    Ok(())
}

/// Reads the question before it answers: closing a connection with unread bytes would reset it.
fn answer(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut question = [0; 64];
    _ = stream.read(&mut question)?;
    stream.write_all(name.as_bytes())
}
