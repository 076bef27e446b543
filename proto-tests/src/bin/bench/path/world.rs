//! Two hosts and a router between them, and pods on the hosts in the ways in which they can be connected.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use muslin_netns::{Namespace, connect};
use muslin_proto_tests::daemon::Process;
use muslin_proto_tests::muslin;
use muslin_proto_tests::wait;
use serde_json::Value;

use super::load::Ends;

/// How the ends are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// No pods at all.
    Hosts,
    /// A link of its own for each pod, and routes by hand.
    Static,
    /// As `Static`, with the egress of every cluster: what leaves the pods' range is masqueraded, for which the kernel
    /// follows every connection.
    Masquerade,
    /// As `Masquerade`, and no pod sends from an address that is not its own: what Muslin does, in two rules by hand.
    Checked,
    /// Muslin's agent and plugin.
    Muslin,
    /// Pods on a bridge of each host, and routes by hand.
    Bridge,
    /// As `Static`, through a tunnel between the hosts.
    Vxlan,
}

impl Way {
    pub(super) const ALL: [Self; 7] =
        [Self::Hosts, Self::Static, Self::Masquerade, Self::Checked, Self::Muslin, Self::Bridge, Self::Vxlan];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hosts => "host to host",
            Self::Static => "pod to pod, static routes by hand",
            Self::Masquerade => "pod to pod, static routes and masquerade by hand",
            Self::Checked => "pod to pod, static routes, masquerade and check of sources by hand",
            Self::Muslin => "pod to pod, Muslin",
            Self::Bridge => "pod to pod, a bridge on each host",
            Self::Vxlan => "pod to pod, VXLAN",
        }
    }
}

/// Processes end before their namespaces.
pub(super) struct World {
    _processes: Vec<Process>,
    ends: [Namespace; 2],
    address: Ipv4Addr,
    _others: Vec<Namespace>,
}

/// A host: its place on the link, and the pods behind it.
struct Host {
    number: u8,
    namespace: Namespace,
}

impl Host {
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, self.number, 2)
    }

    fn router(&self) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, self.number, 1)
    }

    fn pod(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number, 2)
    }

    /// Runs commands of `ip`, one a line.
    fn ip(&self, lines: &str) -> Result<()> {
        ip(&self.namespace, lines)
    }
}

impl World {
    pub(super) fn new(way: Way, binaries: &Path) -> Result<Self> {
        let router = Namespace::new("router")?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        let mut hosts = Vec::new();
        for number in [1, 2] {
            let host = Host { number, namespace: Namespace::new(&format!("host{number}"))? };
            connect(&router, &format!("eth{number}"), &host.namespace, "eth0")?;
            router.add_address(&format!("eth{number}"), format!("{}/24", host.router()).parse()?)?;
            host.namespace.add_address("eth0", format!("{}/24", host.address()).parse()?)?;
            host.ip(&format!("route add 172.30.0.0/16 via {}", host.router()))?;
            if way != Way::Muslin {
                host.namespace.sysctl("net/ipv4/ip_forward", "1")?;
            }
            hosts.push(host);
        }
        let processes = if way == Way::Muslin { agents(&router, &hosts)? } else { vec![] };
        let mut pods = Vec::new();
        let mut address = hosts[1].address();
        for (host, other) in hosts.iter().zip(hosts.iter().rev()) {
            if way == Way::Hosts {
                pods.push(host.namespace.clone());
                continue;
            }
            let pod = Namespace::new("pod")?;
            address = match way {
                Way::Hosts | Way::Static => own_link(host, &pod)?,
                Way::Masquerade => {
                    rules(host, MASQUERADE)?;
                    own_link(host, &pod)?
                }
                Way::Checked => {
                    rules(host, &format!("{MASQUERADE} {CHECK}"))?;
                    own_link(host, &pod)?
                }
                Way::Muslin => plug(host, &processes[usize::from(host.number)], &pod, binaries)?,
                Way::Bridge => bridge(host, &pod)?,
                Way::Vxlan => {
                    tunnel(host, other)?;
                    own_link(host, &pod)?
                }
            };
            if matches!(way, Way::Static | Way::Masquerade | Way::Checked | Way::Bridge) {
                ip(&router, &format!("route add 10.244.{}.0/24 via {}", host.number, host.address()))?;
                host.ip(&format!("route add 10.244.{}.0/24 via {}", other.number, host.router()))?;
            }
            pods.push(pod);
        }
        let [client, server]: [Namespace; 2] = pods.try_into().ok().context("two ends")?;
        let mut others = vec![router];
        others.extend(hosts.into_iter().map(|host| host.namespace));
        let world = Self { _processes: processes, ends: [client, server], address, _others: others };
        wait::until("the first round trip", || {
            Ok(world.ends().round_trip(1).map_err(|error| format!("{error:#}")))
        })?;
        Ok(world)
    }

