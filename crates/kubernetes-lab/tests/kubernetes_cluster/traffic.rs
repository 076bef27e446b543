//! Steady traffic between two pods: datagrams there and back, each of them counted, and a TCP connection beside them.

mod connection;
mod datagrams;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use muslin_kubernetes_lab::pod::Pod;
use muslin_lab::Family;

use self::connection::Held;
use self::datagrams::Tally;
use crate::cluster::FAMILIES;

/// Flows between two pods, until they are stopped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    flows: Vec<Flow>,
    echoes: Arc<AtomicBool>,
}

/// What goes from one pod to another in one family.
struct Flow {
    name: String,
    datagrams: JoinHandle<io::Result<Tally>>,
    connection: JoinHandle<io::Result<Held>>,
}

impl Traffic {
    /// Begins to send from `a` to an echo in `b` in the families that it has: everything goes both ways.
    pub(crate) fn start(a: &Pod, b: &Pod) -> Result<Self> {
        let has = |family: &Family| !b.addresses.get(*family).is_unspecified();
        let families: Vec<Family> = FAMILIES.into_iter().filter(has).collect();
        Self::of(a, b, &families)
    }

    /// The same in some families.
    pub(crate) fn of(a: &Pod, b: &Pod, families: &[Family]) -> Result<Self> {
        let mut traffic = Self { stop: Arc::default(), flows: Vec::new(), echoes: Arc::default() };
        for &family in families {
            let flow = Flow {
                name: format!("{} to {} by {}", a.name, b.name, family.name()),
                connection: connection::start(a, b, family, &traffic.stop)?,
                datagrams: datagrams::start(a, b, family, &traffic.stop, &traffic.echoes)?,
            };
            traffic.flows.push(flow);
        }
        Ok(traffic)
    }

    /// Stops and counts the datagrams; an error names every flow that lost something, and a connection that ended or
    /// stood still.
    pub(crate) fn finish(mut self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut sent, mut wrong) = (0, Vec::new());
        for Flow { name, datagrams, connection } in std::mem::take(&mut self.flows) {
            let (Ok(tally), Ok(held)) = (datagrams.join(), connection.join()) else {
                bail!("a thread of {name} panicked")
            };
            let tally = tally.with_context(|| name.clone())?;
            eprintln!("{name}: {tally}");
            sent += tally.sent;
            wrong.extend(tally.complaint().map(|complaint| format!("{name}: {complaint}")));
            match held {
                Ok(held) => eprintln!("{name}: {held}"),
                Err(error) => wrong.push(format!("{name}: the TCP connection: {error}")),
            }
        }
        if wrong.is_empty() { Ok(sent) } else { bail!(wrong.join("; ")) }
    }
}

/// Nobody sends for a test that has failed.
impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.echoes.store(true, Ordering::Relaxed);
    }
}
