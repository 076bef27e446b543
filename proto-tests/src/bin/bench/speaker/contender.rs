//! Those who are measured, each tuned as its users would for this work.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::{Process, write_configuration};
use muslin_proto_tests::daemons::frr::own_folder;
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::load::{Peer, Relation};
use muslin_proto_tests::muslin;
use muslin_proto_tests::release::Release;
use tempfile::TempDir;

use super::rig::{ASN, SPEAKER};

/// Name of the floor.
pub(crate) const FLOOR: &str = "floor: a null relay";

/// Name of ours as the image has it.
pub(crate) const OF_IMAGE: &str = "Muslin, the image's program";

/// A speaker that is measured.
#[derive(Clone, Debug)]
pub(crate) enum Contender {
    /// Ours.
    Muslin,
    /// Ours, with one processor to run on.
    MuslinOnOneCore,
    /// Ours, as the image has it.
    MuslinOfImage(PathBuf),
    /// Somebody else's.
    Rival(Candidate),
    /// One that keeps sessions and copies UPDATEs, and does nothing else.
    Floor,
}

/// Lines of a configuration; writing to a String cannot fail.
macro_rules! line {
    ($text:expr, $($arguments:tt)*) => {
        let _ = writeln!($text, $($arguments)*);
    };
}

impl Contender {
    /// Ours, and the newest that there are of the others.
    pub(crate) fn all() -> Vec<Self> {
        let newest = |kind: Kind| Self::Rival(kind.later().unwrap_or_else(|_| kind.installed()));
        let mut all = vec![Self::Muslin];
        all.extend([Kind::Bird, Kind::Bird3, Kind::Frr, Kind::GoBgp, Kind::OpenBgpd].map(newest));
        all.push(Self::Floor);
        all
    }

    /// Ours as the image has it, where `cargo xtask bench` has built that program.
    pub(crate) fn of_image() -> Option<Self> {
        std::env::var_os("MUSLIN_IMAGE_PROGRAM").map(|program| Self::MuslinOfImage(program.into()))
    }

    /// Whether it is somebody else's.
    pub(crate) fn is_rival(&self) -> bool {
        matches!(self, Self::Rival(_))
    }

    /// What a sink of another AS is to it.
    pub(crate) fn external(&self) -> Relation {
        if matches!(self, Self::Floor) { Relation::Copied } else { Relation::External }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Muslin => "Muslin",
            Self::MuslinOnOneCore => "Muslin on one core",
            Self::MuslinOfImage(_) => OF_IMAGE,
            Self::Floor => FLOOR,
            Self::Rival(Candidate { kind: Kind::Bird, .. }) => "BIRD 2",
            Self::Rival(Candidate { kind: Kind::Bird3, .. }) => "BIRD 3",
            Self::Rival(Candidate { kind, .. }) => kind.name(),
        }
    }

    /// Its version; `None` of ours.
    pub(crate) fn version(&self) -> Option<String> {
        match self {
            Self::Muslin | Self::MuslinOnOneCore | Self::MuslinOfImage(_) | Self::Floor => None,
            Self::Rival(candidate) => candidate.version().ok(),
        }
    }

    /// How it is set up, where that is not the default.
    pub(crate) fn settings(&self) -> &'static str {
        match self {
            Self::Muslin => "`--no-install`",
            Self::MuslinOnOneCore => "`--no-install`, `taskset -c 0`",
            Self::MuslinOfImage(_) => "`--no-install`, static, built small",
            Self::Floor => "copies UPDATEs as they come",
            Self::Rival(Candidate { kind, .. }) => match kind {
                Kind::Bird | Kind::ExaBgp => "no kernel protocol",
                Kind::Bird3 => "no kernel protocol, `threads 2`",
                Kind::Frr => {
                    "no zebra, `coalesce-time 0`, `advertisement-interval 0`, `bgp input-queue-limit 4000000`"
                }
                Kind::GoBgp => "`GOMAXPROCS=2`",
                Kind::OpenBgpd => "`fib-update no`",
            },
        }
    }

    /// Starts it with these peers, which all connect to it; those of its own AS are its reflection's clients.
    pub(crate) fn start(&self, host: &Namespace, peers: &[Peer]) -> Result<Process> {
        match self {
            Self::Muslin => start_muslin(host, peers, &[], &muslin::binary()?),
            Self::MuslinOnOneCore => start_muslin(host, peers, &["taskset", "-c", "0"], &muslin::binary()?),
            Self::MuslinOfImage(program) => start_muslin(host, peers, &[], program),
            Self::Floor => start_relay(host, peers),
            Self::Rival(Candidate { kind, release }) => match kind {
                Kind::Frr => start_frr(release, host, peers),
                Kind::GoBgp => start_gobgp(release, host, peers),
                Kind::OpenBgpd => start_openbgpd(release, host, peers),
                Kind::Bird | Kind::Bird3 | Kind::ExaBgp => {
                    start_bird(release, host, peers, if *kind == Kind::Bird3 { "threads 2;" } else { "" })
                }
            },
        }
    }
}

