//! Follows a packet from hop to hop.

use std::net::IpAddr;
use std::path::Path;

use muslin_bgp_speaker::rib::RouteState as Standing;
use muslin_netns::Namespace;
use muslin_pod_network::{HOST_INTERFACE_PREFIX, POD_ROUTE_PROTOCOL};
use muslin_route_programmer::{Decision, Link, LookupError, Packet, link_of, look_up};

use super::place::{is_here, namespace_of};
use super::{Step, Trace};
use crate::api::Explained;
use crate::commands::output::{age, list, route_state};
use crate::path_mtu;

/// Our routes' protocol number.
const LEARNED: u8 = 77;
/// Most routers on the way that are asked for.
const MOST_HOPS: u8 = 12;

/// Follows the packet as far as it can be seen from this node.
pub(super) fn walk(
    root: &Path,
    from: IpAddr,
    to: IpAddr,
    explained: Option<&Explained>,
) -> anyhow::Result<Trace> {
    let mut trace = Trace { from, to, steps: Vec::new(), broken: Vec::new() };
    let source = if is_here(from) { None } else { namespace_of(root, from) };
    let begins_here = is_here(from);
    if !begins_here && source.is_none() {
        trace.broken.push(format!(
            "{from} was not found on this node: run the trace on the node of that pod, as root, in the node's network and process namespace"
        ));
        return Ok(trace);
    }
    let mut expected = None;
    if let Some(pod) = &source {
        let packet = Packet { destination: to, source: Some(from), input: None };
        let (decision, link) = pod.run(|| {
            let decision = look_up(packet);
            let link = decision.as_ref().ok().and_then(|decision| link_of(decision.interface));
            (decision, link)
        })?;
        expected = link.as_ref().map(|link| link.mtu);
        let found = match &decision {
            Ok(decision) => vec![words(decision, link.as_ref())],
            Err(error) => {
                trace.broken.push(format!("in the pod: {}", dropped(to, error)));
                vec![dropped(to, error)]
            }
        };
        trace.steps.push(Step { place: format!("pod {from}"), found });
    }
    // The route back to the pod names the interface that its packets come in by.
    let back = Packet { destination: from, source: None, input: None };
    let input = source.is_some().then(|| look_up(back).ok().map(|decision| decision.interface)).flatten();
    let decision = look_up(Packet { destination: to, source: Some(from), input });
    let link = decision.as_ref().ok().and_then(|decision| link_of(decision.interface));
    let mut found = match &decision {
        Ok(decision) => vec![words(decision, link.as_ref())],
        Err(error) => {
            trace.broken.push(format!("on this node: {}", dropped(to, error)));
            vec![dropped(to, error)]
        }
    };
    let leaves = match (&decision, &link) {
        (Ok(decision), Some(link)) => {
            expected = Some(expected.unwrap_or(link.mtu).min(decision.mtu.unwrap_or(link.mtu)).min(link.mtu));
            !decision.local && !link.name.starts_with(HOST_INTERFACE_PREFIX)
        }
        _ => false,
    };
    if leaves || decision.is_err() {
        found.extend(explained.map(bgp).unwrap_or_default());
    }
    trace.steps.push(Step { place: "this node".to_owned(), found });
    let target = if leaves || is_here(to) { None } else { namespace_of(root, to) };
    if let Some(pod) = &target {
        answer(&mut trace, pod, from, to)?;
    }
    let asked = match &source {
        Some(pod) => pod.run(|| measure(to, expected.unwrap_or(1_280)))?,
        None => measure(to, expected.unwrap_or(1_280)),
    };
    packets(&mut trace, asked, expected);
    Ok(trace)
}

/// The way back, in the pod that is to answer.
fn answer(trace: &mut Trace, pod: &Namespace, from: IpAddr, to: IpAddr) -> anyhow::Result<()> {
    let (decision, link) = pod.run(|| {
        let decision = look_up(Packet { destination: from, source: Some(to), input: None });
        let link = decision.as_ref().ok().and_then(|decision| link_of(decision.interface));
        (decision, link)
    })?;
    let found = match &decision {
        Ok(decision) => format!("answers {}", words(decision, link.as_ref())),
        Err(error) => {
            trace.broken.push(format!("the way back, in the pod {to}: {}", dropped(from, error)));
            dropped(from, error)
        }
    };
    trace.steps.push(Step { place: format!("pod {to}"), found: vec![found] });
    Ok(())
}

/// What packets showed.
struct Asked {
    /// Who answered with which lifetime; nothing for those who kept silent.
    hops: Vec<Option<IpAddr>>,
    /// Largest packet that the destination answered.
    answered: Option<u32>,
    /// Why nobody could ask.
    failed: Option<String>,
}

