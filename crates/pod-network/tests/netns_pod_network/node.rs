//! A node in a namespace, and pods in others, attached by the real plugin program.

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use muslin_netns::Namespace;
use muslin_pod_network::NetworkFile;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const PLUGIN: &str = env!("CARGO_BIN_EXE_cni-under-test");
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A node that forwards, with a block of each family.
pub(crate) struct Node {
    pub(crate) host: Namespace,
    folder: TempDir,
    /// The configuration that calls get, minus what they change.
    pub(crate) config: Value,
}

/// A pod's namespace and its container's id.
pub(crate) struct Pod {
    pub(crate) netns: Namespace,
    pub(crate) container: String,
}

/// What a call answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) succeeded: bool,
    /// `Null` if nothing was written.
    pub(crate) output: Value,
    pub(crate) log: String,
}

impl Answer {
    /// The error code, 0 for success.
    pub(crate) fn code(&self) -> u64 {
        assert_eq!(self.succeeded, self.output["code"].is_null(), "{self:?}");
        self.output["code"].as_u64().unwrap_or_default()
    }

    pub(crate) fn details(&self) -> &str {
        self.output["details"].as_str().unwrap_or_default()
    }

    /// The pod's addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.output["ips"].as_array().unwrap_or_else(|| panic!("no addresses: {self:?}"));
        ips.iter().map(|ip| ip["address"].as_str().unwrap().parse::<IpNet>().unwrap().addr()).collect()
    }

    /// The name of the node's interface.
    pub(crate) fn host_interface(&self) -> String {
        self.output["interfaces"][0]["name"].as_str().unwrap().to_owned()
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with_blocks(&["10.244.1.0/24", "fd00:10:244:1::/64"])
    }

    pub(crate) fn with_blocks(blocks: &[&str]) -> Self {
        let host = Namespace::new("node").unwrap();
        host.sysctl("net/ipv4/ip_forward", "1").unwrap();
        host.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let blocks = blocks.iter().map(|block| block.parse().unwrap()).collect();
        NetworkFile { blocks, mtu: Some(1500), reserved: Vec::new() }.write(folder.path()).unwrap();
        let config = json!({
            "cniVersion": "1.1.0",
            "name": "muslin",
            "type": "muslin-cni",
            "dataDir": folder.path(),
        });
        Self { host, folder, config }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration with `changes` laid over it.
    pub(crate) fn config_with(&self, mut changes: Value) -> Value {
        let mut config = self.config.clone();
        config.as_object_mut().unwrap().append(changes.as_object_mut().unwrap());
        config
    }

    pub(crate) fn add(&self, pod: &Pod) -> Answer {
        let answer = self.call("ADD", Some(pod), &self.config, &[]);
        assert!(answer.succeeded, "{answer:?}");
        answer
    }

    pub(crate) fn del(&self, pod: &Pod) {
        let answer = self.call("DEL", Some(pod), &self.config, &[]);
        assert!(answer.succeeded && answer.output.is_null(), "{answer:?}");
    }

    /// Runs the plugin on the node as a container runtime does. `environment` comes last and may overrule.
    pub(crate) fn call(
        &self,
        command: &str,
        pod: Option<&Pod>,
        config: &Value,
        environment: &[(&str, &str)],
    ) -> Answer {
        let mut plugin = Command::new(PLUGIN);
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
        if let Some(pod) = pod {
            plugin.env("CNI_CONTAINERID", &pod.container).env("CNI_IFNAME", "eth0");
            plugin.env("CNI_NETNS", pod.netns.path());
        }
        plugin.envs(environment.iter().copied());
        plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = self.host.spawn(&mut plugin).unwrap();
        // A plugin that refuses its environment does not read this.
        let _ = running.stdin.take().unwrap().write_all(config.to_string().as_bytes());
        let ended = running.wait_with_output().unwrap();
        let output = match ended.stdout.as_slice() {
            [] => Value::Null,
            text => serde_json::from_slice(text).unwrap(),
        };
        let log = String::from_utf8(ended.stderr).unwrap();
        Answer { succeeded: ended.status.success(), output, log }
    }

    /// Names of the node's interfaces of pods.
    pub(crate) fn pod_interfaces(&self) -> Vec<String> {
        let links = self.host.links().unwrap().into_iter().map(|link| link.name);
        links.filter(|name| name.starts_with(muslin_pod_network::HOST_INTERFACE_PREFIX)).collect()
    }

    /// Destinations of the node's routes to pods.
    pub(crate) fn pod_routes(&self) -> Vec<IpNet> {
        let routes = self.host.routes().unwrap().into_iter();
        let own = routes.filter(|route| route.protocol == muslin_pod_network::POD_ROUTE_PROTOCOL);
        own.map(|route| route.prefix).collect()
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.data_dir().join("ipam.json")
    }

    /// Who has which address, as the ledger's file has it.
    pub(crate) fn leases(&self) -> Vec<(IpAddr, String)> {
        let Ok(text) = std::fs::read(self.ledger_path()) else { return Vec::new() };
        let file: Value = serde_json::from_slice(&text).unwrap();
        let leases = file["ledger"]["leases"].as_object().unwrap();
        let container = |lease: &Value| lease["attachment"]["container"].as_str().unwrap().to_owned();
        leases.iter().map(|(address, lease)| (address.parse().unwrap(), container(lease))).collect()
    }

    /// Changes the ledger's file behind the plugin's back.
    pub(crate) fn edit_ledger(&self, edit: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_slice(&std::fs::read(self.ledger_path()).unwrap()).unwrap();
        edit(&mut file);
        std::fs::write(self.ledger_path(), file.to_string()).unwrap();
    }

    /// Nothing is left of any pod but resting addresses.
    pub(crate) fn assert_empty(&self) {
        self.await_pod_interfaces(0);
        assert_eq!(self.leases(), []);
        assert_eq!(self.pod_routes(), []);
    }

    /// A DEL's interface goes behind its back; the kernel tells when only so many are left.
    pub(crate) fn await_pod_interfaces(&self, left: usize) {
        const RTMGRP_LINK: u32 = 1;
        let events = self.host.run(|| {
            let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
            socket.bind(&netlink_sys::SocketAddr::new(0, RTMGRP_LINK)).unwrap();
            socket
        });
        let events = events.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.pod_interfaces().len() > left {
            assert!(await_readable(events.as_fd(), deadline), "still there: {:?}", self.pod_interfaces());
            events.recv_from_full().unwrap();
        }
    }
}