fn is_client(peer: &Peer) -> bool {
    peer.asn == ASN
}

fn start_relay(host: &Namespace, peers: &[Peer]) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("relay"));
    command.args(["--listen", &SPEAKER.to_string(), "--asn", &ASN.to_string()]);
    // It cannot choose among several: those of one AS all have something of their own, of others the first counts.
    if let Some(first) = peers.first().filter(|first| !is_client(first)) {
        command.args(["--only-of", &first.address.to_string()]);
    }
    Process::start(host, Process::folder()?, &mut command)
}

/// `wrapper` is a command that runs another one.
fn start_muslin(host: &Namespace, peers: &[Peer], wrapper: &[&str], program: &Path) -> Result<Process> {
    let folder = Process::folder()?;
    let state = folder.path().join("state");
    fs::create_dir(&state)?;
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata:\n  name: default\nspec:\n  asn: {ASN}\n  \
         routerID: {SPEAKER}\n  import:\n    cidrs: [0.0.0.0/0]\n---\napiVersion: muslin.dev/v1alpha1\n\
         kind: BGPFilter\nmetadata:\n  name: all\nspec:\n  import: [{{action: Accept}}]\n  export: [{{action: Accept}}]\n"
    );
    for Peer { address, asn, hold_time } in peers {
        let client = if *asn == ASN { "  routeReflectorClient: true\n" } else { "" };
        line!(
            text,
            "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: p{}\nspec:\n  \
             peerAddress: {address}\n  peerASN: {asn}\n  connectMode: Passive\n  families: [IPv4]\n  \
             holdTime: {hold_time}s\n  maxPrefixes: 0\n  filters: [all]\n{client}",
            address.to_string().replace('.', "-")
        );
    }
    fs::write(state.join("all.yaml"), text)?;
    let mut command = muslin::speaker_by(program, &state, folder.path());
    command.args(["--no-install", "--log", "warn"]);
    if let [program, arguments @ ..] = wrapper {
        let mut wrapped = Command::new(program);
        wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
        command = wrapped;
    }
    Process::start(host, folder, &mut command)
}

fn start_bird(release: &Release, host: &Namespace, peers: &[Peer], threads: &str) -> Result<Process> {
    let folder = Process::folder()?;
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id {SPEAKER};\n{threads}\nprotocol device {{}}\n\
         protocol static {{ ipv4; route 10.0.0.0/8 via {}; }}\n",
        super::rig::GATEWAY
    );
    for Peer { address, asn, hold_time } in peers {
        let client = if *asn == ASN { "rr client; " } else { "" };
        line!(
            text,
            "protocol bgp p{} {{ local {SPEAKER} as {ASN}; neighbor {address} as {asn}; passive; {client}\
             hold time {hold_time}; ipv4 {{ import all; export where source = RTS_BGP; }}; }}",
            address.to_string().replace('.', "_")
        );
    }
    write_configuration(&folder.path().join("bird.conf"), &text)?;
    let mut command = release.command("/usr/sbin/bird");
    command.args(["-f", "-c", "bird.conf", "-s", "control"]);
    Process::start(host, folder, &mut command)
}

