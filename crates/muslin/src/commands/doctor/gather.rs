//! Gathers the facts. Whatever may be read by everyone is; the rest says that it needs root.

mod files;
mod managers;
mod net;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use muslin_pod_network::{FirewallPlan, HOST_INTERFACE_PREFIX, NetworkFile, firewall};
use muslin_route_programmer::{KernelView, Programmer, ProgrammerConfig};
use muslin_router_discovery::Found;
use serde::Deserialize;

use super::facts::{Agent, Facts, Filter, Link, Looked};
use crate::api::Status;
use crate::cli::ExamineArgs;
use crate::client;
use crate::commands::status;
use crate::error::sentence;
use crate::kernel::facts as kernel_facts;

/// Settings of the node as a whole, below `net`.
const SETTINGS: [&str; 10] = [
    "ipv4/ip_forward",
    "ipv4/conf/all/rp_filter",
    "ipv4/fib_multipath_hash_policy",
    "ipv6/conf/all/forwarding",
    "ipv6/conf/all/disable_ipv6",
    "ipv6/fib_multipath_hash_policy",
    "ipv6/route/max_size",
    "netfilter/nf_conntrack_count",
    "netfilter/nf_conntrack_max",
    "ipv4/conf/default/rp_filter",
];
/// Settings of an uplink, below `net/FAMILY/conf/LINK`.
const LINK_SETTINGS: [(&str, &str); 3] =
    [("ipv4", "rp_filter"), ("ipv4", "forwarding"), ("ipv6", "accept_ra")];

/// Of the agent's plan, what is asked for here; a stand-alone speaker's has none.
#[derive(Deserialize)]
struct Planned {
    firewall: FirewallPlan,
}

/// Looks at the node.
pub(super) async fn gather(args: &ExamineArgs, socket: &Path) -> Facts {
    let network = NetworkFile::read(&args.data.data_dir).ok();
    let mut facts = Facts {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        processes: files::processes(&args.root.join("proc")),
        networkmanager_unmanaged: managers::networkmanager_unmanaged(&args.root),
        bgp_port: files::listeners(&args.root.join("proc"), super::BGP_PORT),
        pod_mtu: network.as_ref().and_then(|network| network.mtu),
        pod_ranges: network.map(|network| network.blocks).unwrap_or_default(),
        filter: filter(),
        proxy_mode: net::proxy_mode().await,
        cni: files::cni(&args.configurations.conf_dir),
        cni_plugins: files::cni_plugins(&args.plugins.bin_dir),
        ..Facts::default()
    };
    let status = client::get::<Status>(socket, "/v1/status").await;
    if let Ok(Planned { firewall }) = client::get(socket, "/v1/plan").await {
        facts.pod_ranges = firewall.node_guard.pod_ranges;
    }
    let mut targets = Vec::new();
    if let Ok(programmer) = Programmer::spawn(ProgrammerConfig::default()).await {
        facts.next_hop_objects = Some(programmer.status().uses_next_hop_objects);
        let view = programmer.view();
        facts.has_ipv6 = view.local_addresses().any(|local| is_routable_ipv6(local.address.addr()));
        facts.links = links(&view);
        facts.networkd =
            managers::networkd(&args.root, |index| view.link(index).map(|link| link.name.clone()));
        targets = net::targets(&view, status.as_ref().map_or(&[], |status| &status.peers));
    }
    let names = facts.links.iter().filter(|link| link.uplink).flat_map(|link| {
        LINK_SETTINGS.map(|(family, setting)| format!("{family}/conf/{}/{setting}", link.name))
    });
    let names: Vec<String> = SETTINGS.map(str::to_owned).into_iter().chain(names).collect();
    facts.settings = files::settings(&args.sysctl_dir, names);
    facts.agent = agent(status);
    if !args.no_probes {
        facts.paths = net::measure(targets).await;
    }
    facts
}

fn is_routable_ipv6(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(address) if !address.is_loopback() && !address.is_unicast_link_local())
}

/// The node's links; an uplink has a subnet or a default route.
fn links(view: &KernelView) -> Vec<Link> {
    let facts = kernel_facts(view, &Found::default());
    let connected = facts.connected.iter().map(|link| link.interface.clone());
    let defaults = facts.default_gateways.iter().map(|gateway| gateway.interface.clone());
    let uplinks: BTreeSet<Arc<str>> = connected.chain(defaults).collect();
    let own = view.links().filter(|link| !link.loopback && !link.name.starts_with(HOST_INTERFACE_PREFIX));
    own.map(|link| Link {
        name: link.name.clone(),
        mtu: link.mtu,
        uplink: link.is_usable() && uplinks.contains(link.name.as_str()),
    })
    .collect()
}

fn filter() -> Looked<Filter> {
    match firewall::chains() {
        Ok(chains) => {
            let name = |chain: &firewall::Chain| format!("{} {}", chain.table, chain.name);
            Looked::Seen(Filter {
                forward_drops: chains.iter().filter_map(firewall::Chain::forward_drop).collect(),
                chains: chains.iter().map(name).collect(),
            })
        }
        Err(error) if error.is_forbidden() => Looked::Forbidden(error.to_string()),
        Err(error) => Looked::Absent(error.to_string()),
    }
}

fn agent(status: anyhow::Result<Status>) -> Looked<Agent> {
    match status {
        Ok(status) => Looked::Seen(Agent {
            problems: status::problems(&status),
            on_node: status.node.is_some(),
            version: status.version,
        }),
        Err(error) => {
            let denied = error
                .chain()
                .filter_map(|cause| cause.downcast_ref::<io::Error>())
                .any(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
            let reason = sentence(&error);
            if denied { Looked::Forbidden(reason) } else { Looked::Absent(reason) }
        }
    }
}

/// What was seen in a folder, or why nothing was.
fn looked<T>(folder: &Path, seen: io::Result<T>) -> Looked<T> {
    match seen {
        Ok(value) => Looked::Seen(value),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Looked::Forbidden(format!("{}: {error}", folder.display()))
        }
        Err(error) => Looked::Absent(format!("{}: {error}", folder.display())),
    }
}
