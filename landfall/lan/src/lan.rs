//! The LAN itself: a switch, and the register of what hangs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claim::Claim;
use crate::faults::Faults;
use crate::host::{HostInner, Link, MacAddress, identities};
use crate::namespace::Identity;
use crate::{Error, Host, HostSpec, Result, Subnets, namespace, tool};

/// The bridge inside the switch's namespace.
pub(crate) const BRIDGE: &str = "br0";

/// A switch with hosts. Dropping it removes everything; [`Lan::teardown`] does the same and says what went wrong.
#[derive(Debug)]
pub struct Lan {
    inner: Arc<LanInner>,
}

#[derive(Debug)]
pub(crate) struct LanInner {
    name: String,
    pub(crate) switch: String,
    subnets: Subnets,
    faults: Mutex<Faults>,
    /// `None` is a name that is taken while its host is being made.
    hosts: Mutex<BTreeMap<String, Option<Host>>>,
    pod_links: AtomicU32,
    claim: Mutex<Option<Claim>>,
    state: PathBuf,
}

impl Lan {
    /// A name that no other LAN of this or another live process has: `PREFIX-PID-COUNT`.
    #[must_use]
    pub fn unique_name(prefix: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a LAN without hosts. What a dead process left under the same name is removed first.
    ///
    /// # Errors
    /// Without root, without `ip`, or when a live process has a LAN of that name.
    pub fn create(name: &str, subnets: Subnets) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        check_name("LAN", name, 40)?;
        let mut claim = Claim::take(name)?;
        remove_leftovers(&claim, name)?;
        let switch = format!("{}switch", prefix(name));
        let built = claim.establish(&prefix(name)).and_then(|()| build_switch(&switch));
        let inner = Arc::new(LanInner {
            name: name.to_owned(),
            switch,
            subnets,
            faults: Mutex::default(),
            hosts: Mutex::default(),
            pod_links: AtomicU32::new(0),
            state: claim.state().to_owned(),
            claim: Mutex::new(Some(claim)),
        });
        // From here on dropping the LAN cleans up.
        let lan = Self { inner };
        built.map(|()| lan)
    }

    /// The LAN's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its subnets.
    #[must_use]
    pub fn subnets(&self) -> Subnets {
        self.inner.subnets
    }

    /// A directory, readable by root only, for files that are to go when the LAN goes, in whatever way that happens.
    #[must_use]
    pub fn state_directory(&self) -> &Path {
        &self.inner.state
    }

    /// The state directory of the LAN of this name, whichever process has it.
    #[must_use]
    pub fn state_directory_of(name: &str) -> PathBuf {
        Claim::state_of(name)
    }

    /// Plugs in a new host. Its addresses can be used at once.
    ///
    /// # Errors
    /// When the name or number is not usable or taken, or `ip` fails; nothing is left of the host then.
    pub fn add_host(&self, spec: HostSpec) -> Result<Host> {
        let HostSpec { name, number, sysctls } = spec;
        check_name("host", &name, 15)?;
        let lan = &self.inner;
        let addresses = lan.subnets.of_host(number)?;
        let mac = MacAddress::of_host(number);
        if lan.all_hosts().iter().any(|host| host.mac() == Some(mac)) {
            return Err(Error::HostExists(format!("{name} (number {number})")));
        }
        let reserved = lan.reserve(&name)?;
        let handle = namespace::create(&reserved.namespace, &sysctls)?;
        let mut lines = vec![
            "link set lo up".to_owned(),
            format!("link add eth0 address {mac} type veth peer name {name} netns {}", lan.switch),
            "link set eth0 up".to_owned(),
        ];
        for address in &addresses {
            let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
            lines.push(format!("addr add {address} dev eth0{nodad}"));
        }
        tool::ip(Some(&reserved.namespace), &lines)?;
        tool::ip(Some(&lan.switch), &[format!("link set {name} master {BRIDGE} up")])?;
        tool::wait_until_up(&reserved.namespace, Host::INTERFACE)?;
        tool::wait_until_up(&lan.switch, &name)?;
        let host = Host {
            inner: Arc::new(HostInner {
                name: name.clone(),
                namespace: reserved.namespace.clone(),
                handle,
                lan: Arc::downgrade(lan),
                addresses,
                mac: Some(mac),
                link: Link::Port(name),
                processes: Mutex::default(),
            }),
        };
        reserved.keep(host.clone());
        Ok(host)
    }

