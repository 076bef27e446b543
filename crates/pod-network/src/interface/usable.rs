//! Waiting until an IPv6 address can be used.
//!
//! The kernel answers who adds one before it has made the address local and joined the group in which it is asked
//! for: a work queue does that (`addrconf_dad_work`), also where no duplicates are looked for, once it gets the lock that
//! all changes of interfaces share. Until then packets to the address are dropped, and so is the first question for its
//! hardware address, which is asked again after a second.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::message::is_local;
use crate::netlink::{NetlinkError, Socket};

/// After this the pod gets going all the same: the address comes, and a runtime has its own patience.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns once `address` of the interface `index` is local in the namespace of the calling thread, which `socket` is of.
pub(super) fn await_local(socket: &mut Socket, address: IpAddr, index: u32) -> Result<(), NetlinkError> {
    if is_local(socket, address, index)? {
        return Ok(());
    }
    let mut news = Socket::following(libc::RTNLGRP_IPV6_ROUTE)?;
    let deadline = Instant::now() + PATIENCE;
    // Followed before looking, so that nothing falls between the look and the wait.
    while !is_local(socket, address, index)? && news.await_news(deadline)? {}
    Ok(())
}
