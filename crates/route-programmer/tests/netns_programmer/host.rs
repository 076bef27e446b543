//! A host with two uplinks, `eth0` and `eth1`, each to a neighbour of its own.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use ipnet::IpNet;
use muslin_netns::{Namespace, Route, connect};
use muslin_route_programmer::{
    DesiredRoute, NextHop, NextHopObjects, Programmer, ProgrammerConfig, RouteChange, Status,
};
use tokio::runtime::Runtime;

/// Longest wait for what must come by an event, long before any audit.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const OURS: u8 = ProgrammerConfig::DEFAULT_PROTOCOL;

pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    /// The other ends of `eth0` and `eth1`, both called `uplink`.
    pub(crate) neighbours: [Namespace; 2],
    runtime: Runtime,
}

impl Host {
    /// Its addresses are `10.0.N.1/24` on `ethN`, and `fd00::1/64` and `fd00:1::1/64`.
    pub(crate) fn new() -> Self {
        let namespace = Namespace::new("host").unwrap();
        let neighbours = [Namespace::new("left").unwrap(), Namespace::new("right").unwrap()];
        for (number, neighbour) in neighbours.iter().enumerate() {
            connect(&namespace, &format!("eth{number}"), neighbour, "uplink").unwrap();
        }
        let runtime = namespace.run(|| {
            // Its threads start, and stay, in the namespace.
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
        });
        let host = Self { namespace, neighbours, runtime: runtime.unwrap() };
        for (link, address) in [
            ("eth0", "10.0.0.1/24"),
            ("eth0", "fd00::1/64"),
            ("eth1", "10.0.1.1/24"),
            ("eth1", "fd00:1::1/64"),
        ] {
            host.namespace.add_address(link, net(address)).unwrap();
        }
        host
    }

    pub(crate) fn start(&self, config: ProgrammerConfig) -> Running<'_> {
        let spawned = self.runtime.spawn(Programmer::spawn(config));
        let programmer = self.runtime.block_on(spawned).unwrap().unwrap();
        Running { runtime: &self.runtime, programmer }
    }

    /// Without audits, so that whatever is put right was put right by an event.
    pub(crate) fn start_with(&self, next_hop_objects: NextHopObjects) -> Running<'_> {
        self.start(ProgrammerConfig { next_hop_objects, ..no_audits() })
    }

    /// Keeps every programmer of this host from running until the value is dropped.
    pub(crate) fn stall(&self) -> Sender<()> {
        let (release, released) = channel();
        let (begin, begun) = channel();
        self.runtime.spawn(async move {
            begin.send(()).unwrap();
            // Blocks the runtime's only thread. An error is the release.
            let _ = released.recv();
        });
        begun.recv().unwrap();
        release
    }

    /// Our routes, by prefix.
    pub(crate) fn own_routes(&self) -> Vec<Route> {
        let mut routes = self.namespace.routes().unwrap();
        routes.retain(|route| route.protocol == OURS);
        routes.sort_by_key(|route| route.prefix);
        routes
    }

    /// Waits for our route and what it leads over; fails if it does not come to that.
    pub(crate) fn await_hops(&self, prefix: &str, hops: &[NextHop]) {
        let mut expected: Vec<_> = hops.iter().map(|hop| hop.gateway).collect();
        expected.sort_unstable();
        let mut seen = None;
        let came = self.namespace.await_routes(PATIENCE, |routes| {
            let route = routes.iter().find(|route| route.prefix == net(prefix) && route.protocol == OURS);
            seen = route.cloned();
            let mut gateways =
                route.map(|route| route.next_hops.iter().map(|hop| hop.gateway).collect::<Vec<_>>());
            if let Some(gateways) = &mut gateways {
                gateways.sort_unstable();
            }
            gateways.unwrap_or_default() == expected && (route.is_some() || hops.is_empty())
        });
        assert!(came.unwrap(), "{prefix} leads over {seen:?}, not over {hops:?}");
    }
}

/// A programmer, driven from a test that is not asynchronous.
pub(crate) struct Running<'a> {
    runtime: &'a Runtime,
    pub(crate) programmer: Programmer,
}

impl Running<'_> {
    pub(crate) fn link(&self, name: &str) -> u32 {
        self.programmer.view().link_named(name).unwrap().index
    }

    /// A gateway on a link, such as `via("eth0", "10.0.0.2")`.
    pub(crate) fn via(&self, link: &str, gateway: &str) -> NextHop {
        NextHop::via(gateway.parse::<IpAddr>().unwrap(), self.link(link))
    }

    /// Has these routes and nothing else, and waits until nothing is left to do.
    pub(crate) fn install(&self, routes: &[(&str, DesiredRoute)]) -> Arc<Status> {
        let changes = routes.iter().map(|(prefix, route)| RouteChange::install(net(prefix), route.clone()));
        self.wait(self.programmer.apply(changes.collect())).unwrap();
        self.wait(self.programmer.mark_synced()).unwrap();
        self.settled()
    }

    pub(crate) fn withdraw(&self, prefix: &str) -> Arc<Status> {
        self.wait(self.programmer.apply(vec![RouteChange::withdraw(net(prefix))])).unwrap();
        self.settled()
    }

    pub(crate) fn settled(&self) -> Arc<Status> {
        self.wait(self.programmer.settled()).unwrap()
    }

    /// Waits until the status is so.
    pub(crate) fn await_status(&self, holds: impl Fn(&Status) -> bool) -> Arc<Status> {
        let mut status = self.programmer.watch_status();
        let waited = self.wait(async {
            tokio::time::timeout(PATIENCE, status.wait_for(|status| holds(status))).await.map(|_| ())
        });
        let now = self.programmer.status();
        assert!(waited.is_ok(), "{now:#?}");
        now
    }

    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

pub(crate) fn no_audits() -> ProgrammerConfig {
    ProgrammerConfig { audit_interval: Duration::from_hours(1), ..ProgrammerConfig::default() }
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn over(hops: &[NextHop]) -> DesiredRoute {
    DesiredRoute::over(hops.iter().copied())
}
