//! Packets of membership, made apart from the code under test: the frame, the tag and the fields as
//! `speaker/engine/src/membership/packet.rs` and `message.rs` describe them.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The secret and the cluster of all machines in here.
pub(crate) const SECRET: &[u8] = b"a secret of this cluster";
pub(crate) const CLUSTER: &str = "cluster-uid";

pub(crate) const SENDER: u8 = 1;
pub(crate) const RECEIVER: u8 = 2;
pub(crate) const STAMP: u8 = 3;
pub(crate) const STATUS: u8 = 4;
pub(crate) const ECHO: u8 = 5;
pub(crate) const DIGESTS: u8 = 6;
pub(crate) const PROFILE_PART: u8 = 8;

/// A whole packet around these fields, with the tag of somebody who has the key.
pub(crate) fn seal(fields: &[u8]) -> Vec<u8> {
    let hkdf = Hkdf::<Sha256>::new(Some(CLUSTER.as_bytes()), SECRET);
    let (mut key, mut id) = ([0; 32], [0; 4]);
    hkdf.expand(b"landfall membership v1 mac", &mut key).expect("32 bytes are few");
    hkdf.expand(b"landfall membership v1 key id", &mut id).expect("4 bytes are few");
    let mut packet = b"LF\x01\x01".to_vec();
    packet.extend(id);
    packet.extend(fields);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of every length");
    mac.update(&packet);
    packet.extend(&mac.finalize().into_bytes()[..16]);
    packet
}

/// Appends a field, whose value must be shorter than 64 KiB.
pub(crate) fn put(fields: &mut Vec<u8>, kind: u8, value: &[u8]) {
    fields.push(kind);
    fields.extend(u16::try_from(value.len()).expect("inputs are short").to_be_bytes());
    fields.extend(value);
}

/// The first 64 bits of SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The part of a packet that makes it a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat<'a> {
    pub(crate) sender: &'a str,
    pub(crate) receiver: &'a str,
    /// Run and sequence of the sender.
    pub(crate) stamp: (u64, u64, u64),
    pub(crate) phase: u8,
    pub(crate) interval_micros: u32,
    /// The run of the receiver that it heard, and whether it hears it now.
    pub(crate) echo: Option<(u64, u64, u8)>,
    /// Of its view, its profile and its claims, and how many claims.
    pub(crate) digests: (u64, u64, u64, u32),
}

impl Beat<'_> {
    pub(crate) fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        put(&mut fields, SENDER, self.sender.as_bytes());
        put(&mut fields, RECEIVER, &digest(self.receiver.as_bytes()).to_be_bytes());
        put(&mut fields, STAMP, &numbers(&[self.stamp.0, self.stamp.1, self.stamp.2]));
        let mut status = vec![self.phase];
        status.extend(self.interval_micros.to_be_bytes());
        put(&mut fields, STATUS, &status);
        if let Some((seconds, random, now)) = self.echo {
            let mut echo = numbers(&[seconds, random]);
            echo.push(now);
            put(&mut fields, ECHO, &echo);
        }
        let mut digests = numbers(&[self.digests.0, self.digests.1, self.digests.2]);
        digests.extend(self.digests.3.to_be_bytes());
        put(&mut fields, DIGESTS, &digests);
        fields
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
