//! Listens to the kernels of all nodes at once.

use std::time::Instant;

use anyhow::{Result, ensure};
use ipnet::Ipv4Net;
use muslin_netns::Namespace;
use muslin_proto_tests::netlink::{Route, Routes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A socket into each node.
pub(super) struct Watch {
    sockets: Vec<Routes>,
    nodes: Vec<Namespace>,
}

impl Watch {
    pub(super) fn new(nodes: &[Namespace]) -> Result<Self> {
        let sockets = nodes.iter().map(|node| node.run(Routes::follow)?).collect::<Result<_>>()?;
        Ok(Self { sockets, nodes: nodes.to_vec() })
    }

    /// Waits until every node has the route, whenever it came.
    pub(super) fn await_everywhere(&mut self, wanted: Ipv4Net, deadline: Instant) -> Result<()> {
        let mut there = vec![false; self.nodes.len()];
        for (node, there) in self.nodes.iter().zip(&mut there) {
            node.run(|| Routes::open()?.list(|route| *there |= is(&route, wanted)))??;
        }
        let mut left = there.iter().filter(|there| !**there).count();
        while left > 0 {
            self.turn(deadline, left, |node, route, _| {
                if is(&route, wanted) && route.is_there && !std::mem::replace(&mut there[node], true) {
                    left -= 1;
                }
            })?;
        }
        Ok(())
    }

    /// When each node got one route; waits until all have, and until the other one is gone everywhere.
    pub(super) fn await_change(
        &mut self,
        come: Ipv4Net,
        gone: Ipv4Net,
        deadline: Instant,
    ) -> Result<Vec<Instant>> {
        let mut arrivals = vec![None; self.nodes.len()];
        let mut goodbyes = vec![false; self.nodes.len()];
        let mut left = 2 * self.nodes.len();
        while left > 0 {
            self.turn(deadline, left, |node, route, now| {
                if is(&route, come) && route.is_there && arrivals[node].is_none() {
                    arrivals[node] = Some(now);
                    left -= 1;
                }
                if is(&route, gone) && !route.is_there && !std::mem::replace(&mut goodbyes[node], true) {
                    left -= 1;
                }
            })?;
        }
        Ok(arrivals.into_iter().flatten().collect())
    }

    /// Takes what has changed in any kernel, and waits until something has.
    fn turn(
        &mut self,
        deadline: Instant,
        left: usize,
        mut take: impl FnMut(usize, Route, Instant),
    ) -> Result<()> {
        let mut ready: Vec<PollFd<'_>> =
            self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let patience = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
        ensure!(poll(&mut ready, Some(&timeout))? > 0, "{left} changes of routes have not come");
        let now = Instant::now();
        let told: Vec<usize> = ready
            .iter()
            .enumerate()
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(node, _)| node)
            .collect();
        for node in told {
            self.sockets[node].changes(|route| take(node, route, now))?;
        }
        Ok(())
    }
}

/// Whether it is the route of a prefix.
fn is(route: &Route, prefix: Ipv4Net) -> bool {
    route.prefix == prefix.addr() && route.length == prefix.prefix_len()
}
