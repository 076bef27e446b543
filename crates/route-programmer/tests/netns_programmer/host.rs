//! A host with an uplink, `eth0`, and a neighbour at its other end.

use std::time::Duration;

use muslin_netns::{Namespace, connect};
use muslin_route_programmer::{Programmer, ProgrammerConfig};

/// Longest wait for an event that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    pub(crate) neighbour: Namespace,
}

impl Host {
    pub(crate) fn new() -> Self {
        let namespace = Namespace::new("host").unwrap();
        let neighbour = Namespace::new("neighbour").unwrap();
        connect(&namespace, "eth0", &neighbour, "eth0").unwrap();
        namespace.add_address("eth0", "10.0.0.1/24".parse().unwrap()).unwrap();
        namespace.add_address("eth0", "fd00::1/64".parse().unwrap()).unwrap();
        Self { namespace, neighbour }
    }

    pub(crate) fn block_on<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.namespace.block_on(future).unwrap()
    }

    pub(crate) async fn programmer(&self, config: ProgrammerConfig) -> Programmer {
        Programmer::spawn(config).await.unwrap()
    }

    pub(crate) fn uplink(&self, programmer: &Programmer) -> u32 {
        programmer.view().link_named("eth0").unwrap().index
    }
}
