//! Classic BPF programs: the kernel drops every frame that the engine would only ignore, before it is copied, and without
//! waking anybody.

use libc::sock_filter;

use super::wanted::Wanted;

pub(crate) const LOAD_WORD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
pub(crate) const LOAD_HALF: u16 = code(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS);
const LOAD_BYTE: u16 = code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS);
pub(crate) const JUMP_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const JUMP_EQUAL_INDEX: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X);
pub(super) const JUMP_NOT_LESS: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const JUMP: u16 = code(libc::BPF_JMP | libc::BPF_JA);
const TO_INDEX: u16 = code(libc::BPF_MISC | libc::BPF_TAX);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

/// Hands the frame over, all of it.
pub(crate) const ACCEPT: sock_filter = op(RETURN, 0, 0, 0x4_0000);
pub(crate) const DROP: sock_filter = op(RETURN, 0, 0, 0);

/// Values that the kernel knows of a frame beside its bytes.
const PACKET_TYPE: u32 = ancillary(libc::SKF_AD_PKTTYPE);
const VLAN_TAG_PRESENT: u32 = ancillary(libc::SKF_AD_VLAN_TAG_PRESENT);

/// Instructions that tell an announcement from an answer to somebody else: they go on where they end, or jump over one more.
type Announces = [sock_filter; 4];

/// About an address of interest: ARP requests for IPv4 over Ethernet (RFC 826) for it or by who has it, and replies by which a
/// host announces itself (RFC 5227 §3): they name it twice. And all replies that were sent to this node alone: those to
/// its own questions, its kernel's among them.
pub(super) fn arp(wanted: &Wanted) -> Vec<sock_filter> {
    let announces = [
        op(LOAD_WORD, 0, 0, 28),
        op(TO_INDEX, 0, 0, 0),
        op(LOAD_WORD, 0, 0, 38),
        op(JUMP_EQUAL_INDEX, 0, 1, 0),
    ];
    let conditions = [(LOAD_HALF, 14, Is::Equal(1)), (LOAD_HALF, 16, Is::Equal(0x0800))];
    let kind = Kind { load: LOAD_HALF, offset: 20, question: 1, answer: 2 };
    accept_if(conditions, kind, announces, &[38, 28], wanted)
}

/// Neighbour solicitations for an address of interest, and advertisements of one to all nodes; and all that were sent to this
/// node alone. ICMPv6 types 135 and 136 right after the IPv6 header, with a hop limit that proves that no router forwarded
/// it (RFC 4861 §7.1). Of an address, the last four octets count.
pub(super) fn neighbors(wanted: &Wanted) -> Vec<sock_filter> {
    // To ff02::1, as far as its first two and its last four octets tell.
    let announces = [
        op(LOAD_HALF, 0, 0, 38),
        op(JUMP_EQUAL, 0, 3, 0xff02),
        op(LOAD_WORD, 0, 0, 50),
        op(JUMP_EQUAL, 0, 1, 1),
    ];
    let conditions = [(LOAD_BYTE, 20, Is::Equal(58)), (LOAD_BYTE, 21, Is::Equal(255))];
    let kind = Kind { load: LOAD_BYTE, offset: 54, question: 135, answer: 136 };
    accept_if(conditions, kind, announces, &[74], wanted)
}

#[derive(Clone, Copy)]
enum Is {
    Equal(u32),
    Not(u32),
}

/// Where a frame says what it is.
#[derive(Clone, Copy)]
struct Kind {
    load: u16,
    offset: u32,
    question: u32,
    answer: u32,
}

/// What holds of each frame that is wanted: it was not sent to another host, and is in no VLAN of its own.
const FOR_US: [(u16, u32, Is); 2] = [
    (LOAD_WORD, PACKET_TYPE, Is::Not(libc::PACKET_OTHERHOST as u32)),
    (LOAD_WORD, VLAN_TAG_PRESENT, Is::Equal(0)),
];

/// Accepts a frame for us when all conditions hold, and it is an answer to this host alone, or a question or an announcement
/// with an address of interest in one of the places `keys`. A frame that is too short for a load is dropped by the
/// kernel.
fn accept_if(
    conditions: [(u16, u32, Is); 2],
    kind: Kind,
    announces: Announces,
    keys: &[u32],
    wanted: &Wanted,
) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for (load, offset, is) in [FOR_US, conditions].concat() {
        program.push(op(load, 0, 0, offset));
        program.push(match is {
            Is::Equal(value) => op(JUMP_EQUAL, 1, 0, value),
            Is::Not(value) => op(JUMP_EQUAL, 0, 1, value),
        });
        program.push(DROP);
    }
    let Kind { load, offset, question, answer } = kind;
    program.extend([
        op(load, 0, 0, offset),
        // To the keys.
        op(JUMP_EQUAL, 11, 0, question),
        op(JUMP_EQUAL, 1, 0, answer),
        DROP,
        op(LOAD_WORD, 0, 0, PACKET_TYPE),
        op(JUMP_EQUAL, 0, 1, libc::PACKET_HOST as u32),
        ACCEPT,
    ]);
    program.extend(announces);
    program.extend([jump(1), DROP]);
    for key in keys {
        program.push(op(LOAD_WORD, 0, 0, *key));
        program.extend(wanted.accept());
    }
    program.push(DROP);
    program
}

pub(crate) const fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Over so many instructions.
pub(super) const fn jump(over: u32) -> sock_filter {
    op(JUMP, 0, 0, over)
}

const fn code(code: u32) -> u16 {
    assert!(code <= 0xffff);
    code as u16
}

const fn ancillary(offset: libc::c_int) -> u32 {
    (libc::SKF_AD_OFF + offset).cast_unsigned()
}
