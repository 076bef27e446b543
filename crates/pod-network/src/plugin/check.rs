//! CHECK: is the attachment as ADD left it?

use std::net::IpAddr;

use ipnet::IpNet;

use super::add::open_netns;
use crate::cni::{AttachmentResult, Code, Error, NetworkConfig, Request};
use crate::interface::{self, Expected, GATEWAY_V4, GATEWAY_V6};
use crate::ipam::{Attachment, Store};

pub(super) fn check(request: &Request, config: &NetworkConfig, attachment: &Attachment) -> Result<(), Error> {
    let previous = config
        .previous
        .as_ref()
        .ok_or_else(|| Error::new(Code::InvalidConfig, "CHECK needs prevResult, the result of the ADD"))?;
    let netns = open_netns(request)?;
    let expected = expected(previous, attachment);
    let mut faults = Vec::new();
    if expected.addresses.is_empty() {
        faults.push(format!("prevResult has no address of interface {}", attachment.interface));
    }
    faults.extend(check_ledger(config, attachment, &expected.addresses)?);
    faults.extend(interface::check(&expected, &netns)?);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::CheckFailed, "the attachment is not as ADD left it").with_details(faults.join("; ")))
}

/// The part of the result that is ours: plugins behind us may have added interfaces, addresses and routes.
fn expected<'a>(previous: &AttachmentResult, attachment: &'a Attachment) -> Expected<'a> {
    let is_ours = |index: usize| {
        let interface = previous.interfaces.get(index);
        interface.is_some_and(|one| one.sandbox.is_some() && one.name == attachment.interface)
    };
    let own_interface = (0..previous.interfaces.len()).find(|index| is_ours(*index));
    let addresses = previous.ips.iter().filter(|ip| ip.interface.is_none_or(is_ours)).map(|ip| ip.address);
    let by_our_gateway = |destination: IpNet, gateway: Option<IpAddr>| {
        gateway.map_or(destination == IpNet::from(GATEWAY_V4), |hop| hop == GATEWAY_V4 || hop == GATEWAY_V6)
    };
    let routes = previous.routes.iter().map(|route| (route.dst, route.gw));
    Expected {
        attachment,
        addresses: addresses.collect(),
        routes: routes.filter(|(destination, gateway)| by_our_gateway(*destination, *gateway)).collect(),
        mac: own_interface.and_then(|index| previous.interfaces[index].mac.clone()),
    }
}

fn check_ledger(
    config: &NetworkConfig,
    attachment: &Attachment,
    addresses: &[IpNet],
) -> Result<Vec<String>, Error> {
    let ledger = Store::lock(&config.data_dir)?.load(interface::attached)?;
    let held = ledger.addresses_of(attachment);
    let lost = addresses.iter().map(IpNet::addr).filter(|address| !held.contains(address));
    Ok(lost.map(|address| format!("ledger: {address} is not this attachment's")).collect())
}
