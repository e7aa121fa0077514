//! What packets say. Every packet is a heartbeat; some carry requests, answers or changes as well.

use std::{net::IpAddr, time::Duration};

use super::{
    claims::{Change, Claim, Epoch},
    field::{Reader, address_len, put_address, put_field, put_optional_address},
    key::TAG_LEN,
    packet::{HEADER_LEN, MAX_LEN},
    question::Question,
    tie::Tie,
    verdict::Verdict,
};

/// The longest node name (RFC 1123 through the Kubernetes API).
const MAX_NAME: usize = 253;
/// The longest interval that a peer may announce; more would keep a dead peer alive for long.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// One run of a speaker: seconds of the wall clock at its start, then random bits. A later run compares greater
/// as long as the clock does not go back; when it did, the machine finds out from its peers and raises it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId {
    /// Seconds since 1970 when the process started.
    pub seconds: u64,
    /// Random bits, so that nobody can prepare packets for a run that is yet to come.
    pub random: u64,
}

/// What a speaker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It does not yet know enough to decide anything.
    Joining,
    /// It takes part.
    Serving,
    /// It is shutting down.
    Leaving,
}

/// Orders all packets of a node. Only rising stamps are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) boot: BootId,
    pub(super) sequence: u64,
}

/// What the sender knows of the receiver: "I hear you".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    /// The last run of the receiver that was heard. It proves that the packet is an answer to that run.
    pub(super) boot: BootId,
    /// Heard within the detection time.
    pub(super) now: bool,
}

/// Digests of what the sender can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of its members that are alive.
    pub(super) view: u64,
    /// Of its profile; 0 means none.
    pub(super) profile: u64,
    pub(super) claims: u64,
    pub(super) claims_len: u32,
}

/// The part of every packet that makes it a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heartbeat<'a> {
    pub(super) sender: &'a str,
    /// Digest of the receiver's name, so that nobody can use a packet elsewhere.
    pub(super) receiver: u64,
    pub(super) stamp: Stamp,
    pub(super) phase: Phase,
    pub(super) interval: Duration,
    pub(super) echo: Option<Echo>,
    pub(super) digests: Digests,
    /// The members that the sender does not hear, by the digests of their names; `None`: it cannot tell.
    pub(super) unheard: Option<Vec<u64>>,
    pub(super) tie: Tie,
}

/// What a packet carries besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content<'a> {
    pub(super) profile_request: Option<ProfileRequest>,
    pub(super) profile_part: Option<ProfilePart<'a>>,
    /// Asks for the claims after this address; inner `None`: from the first.
    pub(super) claims_request: Option<Option<IpAddr>>,
    pub(super) claims_range: Option<ClaimsRange>,
    /// The newest changes of the sender's claims.
    pub(super) changes: Vec<Change>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) questions: Vec<Question>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProfileRequest {
    pub(super) digest: u64,
    pub(super) offset: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProfilePart<'a> {
    pub(super) digest: u64,
    pub(super) total: u32,
    pub(super) offset: u32,
    pub(super) bytes: &'a [u8],
}

/// "After `after` and up to `upto` (`None`: to the end), my claims are exactly these." True by itself, so a lost,
/// late or repeated range does no harm, and claims may change while they are being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimsRange {
    pub(super) after: Option<IpAddr>,
    pub(super) upto: Option<IpAddr>,
    pub(super) entries: Vec<(IpAddr, Claim)>,
}

const SENDER: u8 = 1;
const RECEIVER: u8 = 2;
const STAMP: u8 = 3;
const STATUS: u8 = 4;
const ECHO: u8 = 5;
const DIGESTS: u8 = 6;
const PROFILE_REQUEST: u8 = 7;
const PROFILE_PART: u8 = 8;
const CLAIMS_REQUEST: u8 = 9;
const CLAIMS_RANGE: u8 = 10;
const CHANGES: u8 = 11;
const UNHEARD: u8 = 12;
const TIE: u8 = 13;
const VERDICTS: u8 = 14;
const QUESTIONS: u8 = 15;

/// How many members a packet says are not heard.
pub(super) const MAX_UNHEARD: usize = 16;

/// Bytes of a [`Heartbeat`] apart from the sender's name.
const HEARTBEAT_LEN: usize =
    3 + (3 + 8) + (3 + 24) + (3 + 5) + (3 + 17) + (3 + 28) + (3 + 8 * MAX_UNHEARD) + (3 + 1);

/// Bytes that are left for [`Content`] beside the heartbeat of a sender with this name.
pub(super) const fn room(sender: &str) -> usize {
    MAX_LEN.saturating_sub(HEADER_LEN + HEARTBEAT_LEN + sender.len() + TAG_LEN)
}

/// Bytes of a [`ClaimsRange`] apart from its entries.
pub(super) const RANGE_LEN: usize = 3 + 17 + 17;
/// Bytes of a [`ProfilePart`] apart from its bytes.
pub(super) const PART_LEN: usize = 3 + 8 + 4 + 4;

