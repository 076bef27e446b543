//! The product on a real Kubernetes cluster: one cluster for all tests of a run, whose order is that of the list.
//!
//! `cargo xtask test --tier kubernetes` says by the environment where the programs and the image are, which wiring, router,
//! families and kube-proxy mode it is to be, and which of the tests.

#![allow(clippy::print_stderr, reason = "what was counted is said beside the verdict")]

mod advertise;
mod alone;
mod builds;
mod cluster;
mod disturb;
mod dns;
mod e2e;
mod faults;
mod gate;
mod hostile;
mod http;
mod ingress;
mod join;
mod leave;
mod ledger;
mod limits;
mod manifests;
mod memory;
mod mesh;
mod platforms;
mod pods;
mod power;
mod reflectors;
mod release;
mod remains;
mod renumber;
mod services;
mod settings;
mod status;
mod trace;
mod traffic;
mod truth;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::cluster::Cluster;
use crate::trace::Trace;

type Test = fn(&Cluster) -> anyhow::Result<()>;

/// Those whose outcome another router or kube-proxy mode could change.
const PACKETS: &[(&str, Test)] = &[
    ("kube_proxy_works_in_the_mode_that_was_asked_for", services::proxy_mode),
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
    (
        "a_local_load_balancer_ip_on_all_nodes_is_reached_over_each_with_the_source_kept",
        services::local_everywhere,
    ),
    ("external_and_cluster_ips_are_reached_from_outside", services::from_outside),
    ("session_affinity_sticks_to_one_endpoint", services::affinity),
    ("names_of_services_and_pods_resolve", dns::names),
    ("limits_are_kept_by_the_bandwidth_plugin_behind_ours", limits::bandwidth),
    ("an_ingress_controller_routes_by_host_and_path", ingress::by_host_and_path),
    ("fault_43_a_service_is_withdrawn_before_its_last_local_endpoint_ends", faults::last_local_endpoint),
    ("the_only_local_endpoint_moves_to_another_node_without_a_missing_route", leave::only_endpoint_moves),
    ("fault_01_a_killed_agent_loses_no_packet", disturb::kill_agent),
    ("fault_02_a_rolled_daemon_set_loses_no_packet", disturb::roll),
];

/// Those that are run once. What is left of the cluster is less from one to the next.
const LIFE: &[(&str, Test)] = &[
    ("kubernetes_own_tests_of_the_core_pass", e2e::own_tests),
    ("a_route_advertisement_announces_a_range_with_its_communities", advertise::aggregate),
    ("a_churn_of_pods_leaves_no_address_behind", pods::churn),
    ("the_api_shows_how_the_agents_are_and_when_a_session_goes_and_comes", truth::live),
    ("a_filter_that_is_missing_is_told_and_costs_no_session_and_no_other_packet", truth::missing_filter),
    ("fault_21_packets_to_unused_addresses_of_a_block_do_not_loop", faults::unused_addresses),
    ("fault_47_a_hostile_pod_opens_no_session_and_is_nobody_else", hostile::hostile_pod),
    ("fault_07_flushed_routes_are_back_within_a_second", faults::flushed_routes),
    ("fault_22_pods_come_and_go_while_the_api_server_is_away", disturb::api_server_away),
    ("fault_24_a_store_that_dies_among_new_pods_gives_no_address_twice", faults::store_dies),
    ("fault_04_a_node_is_drained_and_rebooted_without_an_unanswered_question", leave::drained_and_rebooted),
    ("fault_05_and_27_a_node_comes_back_after_a_power_failure", power::power_failure),
    ("fault_32_a_node_deleted_while_alive_is_not_routed_to_until_it_is_back", faults::node_deleted_alive),
    (
        "a_new_machine_in_a_nodes_place_takes_no_pod_before_its_routes_are_there_and_its_block_is_announced",
        gate::new_machine,
    ),
    ("a_node_that_moves_to_other_addresses_is_found_there_with_its_pods", renumber::moves_and_returns),
    ("a_fourth_node_joins_and_leaves_for_good", join::joins_and_leaves),
    ("a_release_is_upgraded_and_rolled_back_without_losing_a_packet", release::upgrade_and_rollback),
    ("fault_41_an_agent_lives_in_64_mib_and_one_ended_for_more_loses_no_packet", memory::little_memory),
    ("what_the_chart_makes_for_each_platform_is_taken_by_the_api_server", platforms::taken_by_the_api_server),
    (
        "fault_46_an_uninstalled_release_leaves_nodes_clean_and_plain_manifests_bring_it_back",
        release::uninstall_and_return,
    ),
    ("what_plain_manifests_installed_they_take_away", manifests::uninstalled),
];

/// Those of a cluster that was installed with another build than the lab's own.
const BUILDS: &[(&str, Test)] = &[(
    "an_upgrade_to_another_build_loses_no_packet_and_its_plugin_works_beside_the_old_agent",
    builds::upgrade,
)];

/// Those of nodes on one link with a router that leads outside, instead of the first: what such a wiring, or families,
/// could change, and what there is with it alone.
const MESH: &[(&str, Test)] = &[
    ("addresses_are_of_the_families_that_were_asked_for_alone", mesh::families),
    ("nodes_on_one_link_are_a_mesh_without_any_resource", mesh::without_resources),
    ("pods_across_nodes_see_each_others_addresses_with_no_router_between", mesh::straight),
    ("nothing_but_bgp_told_the_kernels_where_pods_are", pods::routes_are_learned),
    ("pods_reach_outside_with_their_nodes_address", pods::egress),
    ("pods_are_reached_from_outside", pods::from_outside),
    ("a_cluster_ip_reaches_every_endpoint_from_pods_and_hosts", services::cluster_ip),
    ("a_load_balancer_ip_is_reached_from_outside_over_all_nodes", services::load_balancer_cluster),
    ("a_local_load_balancer_ip_keeps_the_source_address", services::load_balancer_local),
    ("names_of_services_and_pods_resolve", dns::names),
    ("a_fifth_node_joins_the_mesh_and_leaves_for_good_without_a_lost_packet", join::joins_mesh_and_leaves),
    ("fault_01_a_killed_agent_of_a_mesh_loses_no_packet", mesh::kill_agent),
    ("nodes_labelled_as_reflectors_take_the_mesh_over_without_a_lost_packet", reflectors::take_over),
    ("fault_44_reflectors_killed_at_once_lose_no_packet", reflectors::killed),
    ("the_mesh_is_back_without_a_lost_packet_when_the_labels_go", reflectors::give_back),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let before = Trace::before();
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
    let lists: &[&[(&str, Test)]] = match std::env::var("MUSLIN_TESTS").as_deref() {
        Ok("packets") => &[PACKETS],
        Ok("builds") => &[PACKETS, BUILDS],
        Ok("mesh") => &[MESH],
        Ok(_) | Err(_) => &[PACKETS, LIFE],
    };
    let mut trials: Vec<Trial> = lists.iter().copied().flatten().map(trial).collect();
    // Last: nobody has the cluster after it. Without it, the lab ends with the last of the others.
    trials.push(Trial::test("a_lab_that_ends_or_never_gets_up_leaves_nothing", move || {
        let Some(cluster) = cluster else { return Ok(()) };
        let looked = before.and_then(|before| trace::nothing_is_left(&before, cluster));
        looked.map_err(|error| format!("{error:#}").into())
    }));
    let conclusion = libtest_mimic::run(&Arguments { test_threads: Some(1), ..arguments }, trials);
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
