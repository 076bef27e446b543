//! Others who manage routes, links, or the port of BGP.

use muslin_pod_network::HOST_INTERFACE_PREFIX;

use super::{Findings, Severity};
use crate::commands::doctor::facts::Facts;
use crate::commands::output::list;

/// The names of processes are cut after fifteen octets by the kernel.
const NETWORKD: &str = "systemd-network";
const NETWORK_MANAGER: &str = "NetworkManager";

/// Daemons that write routes, and what they belong to.
const OTHERS: [(&str, &str); 14] = [
    ("bird", "BIRD"),
    ("bird6", "BIRD"),
    ("zebra", "FRR"),
    ("bgpd", "FRR or OpenBGPD"),
    ("gobgpd", "GoBGP"),
    ("exabgp", "ExaBGP"),
    ("calico-node", "Calico"),
    ("cilium-agent", "Cilium"),
    ("kube-router", "kube-router"),
    ("flanneld", "flannel"),
    ("antrea-agent", "Antrea"),
    ("kube-ovn-daemon", "Kube-OVN"),
    ("ovnkube", "OVN-Kubernetes"),
    ("dhcpcd", "dhcpcd"),
];

/// What keeps systemd-networkd from removing what it did not make, when a link is configured again.
const FOREIGN: [(&str, &str); 2] =
    [("manageforeignroutes", "ManageForeignRoutes"), ("manageforeignnexthops", "ManageForeignNextHops")];

pub(super) fn networkd(facts: &Facts, findings: &mut Findings) {
    if !facts.processes.contains(NETWORKD) {
        return;
    }
    let on = |key: &str| {
        let value = facts.networkd.get(key).map_or("yes", String::as_str).to_lowercase();
        !matches!(&*value, "no" | "false" | "off" | "0" | "n" | "f")
    };
    let managed: Vec<&str> = FOREIGN.iter().filter(|(key, _)| on(key)).map(|(_, name)| *name).collect();
    if managed.is_empty() {
        return;
    }
    let evidence = managed.iter().map(|name| {
        let written = facts.networkd.get(&name.to_lowercase());
        format!("{name}={}", written.map_or("yes (the default)", String::as_str))
    });
    let lines = managed.iter().fold(String::new(), |lines, name| lines + "\\n" + name + "=no");
    findings.add(
        Severity::Warning,
        "systemd-networkd removes our routes whenever it restarts or a link is configured again",
        format!("systemd-networkd runs with {}", list(evidence)),
        format!(
            "printf '[Network]{lines}\\n' > /etc/systemd/networkd.conf.d/10-muslin.conf (make the folder), then systemctl restart systemd-networkd"
        ),
    );
}

pub(super) fn network_manager(facts: &Facts, findings: &mut Findings) {
    if !facts.processes.contains(NETWORK_MANAGER) {
        return;
    }
    let ours = format!("interface-name:{HOST_INTERFACE_PREFIX}*");
    let covered = facts.networkmanager_unmanaged.iter().any(|spec| {
        let spec = spec.trim();
        *spec == ours || matches!(spec, "*" | "interface-name:*" | "type:veth" | "driver:veth")
    });
    if !covered {
        findings.add(
            Severity::Warning,
            "NetworkManager may take over pods' interfaces, and with them their routes and addresses",
            match &facts.networkmanager_unmanaged[..] {
                [] => "NetworkManager runs, and unmanaged-devices is not set".to_owned(),
                specs => format!("NetworkManager runs, unmanaged-devices={}", specs.join(";")),
            },
            format!(
                "printf '[keyfile]\\nunmanaged-devices+={ours}\\n' > /etc/NetworkManager/conf.d/10-muslin.conf, then systemctl reload NetworkManager"
            ),
        );
    }
}

pub(super) fn other_routing(facts: &Facts, findings: &mut Findings) {
    let found = OTHERS.iter().filter(|(process, _)| facts.processes.contains(*process));
    for (process, product) in found {
        findings.add(
            Severity::Warning,
            format!("{product} runs on this node too: two that write routes may undo each other's work"),
            format!("a process named {process}"),
            format!(
                "remove {product} from this node, or keep it away from the cluster's ranges and port 179"
            ),
        );
    }
}

pub(super) fn bgp_port(facts: &Facts, findings: &mut Findings) {
    let answers = facts.agent.seen().is_some();
    for listener in &facts.bgp_port {
        let taken_by = match listener.process.as_deref() {
            Some("muslin") => continue,
            // Ours, most likely; whose socket it is only root can see.
            None if answers => continue,
            Some(process) => format!("process {process}"),
            None => "a process of another user".to_owned(),
        };
        findings.add(
            Severity::Error,
            "somebody else has the port of BGP: peers that connect to this node reach them",
            format!("{taken_by} listens on {} port 179", listener.address),
            "stop it (`ss -ltnp 'sport = :179'` as root names it), or have it listen on another address",
        );
    }
}
