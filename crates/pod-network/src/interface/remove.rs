//! Taking a pod's interface away, at once or in two steps.
//!
//! Deleting a veth pair makes the caller wait some ten milliseconds for the kernel to be sure that nobody looks
//! at it any more. DEL therefore only *condemns* it: switched off, its routes and traffic are gone, and it is
//! put into a group of links that [`reap`] deletes together, behind the runtime's back.

use super::InterfaceError;
use super::message::{link_down_header, link_header};
use crate::netlink::{Batch, NetlinkError, Socket};

/// The group of links that are to be deleted ("msl" and a one).
const CONDEMNED: u32 = 0x6d73_6c01;

/// Whether there was something to take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It was not there.
    Nothing,
}

/// Switches the node's interface `host_name` off, which removes its routes, and marks it for [`reap`].
pub(crate) fn condemn(host_name: &str) -> Result<Outcome, InterfaceError> {
    let mut batch = Batch::default();
    let purpose = format!("switch off {host_name}");
    batch.push(purpose, (libc::RTM_NEWLINK, 0), &link_down_header(), |m| {
        m.string(libc::IFLA_IFNAME, host_name);
        m.u32(libc::IFLA_GROUP, CONDEMNED);
    });
    execute(&mut Socket::route()?, batch)
}

/// Deletes the interface `host_name` of the node that `socket` belongs to, and with it the pod's.
pub(super) fn remove(socket: &mut Socket, host_name: &str) -> Result<Outcome, InterfaceError> {
    let mut batch = Batch::default();
    let purpose = format!("delete {host_name}");
    batch.push(purpose, (libc::RTM_DELLINK, 0), &link_header(0, 0), |m| {
        m.string(libc::IFLA_IFNAME, host_name);
    });
    execute(socket, batch)
}

/// Deletes everything that was condemned, in one go however much it is.
pub(crate) fn reap() -> Result<Outcome, InterfaceError> {
    let mut batch = Batch::default();
    let purpose = "delete interfaces of pods that are gone";
    batch.push(purpose, (libc::RTM_DELLINK, 0), &link_header(0, 0), |m| m.u32(libc::IFLA_GROUP, CONDEMNED));
    execute(&mut Socket::route()?, batch)
}

fn execute(socket: &mut Socket, batch: Batch) -> Result<Outcome, InterfaceError> {
    match socket.execute(batch) {
        Ok(_) => Ok(Outcome::Done),
        Err(error) if is_gone(&error) => Ok(Outcome::Nothing),
        Err(error) => Err(error.into()),
    }
}

fn is_gone(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(libc::ENODEV | libc::ESRCH))
}
