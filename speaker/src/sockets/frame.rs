use std::{
    io,
    mem::MaybeUninit,
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicU64, Ordering},
};

use landfall_engine::{IfIndex, Mac};
use landfall_model::{AddressRange, Family};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    OpenError, filter,
    link_address::{interface_of, link_address},
    wanted::Wanted,
};

/// Larger than any frame that passes the filters, apart from ones with absurd options, which are cut.
const FRAME_SIZE: usize = 2_048;
/// A broadcast storm fills this; the kernel then drops frames, not us.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Which frames a [`FrameSocket`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// ARP requests, replies to this node, and announcements.
    Arp,
    /// Neighbour solicitations, and advertisements to this node or to all.
    Neighbor,
}

impl FrameKind {
    const fn ether_type(self) -> u16 {
        match self {
            Self::Arp => libc::ETH_P_ARP as u16,
            Self::Neighbor => libc::ETH_P_IPV6 as u16,
        }
    }

    const fn is_about(self, family: Family) -> bool {
        match self {
            Self::Arp => matches!(family, Family::V4),
            Self::Neighbor => matches!(family, Family::V6),
        }
    }

    fn filter(self, wanted: &Wanted) -> Vec<SockFilter> {
        let program = match self {
            Self::Arp => filter::arp(wanted),
            Self::Neighbor => filter::neighbors(wanted),
        };
        program.into_iter().map(|op| SockFilter::new(op.code, op.jt, op.jf, op.k)).collect()
    }

    /// For a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Neighbor => "ndp",
        }
    }

    const fn purpose(self) -> &'static str {
        match self {
            Self::Arp => "ARP",
            Self::Neighbor => "neighbour discovery",
        }
    }
}

/// Whole Ethernet frames of one kind, of all interfaces of this network namespace.
///
/// One socket for all interfaces: those that appear later need nothing. Frames that this node itself sends are not
/// seen, neither are those for another host or with a VLAN tag (the VLAN's own interface sees them without it).
#[derive(Debug)]
pub struct FrameSocket {
    socket: AsyncFd<Socket>,
    kind: FrameKind,
    dropped: AtomicU64,
}

impl FrameSocket {
    /// Opens the socket. Needs NET_RAW and a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses; a retry does not help.
    pub fn open(kind: FrameKind) -> Result<Self, OpenError> {
        Self::try_open(kind).map_err(|source| OpenError::new(kind.purpose(), source))
    }

    fn try_open(kind: FrameKind) -> io::Result<Self> {
        // Without a protocol it hears nothing until it is bound, so no frame gets in before the filter.
        let socket = Socket::new_raw(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&kind.filter(&Wanted::everything()))?;
        socket.set_nonblocking(true)?;
        // Best effort: the default works, for a shorter time.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&link_address(kind.ether_type(), IfIndex(0), None)?)?;
        // SAFETY: the socket goes into the `AsyncFd`, which hands out shared references only, so its descriptor stays
        // open and the same until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
        Ok(Self { socket, kind, dropped: AtomicU64::new(0) })
    }

    /// Lets the kernel drop whatever is neither about an address in these ranges nor for this node alone. At first
    /// everything is heard. Frames that are waiting stay.
    pub fn listen(&self, ranges: &[AddressRange]) {
        let socket = self.socket.get_ref();
        let attach = |wanted: &Wanted| socket.attach_filter(&self.kind.filter(wanted));
        let ranges = ranges.iter().filter(|range| self.kind.is_about(range.family()));
        if let Err(error) = attach(&Wanted::of(ranges)).or_else(|_| attach(&Wanted::everything())) {
            let kind = self.kind.as_str();
            tracing::warn!(op = "listen", kind, %error, "the kernel filters frames by what was announced before");
        }
    }

    /// Waits for frames and returns those that are there, at most `limit`, each with its interface. Nothing is lost
    /// when the future is dropped.
    ///
    /// # Errors
    /// When the socket is broken. `ENETDOWN` (an interface went down) is not reported.
    pub async fn receive(&self, limit: usize) -> io::Result<Vec<(IfIndex, Vec<u8>)>> {
        let mut frames = Vec::new();
        loop {
            let mut ready = self.socket.readable().await?;
            while frames.len() < limit {
                let mut buffer = [MaybeUninit::uninit(); FRAME_SIZE];
                match ready.try_io(|socket| socket.get_ref().recv_from(&mut buffer)) {
                    Ok(Ok((length, from))) => frames.extend(frame(&buffer[..length], &from)),
                    Ok(Err(error)) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_would_block) => break,
                }
            }
            if !frames.is_empty() {
                return Ok(frames);
            }
        }
    }

    /// How many frames the kernel has dropped because nobody read them in time.
    pub fn dropped(&self) -> u64 {
        // Reading them sets the kernel's counters back.
        let new = u64::from(statistics(self.socket.get_ref()).map_or(0, |statistics| statistics.tp_drops));
        self.dropped.fetch_add(new, Ordering::Relaxed) + new
    }

    /// Puts a whole frame on the wire, at once or not at all.
    ///
    /// # Errors
    /// When the interface is gone or down, its queue is full, or the frame has no header.
    pub fn send(&self, interface: IfIndex, frame: &[u8]) -> io::Result<()> {
        let destination = frame.first_chunk().ok_or(io::ErrorKind::InvalidInput)?;
        let address = link_address(self.kind.ether_type(), interface, Some(Mac(*destination)))?;
        self.socket.get_ref().send_to(frame, &address).map(|_| ())
    }
}

fn statistics(socket: &Socket) -> io::Result<libc::tpacket_stats> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: the socket is open, and pointer and length describe one `tpacket_stats`, which is what the kernel writes
    // for this option, and nothing beyond `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(statistics) } else { Err(io::Error::last_os_error()) }
}

fn frame(bytes: &[MaybeUninit<u8>], from: &SockAddr) -> Option<(IfIndex, Vec<u8>)> {
    // SAFETY: the caller passes only the part that `recvfrom` says it has written.
    let bytes = bytes.iter().map(|byte| unsafe { byte.assume_init() }).collect();
    interface_of(from).map(|interface| (interface, bytes))
}
