use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use libc::sock_filter;
use rtnetlink::sys::{
    AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket, protocols::NETLINK_NETFILTER,
};
use socket2::{SockFilter, SockRef};

use crate::sockets::filter::{ACCEPT, DROP, JUMP_EQUAL, LOAD_HALF, LOAD_WORD, op};

/// `NFNLGRP_NFTABLES`: what changes in the tables of this network namespace.
const GROUP: u32 = 7;
/// `NFT_MSG_NEWGEN` of `NFNL_SUBSYS_NFTABLES`: a transaction is in force, all of it.
const NEW_GENERATION: u16 = (10 << 8) | 15;
/// Where a netlink header has its type, and the port of the socket that the transaction came from.
const KIND: u32 = 4;
const PORT: usize = 12;
const HEADER: usize = 16;

/// Hears from the kernel when a run of the tool has put its rules into force.
///
/// To be kept: whoever closes such a socket waits, like the tool, until the rules before are freed.
pub struct Commits(TokioSocket);

impl Commits {
    /// Hears nothing yet. Needs NET_ADMIN, as the tool does, and a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses; a retry does not help.
    pub fn open() -> io::Result<Self> {
        let mut commits = Self(TokioSocket::new(NETLINK_NETFILTER)?);
        commits.attach(&[DROP])?;
        let socket = commits.0.socket_mut();
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(GROUP)?;
        Ok(commits)
    }

    /// Hears from now on when transactions of this process are in force. What others do wakes nobody.
    ///
    /// # Errors
    /// When the kernel refuses; a retry does not help.
    pub fn listen(&self, process: u32) -> io::Result<()> {
        self.attach(&filter(process))
    }

    /// Waits until a transaction of this process is in force. A netlink socket has the number of its process, unless another
    /// socket has it already: then this waits for ever, so wait for the end of the process as well.
    pub async fn of(&self, process: u32) {
        let mut message = Vec::with_capacity(HEADER);
        while self.0.recv(&mut message).await.is_ok() {
            // One of an earlier run may be left.
            if message.get(PORT..HEADER) == Some(&process.to_ne_bytes()) {
                return;
            }
            message.clear();
        }
        std::future::pending().await
    }

    fn attach(&self, program: &[sock_filter]) -> io::Result<()> {
        let program: Vec<_> = program.iter().map(|op| SockFilter::new(op.code, op.jt, op.jf, op.k)).collect();
        // SAFETY: the descriptor belongs to the socket, which lives longer than what is borrowed here.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        SockRef::from(&descriptor).attach_filter(&program)
    }
}

/// Netlink has the byte order of the machine, and a filter that of the network.
fn filter(process: u32) -> [sock_filter; 6] {
    let kind = u16::from_be_bytes(NEW_GENERATION.to_ne_bytes());
    let port = u32::from_be_bytes(process.to_ne_bytes());
    [
        op(LOAD_HALF, 0, 0, KIND),
        op(JUMP_EQUAL, 0, 3, kind.into()),
        op(LOAD_WORD, 0, 0, PORT as u32),
        op(JUMP_EQUAL, 0, 1, port),
        ACCEPT,
        DROP,
    ]
}
