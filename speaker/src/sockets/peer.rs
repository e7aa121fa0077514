use std::{io, net::SocketAddr};

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

use super::OpenError;

/// Heartbeats are short; what is longer is cut and fails authentication.
const DATAGRAM_SIZE: usize = 64 * 1024;
/// CS6, network control (RFC 4594 §3.1), so that heartbeats pass full queues.
const DSCP_CS6: u32 = 48 << 2;

/// The UDP socket on which speakers hear each other.
#[derive(Debug)]
pub struct PeerSocket {
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl PeerSocket {
    /// Binds the membership port at the node's address.
    ///
    /// # Errors
    /// When the address is not here (yet) or the port is taken; a retry may help.
    pub fn open(address: SocketAddr) -> Result<Self, OpenError> {
        Self::try_open(address).map_err(|source| OpenError::new("membership", source))
    }

    fn try_open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        // Best effort: heartbeats work without a mark.
        let _ = match address {
            SocketAddr::V4(_) => socket.set_tos_v4(DSCP_CS6),
            SocketAddr::V6(_) => socket.set_only_v6(true).and_then(|()| socket.set_tclass_v6(DSCP_CS6)),
        };
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_SIZE] })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for datagrams and returns those that are there, at most `limit`, each with its sender. Nothing is lost when
    /// the future is dropped. Errors that a peer caused (ICMP port unreachable) are skipped.
    pub async fn receive(&mut self, limit: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Vec::new();
        while datagrams.is_empty() {
            if self.socket.readable().await.is_err() {
                continue;
            }
            while datagrams.len() < limit {
                match self.socket.try_recv_from(&mut self.buffer) {
                    Ok((length, from)) => datagrams.push((from, self.buffer[..length].to_vec())),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        tracing::trace!(%error, "receiving a datagram");
                        break;
                    }
                }
            }
        }
        datagrams
    }

    /// Sends a datagram, at once or not at all.
    ///
    /// # Errors
    /// When the kernel refuses: no route, a full queue.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.socket.try_send_to(bytes, to).map(|_| ())
    }
}