impl Pod {
    pub(crate) fn new(container: &str) -> Self {
        Self { netns: Namespace::new(container).unwrap(), container: container.to_owned() }
    }

    /// Takes the pod's interface away as the end of its namespace does.
    pub(crate) fn remove_interface(&self) {
        self.netns.remove_link("eth0").unwrap();
    }
}

/// Waits until packets to these addresses of `namespace` are its own. The kernel makes an IPv6 address local in a work
/// queue, after whoever added it was answered; until then it forwards what is sent there.
pub(crate) fn await_local(namespace: &Namespace, addresses: &[IpAddr]) {
    const LOCAL: u32 = 255;
    let came = namespace.await_routes(PATIENCE, |routes| {
        let is_local = |address: &IpAddr| {
            routes.iter().any(|route| route.table == LOCAL && route.prefix == IpNet::from(*address))
        };
        addresses.iter().all(is_local)
    });
    assert!(came.unwrap(), "{addresses:?} do not become local");
}

/// What `nft` says in `namespace`.
pub(crate) fn nft(namespace: &Namespace, arguments: &[&str]) -> String {
    let output = namespace.run(|| Command::new("nft").args(arguments).output()).unwrap();
    let output = output.unwrap_or_else(|error| panic!("nft (package nftables) cannot be run: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Does the kernel of `namespace` track a connection of `address`?
pub(crate) fn is_tracked(namespace: &Namespace, address: IpAddr) -> bool {
    let (family, octets) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    // Length 20; get (1) of conntrack (1); request and dump; sequence 1; any port; `struct nfgenmsg`.
    let mut request = [20, 0, 0, 0, 1, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    request[16] = family;
    let socket =
        namespace.run(|| netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).unwrap());
    let socket = socket.unwrap();
    socket.send(&request, 0).unwrap();
    let mut found = false;
    loop {
        let (answer, _) = socket.recv_from_full().unwrap();
        found |= answer.windows(octets.len()).any(|window| window == octets);
        let done = [3, 0];
        if answer[4..6] == done {
            return found;
        }
    }
}

/// Waits until there is something to read; `false` if there is nothing by the `deadline`.
pub(crate) fn await_readable(fd: BorrowedFd<'_>, deadline: Instant) -> bool {
    let patience = deadline.saturating_duration_since(Instant::now());
    let timeout = patience.try_into().unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}
