//! Waiting for the kernels' routes in several namespaces at once: on netlink events, with a word in between.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use muslin_netns::Namespace;

use crate::LabError;
use crate::blueprint::Expected;
use crate::kernel_routes::{KernelRoutes, LinkLocals};
use crate::progress::Step;

/// How often the waiting thread looks whether a process has died.
const LOOK: Duration = Duration::from_millis(200);

/// What must come true of a namespace's routes.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// Each of these is there, with exactly these gateways.
    Present(Vec<Expected>),
    /// None of these prefixes is there.
    Absent(Vec<Expected>),
}

/// One namespace to watch.
pub(crate) struct Watch {
    pub(crate) namespace: Namespace,
    pub(crate) goal: Goal,
}

impl Goal {
    fn len(&self) -> usize {
        match self {
            Self::Present(routes) | Self::Absent(routes) => routes.len(),
        }
    }

    /// What is not yet so; empty when the goal is reached.
    fn missing(&self, routes: KernelRoutes<'_>) -> Vec<String> {
        match self {
            Self::Present(expected) => expected.iter().filter_map(|route| routes.fault(route)).collect(),
            Self::Absent(expected) => {
                let there = |route: &&Expected| routes.gateways(route.prefix).is_some();
                let word = |route: &Expected| format!("the end of the route to {}", route.prefix);
                expected.iter().filter(there).map(word).collect()
            }
        }
    }
}

/// How many routes are waited for.
pub(crate) fn count(watches: &[Watch]) -> usize {
    watches.iter().map(|watch| watch.goal.len()).sum()
}

/// Waits until all goals are reached; the moment at which the last one was.
///
/// `look` is called every now and then and may end the waiting, since a process has died.
pub(crate) fn await_all(
    watches: Vec<Watch>,
    link_locals: &Arc<LinkLocals>,
    patience: Duration,
    step: &mut Step,
    mut look: impl FnMut() -> Result<(), LabError>,
) -> Result<Instant, LabError> {
    let begun = Instant::now();
    let missing: Arc<Vec<Mutex<Vec<String>>>> = Arc::new(watches.iter().map(|_| Mutex::default()).collect());
    let names: Vec<String> = watches.iter().map(|watch| watch.namespace.name().to_owned()).collect();
    let total = watches.len();
    let (sender, receiver) = channel();
    for (index, Watch { namespace, goal }) in watches.into_iter().enumerate() {
        let (sender, missing) = (sender.clone(), Arc::clone(&missing));
        let link_locals = Arc::clone(link_locals);
        // Left alone if this function returns early; it ends by itself when patience does.
        std::thread::spawn(move || {
            let reached = namespace.await_routes(patience, |routes| {
                let now = goal.missing(KernelRoutes::new(routes, &link_locals));
                let reached = now.is_empty();
                *missing[index].lock().unwrap_or_else(PoisonError::into_inner) = now;
                reached
            });
            drop(sender.send((reached, Instant::now())));
        });
    }
    drop(sender);
    let still = || {
        let lists = names.iter().zip(missing.iter()).map(|(name, missing)| {
            let missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
            (name, missing.first().cloned(), missing.len())
        });
        let lists = lists.filter_map(|(name, first, count)| {
            first.map(|first| match count {
                1 => format!("{name}: {first}"),
                _ => format!("{name}: {first} and {} more", count - 1),
            })
        });
        lists.collect::<Vec<_>>().join("; ")
    };
    let (mut reached, mut last) = (0, begun);
    while reached < total {
        match receiver.recv_timeout(LOOK) {
            Ok((Ok(true), moment)) => {
                reached += 1;
                last = last.max(moment);
            }
            Ok((Ok(false), _)) => {
                look()?;
                return Err(LabError::Timeout {
                    what: "routes in the kernels".to_owned(),
                    missing: still(),
                    waited: begun.elapsed(),
                });
            }
            Ok((Err(error), _)) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {
                look()?;
                step.still(still);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use muslin_netns::{Route, RouteKind};

    use super::*;

    #[test]
    fn a_goal_of_absence_is_reached_when_the_last_prefix_is_gone() {
        let prefixes = ["10.244.2.0/24", "10.244.3.0/24"].map(|prefix| prefix.parse().unwrap());
        let expected = |prefix| Expected { prefix, gateways: [].into(), subject: String::new() };
        let goal = Goal::Absent(prefixes.map(expected).to_vec());
        let (prefix, kind) = (prefixes[0], RouteKind::Unicast);
        let route = Route { prefix, table: 254, protocol: 77, metric: 0, kind, next_hops: Vec::new() };
        let link_locals = LinkLocals::default();
        assert_eq!(goal.missing(KernelRoutes::new(&[route], &link_locals)).len(), 1);
        assert!(goal.missing(KernelRoutes::new(&[], &link_locals)).is_empty());
    }
}
