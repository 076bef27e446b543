//! Nodes, a route reflector and an origin, on one bridge.

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use muslin_netns::{LinkState, Namespace, connect};
use muslin_proto_tests::daemon::{Process, write_configuration};
use muslin_proto_tests::daemons::{Candidate, Kind as Rival};
use muslin_proto_tests::kernel::Usage;
use muslin_proto_tests::muslin;

const ASN: u32 = 64512;
const REFLECTOR: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 1);
const ORIGIN: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 2);
const LINK: &str = "172.20.0.0/16";
const SERVICES: &str = "198.18.0.0/15";
const BLOCKS: &str = "10.244.0.0/16";
/// So many changes later comes what was there before.
const TURNS: u32 = 200;

/// Whose daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Muslin,
    Bird,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Muslin => "Muslin",
            Self::Bird => "BIRD 2, file and `configure`",
        }
    }
}

/// What changes on the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The address of a Service.
    Service,
    /// The block of the origin's pods.
    Block,
}

impl What {
    pub(super) const ALL: [Self; 2] = [Self::Service, Self::Block];

    fn prefix(self, turn: u32) -> Ipv4Net {
        let turn = turn % TURNS;
        match self {
            Self::Service => Ipv4Net::new_assert((u32::from(Ipv4Addr::new(198, 18, 0, 1)) + turn).into(), 32),
            Self::Block => Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 1 + turn as u8, 0), 24),
        }
    }
}

/// A running one. Processes end before their namespaces.
pub(super) struct Cluster {
    kind: Kind,
    speakers: Vec<Process>,
    origin: Process,
    /// Of the origin's BIRD.
    control: Option<UnixStream>,
    nodes: Vec<Namespace>,
    _others: [Namespace; 3],
    /// How often each has changed.
    turns: [u32; What::ALL.len()],
}

/// The newest that there is.
fn bird() -> Candidate {
    Rival::Bird.later().unwrap_or_else(|_| Rival::Bird.installed())
}

pub(super) fn bird_version() -> Result<String> {
    bird().version()
}

impl Cluster {
    pub(super) fn start(kind: Kind, nodes: u32) -> Result<Self> {
        let switch = Namespace::new("switch")?;
        switch.bridge("br0")?;
        let host = |name: &str, address: Ipv4Addr| -> Result<Namespace> {
            let host = Namespace::new(name)?;
            connect(&host, "eth0", &switch, name)?;
            switch.attach("br0", name)?;
            switch.set_link(name, LinkState::Up)?;
            host.add_address("eth0", format!("{address}/16").parse()?)?;
            Ok(host)
        };
        let reflector = host("reflector", REFLECTOR)?;
        let origin = host("origin", ORIGIN)?;
        let addresses: Vec<Ipv4Addr> =
            (0..nodes).map(|number| Ipv4Addr::from(u32::from(ORIGIN) + 1 + number)).collect();
        let namespaces = (0..).zip(&addresses).map(|(number, address)| host(&format!("n{number}"), *address));
        let namespaces = namespaces.collect::<Result<Vec<_>>>()?;

        // It listens before anybody calls, since who is refused comes again seconds later.
        let mut speakers = vec![start_speaker(kind, &reflector, REFLECTOR, Role::Reflector)?];
        let (origin_process, control) = start_origin(kind, &origin)?;
        for (namespace, address) in namespaces.iter().zip(&addresses) {
            speakers.push(start_speaker(kind, namespace, *address, Role::Node)?);
        }
        Ok(Self {
            kind,
            speakers,
            origin: origin_process,
            control,
            nodes: namespaces,
            _others: [reflector, origin, switch],
            turns: [0; What::ALL.len()],
        })
    }

    pub(super) fn nodes(&self) -> &[Namespace] {
        &self.nodes
    }

    /// What all daemons have used so far.
    pub(super) fn usage(&self) -> Result<Usage> {
        let mut all = Vec::new();
        for process in self.speakers.iter().chain([&self.origin]) {
            for id in process.ids()? {
                all.push(Usage::of(id)?);
            }
        }
        Ok(all.into_iter().sum())
    }

    /// What is announced now.
    pub(super) fn announced(&self, what: What) -> Ipv4Net {
        what.prefix(self.turns[what as usize])
    }

