//! A host: a network namespace with one interface, `eth0`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ipnet::IpNet;
use nix::sched::{CloneFlags, setns};

use crate::lan::LanInner;
use crate::namespace::{self, Identity};
use crate::{Error, Process, Result, tool};

/// What a host is to be.
#[derive(Clone, Debug)]
pub struct HostSpec {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) sysctls: Vec<(String, String)>,
}

impl HostSpec {
    /// A host with a name of at most 15 lower-case letters, digits and dashes, and a number, unique on the LAN, from which
    /// its addresses and its MAC follow: number 11 has the 11th address of each subnet.
    pub fn new(name: impl Into<String>, number: u16) -> Self {
        Self { name: name.into(), number, sysctls: Vec::new() }
    }

    /// Lets the host forward IPv4 and IPv6 packets, as a router or a Kubernetes node does.
    #[must_use]
    pub fn forwarding(self) -> Self {
        self.sysctl("net/ipv4/ip_forward", "1").sysctl("net/ipv6/conf/all/forwarding", "1")
    }

    /// Sets a kernel setting before the host has any interface; `key` as below `/proc/sys`, with slashes.
    #[must_use]
    pub fn sysctl(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.sysctls.push((key.into(), value.into()));
        self
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The locally administered address of the host with this number.
    pub(crate) fn of_host(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self([0x02, 0x4c, 0x46, 0, high, low])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A host on the LAN, or a pod behind one. Clones mean the same host.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) inner: Arc<HostInner>,
}

#[derive(Debug)]
pub(crate) struct HostInner {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) handle: OwnedFd,
    pub(crate) lan: Weak<LanInner>,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) link: Link,
    pub(crate) processes: Mutex<Vec<Process>>,
}

/// The other end of a host's `eth0`.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// A port of the switch.
    Port(String),
    /// An interface of the node that a pod is on.
    Node {
        /// The node's name.
        node: String,
        /// The node's namespace.
        namespace: String,
        /// The interface there.
        interface: String,
    },
}

impl Host {
    /// The name of a host's interface to the LAN (or, for a pod, to its node).
    pub const INTERFACE: &'static str = "eth0";

    /// The host's name on the LAN.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The name of its namespace, as `ip netns exec` takes it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// Its addresses with the length of their subnets; one per family of the LAN.
    #[must_use]
    pub fn addresses(&self) -> &[IpNet] {
        &self.inner.addresses
    }

