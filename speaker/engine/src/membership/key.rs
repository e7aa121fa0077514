use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Bytes of the authentication tag at the end of each packet: HMAC-SHA256, truncated (RFC 2104 §5).
pub(super) const TAG_LEN: usize = 16;

/// Purpose and version of the derived key. A change of either gives unrelated keys.
const MAC_INFO: &[u8] = b"landfall membership v1 mac";
/// The key id is derived apart from the key, so that it says nothing about it.
const ID_INFO: &[u8] = b"landfall membership v1 key id";

/// Why no key could be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An empty secret would make every packet forgeable. Trying again helps only with another secret.
    #[error("the membership secret is empty; put random bytes, 32 or more, into the Secret")]
    Empty,
}

/// Names a key inside packets, so that a receiver with several keys need not try all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(pub(super) u32);

/// A key that authenticates heartbeats, derived from the shared secret.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    /// Already holds the key, so that a packet costs no second key set-up.
    mac: Hmac<Sha256>,
    bytes: [u8; 32],
}

impl Key {
    /// The key for membership packets of the cluster `cluster` (the UID of the namespace `kube-system`):
    /// HKDF-SHA256 (RFC 5869) with the cluster as salt. Equal secrets of two clusters give unrelated keys.
    ///
    /// # Errors
    /// [`KeyError::Empty`] when `secret` holds nothing.
    pub fn derive(secret: &[u8], cluster: &str) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::Empty);
        }
        let hkdf = Hkdf::<Sha256>::new(Some(cluster.as_bytes()), secret);
        let mut bytes = [0; 32];
        hkdf.expand(MAC_INFO, &mut bytes).expect("invariant: 32 bytes are within HKDF's limit");
        let mut id = [0; 4];
        hkdf.expand(ID_INFO, &mut id).expect("invariant: 4 bytes are within HKDF's limit");
        let mac = Hmac::new_from_slice(&bytes).expect("invariant: HMAC takes keys of every length");
        Ok(Self { id: KeyId(u32::from_be_bytes(id)), mac, bytes })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// Appends the tag over all of `packet`.
    pub(super) fn sign(&self, packet: &mut Vec<u8>) {
        let mut mac = self.mac.clone();
        mac.update(packet);
        packet.extend_from_slice(&mac.finalize().into_bytes()[..TAG_LEN]);
    }

    /// Whether `tag` is the tag of `signed`, in constant time.
    pub(super) fn verifies(&self, signed: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        let mut mac = self.mac.clone();
        mac.update(signed);
        mac.verify_truncated_left(tag).is_ok()
    }
}

impl PartialEq for Key {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