    /// Changes one, and says when.
    pub(super) fn change(&mut self, what: What) -> Result<Instant> {
        self.turns[what as usize] += 1;
        let prefix = self.announced(what);
        let (path, text) = match (self.kind, what) {
            (Kind::Muslin, What::Service) => {
                (self.origin.path("state").join("service.yaml"), service(prefix))
            }
            (Kind::Muslin, What::Block) => (self.origin.path("state").join("node.yaml"), node(prefix)),
            (Kind::Bird, _) => {
                let all = What::ALL.map(|what| self.announced(what));
                (self.origin.path("static.conf"), statics(all))
            }
        };
        let new = self.origin.path("new");
        fs::write(&new, text)?;
        let begun = Instant::now();
        fs::rename(&new, &path)?;
        if let Some(control) = &mut self.control {
            control.write_all(b"configure\n")?;
            // What it says is of no interest, but must not fill its buffer.
            let _ = control.read(&mut [0; 4096])?;
        }
        Ok(begun)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Reflector,
    Node,
}

fn start_speaker(kind: Kind, host: &Namespace, address: Ipv4Addr, role: Role) -> Result<Process> {
    let folder = Process::folder()?;
    let (mut command, ready) = match kind {
        Kind::Muslin => {
            let state = folder.path().join("state");
            fs::create_dir(&state)?;
            fs::write(state.join("all.yaml"), speaker_manifests(address, role))?;
            let mut command = muslin::speaker(&state, folder.path())?;
            command.args(["--log", "warn"]);
            if role == Role::Reflector {
                command.arg("--no-install");
            }
            (command, "muslin.sock")
        }
        Kind::Bird => (bird_command(folder.path(), &bird_speaker(address, role))?, "control"),
    };
    let mut process = Process::start(host, folder, &mut command)?;
    if role == Role::Reflector {
        process.await_file(ready)?;
    }
    Ok(process)
}

fn start_origin(kind: Kind, host: &Namespace) -> Result<(Process, Option<UnixStream>)> {
    let folder = Process::folder()?;
    match kind {
        Kind::Muslin => {
            let state = folder.path().join("state");
            fs::create_dir(&state)?;
            fs::write(state.join("cluster.yaml"), origin_manifests())?;
            fs::write(state.join("service.yaml"), service(What::Service.prefix(0)))?;
            fs::write(state.join("node.yaml"), node(What::Block.prefix(0)))?;
            let mut command = Command::new(muslin::binary()?);
            command.args(["agent", "--node", "origin", "--log", "warn", "--state"]).arg(&state);
            command.arg("--run-dir").arg(folder.path()).arg("--data-dir").arg(folder.path());
            command.arg("--cni-conf-dir").arg(folder.path().join("net.d"));
            Ok((Process::start(host, folder, &mut command)?, None))
        }
        Kind::Bird => {
            let first = What::ALL.map(|what| what.prefix(0));
            fs::write(folder.path().join("static.conf"), statics(first))?;
            let text = format!(
                "{}include \"static.conf\";\nprotocol bgp reflector {{ local {ORIGIN} as {ASN}; \
                 neighbor {REFLECTOR} as {ASN}; connect delay time 1; \
                 ipv4 {{ import none; export where source = RTS_STATIC; next hop self; }}; }}\n",
                bird_head(ORIGIN)
            );
            let mut command = bird_command(folder.path(), &text)?;
            let mut process = Process::start(host, folder, &mut command)?;
            process.await_file("control")?;
            let mut control =
                UnixStream::connect(process.path("control")).context("BIRD's control socket")?;
            let _ = control.read(&mut [0; 4096])?;
            Ok((process, Some(control)))
        }
    }
}

fn bird_command(folder: &Path, text: &str) -> Result<Command> {
    let path: PathBuf = folder.join("bird.conf");
    write_configuration(&path, text)?;
    let mut command = bird().release.command("/usr/sbin/bird");
    command.args(["-f", "-c", "bird.conf", "-s", "control"]);
    Ok(command)
}

fn bird_head(address: Ipv4Addr) -> String {
    format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id {address};\nprotocol device {{}}\n\
         protocol direct {{ ipv4; }}\n"
    )
}

fn bird_speaker(address: Ipv4Addr, role: Role) -> String {
    let head = bird_head(address);
    match role {
        Role::Reflector => format!(
            "{head}protocol bgp nodes {{ local {address} as {ASN}; neighbor range {LINK} as {ASN}; passive; rr client; \
             ipv4 {{ import all; export where source = RTS_BGP; }}; }}\n"
        ),
        Role::Node => format!(
            "{head}protocol kernel {{ scan time 600; ipv4 {{ import none; export where source = RTS_BGP; }}; }}\n\
             protocol bgp reflector {{ local {address} as {ASN}; neighbor {REFLECTOR} as {ASN}; connect delay time 1; \
             ipv4 {{ import all; export none; }}; }}\n"
        ),
    }
}

/// BIRD's static routes.
fn statics(prefixes: [Ipv4Net; What::ALL.len()]) -> String {
    let routes = prefixes.map(|prefix| format!("route {prefix} blackhole; ")).concat();
    format!("protocol static {{ ipv4; {routes}}}\n")
}

fn speaker_manifests(address: Ipv4Addr, role: Role) -> String {
    let peer = match role {
        Role::Reflector => format!("listenRange: {LINK}, peerASN: {ASN}, routeReflectorClient: true"),
        Role::Node => format!("peerAddress: {REFLECTOR}, peerASN: {ASN}, connectRetry: 1s"),
    };
    format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{asn: {ASN}, routerID: {address}, import: {{cidrs: [\"{SERVICES}\", \"{BLOCKS}\"]}}}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: all}}\n\
         spec: {{import: [{{action: Accept}}], export: [{{action: Accept}}]}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: peer}}\n\
         spec: {{{peer}, families: [IPv4], filters: [all]}}\n"
    )
}

fn origin_manifests() -> String {
    format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{asn: {ASN}, nodeMesh: {{enabled: false}}, serviceLoadBalancerIPs: [{{cidr: {SERVICES}}}]}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: reflector}}\n\
         spec: {{peerAddress: {REFLECTOR}, peerASN: internal, connectRetry: 1s}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: web, namespace: default, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [10.244.1.9], nodeName: origin, conditions: {{ready: true}}}}]\nports: [{{port: 80}}]\n"
    )
}

fn node(block: Ipv4Net) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: origin}}\nspec: {{podCIDRs: [{block}]}}\n\
         status: {{addresses: [{{type: InternalIP, address: {ORIGIN}}}]}}\n"
    )
}

fn service(prefix: Ipv4Net) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\n\
         spec: {{type: LoadBalancer, externalTrafficPolicy: Local, clusterIPs: [10.96.0.10], ports: [{{port: 80}}]}}\n\
         status: {{loadBalancer: {{ingress: [{{ip: {}}}]}}}}\n",
        prefix.addr()
    )
}
