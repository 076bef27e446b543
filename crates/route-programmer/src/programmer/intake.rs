//! What the task takes in of the kernel: events as they come, and full reads.

use std::io;

use rustix::io::Errno;

use super::task::Task;
use crate::dump::End;
use crate::mirror::{Mirror, Presence};
use crate::path::Family;
use crate::reconcile::{Change, Reconciler, Resync};
use crate::wire::constants::{
    NLM_F_REPLACE, RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELNEXTHOP, RTM_DELROUTE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE,
};
use crate::wire::link::{parse_address, parse_link, parse_router};
use crate::wire::message::{Message, messages};
use crate::wire::nexthop::NextHopMessage;
use crate::wire::request::Dump;
use crate::wire::route::RouteMessage;

/// Event datagrams taken in before the next batch.
const EVENTS_AT_ONCE: usize = 8192;
/// Full reads that the kernel interrupts are begun again this often, then left for later.
const READS: usize = 4;
impl Task {
    /// Takes in the kernel's events that wait; false when some are left.
    pub(super) fn take_events(&mut self) -> bool {
        for _ in 0..EVENTS_AT_ONCE {
            match self.monitor.get_mut().receive() {
                Ok(Some(datagram)) => {
                    for message in messages(datagram) {
                        take_event(&mut self.reconciler, &mut self.mirror, self.writer.port(), &message);
                    }
                }
                Ok(None) => return true,
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    self.reconciler.handle_overrun();
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot receive the kernel's events");
                    return true;
                }
            }
        }
        false
    }

    /// Reads everything: the view and our own routes and next-hop objects.
    pub(super) async fn resync(&mut self) -> io::Result<()> {
        self.abandon_audit()?;
        for attempt in 1..=READS {
            if self.read_all().await? == End::Complete {
                return Ok(());
            }
            tracing::debug!(attempt, "the kernel's state changed while it was read");
        }
        self.reconciler.handle_interrupted();
        Ok(())
    }

    async fn read_all(&mut self) -> io::Result<End> {
        let mut mirror = self.mirror.fresh();
        let (surroundings, objects) = self.read_surroundings(&mut mirror).await?;
        let mut interrupted = surroundings == End::Interrupted;

        let mut resync = self.reconciler.begin_resync(objects.as_deref());
        match self.read_routes(&mut mirror, &mut resync).await {
            Ok(end) => interrupted |= end == End::Interrupted,
            Err(error) => {
                self.reconciler.abandon_resync(resync);
                return Err(error);
            }
        }
        self.reconciler.end_resync(resync);
        self.mirror.replace(mirror.into_view());
        Ok(if interrupted { End::Interrupted } else { End::Complete })
    }

    /// Reads all but routes: for the view, and the kernel's next-hop objects; nothing when it has no such thing.
    pub(super) async fn read_surroundings(
        &mut self,
        mirror: &mut Mirror,
    ) -> io::Result<(End, Option<Vec<NextHopMessage>>)> {
        let links = self.reader.dump(Dump::Links, |message| {
            if let Some(link) = parse_link(message.body) {
                mirror.link(&link, Presence::Here);
            }
        });
        let mut interrupted = links.await? == End::Interrupted;
        let addresses = self.reader.dump(Dump::Addresses, |message| {
            if let Some(address) = parse_address(message.body) {
                mirror.address(address, Presence::Here);
            }
        });
        interrupted |= addresses.await? == End::Interrupted;
        let neighbours = self.reader.dump(Dump::Neighbours, |message| {
            if let Some(router) = parse_router(message.body) {
                mirror.router(router, Presence::Here);
            }
        });
        interrupted |= neighbours.await? == End::Interrupted;
        let mut objects = Vec::new();
        let next_hops =
            self.reader.dump(Dump::NextHops, |message| objects.extend(NextHopMessage::parse(message.body)));
        let next_hops = next_hops.await?;
        interrupted |= next_hops == End::Interrupted;
        let end = if interrupted { End::Interrupted } else { End::Complete };
        Ok((end, (next_hops != End::Unsupported).then_some(objects)))
    }

    async fn read_routes(&mut self, mirror: &mut Mirror, resync: &mut Resync) -> io::Result<End> {
        let mut end = End::Complete;
        for family in [Family::V4, Family::V6] {
            let routes = self.reader.dump(Dump::Routes(family), |message| {
                if let Some(route) = RouteMessage::parse(message.body) {
                    mirror.route(&route, Change::Added);
                    self.reconciler.resync_route(resync, &route);
                }
            });
            // A kernel without IPv6 has no such routes.
            if routes.await? == End::Interrupted {
                end = End::Interrupted;
            }
        }
        Ok(end)
    }
}

fn take_event(reconciler: &mut Reconciler, mirror: &mut Mirror, writer: u32, message: &Message<'_>) {
    // Our own echoes, where the kernel could not be told to leave them out.
    if message.port == writer {
        return;
    }
    let presence = match message.kind {
        RTM_DELLINK | RTM_DELADDR | RTM_DELNEIGH => Presence::Gone,
        _ => Presence::Here,
    };
    match message.kind {
        RTM_NEWLINK | RTM_DELLINK => {
            if let Some(link) = parse_link(message.body)
                && mirror.link(&link, presence)
            {
                reconciler.handle_interface(link.index);
            }
        }
        RTM_NEWADDR | RTM_DELADDR => {
            if let Some(address) = parse_address(message.body)
                && mirror.address(address, presence)
            {
                reconciler.handle_interface(address.interface);
            }
        }
        RTM_NEWNEIGH | RTM_DELNEIGH => {
            if let Some(router) = parse_router(message.body) {
                mirror.router(router, presence);
            }
        }
        RTM_NEWROUTE | RTM_DELROUTE => {
            if let Some(route) = RouteMessage::parse(message.body) {
                let change = match message.kind {
                    RTM_DELROUTE => Change::Deleted,
                    _ if message.flags & NLM_F_REPLACE != 0 => Change::Replaced,
                    _ => Change::Added,
                };
                mirror.route(&route, change);
                reconciler.handle_route(&route, change);
            }
        }
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => {
            if let Some(object) = NextHopMessage::parse(message.body) {
                let change = if message.kind == RTM_DELNEXTHOP { Change::Deleted } else { Change::Added };
                reconciler.handle_next_hop(&object, change);
            }
        }
        _ => {}
    }
}
