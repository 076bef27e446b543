//! The part of a kind configuration that says what a cluster is: its nodes and its address ranges.

use std::fmt::Display;
use std::path::Path;

use ipnet::IpNet;
use serde_json::Value;

use super::file::keys::{At, Trouble, known};

const TOP: &[&str] = &["kind", "apiVersion", "name", "networking", "nodes"];
const NETWORKING: &[&str] = &["disableDefaultCNI", "ipFamily", "podSubnet", "serviceSubnet"];
const NODE: &[&str] = &["role", "image", "labels"];
const ROLES: &[&str] = &["control-plane", "worker"];
const FAMILIES: &[&str] = &["ipv4", "ipv6", "dual"];
/// As many nodes as a lab has.
const MOST_NODES: usize = 16;
/// What kind takes for a cluster of one family that does not say, by its documentation.
const USUAL: [(&str, &str, &str); 3] = [
    ("ipv4", "10.244.0.0/16", "10.96.0.0/16"),
    ("ipv6", "fd00:10:244::/56", "fd00:10:96::/112"),
    ("dual", "10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/16,fd00:10:96::/112"),
];

/// A cluster that a topology has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its name, with which those of its nodes begin.
    pub name: String,
    /// Names of its nodes as kind gives them: control plane first, then workers.
    pub nodes: Vec<String>,
    /// Where pods get addresses from, a range a family.
    pub pods: Vec<IpNet>,
    /// Where Services get addresses from, a range a family.
    pub services: Vec<IpNet>,
}

impl ClusterSpec {
    /// Reads kind's configuration of the cluster `name`; `at` is where a topology names the file.
    pub(super) fn read(file: &Path, name: &str, at: &str) -> Result<Self, Trouble> {
        let trouble = |what: &dyn Display| Trouble::new(at, format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| trouble(&error))?;
        Self::parse(&text, name).map_err(|error| trouble(&error))
    }

    fn parse(text: &str, name: &str) -> Result<Self, Trouble> {
        let root: Value = serde_saphyr::from_str(text).map_err(|error| Trouble::new("", error))?;
        let root = At::root(&root);
        root.only(TOP)?;
        let networking = root.required("networking")?;
        networking.only(NETWORKING)?;
        if networking.text("disableDefaultCNI")?.as_deref() != Some("true") {
            return Err(networking.trouble("kind's own pod network is on; set disableDefaultCNI: true"));
        }
        let family = networking.text("ipFamily")?.unwrap_or_else(|| "ipv4".to_owned());
        known(&networking.child_path("ipFamily"), "family", &family, FAMILIES)?;
        let usual = USUAL.iter().find(|(of, _, _)| *of == family).unwrap_or(&USUAL[0]);
        let ranges = |key: &str, usual: &str| -> Result<Vec<IpNet>, Trouble> {
            let text = networking.text(key)?.unwrap_or_else(|| usual.to_owned());
            let range = |range: &str| {
                let wrong = |error| Trouble::new(&networking.child_path(key), format!("`{range}`: {error}"));
                range.trim().parse().map_err(wrong)
            };
            text.split(',').map(range).collect()
        };
        Ok(Self {
            name: name.to_owned(),
            nodes: node_names(&root, name)?,
            pods: ranges("podSubnet", usual.1)?,
            services: ranges("serviceSubnet", usual.2)?,
        })
    }
}

/// `NAME-control-plane`, `NAME-worker`, and the others of a role with a number behind, from 2.
fn node_names(root: &At<'_>, name: &str) -> Result<Vec<String>, Trouble> {
    let mut numbers = [0; ROLES.len()];
    let mut names = Vec::new();
    for at in root.required("nodes")?.items()? {
        at.only(NODE)?;
        let role = at.text("role")?.unwrap_or_else(|| ROLES[0].to_owned());
        known(&at.child_path("role"), "role", &role, ROLES)?;
        for (number, _) in numbers.iter_mut().zip(ROLES).filter(|(_, known)| **known == role) {
            *number += 1;
            names.push(match number {
                1 => format!("{name}-{role}"),
                number => format!("{name}-{role}{number}"),
            });
        }
    }
    match names.len() {
        0 => Err(root.trouble("it has no nodes")),
        1..=MOST_NODES => Ok(names),
        found => Err(Trouble::new("nodes", format!("found {found} nodes; a lab has {MOST_NODES} at most"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const TEXT: &str = "
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {disableDefaultCNI: true, ipFamily: dual, podSubnet: '10.1.0.0/16,fd01::/56'}
nodes: [{role: control-plane}, {role: worker}, {role: worker}]
";

    #[test]
    fn a_cluster_has_the_names_and_ranges_that_kind_would_give_it() {
        let cluster = ClusterSpec::parse(TEXT, "lab").unwrap();
        assert_eq!(cluster.nodes, ["lab-control-plane", "lab-worker", "lab-worker2"]);
        assert_eq!(cluster.pods, ["10.1.0.0/16".parse().unwrap(), "fd01::/56".parse().unwrap()]);
        let services: Vec<IpNet> = vec!["10.96.0.0/16".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()];
        assert_eq!(cluster.services, services);
    }

    #[test]
    fn what_cannot_be_had_is_named_with_its_key() {
        for (words, instead, expected) in [
            (
                "{role: control-plane}",
                "{rule: worker}",
                "nodes[0].rule: there is no key `rule`; did you mean `role`?",
            ),
            (
                "role: control-plane",
                "role: worker4",
                "nodes[0].role: there is no role `worker4`; did you mean `worker`?",
            ),
            (
                "disableDefaultCNI: true, ",
                "",
                "networking: kind's own pod network is on; set disableDefaultCNI: true",
            ),
            (
                "nodes: [",
                &format!("nodes: [{}", "{role: worker}, ".repeat(14)),
                "nodes: found 17 nodes; a lab has 16 at most",
            ),
            ("10.1.0.0/16,", "10.1.0.0,", "networking.podSubnet: `10.1.0.0`: invalid IP address syntax"),
        ] {
            let text = TEXT.replacen(words, instead, 1);
            assert_ne!(text, TEXT);
            assert_eq!(ClusterSpec::parse(&text, "lab").unwrap_err().to_string(), expected);
        }
    }
}