fn start_frr(release: &Release, host: &Namespace, peers: &[Peer]) -> Result<Process> {
    let folder = own_folder()?;
    let mut text = format!(
        "bgp route-map delay-timer 0\nbgp input-queue-limit 4000000\nrouter bgp {ASN}\n bgp router-id {SPEAKER}\n \
         no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n coalesce-time 0\n"
    );
    for Peer { address, asn, hold_time } in peers {
        line!(text, " neighbor {address} remote-as {asn}");
        line!(text, " neighbor {address} passive");
        line!(text, " neighbor {address} timers {} {hold_time}", hold_time / 3);
        line!(text, " neighbor {address} advertisement-interval 0");
    }
    line!(text, " address-family ipv4 unicast");
    for peer in peers {
        line!(text, "  neighbor {} activate", peer.address);
        if is_client(peer) {
            line!(text, "  neighbor {} route-reflector-client", peer.address);
        }
    }
    line!(text, " exit-address-family");
    fs::write(folder.path().join("bgpd.conf"), text)?;
    let mut command = release.command("/usr/lib/frr/bgpd");
    command.args(["-n", "-Z", "-P", "0", "--log", "stdout", "--log-level", "warnings", "-f", "bgpd.conf"]);
    command.arg("-i").arg(folder.path().join("pid")).arg("--vty_socket").arg(folder.path());
    Process::start(host, folder, &mut command)
}

fn start_gobgp(release: &Release, host: &Namespace, peers: &[Peer]) -> Result<Process> {
    let folder = Process::folder()?;
    let mut text = format!("[global.config]\n  as = {ASN}\n  router-id = \"{SPEAKER}\"\n");
    for peer in peers {
        let Peer { address, asn, hold_time } = peer;
        line!(
            text,
            "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{address}\"\n    peer-as = {asn}\n  \
             [neighbors.transport.config]\n    passive-mode = true\n  [neighbors.timers.config]\n    \
             hold-time = {hold_time}\n    keepalive-interval = {}\n  [[neighbors.afi-safis]]\n    \
             [neighbors.afi-safis.config]\n      afi-safi-name = \"ipv4-unicast\"",
            hold_time / 3
        );
        if is_client(peer) {
            line!(
                text,
                "  [neighbors.route-reflector.config]\n    route-reflector-client = true\n    \
                 route-reflector-cluster-id = \"{SPEAKER}\""
            );
        }
    }
    write_configuration(&folder.path().join("gobgpd.toml"), &text)?;
    let mut command = release.command("/usr/bin/gobgpd");
    command.env("GOMAXPROCS", "2").args([
        "-f",
        "gobgpd.toml",
        "-l",
        "error",
        "--pprof-disable",
        "--api-hosts",
    ]);
    command.arg(format!("unix://{}", folder.path().join("api").display()));
    Process::start(host, folder, &mut command)
}

fn start_openbgpd(release: &Release, host: &Namespace, peers: &[Peer]) -> Result<Process> {
    let folder: TempDir = Process::folder()?;
    let hold_time = peers.first().map_or(90, |peer| peer.hold_time);
    let mut text = format!(
        "AS {ASN}\nrouter-id {SPEAKER}\nholdtime {hold_time}\nholdtime min 3\nfib-update no\nsocket \"{}\"\n\
         listen on {SPEAKER}\n",
        folder.path().join("control").display()
    );
    for peer in peers {
        let client = if is_client(peer) { " route-reflector\n" } else { "" };
        line!(
            text,
            "neighbor {} {{\n remote-as {}\n passive\n announce IPv4 unicast\n announce IPv6 none\n{client}}}",
            peer.address,
            peer.asn
        );
    }
    text += "allow from any\nallow to any\n";
    write_configuration(&folder.path().join("bgpd.conf"), &text)?;
    let inner = release.command("/usr/sbin/bgpd");
    let mut command = Command::new("unshare");
    // Its children change root to a home that only a service manager makes.
    let script = "mount -t tmpfs run /run && mkdir -m 755 /run/openbgpd && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).args(["-d", "-f", "bgpd.conf"]);
    Process::start(host, folder, &mut command)
}

/// Addresses of peers: of their own link for other ASes, behind the gateway for nodes.
pub(crate) fn external(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(super::rig::GATEWAY) + number)
}

/// See [`external`].
pub(crate) fn internal(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 1)) + number)
}
