//! `kubectl muslin explain`: from an object to the nodes that announce its addresses, and why the others do not.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use anyhow::bail;
use ipnet::IpNet;
use muslin_cluster::kubernetes::Pod;
use muslin_cluster::{ApiClient, Snapshot};
use muslin_node_plan::announced;
use serde::Serialize;

use crate::peers::meant;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The object, or the prefix itself.
    name: String,
    prefixes: Vec<IpNet>,
    /// What is known before anything is announced.
    facts: Vec<String>,
}

impl Asked {
    /// Finds out what `what` is: an address, a prefix, or the name of a Service or of a Pod.
    pub(crate) async fn of(
        client: &ApiClient,
        snapshot: &Snapshot,
        what: &str,
        namespace: &str,
    ) -> anyhow::Result<Self> {
        if let Some(prefix) = prefix(what) {
            return Ok(Self { name: what.to_owned(), prefixes: vec![prefix], facts: Vec::new() });
        }
        let (kind, name) = match what.split_once('/') {
            Some(("service" | "services" | "svc", name)) => (Some("Service"), name),
            Some(("pod" | "pods" | "po", name)) => (Some("Pod"), name),
            Some((other, _)) => bail!("{other}/ is neither `service/`, `pod/` nor a prefix"),
            None => (None, what),
        };
        if kind != Some("Pod")
            && let Some(service) = Self::service(snapshot, namespace, name)
        {
            return Ok(service);
        }
        if kind != Some("Service")
            && let Some(pod) = client.pod(namespace, name).await?
        {
            return Ok(Self::pod(&pod, namespace, name));
        }
        let within = format!("{namespace}/");
        let services = snapshot.state.services.keys().filter_map(|name| name.strip_prefix(&within));
        let kind = kind.unwrap_or("Service or Pod");
        bail!("there is no {kind} {name} in namespace {namespace}{}", meant(name, services))
    }

    fn service(snapshot: &Snapshot, namespace: &str, name: &str) -> Option<Self> {
        let service = snapshot.state.services.get(format!("{namespace}/{name}").as_str())?;
        let addresses = service.addresses();
        let mut facts = vec![format!("type {}", service.kind)];
        let policy = service.external_traffic_policy;
        facts.extend(policy.map(|policy| format!("externalTrafficPolicy {policy}")));
        if addresses.is_empty() {
            facts.push("it has no address to announce".to_owned());
        }
        facts.push(endpoints(snapshot, namespace, name));
        Some(Self {
            name: format!("Service {namespace}/{name}"),
            prefixes: addresses.iter().map(|address| IpNet::from(address.value)).collect(),
            facts,
        })
    }

    fn pod(pod: &Pod, namespace: &str, name: &str) -> Self {
        let mut facts = vec![match &pod.node {
            Some(node) => format!("it runs on Node {node}"),
            None => "it is on no node yet".to_owned(),
        }];
        if pod.host_network {
            facts.push("it uses its node's addresses, which are not announced".to_owned());
        }
        Self {
            name: format!("Pod {namespace}/{name}"),
            prefixes: pod.addresses.iter().map(|address| IpNet::from(address.value)).collect(),
            facts,
        }
    }
}

fn prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The endpoints of a Service, by node.
fn endpoints(snapshot: &Snapshot, namespace: &str, name: &str) -> String {
    let mut ready = BTreeSet::new();
    let (mut all, mut serving) = (0, 0);
    let service = format!("{namespace}/{name}");
    let slices = snapshot.state.endpoint_slices.values();
    for slice in slices.filter(|slice| slice.service.as_deref() == Some(&*service)) {
        for endpoint in &slice.endpoints {
            all += 1;
            if endpoint.conditions.ready {
                serving += 1;
                ready.extend(endpoint.node.as_deref().map(str::to_owned));
            }
        }
    }
    let nodes: Vec<_> = ready.into_iter().collect();
    let on = if nodes.is_empty() { String::new() } else { format!(", on {}", crate::routes::few(&nodes)) };
    format!("{serving} of {all} endpoints are ready{on}")
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    /// The object, or the prefix itself.
    asked: String,
    facts: Vec<String>,
    prefixes: Vec<ExplainedPrefix>,
    /// What only a node can tell, and how to ask it.
    ask_a_node: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedPrefix {
    prefix: IpNet,
    announced: Vec<By>,
    withheld: Vec<NotBy>,
}

/// A node that announces it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct By {
    node: String,
    /// What is announced: the prefix itself, or one that covers it.
    prefix: IpNet,
    cause: String,
    /// The node's established sessions of all: `2/2`.
    established: String,
}

/// A node that does not.
#[derive(Debug, Serialize)]
struct NotBy {
    node: String,
    cause: String,
    reason: String,
}

impl Explained {
    pub(crate) fn is_announced(&self) -> bool {
        self.prefixes.iter().any(|prefix| !prefix.announced.is_empty())
    }
}

pub(crate) fn of(snapshot: &Snapshot, asked: Asked) -> Explained {
    let plans = announced(&snapshot.state);
    let explain = |prefix: IpNet| {
        let mut explained = ExplainedPrefix { prefix, announced: Vec::new(), withheld: Vec::new() };
        for (node, plan) in &plans {
            let told = snapshot.nodes.get(node);
            let covering = plan.originated.iter().filter(|route| route.prefix.contains(&prefix));
            explained.announced.extend(covering.map(|route| By {
                node: node.to_string(),
                prefix: route.prefix,
                cause: route.cause.to_string(),
                established: told.map(|told| told.established.clone()).unwrap_or_default(),
            }));
            let withheld = plan.withheld.iter().filter(|withheld| withheld.prefix == prefix);
            explained.withheld.extend(withheld.map(|withheld| NotBy {
                node: node.to_string(),
                cause: withheld.cause.to_string(),
                reason: withheld.reason.to_string(),
            }));
        }
        explained
    };
    let prefixes: Vec<_> = asked.prefixes.into_iter().map(explain).collect();
    let example = prefixes.first().map_or_else(|| "PREFIX".to_owned(), |prefix| prefix.prefix.to_string());
    Explained {
        asked: asked.name,
        facts: asked.facts,
        prefixes,
        ask_a_node: format!(
            "which path a node chose, and whether its kernel has it, that node knows: \
             kubectl -n {} exec AGENT_POD -- muslin explain {example}",
            muslin_cluster::DEFAULT_NAMESPACE
        ),
    }
}

pub(crate) fn text(explained: &Explained) -> String {
    let mut text = format!("{}\n", explained.asked);
    let mut line = |indent: usize, words: String| {
        let _ = writeln!(text, "{:indent$}{words}", "");
    };
    for fact in &explained.facts {
        line(2, fact.clone());
    }
    for ExplainedPrefix { prefix, announced, withheld } in &explained.prefixes {
        line(0, prefix.to_string());
        if announced.is_empty() && withheld.is_empty() {
            line(2, "no object asks for it, so no node announces it".to_owned());
        }
        for By { node, prefix: covering, cause, established } in announced {
            let within = if covering == prefix { String::new() } else { format!(" within {covering}") };
            let sessions = if established.is_empty() { "its agent has told nothing" } else { established };
            line(2, format!("announced by {node}{within} because of {cause}; sessions: {sessions}"));
        }
        for NotBy { node, cause, reason } in withheld {
            line(2, format!("not by {node}, although {cause} asks for it: {reason}"));
        }
    }
    line(0, explained.ask_a_node.clone());
    text
}
