use super::*;

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: NAME, labels: {rack: a}}\n";

fn object(text: &str) -> AnyObject {
    let state = ClusterState::from_manifest("", text);
    assert_eq!(state.problems, [], "{text}");
    let of = Kind::ALL
        .iter()
        .find_map(|kind| state.names(*kind).into_iter().next().map(|name| ObjectRef::new(*kind, name)));
    state.find(&of.unwrap()).unwrap()
}

fn item(name: &str, text: &str) -> Item {
    Item { name: name.into(), object: Ok(object(text)) }
}

fn node(name: &str) -> Item {
    item(name, &NODE.replace("NAME", name))
}

fn peer(name: &str, rest: &str) -> Item {
    let text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: {name}}}\nspec: {{peerAddress: 10.0.0.1, peerASN: 65000{rest}}}"
    );
    item(name, &text)
}

const KINDS: [Kind; 2] = [Kind::Node, Kind::BgpPeer];
const NODES: Watched = Watched::All(Kind::Node);
const PEERS: Watched = Watched::All(Kind::BgpPeer);

struct Cluster {
    index: Index,
    now: Instant,
}

impl Cluster {
    fn empty() -> Self {
        Self { index: Index::new("n1", KINDS), now: Instant::now() }
    }

    /// A cluster of these nodes and peers, whose state was taken.
    fn of(nodes: &[&str], peers: Vec<Item>) -> Self {
        let mut cluster = Self::empty();
        cluster.list(&NODES, nodes.iter().map(|name| node(name)));
        cluster.list(&PEERS, peers);
        cluster
    }

    fn tell(&mut self, watched: &Watched, told: Told) {
        self.index.handle(self.now, watched, told);
    }

    fn list(&mut self, watched: &Watched, items: impl IntoIterator<Item = Item>) {
        self.tell(watched, Told::ListBegins);
        for item in items {
            self.tell(watched, Told::Listed(item));
        }
        self.tell(watched, Told::ListEnds);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        while let Some(due) = self.index.poll_timeout().filter(|due| *due <= self.now) {
            self.index.handle_timeout(due);
        }
    }

    fn state(&mut self) -> ClusterState {
        self.index.take_state().expect("a new state")
    }

    fn nodes(&mut self) -> Vec<String> {
        self.state().nodes.keys().map(ToString::to_string).collect()
    }
}

#[test]
fn nothing_is_published_until_every_kind_was_listed() {
    let mut cluster = Cluster::empty();
    cluster.list(&NODES, [node("n1")]);
    assert_eq!(cluster.index.take_state(), None);
    cluster.tell(&PEERS, Told::ListBegins);
    cluster.tell(&PEERS, Told::Listed(peer("tor", "")));
    assert_eq!(cluster.index.take_state(), None);
    cluster.tell(&PEERS, Told::ListEnds);
    let state = cluster.state();
    assert_eq!((state.nodes.len(), state.bgp_peers.len()), (1, 1));
}

#[test]
fn fault_22_an_earlier_state_is_published_before_the_api_server_answers() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    let earlier = cluster.state();
    let mut index = Index::new("n1", KINDS);
    index.restore(earlier);
    assert_eq!(index.take_state().unwrap().bgp_peers.len(), 1);
    let away = Failure::Broken("connection refused".to_owned());
    index.handle(cluster.now, &NODES, Told::Failed(away));
    assert_eq!(index.take_state(), None);
}

#[test]
fn fault_22_a_watch_that_broke_changes_nothing_but_is_said_when_it_lasts() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    let before = cluster.state();
    for watched in [&NODES, &PEERS] {
        cluster.tell(watched, Told::Failed(Failure::Broken("connection refused".to_owned())));
    }
    cluster.wait(Duration::from_secs(9));
    assert_eq!(cluster.index.take_state(), None);
    cluster.wait(Duration::from_secs(2));
    let state = cluster.state();
    assert_eq!((&state.nodes, &state.bgp_peers), (&before.nodes, &before.bgp_peers));
    assert_eq!(
        state.problems[0].to_string(),
        "the watch of nodes, bgppeers: connection refused; see to the API server and the way to it"
    );
    // It goes on where it was: nothing is listed.
    cluster.tell(&NODES, Told::Applied(node("n2")));
    cluster.tell(&PEERS, Told::Applied(peer("tor", "")));
    assert_eq!(cluster.state().problems, []);
}