    pub(super) fn ends(&self) -> Ends<'_> {
        let [client, server] = &self.ends;
        Ends { client, server, address: self.address.into() }
    }

    /// Makes the ends send packets of the size of the link each, or leave the cutting to the last moment.
    pub(super) fn set_segments(&self, most: u32) -> Result<()> {
        self.ends.iter().try_for_each(|end| ip(end, &format!("link set eth0 gso_max_segs {most}")))
    }
}

fn ip(namespace: &Namespace, lines: &str) -> Result<()> {
    for line in lines.lines() {
        let mut command = Command::new("ip");
        command
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = namespace.spawn(&mut command)?.wait_with_output()?;
        ensure!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Source translation for what leaves the range of pods.
const MASQUERADE: &str = "chain out { type nat hook postrouting priority srcnat; \
                          ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade; };";

/// What comes out of a pod comes from the address whose route leads to it.
const CHECK: &str = "chain in { type filter hook prerouting priority raw; iifname \"pod*\" fib saddr . iif oif missing drop; };";

fn rules(host: &Host, chains: &str) -> Result<()> {
    let rules = format!("table ip hand {{ {chains} }}");
    let mut command = Command::new("nft");
    command.arg(rules).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = host.namespace.spawn(&mut command)?.wait_with_output()?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A link between host and pod, the pod's address alone on it, and the host as the way to everything.
fn own_link(host: &Host, pod: &Namespace) -> Result<Ipv4Addr> {
    let address = host.pod();
    connect(&host.namespace, "pod0", pod, "eth0")?;
    host.ip(&format!("address add 169.254.1.1/32 dev pod0\nroute add {address}/32 dev pod0"))?;
    ip(
        pod,
        &format!(
            "address add {address}/32 dev eth0\nroute add 169.254.1.1 dev eth0\nroute add default via 169.254.1.1 dev eth0"
        ),
    )?;
    Ok(address)
}

fn bridge(host: &Host, pod: &Namespace) -> Result<Ipv4Addr> {
    let (address, number) = (host.pod(), host.number);
    host.namespace.bridge("br0")?;
    host.ip(&format!("address add 10.244.{number}.1/24 dev br0"))?;
    connect(&host.namespace, "pod0", pod, "eth0")?;
    host.namespace.attach("br0", "pod0")?;
    ip(pod, &format!("address add {address}/24 dev eth0\nroute add default via 10.244.{number}.1"))?;
    Ok(address)
}

/// A tunnel as others make it: the other host's device is the only neighbour in it, and all of its pods are behind.
fn tunnel(host: &Host, other: &Host) -> Result<()> {
    let mac = |number: u8| format!("02:00:00:00:00:0{number}");
    let (own, far) = (host.number, other.number);
    host.ip(&format!(
        "link add vxlan0 address {} type vxlan id 4096 dstport 4789 local {} dev eth0 nolearning\n\
         address add 10.244.{own}.0/32 dev vxlan0\nlink set vxlan0 up\n\
         neighbour add 10.244.{far}.0 lladdr {} dev vxlan0 nud permanent\n\
         route add 10.244.{far}.0/24 via 10.244.{far}.0 dev vxlan0 onlink",
        mac(own),
        host.address(),
        mac(far)
    ))?;
    let mut command = Command::new("bridge");
    command.args(["fdb", "append", &mac(far), "dev", "vxlan0", "dst", &other.address().to_string()]);
    let status = host.namespace.spawn(&mut command)?.wait()?;
    ensure!(status.success(), "bridge fdb: {status}");
    Ok(())
}

/// The router's speaker, then the agents of both hosts, as soon as all are converged.
fn agents(router: &Namespace, hosts: &[Host]) -> Result<Vec<Process>> {
    let mut at_router =
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {name: default}\n\
         spec: {asn: 65000, routerID: 172.30.1.1, import: {cidrs: [10.244.0.0/16]}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {name: all}\n\
         spec: {import: [{action: Accept}], export: [{action: Accept}]}\n"
            .to_owned();
    let mut cluster = "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {name: default}\n\
         spec: {clusterCIDRs: [10.244.0.0/16], nodeMesh: {enabled: false}}\n"
        .to_owned();
    for host in hosts {
        let (number, address, gateway) = (host.number, host.address(), host.router());
        at_router += &format!(
            "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: n{number}}}\n\
             spec: {{peerAddress: {address}, peerASN: 64512, filters: [all]}}\n"
        );
        cluster += &format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{number}, labels: {{name: n{number}}}}}\n\
             spec: {{podCIDRs: [10.244.{number}.0/24]}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n---\n\
             apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: n{number}}}\n\
             spec: {{nodeSelector: {{matchLabels: {{name: n{number}}}}}, peerAddress: {gateway}, peerASN: 65000}}\n"
        );
    }
    let mut processes = vec![muslin::start_speaker(router, &at_router)?];
    for host in hosts {
        let folder = Process::folder()?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        fs::write(state.join("all.yaml"), &cluster)?;
        let mut command = Command::new(muslin::binary()?);
        command
            .args(["agent", "--log", "warn", "--node", &format!("n{}", host.number), "--state"])
            .arg(&state);
        command.arg("--run-dir").arg(folder.path()).arg("--data-dir").arg(folder.path());
        command.arg("--cni-conf-dir").arg(folder.path().join("net.d"));
        let mut agent = Process::start(&host.namespace, folder, &mut command)?;
        agent.await_file("muslin.sock")?;
        processes.push(agent);
    }
    for agent in &processes[1..] {
        wait::until("convergence of an agent", || {
            let status = muslin::ask_json(agent, &["status"])?;
            Ok(if status["readiness"]["converged"] == true { Ok(()) } else { Err(format!("{status:#}")) })
        })?;
    }
    Ok(processes)
}

/// Has our plugin connect a pod, by the configuration that the agent wrote for the container runtime.
fn plug(host: &Host, agent: &Process, pod: &Namespace, binaries: &Path) -> Result<Ipv4Addr> {
    let mut lists = fs::read_dir(agent.path("net.d"))?.flatten().map(|entry| entry.path());
    let list = lists.find(|path| path.extension().is_some_and(|extension| extension == "conflist"));
    let list: Value = serde_json::from_slice(&fs::read(list.context("the agent wrote no conflist")?)?)?;
    let mut input = list["plugins"][0].clone();
    for key in ["name", "cniVersion"] {
        input[key] = list[key].clone();
    }
    let mut command = Command::new(binaries.join("muslin-cni"));
    command
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", format!("pod-{}", host.number))
        .env("CNI_NETNS", pod.path())
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", binaries)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = host.namespace.spawn(&mut command)?;
    child.stdin.take().context("stdin")?.write_all(input.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("muslin-cni ADD: {said}");
    }
    let result: Value = serde_json::from_str(&said)?;
    let address =
        result["ips"][0]["address"].as_str().and_then(|text| text.split('/').next()).context(said)?;
    Ok(address.parse()?)
}
