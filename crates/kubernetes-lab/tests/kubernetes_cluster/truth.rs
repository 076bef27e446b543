//! What the API shows of the network is what agents know.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_kubernetes_lab::poll::rest;
use muslin_lab::Family;
use serde_json::Value;

use crate::cluster::{Cluster, eventually};
use crate::http::{PORT, client_address, same};
use crate::services::{publish, service, ways_to};
use crate::status;
use crate::traffic::Traffic;

/// The session that is taken down.
const PEER: &str = "n1-tor-ipv4";
const KIND: &str = "bgppeers.muslin.dev";
/// An agent tells the same of a peer once in this time.
const SAME_AGAIN: Duration = Duration::from_mins(1);
/// Which the router does not have.
const WRONG_ASN: u32 = 64999;

/// What `kubectl get` prints for people: for each object, its cells by their headings.
pub(crate) fn table(cluster: &Cluster, kind: &str) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let text = cluster.kubectl.run(&["get", kind])?;
    let mut lines = text.lines();
    let headings: Vec<&str> = lines.next().context("kubectl prints nothing")?.split_whitespace().collect();
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        ensure!(cells.len() == headings.len(), "an empty cell of {kind} in '{line}'");
        let pairs =
            headings.iter().zip(&cells).map(|(heading, cell)| ((*heading).to_owned(), (*cell).to_owned()));
        let row: BTreeMap<String, String> = pairs.collect();
        Ok((row.get("NAME").context("no name")?.clone(), row))
    });
    rows.collect()
}

pub(crate) fn cell<'a>(row: &'a BTreeMap<String, String>, heading: &str) -> Result<&'a str> {
    row.get(heading).map(String::as_str).with_context(|| format!("no column {heading} in {row:?}"))
}

/// The row of each node agrees with the node's agent.
pub(crate) fn rows_agree(cluster: &Cluster) -> Result<()> {
    let rows = table(cluster, "nodenetworkstatuses.muslin.dev")?;
    same(
        "rows",
        &rows.keys().cloned().collect(),
        &cluster.nodes.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>(),
    )?;
    for (index, (name, ..)) in cluster.nodes.iter().enumerate() {
        let said = status::agent(cluster, index)?;
        let row = &rows[name];
        let peers = said["peers"].as_array().context("the agent has no peers")?;
        let up = peers.iter().filter(|peer| peer["established"] == true).count();
        let ready = if said["readiness"]["converged"] == true { "True" } else { "False" };
        for (heading, known) in [
            ("ASN", said["asn"].to_string()),
            ("ROUTER-ID", said["routerId"].as_str().unwrap_or_default().to_owned()),
            ("ESTABLISHED", format!("{up}/{}", peers.len())),
            ("READY", ready.to_owned()),
        ] {
            same(format!("{heading} of {name}"), &cell(row, heading)?, &known.as_str())?;
        }
    }
    Ok(())
}

/// The row of the peer, and of the node that has it.
fn rows_say(cluster: &Cluster, of_peer: &str, of_node: &str, ready: &str, reason: &str) -> Result<()> {
    let peer = &table(cluster, KIND)?[PEER];
    same("ESTABLISHED of the peer", &cell(peer, "ESTABLISHED")?, &of_peer)?;
    same("ACCEPTED of the peer", &cell(peer, "ACCEPTED")?, &"True")?;
    let node = &table(cluster, "nodenetworkstatuses.muslin.dev")?["n1"];
    same("ESTABLISHED of the node", &cell(node, "ESTABLISHED")?, &of_node)?;
    same("READY of the node", &cell(node, "READY")?, &ready)?;
    same("REASON of the node", &cell(node, "REASON")?, &reason)
}

/// How long the session of the peer has been there.
fn up_for(cluster: &Cluster) -> Result<Duration> {
    let said = status::agent(cluster, 0)?;
    let peers = said["peers"].as_array().context("the agent has no peers")?;
    let session =
        peers.iter().find(|peer| peer["key"] == PEER).context("the agent does not have the peer")?;
    Ok(Duration::from_secs(session["stateSeconds"].as_u64().context("no age of a session")?))
}

/// What was told of the peer for this reason.
fn events(cluster: &Cluster, reason: &str) -> Result<Vec<Value>> {
    let only = format!("--field-selector=reason={reason},regarding.kind=BGPPeer,regarding.name={PEER}");
    let events = cluster.kubectl.json(&["get", "events.v1.events.k8s.io", "--all-namespaces", &only])?;
    Ok(events["items"].as_array().context("there is no list of events")?.clone())
}

