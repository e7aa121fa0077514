//! The part of a profile that a standalone machine tells of one Service.

use landfall_model::{Assigned, IpMode, ServiceKey};

use super::{
    field::{Reader, address_len, put_address, put_field},
    profile::{cut, text},
};

const NAMESPACE: u8 = 1;
const NAME: u8 = 2;
const VERSION: u8 = 3;
const INGRESS: u8 = 4;
const POOL: u8 = 5;

const MODE_VIP: u8 = 0;
const MODE_PROXY: u8 = 1;

/// An upper bound.
pub(super) fn encoded_len(assigned: &Assigned) -> usize {
    let texts = [&assigned.service.namespace, &assigned.service.name].into_iter().chain(&assigned.pool);
    let texts: usize = texts.map(|text| 3 + cut(text).len()).sum();
    let ingress: usize = assigned.ingress.iter().map(|(address, _)| 3 + 1 + address_len(*address)).sum();
    3 + texts + (3 + 8) + ingress
}

pub(super) fn encode(assigned: &Assigned, out: &mut Vec<u8>) {
    let Assigned { service, version, ingress, pool } = assigned;
    let named = [(NAMESPACE, Some(&service.namespace)), (NAME, Some(&service.name)), (POOL, pool.as_ref())];
    for (kind, text) in named {
        if let Some(text) = text {
            put_field(out, kind, |out| out.extend_from_slice(cut(text).as_bytes()));
        }
    }
    put_field(out, VERSION, |out| out.extend_from_slice(&version.to_be_bytes()));
    for (address, mode) in ingress {
        put_field(out, INGRESS, |out| {
            out.push(match mode {
                IpMode::Vip => MODE_VIP,
                IpMode::Proxy => MODE_PROXY,
            });
            put_address(out, *address);
        });
    }
}

/// `None` when a known field is missing or makes no sense.
pub(super) fn decode(bytes: &[u8]) -> Option<Assigned> {
    let (mut namespace, mut name, mut version, mut pool) = (None, None, None, None);
    let mut ingress = Vec::new();
    let mut fields = Reader(bytes);
    while !fields.is_empty() {
        let (kind, value) = fields.field()?;
        match kind {
            NAMESPACE => namespace = Some(text(value)?),
            NAME => name = Some(text(value)?),
            VERSION => version = Some(u64::from_be_bytes(value.try_into().ok()?)),
            POOL => pool = Some(text(value)?),
            INGRESS => {
                let mut value = Reader(value);
                let mode = match value.u8()? {
                    MODE_VIP => IpMode::Vip,
                    MODE_PROXY => IpMode::Proxy,
                    _ => return None,
                };
                ingress.push((value.address()?, mode));
                if !value.is_empty() {
                    return None;
                }
            }
            _ => {}
        }
    }
    let service = ServiceKey { namespace: namespace?, name: name? };
    Some(Assigned { service, version: version?, ingress, pool })
}
