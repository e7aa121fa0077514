//! Who has an address on a segment: an owner asks a peer to look, and the peer tells what it saw. Both go to one member
//! alone, near or far, and are said once: who misses an answer asks again.

use std::net::IpAddr;

use ipnet::IpNet;
use landfall_model::Instant;

use super::{
    event::Event,
    field::{Reader, address_len, put_address},
    machine::Membership,
    message::{Content, room},
    peer::PeerId,
};
use crate::Mac;

/// So many hosts that answer for one address are told. Two are a conflict; more of them change nothing.
pub const MOST_ANSWERS: usize = 3;

/// A question about an address, or the answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Ask for the address on the segment with this subnet, and tell what comes back.
    Look {
        /// The address.
        address: IpAddr,
        /// A subnet of the segment, without host bits.
        segment: IpNet,
    },
    /// These answered on the segment when they were asked for the address; nobody, if it is empty.
    Seen {
        /// The address.
        address: IpAddr,
        /// The Ethernet addresses that it is said to be at, at most [`MOST_ANSWERS`].
        answers: Vec<Mac>,
    },
}

const LOOK: u8 = 1;
const SEEN: u8 = 2;

impl Question {
    /// What it is about.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        match self {
            Self::Look { address, .. } | Self::Seen { address, .. } => *address,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Look { address, segment } => 1 + address_len(*address) + 1 + address_len(segment.addr()),
            Self::Seen { address, answers } => 1 + address_len(*address) + 1 + answers.len() * 6,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Look { address, segment } => {
                out.push(LOOK);
                put_address(out, *address);
                out.push(segment.prefix_len());
                put_address(out, segment.addr());
            }
            Self::Seen { address, answers } => {
                let answers = &answers[..answers.len().min(MOST_ANSWERS)];
                out.push(SEEN);
                put_address(out, *address);
                out.push(u8::try_from(answers.len()).unwrap_or(u8::MAX));
                answers.iter().for_each(|mac| out.extend_from_slice(&mac.0));
            }
        }
    }

    pub(super) fn read_all(value: &mut Reader<'_>) -> Option<Vec<Self>> {
        let mut questions = Vec::new();
        while !value.is_empty() {
            let kind = value.u8()?;
            let address = value.address()?;
            let number = value.u8()?;
            questions.push(match kind {
                LOOK => Self::Look { address, segment: IpNet::new(value.address()?, number).ok()?.trunc() },
                SEEN if usize::from(number) <= MOST_ANSWERS => {
                    let answers = (0..number).map(|_| value.array().map(Mac)).collect::<Option<_>>()?;
                    Self::Seen { address, answers }
                }
                _ => return None,
            });
        }
        Some(questions)
    }
}

impl Membership {
    /// Tells these to one member, in as few packets as they fit in. Nothing repeats them.
    pub fn tell(&mut self, node: &str, questions: Vec<Question>, now: Instant) {
        let Some(id) = self.names.get(node).copied() else { return };
        let room = room(&self.node).saturating_sub(3);
        let (mut packet, mut len) = (Vec::new(), 0);
        for question in questions {
            len += question.len();
            if len > room {
                len = question.len();
                let questions = std::mem::take(&mut packet);
                self.send(id, &Content { questions, ..Content::default() }, now);
            }
            packet.push(question);
        }
        if !packet.is_empty() {
            self.send(id, &Content { questions: packet, ..Content::default() }, now);
        }
    }

    pub(super) fn hear_questions(&mut self, id: PeerId, questions: &[Question]) {
        if let Some(peer) = self.peers.get(&id).filter(|_| !questions.is_empty()) {
            let questions = questions.to_vec();
            self.events.push_back(Event::Questions { node: peer.node.clone(), questions });
        }
    }
}
