//! Interfaces, their addresses and default routes, from the kernel's notifications. Nothing is polled.

mod table;
#[cfg(test)]
mod tests;

use std::io;

use futures::{Stream, StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use landfall_engine::{IfIndex, Link};
use netlink_packet_route::{RouteNetlinkMessage, route::RouteMessage};
use rtnetlink::{
    Handle, MulticastGroup, RouteMessageBuilder, new_connection, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    sys::SocketAddr,
};
use tokio::task::JoinSet;

use self::table::LinkTable;

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Why the interfaces cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The netlink socket could not be opened. A retry does not help.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel did not list what is there. A retry helps.
    #[error("cannot list {what}")]
    List {
        /// Interfaces, addresses or routes.
        what: &'static str,
        /// What netlink says.
        #[source]
        source: rtnetlink::Error,
    },
    /// The netlink socket was closed. Open a new one.
    #[error("the netlink socket was closed")]
    Closed,
}

/// Follows the interfaces of this network namespace.
#[derive(Debug)]
pub struct Links {
    handle: Handle,
    notifications: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    table: LinkTable,
    listed: bool,
    /// The two connections; they end with this value.
    _connections: JoinSet<()>,
}

impl Links {
    /// Opens the netlink sockets. Needs a tokio runtime, no capability.
    ///
    /// # Errors
    /// [`LinkError::Open`].
    pub fn open() -> Result<Self, LinkError> {
        // Notifications have a socket of their own: an overrun there must not touch the answers to our requests.
        let (events, _, notifications) = new_multicast_connection(&GROUPS).map_err(LinkError::Open)?;
        let (requests, handle, _) = new_connection().map_err(LinkError::Open)?;
        let mut connections = JoinSet::new();
        connections.spawn(events);
        connections.spawn(requests);
        let table = LinkTable::default();
        Ok(Self { handle, notifications, table, listed: false, _connections: connections })
    }

    /// Opens new sockets after [`LinkError::Closed`]. The next [`Self::changes`] tells all that changed meanwhile, also
    /// what is gone.
    ///
    /// # Errors
    /// [`LinkError::Open`]; then everything stays as it was.
    pub fn reopen(&mut self) -> Result<(), LinkError> {
        let opened = Self::open()?;
        *self = Self { table: std::mem::take(&mut self.table), ..opened };
        Ok(())
    }

    /// Waits until something has changed and says what: for each interface its new whole value, or `None` when it is
    /// gone. The first call gives everything that is there. Never an empty list. Dropping the future loses nothing
    /// that a later call would not give.
    ///
    /// # Errors
    /// [`LinkError::List`] (call again) or [`LinkError::Closed`].
    pub async fn changes(&mut self) -> Result<Vec<(IfIndex, Option<Link>)>, LinkError> {
        loop {
            if !self.listed {
                self.list().await?;
                self.listed = true;
            }
            if self.table.routes_are_stale() {
                self.list_routes().await?;
            }
            let changes = self.table.take_changes();
            if !changes.is_empty() {
                return Ok(changes);
            }
            let (message, _) = self.notifications.next().await.ok_or(LinkError::Closed)?;
            self.apply(message);
            // What came in the same burst is one change.
            while let Ok((message, _)) = self.notifications.try_recv() {
                self.apply(message);
            }
        }
    }

    fn apply(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) {
        if let NetlinkPayload::InnerMessage(message) = message.payload {
            self.table.apply(message);
        } else if let NetlinkPayload::Overrun(_) = message.payload {
            tracing::info!("netlink notifications were lost; listing the interfaces again");
            self.listed = false;
        }
    }

    async fn list(&mut self) -> Result<(), LinkError> {
        let links = self.handle.link().get().execute().try_collect().await;
        let links: Vec<_> = links.map_err(|source| LinkError::List { what: "the interfaces", source })?;
        let addresses = self.handle.address().get().execute().try_collect().await;
        let addresses: Vec<_> =
            addresses.map_err(|source| LinkError::List { what: "the addresses", source })?;
        self.table.replace(links, addresses);
        Ok(())
    }

    async fn list_routes(&mut self) -> Result<(), LinkError> {
        let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
        let mut routes = defaults(self.handle.route().get(v4).execute()).await?;
        routes.extend(defaults(self.handle.route().get(v6).execute()).await?);
        self.table.replace_routes(&routes);
        Ok(())
    }
}

/// Keeps only default routes, one at a time, since there may be a million others.
async fn defaults(
    routes: impl Stream<Item = Result<RouteMessage, rtnetlink::Error>>,
) -> Result<Vec<RouteMessage>, LinkError> {
    routes
        .try_filter(|route| std::future::ready(table::is_default(route)))
        .try_collect()
        .await
        .map_err(|source| LinkError::List { what: "the routes", source })
}
