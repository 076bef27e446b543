//! What a topology file says, checked: all that can be wrong with it is told before anything is started.

pub(super) mod keys;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::keys::{At, Trouble};
use super::kind::ClusterSpec;
use crate::LabError;

/// Bytes that an interface name may have.
const INTERFACE_NAME: usize = 15;
/// What containerlab gives a link that says nothing, in octets.
const USUAL_MTU: u32 = 9500;

/// A topology that is run here.
#[derive(Debug, PartialEq, Eq)]
pub struct TopologyFile {
    /// Where the file lies; what `binds` name is relative to it.
    pub folder: PathBuf,
    /// The Kubernetes cluster, if it has one.
    pub cluster: Option<ClusterSpec>,
    /// Sorted by name.
    pub(crate) nodes: Vec<NodeSpec>,
    /// What is run on nodes of the cluster.
    pub(crate) cluster_nodes: Vec<ClusterNodeSpec>,
    pub(crate) links: Vec<LinkSpec>,
}

/// A node of the cluster as the topology speaks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterNodeSpec {
    pub(crate) name: String,
    /// The words of commands, run in this order once all links are there.
    pub(crate) exec: Vec<Vec<String>>,
}

/// A node, with what defaults and its kind add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    pub(crate) image: String,
    /// The words of its own program; without one, that of the image.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) binds: Vec<Bind>,
    /// The words of commands, run in this order once all links are there.
    pub(crate) exec: Vec<Vec<String>>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Path below `/proc/sys` and value.
    pub(crate) sysctls: BTreeMap<String, String>,
}

/// A file or folder of the machine that a node has somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) access: Access,
}

/// What a node may do with what is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A pair of interfaces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LinkSpec {
    pub(crate) ends: [End; 2],
    pub(crate) mtu: u32,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) node: String,
    pub(crate) interface: String,
}

const TOP: &[&str] = &["name", "prefix", "mgmt", "topology"];
const TOPOLOGY: &[&str] = &["defaults", "kinds", "nodes", "links"];
const NODE: &[&str] = &[
    "kind",
    "image",
    "image-pull-policy",
    "cmd",
    "binds",
    "exec",
    "env",
    "sysctls",
    "network-mode",
    "labels",
];
/// A cluster of kind, and the containers that are its nodes.
const CLUSTER: &[&str] = &["kind", "image", "startup-config"];
const CLUSTER_NODE: &[&str] = &["kind", "exec"];
const LINK: &[&str] = &["endpoints", "mtu"];
const LINUX: &str = "linux";
const K8S_KIND: &str = "k8s-kind";
const EXT_CONTAINER: &str = "ext-container";
const KINDS: &[&str] = &[LINUX, K8S_KIND, EXT_CONTAINER];

impl TopologyFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`LabError::Missing`] with the file, the key, what was found and what is allowed.
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let path = path.canonicalize().map_err(LabError::file(path))?;
        let text = std::fs::read_to_string(&path).map_err(LabError::file(&path))?;
        let folder = path.parent().unwrap_or(&path).to_path_buf();
        Self::parse(&text, folder, |name| std::env::var(name).ok())
            .map_err(|trouble| LabError::Missing(format!("{}: {trouble}", path.display())))
    }

    /// `variable` answers for what the text has as `${NAME}`.
    fn parse(
        text: &str,
        folder: PathBuf,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Trouble> {
        let text = variables::expand(text, variable);
        let root: Value = serde_saphyr::from_str(&text).map_err(|error| Trouble::new("", error))?;
        let root = At::root(&root);
        root.only(TOP)?;
        let topology = root.required("topology")?;
        topology.only(TOPOLOGY)?;
        let kinds = topology.get("kinds");
        for (name, _) in kinds.iter().map(At::entries).collect::<Result<Vec<_>, _>>()?.concat() {
            keys::known(&format!("topology.kinds.{name}"), "kind", &name, KINDS)?;
        }
        let defaults = topology.get("defaults");
        let (mut nodes, mut cluster, mut cluster_nodes) = (Vec::new(), None, Vec::new());
        for (name, at) in topology.required("nodes")?.entries()? {
            let kind = match at.text("kind")? {
                Some(kind) => Some(kind),
                None => defaults.as_ref().map(|at| at.text("kind")).transpose()?.flatten(),
            };
            let Some(kind) = kind else { return Err(at.trouble("it has no `kind`; here that is linux")) };
            keys::known(&at.child_path("kind"), "kind", &kind, KINDS)?;
            match kind.as_str() {
                K8S_KIND if cluster.is_some() => return Err(at.trouble("there is a cluster already")),
                K8S_KIND => {
                    cluster = Some(read_cluster(&at, &name, &folder)?);
                    continue;
                }
                EXT_CONTAINER => {
                    cluster_nodes.push(read_cluster_node(&at, name)?);
                    continue;
                }
                _ => {}
            }
            let of_kind = kinds.as_ref().and_then(|kinds| kinds.get(&kind));
            let mut node = NodeSpec { name, ..NodeSpec::default() };
            // What is nearer to the node has the last word.
            for level in [defaults.as_ref(), of_kind.as_ref(), Some(&at)].into_iter().flatten() {
                node.add(level, &folder)?;
            }
            if node.image.is_empty() && node.command.is_none() {
                return Err(at.trouble("it has neither `image` nor `cmd`"));
            }
            nodes.push(node);
        }
        if nodes.is_empty() {
            return Err(topology.trouble("it has no nodes"));
        }
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let of_cluster = cluster.as_ref().map(|cluster: &ClusterSpec| &*cluster.nodes).unwrap_or_default();
        for node in &cluster_nodes {
            let known: Vec<&str> = of_cluster.iter().map(String::as_str).collect();
            keys::known("topology.nodes", "node of the cluster", &node.name, &known)?;
        }
        let names = nodes.iter().map(|node| &node.name).chain(cluster_nodes.iter().map(|node| &node.name));
        let names: Vec<&str> = names.map(String::as_str).collect();
        let mut links = Vec::new();
        let mut taken = std::collections::BTreeSet::new();
        for at in topology.get("links").iter().map(At::items).collect::<Result<Vec<_>, _>>()?.concat() {
            let link = read_link(&at, &names)?;
            for end in &link.ends {
                if !taken.insert(end.clone()) {
                    return Err(at.trouble(format!("{}:{} has a link already", end.node, end.interface)));
                }
            }
            links.push(link);
        }
        Ok(Self { folder, cluster, nodes, cluster_nodes, links })
    }
}