/// Bytes of one entry of a [`ClaimsRange`].
pub(super) const fn entry_len(address: IpAddr) -> usize {
    address_len(address) + 8
}

/// Bytes of one change.
pub(super) const fn change_len(address: IpAddr) -> usize {
    address_len(address) + 1 + 8
}

/// Appends all fields of a packet.
pub(super) fn write(out: &mut Vec<u8>, heartbeat: &Heartbeat<'_>, content: &Content<'_>) {
    write_heartbeat(out, heartbeat);
    if let Some(request) = content.profile_request {
        put_field(out, PROFILE_REQUEST, |out| {
            out.extend_from_slice(&request.digest.to_be_bytes());
            out.extend_from_slice(&request.offset.to_be_bytes());
        });
    }
    if let Some(part) = content.profile_part {
        put_field(out, PROFILE_PART, |out| {
            out.extend_from_slice(&part.digest.to_be_bytes());
            out.extend_from_slice(&part.total.to_be_bytes());
            out.extend_from_slice(&part.offset.to_be_bytes());
            out.extend_from_slice(part.bytes);
        });
    }
    if let Some(after) = content.claims_request {
        put_field(out, CLAIMS_REQUEST, |out| put_optional_address(out, after));
    }
    if let Some(range) = &content.claims_range {
        put_field(out, CLAIMS_RANGE, |out| {
            put_optional_address(out, range.after);
            put_optional_address(out, range.upto);
            for (address, claim) in &range.entries {
                put_address(out, *address);
                out.extend_from_slice(&claim.epoch.0.to_be_bytes());
            }
        });
    }
    if !content.changes.is_empty() {
        put_field(out, CHANGES, |out| {
            for (address, claim) in &content.changes {
                put_address(out, *address);
                out.push(u8::from(claim.is_some()));
                out.extend_from_slice(&claim.map_or(0, |claim| claim.epoch.0).to_be_bytes());
            }
        });
    }
    if !content.verdicts.is_empty() {
        put_field(out, VERDICTS, |out| content.verdicts.iter().for_each(|verdict| verdict.write(out)));
    }
    if !content.questions.is_empty() {
        put_field(out, QUESTIONS, |out| content.questions.iter().for_each(|question| question.write(out)));
    }
}

fn write_heartbeat(out: &mut Vec<u8>, heartbeat: &Heartbeat<'_>) {
    put_field(out, SENDER, |out| out.extend_from_slice(heartbeat.sender.as_bytes()));
    put_field(out, RECEIVER, |out| out.extend_from_slice(&heartbeat.receiver.to_be_bytes()));
    put_field(out, STAMP, |out| {
        put_boot(out, heartbeat.stamp.boot);
        out.extend_from_slice(&heartbeat.stamp.sequence.to_be_bytes());
    });
    put_field(out, STATUS, |out| {
        out.push(match heartbeat.phase {
            Phase::Joining => 1,
            Phase::Serving => 2,
            Phase::Leaving => 3,
        });
        let micros = u32::try_from(heartbeat.interval.min(MAX_INTERVAL).as_micros()).unwrap_or(u32::MAX);
        out.extend_from_slice(&micros.to_be_bytes());
    });
    if let Some(echo) = heartbeat.echo {
        put_field(out, ECHO, |out| {
            put_boot(out, echo.boot);
            out.push(u8::from(echo.now));
        });
    }
    put_field(out, DIGESTS, |out| {
        let digests = heartbeat.digests;
        for digest in [digests.view, digests.profile, digests.claims] {
            out.extend_from_slice(&digest.to_be_bytes());
        }
        out.extend_from_slice(&digests.claims_len.to_be_bytes());
    });
    if let Some(unheard) = &heartbeat.unheard {
        put_field(out, UNHEARD, |out| {
            unheard.iter().take(MAX_UNHEARD).for_each(|name| out.extend_from_slice(&name.to_be_bytes()));
        });
    }
    if heartbeat.tie != Tie::default() {
        put_field(out, TIE, |out| out.push(heartbeat.tie.bits()));
    }
}

pub(super) fn put_boot(out: &mut Vec<u8>, boot: BootId) {
    out.extend_from_slice(&boot.seconds.to_be_bytes());
    out.extend_from_slice(&boot.random.to_be_bytes());
}