    /// The host (or pod) of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<Host> {
        self.inner.hosts().get(name).cloned().flatten()
    }

    /// All hosts and pods, in order of their names.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        self.inner.all_hosts()
    }

    /// Loses every frame between two hosts, both ways; all others hear both.
    ///
    /// # Errors
    /// When `nft` fails or one is a pod.
    pub fn cut_between(&self, one: &Host, other: &Host) -> Result<()> {
        let (one, other) = (one.port()?, other.port()?);
        self.inner.change_faults(|faults| faults.cut_between(one, other))
    }

    /// Loses every frame from one host to another, not those the other way.
    ///
    /// # Errors
    /// When `nft` fails or one is a pod.
    pub fn cut_one_way(&self, from: &Host, to: &Host) -> Result<()> {
        let (from, to) = (from.port()?, to.port()?);
        self.inner.change_faults(|faults| faults.cut_from(from, to))
    }

    /// Ends the cut between two hosts, both ways.
    ///
    /// # Errors
    /// When `nft` fails or one is a pod.
    pub fn join(&self, one: &Host, other: &Host) -> Result<()> {
        let (one, other) = (one.port()?, other.port()?);
        self.inner.change_faults(|faults| faults.join(one, other))
    }

    /// Removes everything: kills all processes inside, deletes all namespaces and files. Goes on after a failure.
    ///
    /// # Errors
    /// [`Error::Teardown`] with everything that failed.
    pub fn teardown(self) -> Result<()> {
        self.inner.teardown()
    }

    /// Removes the LANs of dead processes whose names begin with `prefix`, and returns their names. LANs in use stay.
    ///
    /// # Errors
    /// [`Error::Teardown`] with everything that failed.
    pub fn sweep(prefix: &str) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        let mut errors = Vec::new();
        for name in Claim::names().into_iter().filter(|name| name.starts_with(prefix)) {
            match Claim::try_take(&name) {
                Ok(Ok(claim)) => {
                    errors.extend(remove_leftovers(&claim, &name).err());
                    errors.extend(claim.release().err());
                    swept.push(name);
                }
                Ok(Err(_in_use)) => {}
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(swept) } else { Err(Error::Teardown(errors)) }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if let Err(error) = self.inner.teardown() {
            tracing::warn!(op = "teardown", %error, "the LAN was not removed completely");
        }
    }
}

impl LanInner {
    /// Takes a name for a host that is about to be made.
    pub(crate) fn reserve(self: &Arc<Self>, name: &str) -> Result<Reserved> {
        let mut hosts = self.hosts();
        if hosts.contains_key(name) || name == "switch" {
            return Err(Error::HostExists(name.to_owned()));
        }
        hosts.insert(name.to_owned(), None);
        let namespace = format!("{}{name}", prefix(&self.name));
        Ok(Reserved { lan: Arc::clone(self), name: name.to_owned(), namespace, kept: false })
    }

