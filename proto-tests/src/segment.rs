//! Any number of hosts on one link.

use anyhow::Result;
use muslin_netns::{Namespace, connect};

/// A link that hosts are plugged into.
#[derive(Debug)]
pub struct Segment {
    switch: Namespace,
    ports: u32,
}

impl Segment {
    /// A link without hosts.
    ///
    /// # Errors
    /// Without the privileges for it.
    pub fn new() -> Result<Self> {
        let switch = Namespace::new("switch")?;
        switch.bridge("link")?;
        Ok(Self { switch, ports: 0 })
    }

    /// A host with these addresses on its `eth0`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn host(&mut self, name: &str, addresses: &[&str]) -> Result<Namespace> {
        let host = Namespace::new(name)?;
        self.ports += 1;
        let port = format!("port{}", self.ports);
        connect(&self.switch, &port, &host, "eth0")?;
        self.switch.attach("link", &port)?;
        for address in addresses {
            host.add_address("eth0", address.parse()?)?;
        }
        Ok(host)
    }
}
