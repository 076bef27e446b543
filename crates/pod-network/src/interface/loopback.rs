//! A pod's own loopback interface, which the kernel makes with the namespace and leaves switched off.

use ipnet::IpNet;

use super::message::{self, set_up};
use super::{InterfaceError, Netns};
use crate::netlink::{Batch, Socket};

pub(crate) const NAME: &str = "lo";
/// `LOOPBACK_IFINDEX` of the kernel: it is the first of every namespace.
const INDEX: u32 = 1;

/// Switches it on; returns the addresses that the kernel gives it then.
pub(crate) fn switch_on(netns: &Netns) -> Result<Vec<IpNet>, InterfaceError> {
    netns.run(|| {
        let mut socket = Socket::route()?;
        let mut batch = Batch::default();
        set_up(&mut batch, format!("switch on {NAME} in the pod"), INDEX);
        socket.execute(batch)?;
        let all = message::addresses(&mut socket)?;
        Ok(all.into_iter().filter(|one| one.index == INDEX).map(|one| one.address).collect())
    })
}

/// Is it switched on?
pub(crate) fn is_on(netns: &Netns) -> Result<bool, InterfaceError> {
    netns.run(|| {
        Ok(message::links(&mut Socket::route()?)?.iter().any(|link| link.index == INDEX && link.is_up))
    })
}
