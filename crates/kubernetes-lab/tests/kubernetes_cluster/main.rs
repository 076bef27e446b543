//! The product on a real Kubernetes cluster: one cluster for all tests of a run, whose order is that of the list.
//!
//! `cargo xtask test --tier kubernetes` says by the environment where the programs and the image are, and which router
//! and kube-proxy mode it is to be.

#![allow(clippy::print_stderr, reason = "what was counted is said beside the verdict")]

mod cluster;
mod disturb;
mod dns;
mod http;
mod pods;
mod services;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::cluster::Cluster;

type Test = fn(&Cluster) -> anyhow::Result<()>;

/// Those that disturb the cluster come last.
const TESTS: &[(&str, Test)] = &[
    ("containers_of_one_pod_meet_on_localhost", pods::localhost),
    ("pods_on_one_node_see_each_others_addresses", pods::one_node),
    ("pods_across_nodes_see_each_others_addresses_through_the_router", pods::across_nodes),
    ("nothing_but_bgp_told_the_kernels_where_pods_are", pods::routes_are_learned),
    ("large_requests_pass_whole", pods::large_requests),
    ("pods_reach_outside_with_their_nodes_address", pods::egress),
    ("host_network_pods_and_kubelet_probes_reach_pods", pods::host_network),
    ("a_host_port_leads_to_its_pod", pods::host_port),
    ("a_cluster_ip_reaches_every_endpoint_from_pods_and_hosts", services::cluster_ip),
    ("a_node_port_is_open_on_every_node", services::node_port),
    ("a_load_balancer_ip_is_reached_from_outside_over_all_nodes", services::load_balancer_cluster),
    ("a_local_load_balancer_ip_keeps_the_source_address", services::load_balancer_local),
    ("session_affinity_sticks_to_one_endpoint", services::affinity),
    ("names_of_services_and_pods_resolve", dns::names),
    ("a_churn_of_pods_leaves_no_address_behind", pods::churn),
    ("a_killed_agent_loses_no_packet", disturb::kill_agent),
    ("a_rolled_daemon_set_loses_no_packet", disturb::roll),
    ("pods_come_and_go_while_the_api_server_is_away", disturb::api_server_away),
    ("a_node_comes_back_after_a_power_failure", disturb::power_failure),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cluster = if arguments.list { None } else { Some(Cluster::start()) };
    let cluster = match cluster.transpose() {
        Ok(cluster) => cluster.map(Arc::new),
        Err(error) => {
            eprintln!("the cluster did not come up: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |(name, test): &(&str, Test)| {
        let (cluster, test) = (cluster.clone(), *test);
        Trial::test(*name, move || {
            let Some(cluster) = cluster else { return Ok(()) };
            test(&cluster).map_err(|error| format!("{error:#}").into())
        })
    };
    let trials = TESTS.iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&Arguments { test_threads: Some(1), ..arguments }, trials);
    // Dropped here, since an exit runs no destructors.
    drop(cluster);
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