/// Reads all fields. `None` when a field is broken, missing or there twice. Unknown fields are skipped.
pub(super) fn read(mut fields: Reader<'_>) -> Option<(Heartbeat<'_>, Content<'_>)> {
    let (mut sender, mut receiver, mut stamp, mut status, mut echo, mut digests, mut unheard) =
        (None, None, None, None, None, None, None);
    let mut content = Content::default();
    let (mut tie, mut changes, mut verdicts, mut questions) = (None, None, None, None);
    while !fields.is_empty() {
        let (kind, value) = fields.field()?;
        match kind {
            SENDER => once(&mut sender, read_name(value)?)?,
            RECEIVER => once(&mut receiver, whole(value, |value| value.u64())?)?,
            STAMP => once(&mut stamp, whole(value, read_stamp)?)?,
            STATUS => once(&mut status, whole(value, read_status)?)?,
            ECHO => once(&mut echo, whole(value, read_echo)?)?,
            DIGESTS => once(&mut digests, whole(value, read_digests)?)?,
            PROFILE_REQUEST => once(&mut content.profile_request, whole(value, read_profile_request)?)?,
            PROFILE_PART => once(&mut content.profile_part, whole(value, read_profile_part)?)?,
            CLAIMS_REQUEST => {
                once(&mut content.claims_request, whole(value, |value| value.optional_address())?)?;
            }
            CLAIMS_RANGE => once(&mut content.claims_range, whole(value, read_range)?)?,
            CHANGES => once(&mut changes, whole(value, read_changes)?)?,
            UNHEARD => once(&mut unheard, whole(value, read_unheard)?)?,
            TIE => once(&mut tie, whole(value, |value| value.u8().map(Tie::from_bits))?)?,
            VERDICTS => once(&mut verdicts, whole(value, Verdict::read_all)?)?,
            QUESTIONS => once(&mut questions, whole(value, Question::read_all)?)?,
            _ => {}
        }
    }
    let (phase, interval) = status?;
    content.changes = changes.unwrap_or_default();
    content.verdicts = verdicts.unwrap_or_default();
    content.questions = questions.unwrap_or_default();
    let heartbeat = Heartbeat {
        sender: sender?,
        receiver: receiver?,
        stamp: stamp?,
        phase,
        interval,
        echo,
        digests: digests?,
        unheard,
        tie: tie.unwrap_or_default(),
    };
    Some((heartbeat, content))
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// Reads a value and refuses what is left over.
fn whole<'a, T>(value: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Option<T> {
    let mut reader = Reader(value);
    let value = read(&mut reader)?;
    reader.is_empty().then_some(value)
}

fn read_name(value: &[u8]) -> Option<&str> {
    if value.is_empty() || value.len() > MAX_NAME {
        return None;
    }
    std::str::from_utf8(value).ok()
}

pub(super) fn read_boot(value: &mut Reader<'_>) -> Option<BootId> {
    Some(BootId { seconds: value.u64()?, random: value.u64()? })
}

fn read_stamp(value: &mut Reader<'_>) -> Option<Stamp> {
    Some(Stamp { boot: read_boot(value)?, sequence: value.u64()? })
}

fn read_status(value: &mut Reader<'_>) -> Option<(Phase, Duration)> {
    let phase = match value.u8()? {
        1 => Phase::Joining,
        2 => Phase::Serving,
        3 => Phase::Leaving,
        _ => return None,
    };
    let interval = Duration::from_micros(value.u32()?.into());
    (interval <= MAX_INTERVAL).then_some((phase, interval))
}

fn read_flag(value: &mut Reader<'_>) -> Option<bool> {
    match value.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn read_echo(value: &mut Reader<'_>) -> Option<Echo> {
    Some(Echo { boot: read_boot(value)?, now: read_flag(value)? })
}

fn read_digests(value: &mut Reader<'_>) -> Option<Digests> {
    Some(Digests {
        view: value.u64()?,
        profile: value.u64()?,
        claims: value.u64()?,
        claims_len: value.u32()?,
    })
}

fn read_unheard(value: &mut Reader<'_>) -> Option<Vec<u64>> {
    let mut unheard = Vec::new();
    while !value.is_empty() {
        unheard.push(value.u64()?);
    }
    (unheard.len() <= MAX_UNHEARD).then_some(unheard)
}

fn read_profile_request(value: &mut Reader<'_>) -> Option<ProfileRequest> {
    Some(ProfileRequest { digest: value.u64()?, offset: value.u32()? })
}

fn read_profile_part<'a>(value: &mut Reader<'a>) -> Option<ProfilePart<'a>> {
    let (digest, total, offset) = (value.u64()?, value.u32()?, value.u32()?);
    Some(ProfilePart { digest, total, offset, bytes: value.rest() })
}

fn read_epoch(value: &mut Reader<'_>) -> Option<Claim> {
    Some(Claim { epoch: Epoch(value.u64()?) })
}

fn read_range(value: &mut Reader<'_>) -> Option<ClaimsRange> {
    let after = value.optional_address()?;
    let upto = value.optional_address()?;
    let mut entries = Vec::new();
    let mut last = after;
    while !value.is_empty() {
        let address = value.address()?;
        if last.is_some_and(|last| address <= last) || upto.is_some_and(|upto| address > upto) {
            return None;
        }
        last = Some(address);
        entries.push((address, read_epoch(value)?));
    }
    Some(ClaimsRange { after, upto, entries })
}

fn read_changes(value: &mut Reader<'_>) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while !value.is_empty() {
        let address = value.address()?;
        let present = read_flag(value)?;
        let claim = read_epoch(value)?;
        changes.push((address, present.then_some(claim)));
    }
    Some(changes)
}
