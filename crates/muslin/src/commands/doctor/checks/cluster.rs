//! The node as part of a cluster: packet filter, kube-proxy, CNI, agent.

use std::ffi::OsStr;

use ipnet::IpNet;
use muslin_pod_network::conflist::FILE_NAME;
use muslin_pod_network::firewall::ForwardDrop;

use super::{Findings, Severity};
use crate::commands::doctor::facts::{Facts, Filter, Looked};
use crate::commands::output::list;

/// The plugin's file.
const PLUGIN: &str = "muslin-cni";
/// The link that kube-proxy makes in mode `ipvs`, with every Service address on it.
const IPVS_LINK: &str = "kube-ipvs0";
/// More of them are no command that a person runs.
const MOST_RULES: usize = 32;

pub(super) fn packet_filter(facts: &Facts, findings: &mut Findings) {
    let filter = match &facts.filter {
        Looked::Seen(filter) => filter,
        Looked::Forbidden(reason) => return findings.unknown("the packet filter", reason),
        Looked::Absent(reason) => {
            return findings.add(
                Severity::Error,
                "the kernel has no nf_tables: there is no masquerade, and spoofed sources are not dropped",
                &**reason,
                "modprobe nf_tables, or a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET",
            );
        }
    };
    for drop in &filter.forward_drops {
        findings.add(
            Severity::Warning,
            "packets to and from pods are dropped unless a rule of somebody else accepts them",
            format!("chain {drop} has the policy drop in the forward hook"),
            accept_pods(drop, &facts.pod_ranges),
        );
    }
    let on_node = facts.agent.seen().is_some_and(|agent| agent.on_node);
    if on_node && !filter.chains.iter().any(|chain| chain.starts_with("muslin ")) {
        findings.add(
            Severity::Error,
            "the agent's packet filter is gone: there is no masquerade, and spoofed sources are not dropped",
            "no table inet muslin",
            "the agent puts it back within half a minute; find who runs `nft flush ruleset`",
        );
    }
}

/// What lets pods pass a chain. Whoever made it may make it anew, so a command alone is not all. Each range has rules of
/// its own: `iptables` cannot read those with sets.
fn accept_pods(drop: &ForwardDrop, ranges: &[IpNet]) -> String {
    let rule = |range: &IpNet| {
        let word = if range.addr().is_ipv4() { "ip" } else { "ip6" };
        ["saddr", "daddr"].map(|side| format!("insert rule {drop} {word} {side} {range} accept"))
    };
    let seen = ranges.iter().filter(|range| drop.family.sees(range.addr()));
    let rules: Vec<String> = seen.flat_map(rule).collect();
    if rules.is_empty() || rules.len() > MOST_RULES {
        return "accept the pods' ranges in that chain, or end who made it (often Docker or a firewall)"
            .to_owned();
    }
    format!(
        "nft '{}' # and have who made the chain (often Docker or a firewall) do the same",
        rules.join("; ")
    )
}

/// The modes that left their chains.
fn modes(filter: &Filter) -> Vec<&'static str> {
    let has = |chain: &str| filter.chains.contains(chain);
    let mut modes = Vec::new();
    if has("kube-proxy services") || has("kube-proxy service-endpoints-check") {
        modes.push("nftables");
    }
    if has("nat KUBE-SERVICES") {
        modes.push("iptables");
    }
    modes
}

