//! A host of the LAN that is none of the machines, and has or wants an address of theirs.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use landfall_lan::{Host, HostSpec, Lan, MacAddress};
use socket2::Socket;

use crate::asker;
use crate::frames::{self, Sender};

/// The host.
#[derive(Debug)]
pub struct Rival {
    host: Host,
    socket: Socket,
    sender: Sender,
}

impl Rival {
    /// Plugs it in. It has no address of others yet, and says nothing.
    ///
    /// # Errors
    /// When it cannot be plugged in.
    pub fn plug_in(lan: &Lan) -> Result<Self> {
        let host = lan.add_host(HostSpec::new("rival", 102))?;
        let sender = Sender {
            mac: host.mac().context("it has a port")?,
            v4: host.ipv4().context("the LAN has IPv4")?,
            v6: host.ipv6().context("the LAN has IPv6")?,
        };
        let socket = host.within(asker::open)?.context("open a raw socket for the rival")?;
        Ok(Self { host, socket, sender })
    }

    /// Its MAC.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        self.sender.mac
    }

    /// Has the address from now on: its kernel answers for it.
    ///
    /// # Errors
    /// When it has it already.
    pub fn take(&self, address: IpAddr) -> Result<()> {
        Ok(self.host.add_address(IpNet::from(address))?)
    }

    /// Has the address no more.
    ///
    /// # Errors
    /// When it had it not.
    pub fn leave(&self, address: IpAddr) -> Result<()> {
        let mut command = self.host.command("ip");
        command.args(["address", "delete", &IpNet::from(address).to_string(), "dev", Host::INTERFACE]);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Says once to everybody that it has the address, whether it has it or not.
    ///
    /// # Errors
    /// When the frame cannot be sent.
    pub fn claim(&self, address: IpAddr) -> Result<()> {
        self.socket.send(&frames::announcement(self.sender, address)).map(drop).context("claim an address")
    }
}
