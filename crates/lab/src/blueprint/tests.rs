use super::*;
use crate::options::RouterKind;

fn blueprint(topology: Topology) -> Blueprint {
    Blueprint::new(&LabOptions { topology, router: RouterKind::Muslin, ..LabOptions::default() })
}

fn gateways(routes: &[Expected], prefix: &str) -> Vec<String> {
    let prefix: IpNet = prefix.parse().unwrap();
    let route = routes.iter().find(|route| route.prefix == prefix).expect("the route is expected");
    route.gateways.iter().map(ToString::to_string).collect()
}

#[test]
fn behind_one_router_everything_goes_through_it() {
    let lab = blueprint(Topology::Tor);
    assert_eq!(gateways(&lab.expected_on_node(0), "10.244.2.0/24"), ["172.30.1.1"]);
    assert_eq!(gateways(&lab.expected_on_node(0), "fd44:0:0:3::/64"), ["fd30:0:0:1::1"]);
    assert_eq!(gateways(&lab.expected_on_router(0), "10.244.2.0/24"), ["172.30.2.2"]);
    assert_eq!(lab.hops(Place::Node(0), Place::Node(1)), 3);
}

#[test]
fn behind_two_routers_a_node_uses_both() {
    let lab = blueprint(Topology::DualTor);
    assert_eq!(gateways(&lab.expected_on_node(0), "10.244.2.0/24"), ["172.30.1.1", "172.31.1.1"]);
    assert_eq!(gateways(&lab.expected_on_router(1), "10.244.2.0/24"), ["172.31.2.2"]);
    assert_eq!(lab.routers[1].outside_address.v4, Ipv4Addr::new(203, 0, 113, 3));
}

#[test]
fn on_one_link_nodes_go_straight_to_each_other() {
    let lab = blueprint(Topology::Mesh);
    assert_eq!(gateways(&lab.expected_on_node(0), "10.244.2.0/24"), ["172.30.0.12"]);
    assert_eq!(gateways(&lab.expected_on_router(0), "fd44:0:0:1::/64"), ["fd30::b"]);
    assert_eq!(lab.hops(Place::Node(0), Place::Node(1)), 2);
}

#[test]
fn with_reflectors_nodes_go_straight_to_each_other_too() {
    let lab = blueprint(Topology::Reflector);
    assert_eq!(gateways(&lab.expected_on_node(0), "10.244.2.0/24"), ["172.30.0.12"]);
    assert_eq!(lab.hops(Place::Node(0), Place::Node(1)), 2);
    let addresses: Vec<_> = lab.reflectors.iter().map(|part| part.address.v4.to_string()).collect();
    assert_eq!(addresses, ["172.30.0.2", "172.30.0.3"]);
}

#[test]
fn the_service_range_leads_to_all_nodes_but_its_host_routes_to_those_with_endpoints() {
    let lab = blueprint(Topology::Tor);
    assert_eq!(
        gateways(&lab.expected_on_router(0), "10.96.0.0/16"),
        ["172.30.1.2", "172.30.2.2", "172.30.3.2"]
    );
    let service = lab.expected_for_service(0);
    assert_eq!(gateways(&service, "198.51.100.10/32"), ["172.30.1.2", "172.30.2.2"]);
    assert_eq!(gateways(&service, "2001:db8:2::10/128"), ["fd30:0:0:1::2", "fd30:0:0:2::2"]);
}

#[test]
fn without_addresses_both_families_go_over_link_local_ones() {
    let lab = blueprint(Topology::Unnumbered);
    for prefix in ["10.244.2.0/24", "fd44:0:0:2::/64"] {
        assert_eq!(gateways(&lab.expected_on_node(0), prefix), ["fe80::1:1", "fe80::1:2"]);
        assert_eq!(gateways(&lab.expected_on_router(1), prefix), ["fe80::2:12"]);
    }
    assert_eq!(lab.nodes[2].address().v4.to_string(), "10.255.0.3");
}
