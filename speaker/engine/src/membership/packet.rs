//! The frame around every message: versions, key id, fields, tag.
//!
//! ```text
//! 0        2         3         4        8                    n-16       n
//! +--------+---------+---------+--------+--------------------+----------+
//! | "LF"   | version | minimum | key id | fields …           | tag      |
//! +--------+---------+---------+--------+--------------------+----------+
//! field: type (1), length (2), value          numbers are big-endian
//! ```
//!
//! `version` is the sender's, `minimum` the oldest version that understands what it says. A receiver takes a
//! packet whose minimum is at most its own version and whose version is at least its own minimum, and skips
//! fields of unknown type. So a newer speaker may add fields and stand beside old ones; when it changes the
//! meaning of something it raises the minimum. A known field never changes its layout.

use super::{
    counters::DropReason,
    field::Reader,
    key::{Key, KeyId, TAG_LEN},
};

/// The version that we speak.
pub(super) const VERSION: u8 = 1;
/// The oldest version that we understand, and the oldest that understands us.
pub(super) const MINIMUM: u8 = 1;
/// No packet of ours is longer: it passes every link without fragments (IPv6 guarantees 1,280 bytes, RFC 8200 §5).
pub(super) const MAX_LEN: usize = 1_200;
/// Longer datagrams are not looked at. More than [`MAX_LEN`], so that a later version may send more.
const MAX_ACCEPTED: usize = 2_048;

const MAGIC: [u8; 2] = *b"LF";
pub(super) const HEADER_LEN: usize = 8;

/// A packet whose header makes sense. Nothing in it may be believed before [`Packet::open`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    signed: &'a [u8],
    tag: &'a [u8; TAG_LEN],
    pub(super) key: KeyId,
}

impl<'a> Packet<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        if bytes.len() > MAX_ACCEPTED {
            return Err(DropReason::Malformed);
        }
        let (signed, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(DropReason::Malformed)?;
        let mut header = Reader(signed);
        if header.array() != Some(MAGIC) {
            return Err(DropReason::Malformed);
        }
        let version = header.u8().ok_or(DropReason::Malformed)?;
        let minimum = header.u8().ok_or(DropReason::Malformed)?;
        if version < MINIMUM || minimum > VERSION {
            return Err(DropReason::Version);
        }
        let key = KeyId(header.u32().ok_or(DropReason::Malformed)?);
        Ok(Self { signed, tag, key })
    }

    /// The fields, once one of `keys` has shown that they are authentic.
    pub(super) fn open(self, keys: &[Key]) -> Result<Reader<'a>, DropReason> {
        if keys.is_empty() {
            return Err(DropReason::NoKey);
        }
        let mut known = keys.iter().filter(|key| key.id() == self.key).peekable();
        if known.peek().is_none() {
            return Err(DropReason::UnknownKey);
        }
        if known.any(|key| key.verifies(self.signed, self.tag)) {
            Ok(Reader(&self.signed[HEADER_LEN..]))
        } else {
            Err(DropReason::Forged)
        }
    }
}

/// A whole packet around the fields that `write` appends.
pub(super) fn seal(key: &Key, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    packet.extend_from_slice(&MAGIC);
    packet.extend_from_slice(&[VERSION, MINIMUM]);
    packet.extend_from_slice(&key.id().0.to_be_bytes());
    write(&mut packet);
    key.sign(&mut packet);
    packet
}