fn measure(to: IpAddr, limit: u32) -> Asked {
    let hops = path_mtu::hops(to, MOST_HOPS);
    let answered = path_mtu::largest_answered(to, 0, limit);
    let failed = hops.as_ref().err().or(answered.as_ref().err()).map(ToString::to_string);
    Asked { hops: hops.unwrap_or_default(), answered: answered.unwrap_or_default(), failed }
}

fn packets(trace: &mut Trace, asked: Asked, expected: Option<u32>) {
    let to = trace.to;
    let mut found = Vec::new();
    if let Some(failed) = asked.failed {
        found.push(format!("no packet could be sent: {failed} (run as root)"));
    } else {
        let hops = asked.hops.iter().map(|hop| hop.map_or_else(|| "*".to_owned(), |hop| hop.to_string()));
        found.push(format!("hops that answered: {}", list(hops)));
        match (asked.answered, expected) {
            (Some(answered), Some(expected)) if answered < expected => {
                found.push(format!("{to} answers packets of {answered} octets, not of {expected}"));
                trace.broken.push(format!(
                    "packets larger than {answered} octets vanish; pods and links here send up to {expected}: raise the MTU on the way, or lower it here"
                ));
            }
            (Some(answered), _) => found.push(format!("{to} answers packets of {answered} octets")),
            (None, _) => {
                let last = asked.hops.iter().rev().flatten().next();
                let after = last.map_or_else(
                    || "nobody on the way answers either".to_owned(),
                    |last| format!("the last that answers is {last}: look there"),
                );
                found.push(format!("{to} answers no echo request"));
                if trace.broken.is_empty() {
                    trace.broken.push(format!(
                        "{to} does not answer (it may be down, or its firewall may drop echo requests); {after}"
                    ));
                }
            }
        }
    }
    trace.steps.push(Step { place: "packets".to_owned(), found });
}

fn words(decision: &Decision, link: Option<&Link>) -> String {
    let by = decision.route.map_or_else(String::new, |(prefix, protocol)| {
        let whose = match protocol {
            LEARNED => " (learned by BGP)",
            POD_ROUTE_PROTOCOL => " (a pod of this node)",
            _ => "",
        };
        format!(", by {prefix} of protocol {protocol}{whose}")
    });
    if decision.local {
        return format!("it is this host's own address{by}");
    }
    let dev = link.map_or_else(|| decision.interface.to_string(), |link| link.name.clone());
    let way = match decision.gateway {
        Some(gateway) => format!("via {gateway} dev {dev}"),
        None => format!("dev {dev}"),
    };
    let mtu = link
        .map_or_else(String::new, |link| format!(", MTU {}", decision.mtu.unwrap_or(link.mtu).min(link.mtu)));
    format!("{way}{mtu}{by}")
}

/// Why the kernel drops the packet, in words for the errors that routing has.
fn dropped(to: IpAddr, error: &LookupError) -> String {
    let LookupError::Dropped(refusal) = error else { return error.to_string() };
    let error = std::io::Error::from_raw_os_error(refusal.errno);
    match rustix::io::Errno::from_raw_os_error(refusal.errno) {
        rustix::io::Errno::XDEV => format!(
            "dropped by reverse-path filtering: the route back to the source leaves by another interface than the packet came in by; see `muslin doctor` ({error})"
        ),
        rustix::io::Errno::NETUNREACH => format!("there is no route to {to} ({error})"),
        rustix::io::Errno::INVAL => {
            format!("the route to {to} is a blackhole: nobody has the address ({error})")
        }
        rustix::io::Errno::HOSTUNREACH => {
            format!("{to} is unreachable: there is no route, or the interface does not forward ({error})")
        }
        rustix::io::Errno::ACCESS => format!("a route prohibits packets to {to} ({error})"),
        _ => format!("the kernel drops packets to {to}: {refusal}"),
    }
}

/// What BGP says of the destination.
fn bgp(explained: &Explained) -> Vec<String> {
    let best = explained.speaker.as_ref().and_then(|known| {
        let best = known.paths.iter().find(|path| path.route.state == Standing::Best)?;
        let from = best.route.peer.as_deref().unwrap_or("this node itself");
        let since = age(std::time::Duration::from_secs(best.route.age.into()));
        let path = if best.route.as_path.is_empty() { "-" } else { &best.route.as_path };
        let kept = if best.route.stale { ", stale: kept from a session that was lost" } else { "" };
        Some(format!("BGP: {} from {from}, AS path {path}, for {since}{kept} [{}]", known.prefix, best.cause))
    });
    let kernel = explained.kernel.as_ref().map(|report| format!("kernel: {}", route_state(&report.state)));
    let objects = explained.objects.iter().map(|object| format!("object: {object}"));
    let missing = explained.missing.iter().map(|missing| format!("BGP: {missing}"));
    objects.chain(best).chain(kernel).chain(missing).collect()
}
