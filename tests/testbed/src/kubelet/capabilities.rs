//! Which capabilities a container's security context leaves it. Pure.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::SecurityContext;

/// The names of capabilities(7) without `CAP_`, by bit number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What container runtimes leave a container that asks for nothing.
const DEFAULTS: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The bounding set, as bit numbers in order.
///
/// # Errors
/// When a name is no capability.
pub(crate) fn bounding_set(context: Option<&SecurityContext>) -> Result<Vec<u8>> {
    let all = || (0u8..).take(NAMES.len()).collect::<Vec<u8>>();
    if context.and_then(|context| context.privileged).unwrap_or(false) {
        return Ok(all());
    }
    let wanted = context.and_then(|context| context.capabilities.as_ref());
    let dropped = wanted.and_then(|wanted| wanted.drop.as_deref()).unwrap_or_default();
    let added = wanted.and_then(|wanted| wanted.add.as_deref()).unwrap_or_default();
    let mut set = DEFAULTS.map(number).into_iter().collect::<Result<Vec<u8>>>()?;
    for name in dropped {
        if name == "ALL" {
            set.clear();
        } else {
            let gone = number(name)?;
            set.retain(|kept| *kept != gone);
        }
    }
    for name in added {
        if name == "ALL" {
            set = all();
        } else {
            set.push(number(name)?);
        }
    }
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

fn number(name: &str) -> Result<u8> {
    let bare = name.strip_prefix("CAP_").unwrap_or(name);
    match (0u8..).zip(NAMES).find(|(_, known)| *known == bare) {
        Some((number, _)) => Ok(number),
        None => bail!("securityContext.capabilities: {name:?} is not a capability"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Capabilities;

    use super::*;

    fn set(drop: &[&str], add: &[&str]) -> Result<Vec<u8>> {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let capabilities = Some(Capabilities { add: list(add), drop: list(drop) });
        bounding_set(Some(&SecurityContext { capabilities, ..SecurityContext::default() }))
    }

    #[test]
    fn only_what_was_added_is_left_after_dropping_all() {
        assert_eq!(set(&["ALL"], &["NET_RAW", "NET_ADMIN"]).unwrap(), [12, 13]);
        assert_eq!(set(&["ALL"], &["CAP_NET_RAW"]).unwrap(), [13]);
        assert_eq!(set(&["ALL"], &[]).unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn the_default_set_is_the_runtimes() {
        let default = bounding_set(None).unwrap();
        assert_eq!(default.len(), 14);
        assert!(default.contains(&13) && !default.contains(&12), "NET_RAW yes, NET_ADMIN no");
        assert!(!set(&["NET_RAW"], &[]).unwrap().contains(&13));
        assert_eq!(set(&[], &["ALL"]).unwrap().len(), 41);
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(set(&[], &["NET_EVERYTHING"]).unwrap_err().to_string().contains("NET_EVERYTHING"));
    }
}
