//! The MTU of the link that leads out, for nodes whose agent did not name one.

use super::InterfaceError;
use super::message::{Link, ROUTE, Route, link_header};
use crate::netlink::Socket;

/// The smallest MTU of the links of the best default routes of either family, `None` without a default route.
pub(crate) fn uplink_mtu() -> Result<Option<u32>, InterfaceError> {
    let mut socket = Socket::route()?;
    let routes = socket.dump("list routes", libc::RTM_GETROUTE, &[0; ROUTE])?;
    let defaults =
        || routes.iter().filter_map(Route::read).filter(|route| route.destination.prefix_len() == 0);
    let links = socket.dump("list interfaces", libc::RTM_GETLINK, &link_header(0, 0))?;
    let best = |is_v4: bool| {
        let family = move |route: &Route| route.destination.addr().is_ipv4() == is_v4;
        defaults().filter(family).min_by_key(|route| route.metric)
    };
    let uplinks = [best(true), best(false)].into_iter().flatten();
    let mtus = uplinks.filter_map(|route| {
        links.iter().filter_map(Link::read).find(|link| link.index == route.index).map(|link| link.mtu)
    });
    Ok(mtus.min())
}
