//! Classic BPF programs: the kernel drops every frame that the engine would only ignore, before it is copied.

use socket2::SockFilter;

const LOAD_WORD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const LOAD_HALF: u16 = code(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS);
const LOAD_BYTE: u16 = code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS);
const JUMP_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const JUMP_EQUAL_INDEX: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X);
const TO_INDEX: u16 = code(libc::BPF_MISC | libc::BPF_TAX);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

/// Values that the kernel knows of a frame beside its bytes.
const PACKET_TYPE: u32 = ancillary(libc::SKF_AD_PKTTYPE);
const VLAN_TAG_PRESENT: u32 = ancillary(libc::SKF_AD_VLAN_TAG_PRESENT);

/// Instructions that tell an announcement from an answer to somebody else.
const ANNOUNCES: usize = 4;

/// How many bytes of an accepted frame are handed over; more than any.
const ALL: u32 = 0x4_0000;

/// ARP requests for IPv4 over Ethernet (RFC 826), replies that were sent to this node alone (those to its own questions,
/// its kernel's among them), and replies by which a host announces itself (RFC 5227 §3): they name it twice.
pub(super) fn arp() -> Vec<SockFilter> {
    let announces = [
        SockFilter::new(LOAD_WORD, 0, 0, 28),
        SockFilter::new(TO_INDEX, 0, 0, 0),
        SockFilter::new(LOAD_WORD, 0, 0, 38),
        SockFilter::new(JUMP_EQUAL_INDEX, 0, 1, 0),
    ];
    accept_if(
        [(LOAD_HALF, 14, Is::Equal(1)), (LOAD_HALF, 16, Is::Equal(0x0800))],
        Kind { load: LOAD_HALF, offset: 20, question: 1, answer: 2 },
        announces,
    )
}

/// Neighbour solicitations and, if they were sent to this node alone or to all nodes, advertisements: ICMPv6 types 135 and
/// 136 right after the IPv6 header, with a hop limit that proves that no router forwarded it (RFC 4861 §7.1).
pub(super) fn neighbors() -> Vec<SockFilter> {
    // To ff02::1, as far as its first two and its last four octets tell.
    let announces = [
        SockFilter::new(LOAD_HALF, 0, 0, 38),
        SockFilter::new(JUMP_EQUAL, 0, 3, 0xff02),
        SockFilter::new(LOAD_WORD, 0, 0, 50),
        SockFilter::new(JUMP_EQUAL, 0, 1, 1),
    ];
    accept_if(
        [(LOAD_BYTE, 20, Is::Equal(58)), (LOAD_BYTE, 21, Is::Equal(255))],
        Kind { load: LOAD_BYTE, offset: 54, question: 135, answer: 136 },
        announces,
    )
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

/// Accepts a frame for us when all conditions hold and it is a question, an answer to this host alone, or an answer to
/// more hosts that passes `announces`: instructions that go on where they end, or jump over one more. A frame that is too
/// short for a load is dropped by the kernel.
fn accept_if(
    conditions: [(u16, u32, Is); 2],
    kind: Kind,
    announces: [SockFilter; ANNOUNCES],
) -> Vec<SockFilter> {
    // The kind takes so many instructions, the last of which accepts; the one after it drops.
    const KIND: usize = 6 + ANNOUNCES;
    let conditions = [FOR_US, conditions].concat();
    let jump = |over: usize| u8::try_from(over).expect("invariant: our programs are short");
    let mut program = Vec::new();
    for (number, &(load, offset, is)) in conditions.iter().enumerate() {
        program.push(SockFilter::new(load, 0, 0, offset));
        // Over what remains: two instructions for each later condition, and the kind.
        let remaining = jump((conditions.len() - 1 - number) * 2 + KIND);
        program.push(match is {
            Is::Equal(value) => SockFilter::new(JUMP_EQUAL, 0, remaining, value),
            Is::Not(value) => SockFilter::new(JUMP_EQUAL, remaining, 0, value),
        });
    }
    let Kind { load, offset, question, answer } = kind;
    program.push(SockFilter::new(load, 0, 0, offset));
    program.push(SockFilter::new(JUMP_EQUAL, jump(3 + ANNOUNCES), 0, question));
    program.push(SockFilter::new(JUMP_EQUAL, 0, jump(3 + ANNOUNCES), answer));
    program.push(SockFilter::new(LOAD_WORD, 0, 0, PACKET_TYPE));
    program.push(SockFilter::new(JUMP_EQUAL, jump(ANNOUNCES), 0, libc::PACKET_HOST as u32));
    program.extend(announces);
    program.push(SockFilter::new(RETURN, 0, 0, ALL));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

const fn code(code: u32) -> u16 {
    assert!(code <= 0xffff);
    code as u16
}

const fn ancillary(offset: libc::c_int) -> u32 {
    (libc::SKF_AD_OFF + offset).cast_unsigned()
}