/// How often this was told of the peer.
fn told(cluster: &Cluster, reason: &str) -> Result<u64> {
    let events = events(cluster, reason)?;
    let times = events.iter().map(|event| event["series"]["count"].as_u64().unwrap_or(1));
    Ok(times.sum())
}

/// `kubectl muslin`, found and run as by anybody who has it on the path.
fn plugin(cluster: &Cluster, words: &[&str]) -> Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let muslin = std::env::var("MUSLIN_BIN").context("MUSLIN_BIN says where the program is")?;
    symlink(muslin, folder.path().join("kubectl-muslin"))?;
    let (namespace, environment) = {
        let lab = cluster.lab();
        let place = lab.places().into_iter().find(|place| place.name == "cp").context("no control plane")?;
        (place.network, place.environment)
    };
    let find = |name: &str| {
        environment.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
    };
    let kubernetes = find("PATH").context("no programs")?;
    let path = std::env::join_paths([folder.path().as_os_str(), &kubernetes])?;
    let mut command = Command::new(std::path::Path::new(&kubernetes).join("kubectl"));
    command
        .arg("muslin")
        .args(words)
        .env("PATH", path)
        .env("KUBECONFIG", find("KUBECONFIG").context("no kubeconfig")?);
    let output = namespace.run(|| command.output())??;
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Ok((output.status.success(), text))
}

/// That every one of these words is in what the plugin prints.
fn plugin_says(cluster: &Cluster, words: &[&str], wanted: &[&str]) -> Result<()> {
    let (_, text) = plugin(cluster, words)?;
    for wanted in wanted {
        ensure!(text.contains(wanted), "kubectl muslin {} does not say '{wanted}': {text}", words.join(" "));
    }
    Ok(())
}

pub(crate) fn live(cluster: &Cluster) -> Result<()> {
    eventually(|| rows_agree(cluster))?;
    eventually(|| rows_say(cluster, "1/1", "2/2", "True", "Converged"))?;
    plugin_sees_nothing_wrong(cluster)?;
    asks(cluster)?;

    let came_up = Instant::now().checked_sub(up_for(cluster)?).context("a session older than the machine")?;
    let downs = told(cluster, "SessionDown")?;
    let asn = cluster.kubectl.json(&["get", KIND, PEER])?["spec"]["peerASN"].clone();
    expect_asn(cluster, &WRONG_ASN.into())?;
    let down = went_down(cluster, downs);
    let ups = told(cluster, "SessionUp")?;
    // Somebody who runs this test alone has seen the session come up a moment ago.
    rest(SAME_AGAIN.saturating_sub(came_up.elapsed()));
    // Whatever was found, others want the session back.
    expect_asn(cluster, &asn)?;
    down?;
    eventually(|| rows_say(cluster, "1/1", "2/2", "True", "Converged"))?;
    eventually(|| rows_agree(cluster))?;
    eventually(|| {
        ensure!(told(cluster, "SessionUp")? > ups, "no event tells that the session is up");
        Ok(())
    })?;
    plugin_sees_nothing_wrong(cluster)
}

/// What is wrong is marked in the first lines.
fn plugin_sees_nothing_wrong(cluster: &Cluster) -> Result<()> {
    let (done, text) = plugin(cluster, &["status"])?;
    ensure!(done && !text.lines().any(|line| line.starts_with('!')), "kubectl muslin status says: {text}");
    let rows = text.lines().filter(|line| line.contains("Converged")).count();
    same("nodes that have converged", &rows, &cluster.nodes.len())
}

/// Gives the peer another AS: with a wrong one there is no session.
fn expect_asn(cluster: &Cluster, asn: &Value) -> Result<()> {
    patch_peer(cluster, &serde_json::json!({"peerASN": asn}))
}

fn patch_peer(cluster: &Cluster, spec: &Value) -> Result<()> {
    let patch = serde_json::json!({"spec": spec}).to_string();
    cluster.kubectl.run(&["patch", KIND, PEER, "--type=merge", "--patch", &patch])?;
    Ok(())
}

/// Rows, events and the plugin show the session that is down.
fn went_down(cluster: &Cluster, downs: u64) -> Result<()> {
    eventually(|| rows_say(cluster, "0/1", "1/2", "False", "SessionsDown"))?;
    rows_agree(cluster)?;
    eventually(|| {
        ensure!(told(cluster, "SessionDown")? > downs, "no event tells that the session went down");
        Ok(())
    })?;
    let wrong = [format!("! BGPPeer {PEER}: 1 of 1 sessions are down"), "! Node n1: waiting for".to_owned()];
    plugin_says(cluster, &["status"], &wrong.each_ref().map(String::as_str))?;
    plugin_says(cluster, &["peers", "--down"], &["n1", PEER])
}

