//! Nodes that become route reflectors, and cease to be, on a cluster that works meanwhile.

use std::time::{Duration, Instant};

use anyhow::Result;
use muslin_kubernetes_lab::poll::{self, rest};

use crate::alone::Alone;
use crate::cluster::{Cluster, eventually};
use crate::disturb::{CALM, agents_ready, kill_agent_of, restarts};
use crate::http::same;
use crate::mesh::{LABEL, sessions, straight, told, wanted};
use crate::status;
use crate::traffic::Traffic;
use crate::truth::{cell, rows_agree, table};

const PAIR: [&str; 2] = ["n3", "n4"];
/// How long one topology may take to give way to the next: the old one lingers on purpose.
const HANDOVER: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Between clients, between a client and a reflector, and between reflectors.
fn everywhere(cluster: &Cluster) -> Result<Vec<Traffic>> {
    let pods = cluster.one_per_node();
    let pairs = [(0, 1), (1, 2), (2, 3), (3, 0)];
    pairs.into_iter().map(|(a, b)| Traffic::start(pods[a], pods[b])).collect()
}

fn finish(traffic: Vec<Traffic>) -> Result<()> {
    let sent = traffic.into_iter().map(Traffic::finish).sum::<Result<u32>>()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    Ok(())
}

/// Gives nodes the label and takes it from all others; until sessions are as they should be then, the API tells of what
/// there is, no session with the router goes and no node is kept from pods.
fn reflect(cluster: &Cluster, reflectors: &[&str]) -> Result<()> {
    let kubectl = &cluster.kubectl;
    let of_all = kubectl.run(&["get", "nodes", "--selector", LABEL, "--output=name"])?;
    for node in of_all.lines().map(|name| name.trim_start_matches("node/")) {
        if !reflectors.contains(&node) {
            kubectl.run(&["label", "node", node, &format!("{LABEL}-")])?;
        }
    }
    for node in reflectors {
        kubectl.run(&["label", "node", node, &format!("{LABEL}="), "--overwrite"])?;
    }
    let begun = Instant::now();
    eventually(|| rows_agree(cluster))?;
    let wanted = wanted(cluster, reflectors);
    let mut wrong = None;
    let arrived = poll::until(HANDOVER, LOOK, || match nothing_else_is_touched(cluster) {
        Err(error) => Some(Err(error)),
        Ok(()) => match sessions(cluster).and_then(|found| same("sessions", &found, &wanted)) {
            Ok(()) => Some(Ok(())),
            Err(error) => {
                wrong = Some(error);
                None
            }
        },
    });
    arrived.unwrap_or_else(|| wrong.map_or(Ok(()), Err))?;
    eprintln!("with the reflectors {reflectors:?} after {:.1?}", begun.elapsed());
    eventually(|| same("sessions that are told", &told(cluster)?, &wanted))?;
    eventually(|| rows_agree(cluster))?;
    straight(cluster)
}

fn nothing_else_is_touched(cluster: &Cluster) -> Result<()> {
    for (name, row) in table(cluster, "bgppeers.muslin.dev")? {
        same(format!("ESTABLISHED of {name}"), &cell(&row, "ESTABLISHED")?, &"1/1")?;
    }
    let taints = ["get", "nodes", "--output", "jsonpath={.items[*].spec.taints}"];
    same("taints of nodes", &cluster.kubectl.run(&taints)?, &String::new())
}

fn all_restarts(cluster: &Cluster) -> Result<Vec<u64>> {
    cluster.nodes.iter().map(|(name, ..)| restarts(cluster, name)).collect()
}

pub(crate) fn take_over(cluster: &Cluster) -> Result<()> {
    let _alone = Alone::begin(cluster)?;
    reflect(cluster, &[])?;
    let before = all_restarts(cluster)?;
    let traffic = everywhere(cluster)?;
    rest(CALM);
    reflect(cluster, &PAIR[..1])?;
    reflect(cluster, &PAIR)?;
    finish(traffic)?;
    same("restarts of agents", &all_restarts(cluster)?, &before)
}

pub(crate) fn killed(cluster: &Cluster) -> Result<()> {
    let _alone = Alone::begin(cluster)?;
    reflect(cluster, &PAIR)?;
    let traffic = everywhere(cluster)?;
    rest(CALM);
    let killed = [kill_agent_of(cluster, 2)?, kill_agent_of(cluster, 3)?];
    for (node, killed) in (2..).zip(killed) {
        status::converged(cluster, node, || killed.elapsed())?;
    }
    agents_ready(cluster)?;
    let wanted = wanted(cluster, &PAIR);
    eventually(|| same("sessions", &sessions(cluster)?, &wanted))?;
    straight(cluster)?;
    finish(traffic)
}

pub(crate) fn give_back(cluster: &Cluster) -> Result<()> {
    let _alone = Alone::begin(cluster)?;
    reflect(cluster, &PAIR)?;
    let before = all_restarts(cluster)?;
    let traffic = everywhere(cluster)?;
    rest(CALM);
    reflect(cluster, &[])?;
    finish(traffic)?;
    same("restarts of agents", &all_restarts(cluster)?, &before)
}