fn read_cluster(at: &At<'_>, name: &str, folder: &Path) -> Result<ClusterSpec, Trouble> {
    at.only(CLUSTER)?;
    let Some(file) = at.text("startup-config")? else {
        return Err(at.trouble("it has no `startup-config`, which is kind's configuration"));
    };
    ClusterSpec::read(&folder.join(file), name, &at.child_path("startup-config"))
}

fn read_cluster_node(at: &At<'_>, name: String) -> Result<ClusterNodeSpec, Trouble> {
    at.only(CLUSTER_NODE)?;
    Ok(ClusterNodeSpec { name, exec: commands(at)? })
}

impl NodeSpec {
    fn add(&mut self, at: &At<'_>, folder: &Path) -> Result<(), Trouble> {
        at.only(NODE)?;
        if let Some(image) = at.text("image")? {
            self.image = image;
        }
        if let Some(mode) = at.text("network-mode")?
            && mode != "none"
        {
            return Err(Trouble::new(
                &at.child_path("network-mode"),
                format!("found \"{mode}\"; here every node has a network of its own (none)"),
            ));
        }
        if let Some(command) = at.text("cmd")? {
            self.command = Some(words(&at.child_path("cmd"), &command)?);
        }
        for bind in at.texts("binds")? {
            let bind = read_bind(&at.child_path("binds"), &bind, folder)?;
            self.binds.retain(|known| known.target != bind.target);
            self.binds.push(bind);
        }
        self.exec.extend(commands(at)?);
        self.environment.extend(at.map("env")?);
        for (key, value) in at.map("sysctls")? {
            if !key.starts_with("net.") {
                return Err(Trouble::new(
                    &at.child_path("sysctls"),
                    format!("`{key}` is the machine's, not a node's; only net.* can be set here"),
                ));
            }
            self.sysctls.insert(key.replace('.', "/"), value);
        }
        Ok(())
    }
}

fn commands(at: &At<'_>) -> Result<Vec<Vec<String>>, Trouble> {
    at.texts("exec")?.iter().map(|command| words(&at.child_path("exec"), command)).collect()
}

fn words(path: &str, command: &str) -> Result<Vec<String>, Trouble> {
    match shlex::split(command) {
        Some(words) if !words.is_empty() => Ok(words),
        _ => Err(Trouble::new(path, format!("`{command}` is no command: a quote is open, or it is empty"))),
    }
}

/// `SOURCE:TARGET[:ro|rw]`.
fn read_bind(path: &str, text: &str, folder: &Path) -> Result<Bind, Trouble> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match *parts {
        [source, target] | [source, target, "rw"] => (source, target, Access::Write),
        [source, target, "ro"] => (source, target, Access::Read),
        _ => {
            return Err(Trouble::new(
                path,
                format!("found `{text}`; allowed is SOURCE:TARGET, also with :ro or :rw"),
            ));
        }
    };
    let source = folder.join(source);
    let source = source
        .canonicalize()
        .map_err(|error| Trouble::new(path, format!("`{text}`: {}: {error}", source.display())))?;
    let target = PathBuf::from(target);
    let plain = |part: std::path::Component<'_>| {
        matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_))
    };
    if !target.is_absolute() || !target.components().all(plain) || target.parent().is_none() {
        return Err(Trouble::new(path, format!("`{text}`: the target has to be an absolute path")));
    }
    Ok(Bind { source, target, access })
}

fn read_link(at: &At<'_>, nodes: &[&str]) -> Result<LinkSpec, Trouble> {
    at.only(LINK)?;
    let path = at.child_path("endpoints");
    let texts = at.texts("endpoints")?;
    let ends: Vec<End> = texts.iter().map(|text| read_end(&path, text, nodes)).collect::<Result<_, _>>()?;
    let ends = <[End; 2]>::try_from(ends)
        .map_err(|ends| Trouble::new(&path, format!("found {} endpoints; a link has 2", ends.len())))?;
    let mtu = at.text("mtu")?.map_or(Ok(USUAL_MTU), |mtu| {
        let number = mtu.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
        number.ok_or_else(|| {
            Trouble::new(&at.child_path("mtu"), format!("found {mtu}; allowed are 68 to 65535 octets"))
        })
    })?;
    Ok(LinkSpec { ends, mtu })
}

fn read_end(path: &str, text: &str, nodes: &[&str]) -> Result<End, Trouble> {
    let Some((node, interface)) = text.split_once(':') else {
        return Err(Trouble::new(path, format!("found `{text}`; allowed is NODE:INTERFACE")));
    };
    keys::known(path, "node", node, nodes)?;
    if interface.is_empty() || interface.len() > INTERFACE_NAME || interface.contains(['/', ':', ' ']) {
        return Err(Trouble::new(
            path,
            format!("`{text}`: an interface's name has 1 to {INTERFACE_NAME} letters"),
        ));
    }
    Ok(End { node: node.to_owned(), interface: interface.to_owned() })
}

#[cfg(test)]
mod tests;