/// Sessions, routes and the reason of one, by the plugin.
fn asks(cluster: &Cluster) -> Result<()> {
    plugin_says(cluster, &["peers"], &["n1-tor-ipv4", "n2-tor-ipv6", "n3-tor-ipv4", "Established"])?;
    let pods = cluster.one_per_node();
    let node = cluster.kubectl.json(&["get", "node", "n1"])?;
    let block = node["spec"]["podCIDRs"][0].as_str().context("n1 has no block")?.to_owned();
    plugin_says(cluster, &["routes", "--node", "n1"], &[&block])?;
    let addresses = muslin_lab::Dual { v4: "192.0.2.60".parse()?, v6: "2001:db8:2::60".parse()? };
    cluster.kubectl.apply(&service("shown", "app: web", "  type: LoadBalancer\n"))?;
    publish(cluster, "shown", addresses)?;
    eventually(|| plugin_says(cluster, &["explain", "service/shown"], &["192.0.2.60", "n1", "n2", "n3"]))?;
    plugin_says(cluster, &["explain", &format!("pod/{}", pods[0].name)], &["n1", &block])?;
    cluster.kubectl.run(&["delete", "service", "shown"])?;
    let (well, _) = plugin(cluster, &["explain", "service/nobody"])?;
    ensure!(!well, "a Service that is not there was explained");
    Ok(())
}

/// The peer names a filter that does not exist, which lets nothing pass: what it has to do with is the first node's IPv4.
pub(crate) fn missing_filter(cluster: &Cluster) -> Result<()> {
    let pods = cluster.one_per_node();
    let elsewhere = Traffic::start(pods[1], pods[2])?;
    let other_family = Traffic::of(pods[0], pods[1], &[Family::V6])?;
    let (age, since) = (up_for(cluster)?, Instant::now());
    patch_peer(cluster, &serde_json::json!({"filters": ["nowhere"]}))?;
    let refused = is_refused(cluster);
    // Whatever was found, others want the routes back.
    patch_peer(cluster, &serde_json::json!({"filters": null}))?;
    refused?;
    eventually(|| same("Accepted of the peer", &accepted(cluster)?.0, &"True".to_owned()))?;
    eventually(|| same("n1's block at the router", &first_block(cluster)?, &vec!["n1".to_owned()]))?;
    let to = (pods[0].addresses.v4, PORT).into();
    eventually(|| same("the source", &client_address(&pods[1].network, to)?, &pods[1].addresses.v4.into()))?;
    // It is told in whole seconds.
    let (now, wanted) = (up_for(cluster)?, age + since.elapsed());
    ensure!(now + Duration::from_secs(2) > wanted, "the session is {now:?} old, not {wanted:?}");
    let sent = elsewhere.finish()? + other_family.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    plugin_sees_nothing_wrong(cluster)
}

/// The condition and an Event say what is wrong and what to do, and the filter that is missing lets nothing pass.
fn is_refused(cluster: &Cluster) -> Result<()> {
    let wrong = "there is no BGPFilter nowhere, so nothing is exchanged with the peer";
    let says = |words: &str| -> Result<()> {
        for wanted in [".spec.filters[0]", wrong, "make the filter, or take its name out"] {
            ensure!(words.contains(wanted), "'{wanted}' is not in: {words}");
        }
        Ok(())
    };
    let reason = eventually(|| {
        let (accepted, reason, message) = accepted(cluster)?;
        same("Accepted of the peer", &accepted, &"False".to_owned())?;
        says(&message)?;
        Ok(reason)
    })?;
    eventually(|| {
        let events = events(cluster, &reason)?;
        says(events.last().and_then(|event| event["note"].as_str()).unwrap_or_default())
    })?;
    eventually(|| same("n1's block at the router", &first_block(cluster)?, &vec![]))?;
    plugin_says(cluster, &["status"], &[wrong])
}

/// Status, reason and message of the peer's condition `Accepted`.
fn accepted(cluster: &Cluster) -> Result<(String, String, String)> {
    let peer = cluster.kubectl.json(&["get", KIND, PEER])?;
    let conditions = peer["status"]["conditions"].as_array().context("no conditions")?;
    let accepted =
        conditions.iter().find(|condition| condition["type"] == "Accepted").context("not among them")?;
    let text = |field: &str| accepted[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("reason"), text("message")))
}

/// Where the router leads packets to the first node's IPv4 pods.
fn first_block(cluster: &Cluster) -> Result<Vec<String>> {
    let block = IpNet::new(cluster.one_per_node()[0].addresses.v4.into(), 24)?.trunc();
    Ok(ways_to(cluster, block)?.into_iter().collect())
}
