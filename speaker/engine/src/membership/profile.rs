use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use landfall_model::Assigned;

use super::{
    assigned,
    field::{Reader, put_address, put_field},
};
use crate::{Mac, links::LinkSummary};

/// The longest encoded profile. Whoever claims a longer one is not asked for it.
pub(super) const MAX_PROFILE: usize = 60_000;
/// The longest text that a profile carries, in bytes.
pub(super) const MAX_TEXT: usize = 255;

const VERSION: u8 = 1;
const FLAGS: u8 = 2;
const LINK: u8 = 3;
const ASSIGNED: u8 = 4;
const GIVEN_UP: u8 = 5;

const LINK_NAME: u8 = 1;
const LINK_FLAGS: u8 = 2;
const LINK_PREFIX: u8 = 3;
const LINK_MAC: u8 = 4;

const FLAG_NODE_PORT: u32 = 1;
const FLAG_LOOKS: u32 = 2;

/// Bytes of the longest address that was given up.
const LONGEST_GIVEN_UP: usize = 3 + 17;

/// What a node tells the others about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its links, in the order given.
    pub links: Vec<LinkSummary>,
    /// It can forward in mode `node-port`.
    pub node_port: bool,
    /// It looks for addresses when a peer asks it to, see [`super::Question`].
    pub looks: bool,
    /// The addresses that it gave up because nobody heard its answers; another node that is heard is the better owner.
    pub given_up: BTreeSet<IpAddr>,
    /// The version of its software, for people.
    pub version: Box<str>,
    /// Standalone: the addresses of its Services.
    pub assigned: Vec<Assigned>,
}

impl Profile {
    /// The wire form and how many links and assignments did not fit into it. Texts are cut to 255 bytes.
    pub(super) fn encode(&self) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        put_field(&mut out, VERSION, |out| out.extend_from_slice(cut(&self.version).as_bytes()));
        let flags = [(self.node_port, FLAG_NODE_PORT), (self.looks, FLAG_LOOKS)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag);
        put_field(&mut out, FLAGS, |out| out.extend_from_slice(&flags.to_be_bytes()));
        let mut left_out = 0;
        for link in &self.links {
            if out.len() + link.encoded_len() > MAX_PROFILE {
                left_out += 1;
            } else {
                put_field(&mut out, LINK, |out| link.encode(out));
            }
        }
        for one in &self.assigned {
            if out.len() + assigned::encoded_len(one) > MAX_PROFILE {
                left_out += 1;
            } else {
                put_field(&mut out, ASSIGNED, |out| assigned::encode(one, out));
            }
        }
        for address in self.given_up.iter().take(MAX_PROFILE.saturating_sub(out.len()) / LONGEST_GIVEN_UP) {
            put_field(&mut out, GIVEN_UP, |out| put_address(out, *address));
        }
        (out, left_out)
    }

    /// `None` when a known field makes no sense. Unknown fields and flags are skipped: a newer version sent them.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut profile = Self::default();
        let mut fields = Reader(bytes);
        while !fields.is_empty() {
            let (kind, value) = fields.field()?;
            match kind {
                VERSION => profile.version = text(value)?,
                FLAGS => {
                    let flags = u32::from_be_bytes(value.try_into().ok()?);
                    profile.node_port = flags & FLAG_NODE_PORT != 0;
                    profile.looks = flags & FLAG_LOOKS != 0;
                }
                LINK => profile.links.push(LinkSummary::decode(value)?),
                ASSIGNED => profile.assigned.push(assigned::decode(value)?),
                GIVEN_UP => {
                    let mut value = Reader(value);
                    profile.given_up.insert(value.address().filter(|_| value.is_empty())?);
                }
                _ => {}
            }
        }
        Some(profile)
    }
}

impl LinkSummary {
    /// An upper bound.
    fn encoded_len(&self) -> usize {
        3 + 3 + cut(&self.name).len() + 3 + 4 + self.prefixes.len() * (3 + 1 + 17) + 3 + 6
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_field(out, LINK_NAME, |out| out.extend_from_slice(cut(&self.name).as_bytes()));
        let bits = [self.default_v4, self.default_v6, self.arp, self.ndp];
        let flags = bits.iter().enumerate().fold(0_u32, |flags, (bit, set)| flags | (u32::from(*set) << bit));
        put_field(out, LINK_FLAGS, |out| out.extend_from_slice(&flags.to_be_bytes()));
        for prefix in &self.prefixes {
            put_field(out, LINK_PREFIX, |out| {
                out.push(prefix.prefix_len());
                put_address(out, prefix.addr());
            });
        }
        if let Some(Mac(mac)) = self.mac {
            put_field(out, LINK_MAC, |out| out.extend_from_slice(&mac));
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut link = Self::default();
        let mut fields = Reader(bytes);
        while !fields.is_empty() {
            let (kind, value) = fields.field()?;
            match kind {
                LINK_NAME => link.name = text(value)?,
                LINK_FLAGS => {
                    let flags = u32::from_be_bytes(value.try_into().ok()?);
                    let set = |bit: u32| flags & (1 << bit) != 0;
                    (link.default_v4, link.default_v6, link.arp, link.ndp) = (set(0), set(1), set(2), set(3));
                }
                LINK_PREFIX => {
                    let mut value = Reader(value);
                    let len = value.u8()?;
                    let address = value.address()?;
                    if !value.is_empty() {
                        return None;
                    }
                    link.prefixes.push(IpNet::new(address, len).ok()?);
                }
                LINK_MAC => link.mac = Some(Mac(value.try_into().ok()?)),
                _ => {}
            }
        }
        Some(link)
    }
}

pub(super) fn text(value: &[u8]) -> Option<Box<str>> {
    if value.len() > MAX_TEXT {
        return None;
    }
    std::str::from_utf8(value).ok().map(Box::from)
}

pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}
