//! Others who manage routes, links, or the port of BGP.

use std::collections::{BTreeMap, BTreeSet};

use muslin_pod_network::HOST_INTERFACE_PREFIX;

use super::{Findings, Severity};
use crate::commands::doctor::facts::{Facts, Networkd, NetworkdLink};
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
const FOREIGN_ROUTES: &str = "ManageForeignRoutes";
/// The same for next-hop objects, with which the kernel removes the routes that lead over them.
const FOREIGN_NEXT_HOPS: &str = "ManageForeignNextHops";

pub(super) fn networkd(facts: &Facts, findings: &mut Findings) {
    if facts.processes.contains(NETWORKD) {
        networkd_routes(&facts.networkd, findings);
        networkd_pods(&facts.networkd, findings);
    }
}

fn networkd_routes(networkd: &Networkd, findings: &mut Findings) {
    let value = |name: &str| networkd.settings.get(&name.to_lowercase()).map(|value| value.to_lowercase());
    let is_off = |value: String| matches!(&*value, "no" | "false" | "off" | "0" | "n" | "f");
    let known: &[&str] =
        if networkd.before_next_hops { &[FOREIGN_ROUTES] } else { &[FOREIGN_ROUTES, FOREIGN_NEXT_HOPS] };
    let managed: Vec<&str> = known.iter().copied().filter(|name| !value(name).is_some_and(is_off)).collect();
    // An older one removes next-hop objects whatever it is told, but from links whose configuration it keeps.
    let links =
        networkd.links.iter().filter(|link| networkd.before_next_hops && !link.keeps && !is_pods(link));
    let losing: Vec<&NetworkdLink> = links.collect();
    let settings = managed.iter().map(|name| {
        let written = networkd.settings.get(&name.to_lowercase());
        format!("{name}={}", written.map_or("yes (the default)", String::as_str))
    });
    let links = losing.iter().map(|link| {
        format!("without KeepConfiguration=yes for {}, which it needs before version 256", link.name)
    });
    let evidence: Vec<String> = settings.chain(links).collect();
    if evidence.is_empty() {
        return;
    }
    let mut files = BTreeMap::new();
    if !managed.is_empty() {
        // All of them: the file may be there from an older one's time.
        let lines = known.iter().fold(String::new(), |lines, name| lines + "\n" + name + "=no");
        files.insert("/etc/systemd/networkd.conf.d/10-muslin.conf".to_owned(), format!("[Network]{lines}"));
    }
    let remark = if losing.is_empty() { "" } else { " # a lease of DHCP is then kept beyond its time" };
    for link in losing {
        let path = format!("/etc/systemd/network/{}.d/10-muslin.conf", link.file);
        files.insert(path, "[Network]\nKeepConfiguration=yes".to_owned());
    }
    findings.add(
        Severity::Warning,
        "systemd-networkd removes our routes whenever it restarts or a link is configured again",
        format!("systemd-networkd runs with {}", list(&evidence)),
        write_and_restart(&files, "systemd-networkd") + remark,
    );
}

fn networkd_pods(networkd: &Networkd, findings: &mut Findings) {
    let taken: BTreeSet<&str> =
        networkd.links.iter().filter(|link| is_pods(link)).map(|link| &*link.file).collect();
    if !taken.is_empty() {
        let file = (
            "/etc/systemd/network/00-muslin.network".to_owned(),
            format!("[Match]\nName={HOST_INTERFACE_PREFIX}*\n[Link]\nUnmanaged=yes"),
        );
        findings.add(
            Severity::Warning,
            "systemd-networkd has taken over pods' interfaces, and removes their routes",
            format!("systemd-networkd sets them up by {}", list(&taken)),
            write_and_restart(&BTreeMap::from([file]), "systemd-networkd"),
        );
    }
}

fn is_pods(link: &NetworkdLink) -> bool {
    link.name.starts_with(HOST_INTERFACE_PREFIX)
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
        let file = (
            "/etc/NetworkManager/conf.d/10-muslin.conf".to_owned(),
            format!("[keyfile]\nunmanaged-devices+={ours}"),
        );
        let fix = write_and_restart(&BTreeMap::from([file]), NETWORK_MANAGER);
        findings.add(
            Severity::Warning,
            "NetworkManager takes over pods' interfaces: it asks pods for addresses, and removes the gateway's and routes",
            match &facts.networkmanager_unmanaged[..] {
                [] => "NetworkManager runs, and unmanaged-devices is not set".to_owned(),
                specs => format!("NetworkManager runs, unmanaged-devices={}", specs.join(";")),
            },
            // What it lets go of at a reload it switches off first; at a restart it leaves what there is.
            format!("{fix} # no reload: it would switch the interfaces of running pods off"),
        );
    }
}

/// A line for a shell that writes these files and has a service read them.
fn write_and_restart(files: &BTreeMap<String, String>, service: &str) -> String {
    let folders: BTreeSet<String> =
        files.keys().filter_map(|path| path.rsplit_once('/')).map(|(folder, _)| word(folder)).collect();
    let folders: Vec<String> = folders.into_iter().collect();
    let write = |(path, text): (&String, &String)| {
        format!("printf '{}\\n' > {} && ", text.replace('\n', "\\n"), word(path))
    };
    let writes: String = files.iter().map(write).collect();
    format!("mkdir -p {} && {writes}systemctl restart {service}", folders.join(" "))
}

/// A path as a shell takes it; names that netplan makes of wireless networks may have anything in them.
fn word(path: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-@:".contains(&octet);
    if path.bytes().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
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