#[test]
fn a_deletion_that_is_told_counts_at_once() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    cluster.tell(&PEERS, Told::Deleted("tor".into()));
    assert_eq!(cluster.state().bgp_peers.len(), 0);
}

#[test]
fn a_list_without_a_few_of_many_counts_at_once() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3", "n4"], vec![]);
    cluster.list(&NODES, [node("n1"), node("n2")]);
    assert_eq!(cluster.nodes(), ["n1", "n2"]);
}

#[test]
fn fault_23_an_empty_list_deletes_nothing_until_the_time_is_over() {
    let mut cluster = Cluster::of(&["n1", "n2"], vec![peer("tor", "")]);
    cluster.state();
    cluster.list(&NODES, []);
    let state = cluster.state();
    assert_eq!(state.nodes.len(), 2);
    assert_eq!(
        state.problems[0].to_string(),
        "nodes: the API server's list suddenly lacks 2 objects: n1, n2; if they were deleted, nothing: they go 10 minutes after the list; if not, restore them"
    );
    cluster.wait(HOLD / 2);
    // A second empty list confirms nothing, and does not start the time anew either.
    cluster.list(&NODES, []);
    assert_eq!(cluster.nodes().len(), 2);
    cluster.wait(HOLD / 2);
    let state = cluster.state();
    assert_eq!((state.nodes.len(), state.problems.len()), (0, 0));
}

#[test]
fn fault_23_what_comes_back_while_it_is_held_stays() {
    let mut cluster = Cluster::of(&["n1", "n2", "n3", "n4", "n5"], vec![]);
    cluster.list(&NODES, [node("n1")]);
    assert_eq!(cluster.nodes().len(), 5);
    cluster.tell(&NODES, Told::Applied(node("n2")));
    cluster.wait(HOLD);
    assert_eq!(cluster.nodes(), ["n1", "n2"]);
}

#[test]
fn fault_23_a_full_list_ends_the_hold() {
    let mut cluster = Cluster::of(&["n1", "n2"], vec![]);
    cluster.list(&NODES, []);
    cluster.list(&NODES, [node("n1"), node("n2")]);
    assert_eq!(cluster.state().problems, []);
    assert_eq!(cluster.index.poll_timeout(), None);
}

#[test]
fn fault_23_an_earlier_state_is_held_against_an_empty_server() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    let earlier = cluster.state();
    cluster.index = Index::new("n1", KINDS);
    cluster.index.restore(earlier);
    cluster.list(&NODES, []);
    cluster.list(&PEERS, []);
    let state = cluster.state();
    assert_eq!((state.nodes.len(), state.bgp_peers.len(), state.problems.len()), (1, 1, 2));
}

#[test]
fn the_last_good_state_of_a_bad_object_stays_in_force() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    cluster.state();
    let fault = Fault::new(".spec.holdTimer", "there is no such field", "did you mean `holdTime`?");
    for (name, effect) in [("tor", Effect::LastGoodKept), ("new", Effect::Refused)] {
        let bad = Item { name: name.into(), object: Err(vec![fault.clone()]) };
        cluster.tell(&PEERS, Told::Applied(bad.clone()));
        let state = cluster.state();
        let problem = state.problems.iter().find(|problem| problem.object == format!("BGPPeer {name}"));
        assert_eq!(problem.unwrap().effect, effect);
        assert_eq!(state.bgp_peers.len(), 1);
        cluster.tell(&PEERS, Told::Applied(bad));
        assert_eq!(cluster.index.take_state(), None, "the same fault is no news");
    }
    cluster.tell(&PEERS, Told::Applied(peer("tor", "")));
    cluster.tell(&PEERS, Told::Deleted("new".into()));
    assert_eq!(cluster.state().problems, []);
}

#[test]
fn the_same_object_again_is_no_news() {
    let mut cluster = Cluster::of(&["n1"], vec![]);
    cluster.state();
    cluster.tell(&NODES, Told::Applied(node("n1")));
    assert_eq!(cluster.index.take_state(), None);
}

const WITH_PASSWORD: &str = ", password: {secretKeyRef: {name: tor}}";

fn secret_of_tor() -> Watched {
    Watched::One(ObjectRef::new(Kind::Secret, "muslin-system/tor"))
}

