//! The core against a model of the kernel.

mod behaviour;
mod counts;
mod model;
mod properties;

use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::{Operation, Outcome, Reconciler};
use crate::config::{NextHopObjects, ProgrammerConfig};
use crate::route::{DesiredRoute, NextHop, RouteChange};
use crate::wire::route::RouteMessage;
use model::{Kernel, KernelEvent};

const OURS: u8 = ProgrammerConfig::DEFAULT_PROTOCOL;
const METRIC: u32 = ProgrammerConfig::DEFAULT_METRIC;
const BATCH: usize = 8;

/// What comes back of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Answers {
    #[default]
    Come,
    /// The socket's buffer was too small: the writer sends again what may be sent again.
    Lost,
    /// The system call failed after half of it.
    Unknown,
}

/// A core and a kernel, joined as the task joins them.
struct Machine {
    reconciler: Reconciler,
    kernel: Kernel,
    /// Everything that was ever sent.
    sent: Vec<Operation>,
    /// What happens to the answers of the next batch.
    answers: Answers,
    /// The next full read stops midway.
    read_fails: bool,
}

impl Machine {
    fn new(objects: NextHopObjects) -> Self {
        Self::on(Kernel::default(), objects)
    }

    fn on(kernel: Kernel, next_hop_objects: NextHopObjects) -> Self {
        let config = ProgrammerConfig { next_hop_objects, ..ProgrammerConfig::default() };
        Self {
            reconciler: Reconciler::new(config, Instant::now()),
            kernel,
            sent: Vec::new(),
            answers: Answers::Come,
            read_fails: false,
        }
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
            self.take_events();
            if self.reconciler.wants_resync() {
                self.resync();
                continue;
            }
            if self.reconciler.wants_audit() {
                self.audit();
                continue;
            }
            if !self.write_batch() {
                return;
            }
        }
        panic!("no rest after 500 rounds: {:#?}", self.reconciler.status());
    }

    fn take_events(&mut self) {
        while let Some(event) = self.kernel.events.pop_front() {
            match event {
                KernelEvent::Route(route, change) => self.reconciler.handle_route(&route, change),
                KernelEvent::NextHop(object, change) => self.reconciler.handle_next_hop(&object, change),
                KernelEvent::Link(index) => self.reconciler.handle_interface(index),
                KernelEvent::Overrun => self.reconciler.handle_overrun(),
            }
        }
    }

    /// Says whether there was anything to write.
    fn write_batch(&mut self) -> bool {
        let mut batch = Vec::new();
        self.reconciler.next_batch(BATCH, &mut batch);
        if batch.is_empty() {
            return false;
        }
        let foreign = self.kernel.foreign_routes();
        match std::mem::take(&mut self.answers) {
            Answers::Unknown => {
                for operation in batch.iter().take(batch.len() / 2) {
                    self.kernel.execute(operation);
                }
                self.reconciler.handle_batch_lost(&batch);
            }
            answers => self.execute(&batch, answers),
        }
        assert_eq!(self.kernel.foreign_routes(), foreign, "{batch:?} touched a foreign route");
        self.sent.extend(batch);
        true
    }

    fn execute(&mut self, batch: &[Operation], answers: Answers) {
        let mut outcomes: Vec<_> = batch.iter().map(|operation| self.kernel.execute(operation)).collect();
        if answers == Answers::Lost {
            for (operation, outcome) in batch.iter().zip(&mut outcomes) {
                let mut again = || self.kernel.execute(operation);
                *outcome = if operation.creates() { Outcome::Done(None) } else { again() };
            }
        }
        for (operation, outcome) in batch.iter().zip(outcomes) {
            self.reconciler.handle_outcome(operation, outcome);
        }
    }

    fn resync(&mut self) {
        let next_hops = self.kernel.dump_next_hops();
        let mut resync = self.reconciler.begin_resync(next_hops.as_deref());
        let routes = self.kernel.dump_routes();
        let told = if self.read_fails { routes.len() / 2 } else { routes.len() };
        for route in &routes[..told] {
            self.reconciler.resync_route(&mut resync, route);
        }
        if std::mem::take(&mut self.read_fails) {
            return self.reconciler.abandon_resync(resync);
        }
        self.reconciler.end_resync(resync);
    }

    /// An audit in three parts. Everything is written between the first and the second, when the kernel has the second ready.
    fn audit(&mut self) {
        let next_hops = self.kernel.dump_next_hops();
        let mut audit = self.reconciler.begin_audit(next_hops.as_deref());
        let key = |route: &RouteMessage| (route.prefix, route.metric);
        let routes = self.kernel.dump_routes();
        let [second, third] = [1, 2].map(|part| routes.get(routes.len() * part / 3).map(key));
        let mut compare = |reconciler: &mut Reconciler, routes: &[RouteMessage], part: &dyn Fn(_) -> bool| {
            for route in routes.iter().filter(|route| part(Some(key(route)))) {
                reconciler.audit_route(&mut audit, route);
            }
        };
        compare(&mut self.reconciler, &routes, &|key| key < second);
        while !self.reconciler.wants_resync() && self.write_batch() {}
        compare(&mut self.reconciler, &routes, &|key| second <= key && key < third);
        compare(&mut self.reconciler, &self.kernel.dump_routes(), &|key| third <= key);
        self.take_events();
        self.reconciler.end_audit(&audit);
    }

    /// Hops of our route as the kernel would use them; nothing without a route, empty for a blackhole.
    fn hops(&self, prefix: &str) -> Option<Vec<NextHop>> {
        self.kernel.own_hops(prefix.parse::<IpNet>().unwrap(), METRIC)
    }
}

fn gateway(interface: u32, last: u8) -> NextHop {
    NextHop::via(IpAddr::from([10, 0, interface as u8, last]), interface)
}
