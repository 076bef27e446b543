use super::*;

const RACK: &str = r"
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec:
  clusterCIDRs: [10.244.0.0/16]
  serviceClusterIPs: [{cidr: 10.96.0.0/16}]
  import: {cidrs: [192.168.0.0/16], defaultRoute: Accept}
  originate: [{cidr: 203.0.113.0/24}]
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: 65000, password: {secretKeyRef: {name: rack}}}
---
apiVersion: v1
kind: Secret
metadata: {name: rack, namespace: muslin-system}
stringData: {password: hush}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
spec: {podCIDRs: [10.244.2.0/26]}
status: {addresses: [{type: InternalIP, address: 172.30.2.12}]}
";

fn state(more: &str) -> ClusterState {
    let state = ClusterState::from_manifest("rack.yaml", &format!("{RACK}{more}"));
    assert!(state.problems.is_empty(), "{:?}", state.problems);
    state
}

fn planned(state: &ClusterState) -> RouterPlan {
    router_plan(state, &RouterRequest::default()).unwrap()
}

fn texts(ranges: &[PrefixRange]) -> Vec<String> {
    ranges.iter().map(ToString::to_string).collect()
}

#[test]
fn nodes_are_met_on_their_links_with_what_they_may_announce_and_want_to_hear() {
    let plan = planned(&state(""));
    assert_eq!((plan.asn, plan.router_id), (Asn(65000), Ipv4Addr::new(172, 30, 1, 1)));
    let [group] = plan.groups.as_slice() else { panic!("{:?}", plan.groups) };
    let links = ["172.30.1.0/24", "172.30.2.0/24"].map(|link| link.parse().unwrap());
    assert_eq!(group.members, Members::Ranges(links.to_vec()));
    assert_eq!((group.session.asn, group.session.internal, group.nodes.len()), (Asn(64512), false, 2));
    assert_eq!(texts(&plan.accept), ["10.244.0.0/16 24-26", "10.96.0.0/16 16-32", "203.0.113.0/24 24-24"]);
    assert_eq!(texts(&plan.tell), ["10.244.0.0/16 24-26", "192.168.0.0/16 16-32"]);
    assert!(plan.default_route);
}

#[test]
fn exactly_means_nodes_and_prefixes_one_by_one() {
    let request = RouterRequest { exact: true, ..RouterRequest::default() };
    let plan = router_plan(&state(""), &request).unwrap();
    let each =
        vec![("n1".into(), "172.30.1.11".parse().unwrap()), ("n2".into(), "172.30.2.12".parse().unwrap())];
    assert_eq!(plan.groups[0].members, Members::Each(each));
    let exact = ["10.244.1.0/24 24-24", "10.244.2.0/26 26-26", "10.96.0.0/16 16-16", "203.0.113.0/24 24-24"];
    assert_eq!(texts(&plan.accept), exact);
}

#[test]
fn a_password_does_not_leave_the_cluster_unless_it_is_asked_for() {
    let secret = |secrets| {
        let request = RouterRequest { secrets, ..RouterRequest::default() };
        router_plan(&state(""), &request).unwrap().groups[0].session.password.clone().unwrap().0
    };
    assert_eq!(&*secret(Secrets::Hidden), PLACEHOLDER.as_bytes());
    assert_eq!(&*secret(Secrets::Shown), b"hush");
}

#[test]
fn nodes_of_different_ases_on_one_link_are_neighbours_by_name() {
    let own = "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {name: node.n3}\nspec: {asn: 64999}\n\
               ---\napiVersion: v1\nkind: Node\nmetadata: {name: n3}\nspec: {podCIDRs: [10.244.3.0/24]}\n\
               status: {addresses: [{type: InternalIP, address: 172.30.1.13}]}\n";
    let plan = planned(&state(own));
    let asns: Vec<_> = plan.groups.iter().map(|group| group.session.asn).collect();
    assert_eq!(asns, [Asn(64512), Asn(64999)]);
    assert!(plan.groups.iter().all(|group| matches!(group.members, Members::Each(_))), "{:?}", plan.groups);
}

#[test]
fn what_the_state_does_not_say_is_asked_for_by_name() {
    let error =
        |more: &str, request: &RouterRequest| router_plan(&state(more), request).unwrap_err().to_string();
    let peers = |names: &[&str]| RouterRequest {
        peers: names.iter().map(|name| (*name).to_owned()).collect(),
        ..RouterRequest::default()
    };
    assert_eq!(error("", &peers(&["tro"])), "there is no BGPPeer tro; did you mean tor?");
    let other = "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {name: spine}\nspec: {peerAddress: 172.30.1.9, peerASN: external}\n";
    assert!(error(other, &peers(&[])).contains("--peer NAME"));
    assert_eq!(
        error(other, &peers(&["spine"])),
        "BGPPeer spine says `peerASN: external`: write the router's AS with --asn"
    );
    let signed = "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {name: core}\nspec: {peerAddress: 172.30.1.8, peerASN: 65000, tcpAO: {secretKeyRef: {name: rack}}}\n";
    assert!(
        error(signed, &peers(&["core"])).starts_with("BGPPeer core .spec.tcpAO: no router's configuration")
    );
    let listen = RouterRequest { listen: vec!["172.30.1.0/24".parse().unwrap()], ..RouterRequest::default() };
    assert_eq!(
        error("", &listen),
        "node n2 connects from 172.30.2.12, which is in none of --listen 172.30.1.0/24"
    );
}
