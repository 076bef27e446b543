//! Pods: a namespace each, wired by the real CNI plugin, run as a container runtime runs it.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use muslin_netns::Namespace;
use serde_json::Value;

use crate::LabError;
use crate::addresses::Dual;
use crate::probe::Host;

/// A pod as its runtime knows it.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) host: Host,
    /// Which node it is on.
    pub(crate) node: usize,
    /// How long the plugin took.
    pub(crate) added_in: Duration,
}

/// What a runtime knows when it adds a pod.
pub(crate) struct PodSetup<'a> {
    pub(crate) name: &'a str,
    /// The node's namespace, in which the plugin runs.
    pub(crate) node: &'a Namespace,
    pub(crate) node_index: usize,
    /// Folder of the network configuration that the agent installed.
    pub(crate) configurations: &'a Path,
    /// Folder of the plugins.
    pub(crate) plugins: &'a Path,
}

impl Pod {
    /// Makes the namespace and calls the plugins of the node's configuration list with `ADD`.
    pub(crate) fn add(setup: &PodSetup<'_>) -> Result<Self, LabError> {
        let namespace = Namespace::new(setup.name)?;
        let list = configuration_list(setup.configurations)?;
        let begun = Instant::now();
        let mut result = Value::Null;
        for plugin in list["plugins"].as_array().into_iter().flatten() {
            let mut input = plugin.clone();
            for key in ["name", "cniVersion"] {
                input[key] = list[key].clone();
            }
            if !result.is_null() {
                input["prevResult"] = result;
            }
            result = call(setup, &namespace, plugin["type"].as_str().unwrap_or_default(), &input)?;
        }
        let added_in = begun.elapsed();
        let addresses = addresses(&result).ok_or_else(|| LabError::Plugin {
            command: "ADD",
            pod: setup.name.to_owned(),
            message: format!("expected an address of each family, got {result}"),
        })?;
        let host = Host { name: setup.name.to_owned(), namespace, addresses };
        Ok(Self { host, node: setup.node_index, added_in })
    }
}

/// The first list of the folder in lexical order, as runtimes choose it.
fn configuration_list(folder: &Path) -> Result<Value, LabError> {
    let entries = fs::read_dir(folder).map_err(LabError::file(folder))?;
    let lists = entries.flatten().map(|entry| entry.path());
    let lists = lists.filter(|path| path.extension().is_some_and(|extension| extension == "conflist"));
    let missing = || std::io::Error::other("the agent installed no *.conflist");
    let path: PathBuf = lists.min().ok_or_else(missing).map_err(LabError::file(folder))?;
    let text = fs::read(&path).map_err(LabError::file(&path))?;
    serde_json::from_slice(&text).map_err(|error| LabError::file(path)(error.into()))
}

fn call(setup: &PodSetup<'_>, pod: &Namespace, plugin: &str, input: &Value) -> Result<Value, LabError> {
    let refused = |message: String| LabError::Plugin { command: "ADD", pod: setup.name.to_owned(), message };
    let mut command = Command::new(setup.plugins.join(plugin));
    command
        .env_clear()
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", format!("lab-{}", setup.name))
        .env("CNI_NETNS", pod.path())
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", setup.plugins)
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", setup.name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = setup
        .node
        .spawn(&mut command)
        .map_err(|error| refused(format!("cannot run {}: {error}", setup.plugins.join(plugin).display())))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that ends before it reads says why in its output.
        drop(stdin.write_all(input.to_string().as_bytes()));
    }
    let output = child.wait_with_output().map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(refused(format!("{} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim())));
    }
    serde_json::from_str(&text).map_err(|error| refused(format!("{error} in {text}")))
}

fn addresses(result: &Value) -> Option<Dual> {
    let addresses = result["ips"].as_array()?.iter().filter_map(|ip| ip["address"].as_str());
    let addresses: Vec<IpAddr> = addresses.filter_map(|text| text.split('/').next()?.parse().ok()).collect();
    let v4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })?;
    let v6 = addresses.iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    })?;
    Some(Dual { v4, v6 })
}
