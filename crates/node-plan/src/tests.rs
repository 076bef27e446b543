//! Plans of examples and of tricky cases, and what holds for all plans.

mod advertisements;
mod blocks;
mod bmp;
mod documents;
mod examples;
mod inquiry;
mod mesh;
mod peers;
mod policies;
mod properties;
mod reflectors;
mod services;
mod standalone;
mod unnumbered;

use ipnet::IpNet;
use muslin_cluster::ClusterState;

use crate::{ConnectedPrefix, KernelFacts, LocalAddress, NodePlan, plan};

/// The state of a manifest that has no faults.
fn state(manifest: &str) -> ClusterState {
    let state = ClusterState::from_manifest("test.yaml", manifest);
    assert_eq!(state.problems, []);
    state
}

/// A node as a manifest, with documents of its own before and after it.
fn node(name: &str, addresses: &[&str], pod_cidrs: &[&str]) -> String {
    let addresses: Vec<_> =
        addresses.iter().map(|address| format!("{{type: InternalIP, address: {address:?}}}")).collect();
    let pod_cidrs: Vec<_> = pod_cidrs.iter().map(|cidr| format!("{cidr:?}")).collect();
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}}}}}\n\
         spec: {{podCIDRs: [{}]}}\nstatus: {{addresses: [{}]}}\n",
        pod_cidrs.join(", "),
        addresses.join(", "),
    )
}

/// One of Muslin's resources as a manifest.
fn resource(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: muslin.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

/// The facts of a machine whose uplink has these addresses.
fn uplink(addresses: &[&str]) -> KernelFacts {
    let interface = "uplink0";
    let networks = addresses.iter().map(|text| text.parse::<IpNet>().unwrap());
    KernelFacts {
        addresses: networks
            .clone()
            .map(|network| LocalAddress { address: network.addr(), interface: interface.into() })
            .collect(),
        connected: networks
            .map(|network| ConnectedPrefix { prefix: network.trunc(), interface: interface.into() })
            .collect(),
        default_gateways: Vec::new(),
        uplink_mtu: Some(1500),
        ..KernelFacts::default()
    }
}

fn plan_of(manifest: &str, facts: &KernelFacts, node: &str) -> NodePlan {
    plan(&state(manifest), facts, node)
}

fn originated(plan: &NodePlan) -> Vec<String> {
    plan.speaker.originated.iter().map(|route| route.prefix.to_string()).collect()
}

fn problems(plan: &NodePlan) -> Vec<String> {
    plan.problems.iter().map(ToString::to_string).collect()
}