    /// Its IPv4 address, where the LAN has IPv4.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.inner.addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Its IPv6 address (not the link-local one), where the LAN has IPv6.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.inner.addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        })
    }

    /// The MAC of its `eth0`; `None` for a pod, whose MAC nobody on the LAN sees.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddress> {
        self.inner.mac
    }

    /// A command that will run inside the host. It is an ordinary command with one hook that enters the namespace; hooks
    /// added later run after it. Use it directly for a short call, or give it to [`Host::spawn`].
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let host = self.clone();
        // SAFETY: the closure runs between fork and exec and makes only one setns system call, which is async-signal-safe;
        // the descriptor is open because the closure owns the host.
        unsafe {
            command.pre_exec(move || Ok(setns(host.inner.handle.as_fd(), CloneFlags::CLONE_NEWNET)?));
        }
        command
    }

    /// Starts a command that was built with [`Host::command`], in a process group of its own. It is killed when the host is
    /// torn down, and when this process dies in any way.
    ///
    /// # Errors
    /// When it cannot be started, or would run outside the host.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        self.lan()?;
        let process = Process::start(command)?;
        let inside = Identity::of(&self.inner.handle)?;
        // A process that has ended already has no namespace to look at.
        if Identity::of_process(process.pid().cast_signed()).is_some_and(|actual| actual != inside) {
            process.kill()?;
            return Err(Error::WrongNamespace { host: self.name().to_owned(), pid: process.pid() });
        }
        let mut processes = self.processes();
        processes.retain(|known| matches!(known.try_wait(), Ok(None)));
        processes.push(process.clone());
        Ok(process)
    }

    /// Runs `work` on a thread of its own inside the host and returns what it returned. Sockets opened there stay inside
    /// for as long as they live, wherever they are used. A panic in `work` continues here.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        namespace::within(&self.inner.handle, work)
    }

    /// Adds or replaces a route: to `destination` by way of the host `via` on the same LAN.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn add_route(&self, destination: IpNet, via: IpAddr) -> Result<()> {
        self.ip(&[format!("route replace {destination} via {via}")])
    }

    /// Removes a route.
    ///
    /// # Errors
    /// When `ip` fails, also because there is no such route.
    pub fn delete_route(&self, destination: IpNet) -> Result<()> {
        self.ip(&[format!("route del {destination}")])
    }

    /// Adds an address to `eth0`.
    ///
    /// # Errors
    /// When `ip` fails, also because the address is there already.
    pub fn add_address(&self, address: IpNet) -> Result<()> {
        let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
        self.ip(&[format!("addr add {address} dev {}{nodad}", Self::INTERFACE)])
    }

    /// Takes the host's port out of the switch: it hears nobody and nobody hears it, and neither side loses carrier, so no
    /// kernel tells anybody. This is how a switch fails.
    ///
    /// # Errors
    /// When `ip` fails or this is a pod.
    pub fn cut(&self) -> Result<()> {
        self.port_command("nomaster")
    }

    /// Unplugs the cable: both ends lose carrier.
    ///
    /// # Errors
    /// When `ip` fails or this is a pod.
    pub fn link_down(&self) -> Result<()> {
        self.port_command("down")
    }

    /// Plugs the cable in again after [`Host::link_down`]; it can be used at once.
    ///
    /// # Errors
    /// When `ip` fails or this is a pod.
    pub fn link_up(&self) -> Result<()> {
        self.port_command("up")?;
        self.wait_until_up()
    }

    /// Loses this share of the frames from and to the host, at random, in per mille per direction; 0 ends it.
    ///
    /// # Errors
    /// When `nft` fails or this is a pod.
    pub fn drop_share(&self, per_mille: u32) -> Result<()> {
        let port = self.port()?.to_owned();
        self.lan()?.change_faults(|faults| faults.drop_share(&port, per_mille))
    }

    /// Ends every fault of this host: it is in the switch, has carrier, loses nothing and hears everybody.
    ///
    /// # Errors
    /// When `ip` or `nft` fails or this is a pod.
    pub fn heal(&self) -> Result<()> {
        let port = self.port()?.to_owned();
        self.lan()?.change_faults(|faults| faults.heal(&port))?;
        self.port_command(&format!("master {} up", crate::lan::BRIDGE))?;
        self.wait_until_up()
    }

    /// Kills every process inside the host (not those in pods behind it), whoever started it, and waits until all are gone.
    ///
    /// # Errors
    /// When some cannot be killed.
    pub fn kill_all(&self) -> Result<()> {
        self.lan()?.kill_inside(std::slice::from_ref(self))
    }

    /// The pods behind this host, in order of their names.
    ///
    /// # Errors
    /// When the LAN was torn down.
    pub fn pods(&self) -> Result<Vec<Self>> {
        Ok(self.lan()?.pods_of(self.name()))
    }

    /// Removes the host with its pods: kills what runs inside and deletes the namespaces.
    ///
    /// # Errors
    /// When parts of it could not be removed; the others were.
    pub fn remove(&self) -> Result<()> {
        self.lan()?.remove(self)
    }

    /// Runs `ip` with these lines inside the host.
    pub(crate) fn ip(&self, lines: &[String]) -> Result<()> {
        tool::ip(Some(&self.inner.namespace), lines)
    }

    pub(crate) fn lan(&self) -> Result<Arc<LanInner>> {
        self.inner.lan.upgrade().ok_or_else(|| Error::Gone(self.name().to_owned()))
    }

    pub(crate) fn port(&self) -> Result<&str> {
        match &self.inner.link {
            Link::Port(port) => Ok(port),
            Link::Node { .. } => Err(Error::NoPort(self.name().to_owned())),
        }
    }

    pub(crate) fn identity(&self) -> Result<Identity> {
        Identity::of(&self.inner.handle)
    }

    /// Collects the children that have ended.
    pub(crate) fn reap(&self) {
        self.processes().retain(|process| matches!(process.try_wait(), Ok(None)));
    }

    fn port_command(&self, what: &str) -> Result<()> {
        let port = self.port()?;
        tool::ip(Some(&self.lan()?.switch), &[format!("link set {port} {what}")])
    }

    fn wait_until_up(&self) -> Result<()> {
        tool::wait_until_up(self.namespace(), Self::INTERFACE)?;
        tool::wait_until_up(&self.lan()?.switch, self.port()?)
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.inner.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The identities of all these hosts that still have a namespace.
pub(crate) fn identities(hosts: &[Host]) -> BTreeSet<Identity> {
    hosts.iter().filter_map(|host| host.identity().ok()).collect()
}
