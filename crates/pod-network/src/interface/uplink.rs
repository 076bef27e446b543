//! The MTU of the link that leads out, for nodes whose agent did not name one.

use super::InterfaceError;
use super::message;
use crate::netlink::Socket;

/// The smallest MTU of the links of the best default routes of either family, `None` without a default route.
pub(crate) fn uplink_mtu() -> Result<Option<u32>, InterfaceError> {
    let mut socket = Socket::route()?;
    let (routes, links) = (message::routes(&mut socket, None)?, message::links(&mut socket)?);
    let best = |is_v4: bool| {
        let defaults = routes.iter().filter(|route| route.destination.prefix_len() == 0);
        defaults.filter(|route| route.destination.addr().is_ipv4() == is_v4).min_by_key(|route| route.metric)
    };
    let uplinks = [best(true), best(false)].into_iter().flatten();
    let mtus =
        uplinks.filter_map(|route| links.iter().find(|link| link.index == route.index)).map(|link| link.mtu);
    Ok(mtus.min())
}
