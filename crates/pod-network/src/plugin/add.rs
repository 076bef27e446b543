//! ADD: an address, an interface, a result.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::cni::{Address, AttachmentResult, Code, Error, Interface, NetworkConfig, Request, Route};
use crate::fail_point;
use crate::interface::{self, GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6, InterfaceError, Mac, Netns, Plan};
use crate::ipam::{AllocateError, Attachment, Grant, Ledger, Store, Wish, now};
use crate::network_file::NetworkFile;

/// Every link that carries IPv6 can carry this much (RFC 8200 §5), and no link of pods should carry less.
const SMALLEST_MTU: u32 = 1280;
/// What Ethernet carries, for a node without any way out.
const ETHERNET_MTU: u32 = 1500;
/// An ADD that has its address but no interface after this long is dead: runtimes give up much earlier.
pub(super) const ADD_IN_PROGRESS: Duration = Duration::from_mins(5);

pub(super) fn add(
    request: &Request,
    config: &NetworkConfig,
    attachment: &Attachment,
) -> Result<Value, Error> {
    let network = NetworkFile::read(&config.data_dir)?;
    let netns = open_netns(request)?;
    let mac = wanted_mac(request, config)?.unwrap_or_else(|| Mac::of(attachment));
    let mtu = mtu(config, &network)?;
    let grant = allocate(request, config, &network, attachment)?;
    fail_point::reached("after-allocate");
    let plan = Plan { attachment, addresses: grant.addresses(), mac, mtu };
    if let Err(error) = create(&plan, &netns) {
        // What was held before this call belongs to an ADD that succeeded, and stays.
        if matches!(grant, Grant::New(_)) {
            cancel(config, attachment)?;
        }
        return Err(error.into());
    }
    let result = result(request, config, &plan);
    result.to_json(config.version).map_err(|error| Error::new(Code::Io, error.to_string()))
}

/// The pod's namespace, which must not be the plugin's own unless the caller says that it may.
pub(super) fn open_netns(request: &Request) -> Result<Netns, Error> {
    let invalid = |details: String| Error::new(Code::InvalidNetns, "CNI_NETNS").with_details(details);
    let path = request.netns.as_deref().unwrap_or_else(|| std::path::Path::new(""));
    let netns = Netns::open(path).map_err(|error| invalid(error.to_string()))?;
    if !request.may_share_netns && netns.is_current().map_err(|error| invalid(error.to_string()))? {
        return Err(invalid(format!("{} is the plugin's own network namespace", path.display())));
    }
    Ok(netns)
}

fn wanted_mac(request: &Request, config: &NetworkConfig) -> Result<Option<Mac>, Error> {
    let text = config.mac.as_ref().or(request.arguments.mac.as_ref()).filter(|text| !text.is_empty());
    text.map(|text| {
        Mac::parse(text).ok_or_else(|| {
            let message = format!("mac {text:?} is not the hardware address of a station");
            Error::new(Code::InvalidConfig, message)
        })
    })
    .transpose()
}

fn mtu(config: &NetworkConfig, network: &NetworkFile) -> Result<u32, Error> {
    let mtu = match config.mtu.or(network.mtu) {
        Some(mtu) => mtu,
        None => interface::uplink_mtu()?.unwrap_or(ETHERNET_MTU),
    };
    if mtu >= SMALLEST_MTU {
        return Ok(mtu);
    }
    Err(Error::new(Code::InvalidConfig, format!("mtu {mtu}: at least {SMALLEST_MTU}")))
}

fn allocate(
    request: &Request,
    config: &NetworkConfig,
    network: &NetworkFile,
    attachment: &Attachment,
) -> Result<Grant, Error> {
    let exactly = if config.addresses.is_empty() { &request.arguments.addresses } else { &config.addresses };
    let wish = Wish {
        attachment,
        blocks: &network.blocks,
        reserved: &network.reserved,
        exactly,
        within: &config.ranges,
        rest: config.rest,
    };
    let store = Store::lock(&config.data_dir)?;
    let mut ledger = store.load(interface::attached)?;
    let grant = match ledger.allocate(&wish, now()) {
        Err(AllocateError::Exhausted { .. }) => {
            // Perhaps some DELs were lost. What is found rests like any other, but the next ADD will know when.
            release_lost(&mut ledger)?;
            let grant = ledger.allocate(&wish, now());
            if grant.is_err() {
                store.save(&ledger)?;
            }
            grant?
        }
        grant => grant?,
    };
    store.save(&ledger)?;
    Ok(grant)
}

fn release_lost(ledger: &mut Ledger) -> Result<(), InterfaceError> {
    ledger.reconcile(&interface::attached()?, ADD_IN_PROGRESS, now());
    Ok(())
}

/// An interface whose DEL was answered may still be about to be deleted; then its name is free in a moment.
fn create(plan: &Plan<'_>, netns: &Netns) -> Result<(), InterfaceError> {
    match interface::create(plan, netns) {
        Err(InterfaceError::Exists(_) | InterfaceError::HostExists(_)) => {
            interface::reap()?;
            interface::create(plan, netns)
        }
        outcome => outcome,
    }
}

fn cancel(config: &NetworkConfig, attachment: &Attachment) -> Result<(), Error> {
    let store = Store::lock(&config.data_dir)?;
    let mut ledger = store.load(|| Ok::<_, Infallible>(Vec::new()))?;
    ledger.cancel(attachment);
    store.save(&ledger)?;
    Ok(())
}

/// Ours behind what plugins before us have made.
fn result(request: &Request, config: &NetworkConfig, plan: &Plan<'_>) -> AttachmentResult {
    let mut result = config.previous.clone().unwrap_or_default();
    let side = |name: &str, mac: Mac| Interface {
        name: name.to_owned(),
        mac: Some(mac.to_string()),
        mtu: Some(plan.mtu),
        ..Interface::default()
    };
    let sandbox = request.netns.as_ref().map(|path| path.display().to_string());
    result.interfaces.push(side(&interface::host_name(plan.attachment), GATEWAY_MAC));
    let pod_index = result.interfaces.len();
    result.interfaces.push(Interface { sandbox, ..side(&request.interface, plan.mac) });
    for &address in plan.addresses {
        let gateway = if address.is_ipv4() { GATEWAY_V4 } else { GATEWAY_V6 };
        let address = IpNet::from(address);
        result.ips.push(Address { address, gateway: Some(gateway), interface: Some(pod_index) });
    }
    result.routes.extend(plan.addresses.iter().flat_map(routes));
    if config.dns.is_some() {
        result.dns.clone_from(&config.dns);
    }
    result
}

/// The routes that the pod has because it has `address`.
fn routes(address: &IpAddr) -> Vec<Route> {
    let route = |dst, gw| Route { dst, gw, other: serde_json::Map::new() };
    match address {
        IpAddr::V4(_) => vec![
            route(IpNet::from(GATEWAY_V4), None),
            route(IpNet::new_assert([0; 4].into(), 0), Some(GATEWAY_V4)),
        ],
        IpAddr::V6(_) => vec![route(IpNet::new_assert([0; 16].into(), 0), Some(GATEWAY_V6))],
    }
}