    /// An interface name for a pod's link that was not used before.
    pub(crate) fn next_pod_link(&self) -> String {
        format!("pod{}", self.pod_links.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn change_faults(&self, change: impl FnOnce(&mut Faults)) -> Result<()> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = faults.clone();
        change(&mut changed);
        if changed != *faults {
            tool::nft(&self.switch, &changed.rules())?;
            *faults = changed;
        }
        Ok(())
    }

    pub(crate) fn pods_of(&self, node: &str) -> Vec<Host> {
        let of_node = |host: &Host| match &host.inner.link {
            Link::Port(_) => false,
            Link::Node { node: of, .. } => of == node,
        };
        self.all_hosts().into_iter().filter(of_node).collect()
    }

    /// Kills everything inside these hosts.
    pub(crate) fn kill_inside(&self, hosts: &[Host]) -> Result<()> {
        namespace::kill_residents(&identities(hosts), || hosts.iter().for_each(Host::reap))
    }

    /// Removes a host and the pods behind it.
    pub(crate) fn remove(&self, host: &Host) -> Result<()> {
        let mut gone = self.pods_of(host.name());
        gone.push(host.clone());
        let mut errors: Vec<Error> = self.kill_inside(&gone).err().into_iter().collect();
        if let Link::Node { namespace, interface, .. } = &host.inner.link {
            // The kernel takes a namespace apart later; without this the link and its routes would stay for a while.
            errors.extend(tool::ip(Some(namespace), &[format!("link del {interface}")]).err());
        }
        if let Link::Port(port) = &host.inner.link {
            errors.extend(tool::ip(Some(&self.switch), &[format!("link del {port}")]).err());
            errors.extend(self.change_faults(|faults| faults.heal(port)).err());
        }
        let names: Vec<String> = gone.iter().map(|host| host.namespace().to_owned()).collect();
        errors.extend(namespace::delete(&names).err());
        let mut hosts = self.hosts();
        for host in &gone {
            hosts.remove(host.name());
        }
        if errors.is_empty() { Ok(()) } else { Err(Error::Teardown(errors)) }
    }

    fn teardown(&self) -> Result<()> {
        let Some(claim) = self.claim.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let hosts = self.all_hosts();
        let mut errors = Vec::new();
        errors.extend(remove_namespaces(&self.name, || hosts.iter().for_each(Host::reap)).err());
        self.hosts().clear();
        errors.extend(claim.release().err());
        if errors.is_empty() { Ok(()) } else { Err(Error::Teardown(errors)) }
    }

    fn all_hosts(&self) -> Vec<Host> {
        self.hosts().values().flatten().cloned().collect()
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Option<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is taken. Unless it is kept, dropping it removes the half-made namespace and frees the name.
pub(crate) struct Reserved {
    lan: Arc<LanInner>,
    name: String,
    pub(crate) namespace: String,
    kept: bool,
}

impl Reserved {
    pub(crate) fn keep(mut self, host: Host) {
        self.lan.hosts().insert(self.name.clone(), Some(host));
        self.kept = true;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.lan.hosts().remove(&self.name);
        if namespace::path(&self.namespace).exists()
            && let Err(error) = namespace::delete(std::slice::from_ref(&self.namespace))
        {
            tracing::warn!(op = "remove a half-made host", %error, "a namespace stays until the LAN goes");
        }
    }
}

/// Names become parts of namespace and file names, and hosts' also interface names.
pub(crate) fn check_name(what: &'static str, name: &str, longest: usize) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= longest && name.chars().all(allowed) && !name.starts_with('-') {
        return Ok(());
    }
    let rule = if name.len() > longest {
        "it is too long (a LAN's name may have 40 characters, a host's 15, a pod's 120)"
    } else {
        "use lower-case letters, digits and dashes, and no dash first"
    };
    Err(Error::Name { what, name: name.to_owned(), rule })
}

/// LAN names have no dot, so no LAN's prefix is the beginning of another's.
fn prefix(lan: &str) -> String {
    format!("lf-{lan}.")
}

fn build_switch(switch: &str) -> Result<()> {
    // The switch itself must stay silent: no addresses, no queries, and no packet filter of the IP layer over its frames.
    let mut sysctls = vec![("net/ipv6/conf/default/disable_ipv6".to_owned(), "1".to_owned())];
    for table in ["arp", "ip", "ip6"] {
        let key = format!("net/bridge/bridge-nf-call-{table}tables");
        if Path::new("/proc/sys").join(&key).exists() {
            sysctls.push((key, "0".to_owned()));
        }
    }
    drop(namespace::create(switch, &sysctls)?);
    let bridge = format!("link add {BRIDGE} up type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    tool::ip(Some(switch), &["link set lo up".to_owned(), bridge])
}

/// Removes what the last, dead holder of a claim left.
fn remove_leftovers(claim: &Claim, name: &str) -> Result<()> {
    remove_namespaces(name, || {})?;
    match std::fs::remove_dir_all(claim.state()) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::StateDirectory { path: claim.state().to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_namespaces(name: &str, reap: impl FnMut()) -> Result<()> {
    let names = namespace::list(&prefix(name));
    if names.is_empty() {
        return Ok(());
    }
    let inside: BTreeSet<Identity> = names
        .iter()
        .filter_map(|name| namespace::open(name).and_then(|handle| Identity::of(&handle)).ok())
        .collect();
    let killed = namespace::kill_residents(&inside, reap);
    let deleted = namespace::delete(&names);
    match (killed, deleted) {
        (Ok(()), Ok(())) => Ok(()),
        (killed, deleted) => Err(Error::Teardown(killed.err().into_iter().chain(deleted.err()).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let too_long = "n".repeat(16);
        for (name, good) in [
            ("n1", true),
            ("node-2", true),
            ("", false),
            ("N1", false),
            ("a.b", false),
            ("-a", false),
            (&*too_long, false),
        ] {
            assert_eq!(check_name("host", name, 15).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn a_prefix_belongs_to_one_lan() {
        assert!(!format!("{}n1", prefix("a-b")).starts_with(&prefix("a")));
    }
}