fn password(text: &str) -> Item {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: tor, namespace: muslin-system}}\ndata: {{password: {text}}}"
    );
    item("muslin-system/tor", &text)
}

#[test]
fn only_secrets_that_this_nodes_peers_name_are_watched() {
    let elsewhere = format!("{WITH_PASSWORD}, nodeSelector: {{matchLabels: {{rack: b}}}}");
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", &elsewhere)]);
    assert!(!cluster.index.wanted().contains(&secret_of_tor()));
    let here = format!("{WITH_PASSWORD}, nodeSelector: {{matchLabels: {{rack: a}}}}");
    cluster.tell(&PEERS, Told::Applied(peer("tor", &here)));
    assert!(cluster.index.wanted().contains(&secret_of_tor()));
    cluster.list(&secret_of_tor(), [password("c2VzYW1l")]);
    assert_eq!(cluster.state().secrets.len(), 1);
    cluster.tell(&PEERS, Told::Deleted("tor".into()));
    assert_eq!(cluster.state().secrets.len(), 0);
    assert!(!cluster.index.wanted().contains(&secret_of_tor()));
}

#[test]
fn a_new_password_is_published_and_a_lost_one_stays_in_use() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", WITH_PASSWORD)]);
    assert_eq!(cluster.index.take_state(), None, "the password is still looked for");
    cluster.list(&secret_of_tor(), [password("c2VzYW1l")]);
    let first = cluster.state();
    cluster.tell(&secret_of_tor(), Told::Applied(password("bmV3")));
    let second = cluster.state();
    assert_ne!(first.secrets, second.secrets);

    cluster.tell(&secret_of_tor(), Told::Deleted("muslin-system/tor".into()));
    let state = cluster.state();
    assert_eq!(state.secrets, second.secrets);
    assert_eq!(
        state.problems[0].to_string(),
        "Secret muslin-system/tor: it is gone; its last password stays in use; make it again, or take the password out of the peer"
    );
    cluster.tell(&secret_of_tor(), Told::Applied(password("bmV3")));
    assert_eq!(cluster.state().problems, []);
}

#[test]
fn a_secret_that_may_not_be_read_holds_up_nothing_else() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", WITH_PASSWORD)]);
    cluster.tell(&secret_of_tor(), Told::Failed(Failure::Forbidden));
    assert_eq!(cluster.state().bgp_peers.len(), 1);
    cluster.wait(PATIENCE);
    let problem = cluster.state().problems[0].to_string();
    assert!(
        problem.starts_with(
            "the watch of Secret muslin-system/tor: the agent may not read it; name it in the chart"
        ),
        "{problem}"
    );
}

#[test]
fn a_kind_that_the_server_does_not_have_has_no_objects_and_a_forbidden_one_is_waited_for() {
    let mut cluster = Cluster::empty();
    cluster.list(&NODES, [node("n1")]);
    cluster.tell(&PEERS, Told::Failed(Failure::Forbidden));
    assert_eq!(cluster.index.take_state(), None);
    cluster.tell(&PEERS, Told::Failed(Failure::NotServed));
    assert_eq!(cluster.nodes(), ["n1"]);
}

#[test]
fn the_last_of_few_objects_goes_when_the_server_shows_that_it_remembers_this_node() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    cluster.wait(Duration::from_millis(1));
    cluster.list(&PEERS, []);
    assert_eq!(cluster.state().bgp_peers.len(), 1);
    cluster.tell(&NODES, Told::Applied(node("n2")));
    assert_eq!(cluster.state().bgp_peers.len(), 1);
    cluster.tell(&NODES, Told::Applied(node("n1")));
    assert_eq!(
        cluster.index.take_state().map(|state| (state.bgp_peers.len(), state.problems.len())),
        Some((0, 0))
    );
}

#[test]
fn fault_23_a_node_that_registered_anew_proves_nothing() {
    let mut cluster = Cluster::of(&["n1"], vec![peer("tor", "")]);
    cluster.list(&NODES, []);
    cluster.list(&PEERS, []);
    let another = NODE.replace("NAME", "n1").replace("labels:", "uid: another, labels:");
    cluster.tell(&NODES, Told::Applied(item("n1", &another)));
    assert_eq!(cluster.state().bgp_peers.len(), 1);
}
