use std::collections::BTreeMap;

use landfall_model::{BgpPeer, PeerPassword, Reason};

use crate::{
    Mode, SecretKind,
    fault::Faults,
    reach::Reach,
    set::{BFD_PROFILE, BGP_ADVERTISEMENT, PEER, POOL, Set},
};

/// Each peer against what it names. In the native mode a profile is refused whether it exists or not.
pub(crate) fn judge(set: &Set<'_>, mode: Mode, faults: &mut Faults<'_>) {
    for peer in &set.peers {
        if let Some(name) = &peer.bfd_profile
            && mode != Mode::Native
            && set.profile(name).is_none()
        {
            let message = format!("there is no {BFD_PROFILE} {name:?}; create it, or correct the name");
            faults.transient((PEER, &peer.name), "spec.bfdProfile", message);
        }
        if let Some(secrets) = set.secrets {
            secret(secrets, peer, faults);
        }
    }
}

fn secret(secrets: &BTreeMap<Box<str>, SecretKind>, peer: &BgpPeer, faults: &mut Faults<'_>) {
    const FIELD: &str = "spec.passwordSecret.name";
    let PeerPassword::Secret(name) = &peer.password else {
        return;
    };
    let object = (PEER, &*peer.name);
    match secrets.get(name) {
        Some(SecretKind::Password) => {}
        Some(SecretKind::OtherType) => {
            let message = format!(
                "the Secret {name:?} is not of type kubernetes.io/basic-auth; create it anew with that type, since it \
                 cannot be changed"
            );
            faults.permanent(object, FIELD, Reason::InvalidValue, message);
        }
        Some(SecretKind::NoPassword) => {
            let message = format!("the Secret {name:?} has no key \"password\"; add it");
            faults.permanent(object, FIELD, Reason::InvalidValue, message);
        }
        None => {
            let message = format!(
                "there is no Secret {name:?} in the namespace {:?}; create it with the type kubernetes.io/basic-auth and \
                 the key \"password\"",
                faults.namespace()
            );
            faults.transient(object, FIELD, message);
        }
    }
}

/// BFD cannot send echo packets for IPv6: a peer with such a profile must not be told of a pool with IPv6 addresses.
pub(crate) fn judge_echo(set: &Set<'_>, reach: &Reach, faults: &mut Faults<'_>) {
    let of_ipv6: Vec<_> = set
        .advertisements
        .iter()
        .enumerate()
        .filter_map(|(place, advertisement)| Some((*advertisement, reach.ipv6(set, place)?)))
        .collect();
    for peer in &set.peers {
        let profile = peer.bfd_profile.as_deref().and_then(|name| set.profile(name));
        let Some(profile) = profile.filter(|profile| profile.echo_mode) else {
            continue;
        };
        let told = of_ipv6.iter().find(|(advertisement, _)| advertisement.selects_peer(&peer.name));
        let Some((advertisement, (pool, range))) = told else {
            continue;
        };
        let message = format!(
            "{BFD_PROFILE} {:?} has echoMode, which IPv6 does not have, and {BGP_ADVERTISEMENT} {:?} tells this peer of \
             {range} of {POOL} {pool:?}; turn echoMode off, or list other peers in the advertisement",
            profile.name, advertisement.name
        );
        faults.permanent((PEER, &peer.name), "spec.bfdProfile", Reason::Conflict, message);
    }
}
