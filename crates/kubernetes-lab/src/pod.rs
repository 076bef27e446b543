//! Pods as places to send packets from.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muslin_lab::{Dual, LabError};
use muslin_netns::Namespace;
use serde_json::Value;

use crate::Kubectl;

/// A pod that runs, and its network.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The node that it is on.
    pub node: String,
    /// What tells it from an earlier one of the same name, as its node knows it.
    pub uid: String,
    /// Its addresses.
    pub addresses: Dual,
    /// Its network.
    pub network: Namespace,
}

impl Kubectl {
    /// The running pods of a namespace that a label selector chooses, by name.
    ///
    /// # Errors
    /// If the API does not answer, or a pod that is said to run is not to be found.
    pub fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, LabError> {
        let list = self.json(&["get", "pods", "--namespace", namespace, "--selector", selector])?;
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        // After a reboot a pod is said to run before its addresses are told.
        let running = items.iter().filter(|pod| {
            pod["status"]["phase"] == "Running"
                && pod["metadata"]["deletionTimestamp"].is_null()
                && pod["status"]["podIPs"].is_array()
        });
        let mut pods: Vec<Pod> = running.map(read).collect::<Result<_, _>>()?;
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pods)
    }
}

fn read(pod: &Value) -> Result<Pod, LabError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A kubelet's own pod goes by another id in the API than on the node.
    let mirrored = &pod["metadata"]["annotations"]["kubernetes.io/config.mirror"];
    let uid = text(if mirrored.is_null() { &pod["metadata"]["uid"] } else { mirrored });
    let name = text(&pod["metadata"]["name"]);
    let addresses = pod["status"]["podIPs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let addresses: Vec<IpAddr> =
        addresses.iter().filter_map(|address| address["ip"].as_str()?.parse().ok()).collect();
    let mut dual = Dual { v4: Ipv4Addr::UNSPECIFIED, v6: Ipv6Addr::UNSPECIFIED };
    for address in addresses {
        match address {
            IpAddr::V4(address) => dual.v4 = address,
            IpAddr::V6(address) => dual.v6 = address,
        }
    }
    let process = process(&uid).ok_or_else(|| LabError::Missing(format!("no process of pod {name} runs")))?;
    let network = Namespace::open(&name, format!("/proc/{process}/ns/net"))?;
    Ok(Pod { node: text(&pod["spec"]["nodeName"]), name, uid, addresses: dual, network })
}

/// A process of a pod: control groups carry the pod's id.
fn process(uid: &str) -> Option<u32> {
    let ours = format!("pod{uid}");
    let entries = fs::read_dir("/proc").ok()?;
    let mut processes =
        entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    processes.find(|process| {
        fs::read_to_string(format!("/proc/{process}/cgroup")).is_ok_and(|groups| groups.contains(&ours))
    })
}