pub(super) fn kube_proxy(facts: &Facts, findings: &mut Findings) {
    let ipvs = facts.links.iter().any(|link| link.name == IPVS_LINK);
    let left = facts.filter.seen().map(modes).unwrap_or_default();
    let mode = match facts.proxy_mode.as_deref() {
        Some(mode) => mode,
        None if ipvs => "ipvs",
        None => left.first().copied().unwrap_or_default(),
    };
    if mode == "ipvs" {
        findings.add(
            Severity::Warning,
            "kube-proxy in mode ipvs puts every Service address on this node: they look like the node's own, and the mode is being given up by Kubernetes",
            if ipvs { format!("link {IPVS_LINK}") } else { "kube-proxy says ipvs".to_owned() },
            "set `mode: nftables` (or iptables) in kube-proxy's configuration, run `kube-proxy --cleanup`, restart it",
        );
    }
    if left.len() > 1 {
        findings.add(
            Severity::Warning,
            "rules of two modes of kube-proxy translate Services, one of them out of date",
            format!("chains of the modes {}", list(&left)),
            "run `kube-proxy --cleanup` on this node, then restart kube-proxy",
        );
    }
    let in_cluster = facts.processes.contains("kubelet");
    if in_cluster && mode.is_empty() && !facts.processes.contains("kube-proxy") {
        findings.add(
            Severity::Warning,
            "nobody translates Service addresses: pods reach each other, but no Service",
            "a kubelet runs; there is no kube-proxy, nor rules of one",
            "run kube-proxy on this node (mode nftables or iptables), or what stands for it",
        );
    }
}

pub(super) fn cni(facts: &Facts, findings: &mut Findings) {
    let on_node = facts.agent.seen().is_some_and(|agent| agent.on_node);
    let files = match &facts.cni {
        Looked::Seen(files) => files,
        Looked::Forbidden(reason) => return findings.unknown("the folder of CNI configurations", reason),
        Looked::Absent(_) if !on_node => return,
        Looked::Absent(reason) => {
            return findings.add(
                Severity::Note,
                "the container runtime has no CNI configuration here",
                &**reason,
                "if this is a node of Kubernetes, start the agent with --cni-conf-dir, and name the same folder here",
            );
        }
    };
    let is_ours = |plugins: &[String]| plugins.first().is_some_and(|first| first == PLUGIN);
    let ours = files.iter().position(|file| is_ours(&file.plugins));
    if let Some(first) = files.first()
        && ours.is_some_and(|ours| ours > 0)
    {
        findings.add(
            Severity::Error,
            "the container runtime gives pods to another plugin, not to Muslin",
            format!("{} comes before {FILE_NAME}; it calls {}", first.path.display(), list(&first.plugins)),
            format!(
                "remove {}, or what installs it; then restart the pods that it made",
                first.path.display()
            ),
        );
    } else if let (None, Some(first)) = (ours, files.first()) {
        findings.add(
            if on_node { Severity::Error } else { Severity::Note },
            "another plugin makes the network of this node's pods",
            format!("{} calls {}; there is no {FILE_NAME}", first.path.display(), list(&first.plugins)),
            "remove it before Muslin is installed; `muslin status` says why the agent has not written its own",
        );
    } else if ours == Some(0) {
        for other in &files[1..] {
            let name = other.path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
            findings.add(
                Severity::Note,
                "a configuration of another plugin lies beside ours, and would be used if ours went",
                format!("{} calls {}", other.path.display(), list(&other.plugins)),
                format!("remove {name} if nobody needs it"),
            );
        }
        let wanted = &files[0].plugins;
        if let Some(plugins) = facts.cni_plugins.seen() {
            for missing in wanted.iter().filter(|plugin| !plugins.contains(*plugin)) {
                findings.add(
                    Severity::Error,
                    format!("no pod can start: the plugin {missing} is not there"),
                    format!("{} calls it", files[0].path.display()),
                    "`muslin cni install` for muslin-cni; for others, the package of CNI plugins",
                );
            }
        }
    }
}

pub(super) fn agent(facts: &Facts, findings: &mut Findings) {
    match &facts.agent {
        Looked::Seen(agent) => {
            let own = env!("CARGO_PKG_VERSION");
            if agent.version != own {
                findings.add(
                    Severity::Note,
                    "the agent is of another version than this program",
                    format!("the agent is {}, this is {own}", agent.version),
                    "use the `muslin` that the agent runs",
                );
            }
            for problem in &agent.problems {
                findings.add(Severity::Error, &**problem, "the agent says so (`muslin status`)", "");
            }
        }
        Looked::Forbidden(reason) => findings.unknown("what the agent says", reason),
        Looked::Absent(reason) => {
            findings.add(
                Severity::Note,
                "no agent answers; what follows from a plan and from peers was not looked at",
                &**reason,
                "start `muslin agent` or `muslin speaker`, or name its socket with --socket",
            );
        }
    }
}
