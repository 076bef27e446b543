//! The core against a model of the kernel.

mod behaviour;
mod model;
mod properties;

use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::{Operation, Reconciler};
use crate::config::{NextHopObjects, ProgrammerConfig};
use crate::route::{DesiredRoute, NextHop, RouteChange};
use model::{Kernel, KernelEvent};

const OURS: u8 = ProgrammerConfig::DEFAULT_PROTOCOL;
const METRIC: u32 = ProgrammerConfig::DEFAULT_METRIC;
const BATCH: usize = 8;

/// A core and a kernel, joined as the task joins them.
struct Machine {
    reconciler: Reconciler,
    kernel: Kernel,
    /// Everything that was ever sent.
    sent: Vec<Operation>,
}

impl Machine {
    fn new(objects: NextHopObjects) -> Self {
        Self::on(Kernel::default(), objects)
    }

    fn on(kernel: Kernel, next_hop_objects: NextHopObjects) -> Self {
        let config = ProgrammerConfig { next_hop_objects, ..ProgrammerConfig::default() };
        Self { reconciler: Reconciler::new(config, Instant::now()), kernel, sent: Vec::new() }
    }

    fn restart(self, objects: NextHopObjects) -> Self {
        Self::on(self.kernel, objects)
    }

    fn apply(&mut self, prefix: &str, route: Option<DesiredRoute>) {
        self.reconciler.apply(&RouteChange { prefix: prefix.parse().unwrap(), route });
    }

    /// Runs until nothing is left to do; fails when that does not come.
    fn settle(&mut self) {
        for _ in 0..500 {
            while let Some(event) = self.kernel.events.pop_front() {
                match event {
                    KernelEvent::Route(route, change) => self.reconciler.handle_route(&route, change),
                    KernelEvent::NextHop(object, change) => self.reconciler.handle_next_hop(&object, change),
                    KernelEvent::Link(index) => self.reconciler.handle_interface(index),
                    KernelEvent::Overrun => self.reconciler.handle_overrun(),
                }
            }
            if self.reconciler.wants_resync() {
                self.resync();
                continue;
            }
            let mut batch = Vec::new();
            self.reconciler.next_batch(BATCH, &mut batch);
            if batch.is_empty() {
                return;
            }
            let foreign = self.kernel.foreign_routes();
            for operation in batch {
                let outcome = self.kernel.execute(&operation);
                self.reconciler.handle_outcome(&operation, outcome);
                assert_eq!(self.kernel.foreign_routes(), foreign, "{operation:?} touched a foreign route");
                self.sent.push(operation);
            }
        }
        panic!("no rest after 500 rounds: {:#?}", self.reconciler.status());
    }

    fn resync(&mut self) {
        let next_hops = self.kernel.dump_next_hops();
        let mut resync = self.reconciler.begin_resync(next_hops.as_deref());
        for route in self.kernel.dump_routes() {
            self.reconciler.resync_route(&mut resync, &route);
        }
        self.reconciler.end_resync(resync);
    }

    /// Hops of our route as the kernel would use them; nothing without a route, empty for a blackhole.
    fn hops(&self, prefix: &str) -> Option<Vec<NextHop>> {
        self.kernel.own_hops(prefix.parse::<IpNet>().unwrap(), METRIC)
    }
}

fn gateway(interface: u32, last: u8) -> NextHop {
    NextHop::via(IpAddr::from([10, 0, interface as u8, last]), interface)
}
