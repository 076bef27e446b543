//! Those who learn routes from peers and put them into the kernel, each with two passive sessions of the same AS.

use std::fs;

use anyhow::Result;
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::{Process, write_configuration};
use muslin_proto_tests::daemons::frr::{self, own_folder};
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::feeder::{ADDRESS, ASN, CANDIDATE, CANDIDATE_ASN, SECOND};
use muslin_proto_tests::kernel::Usage;
use muslin_proto_tests::muslin;
use muslin_proto_tests::release::Release;

/// Who is measured.
#[derive(Clone, Debug)]
pub(super) enum Learner {
    /// `muslin speaker`.
    Muslin,
    /// Somebody else's.
    Rival(Candidate),
}

/// A learner's processes: the one that speaks BGP, and those beside it.
pub(super) struct Running {
    pub(super) speaker: Process,
    beside: Vec<Process>,
}

impl Learner {
    /// Ours, and the newest that there are of those who know the kernel without help.
    pub(super) fn all() -> Vec<Self> {
        let newest = |kind: Kind| Self::Rival(kind.later().unwrap_or_else(|_| kind.installed()));
        let mut all = vec![Self::Muslin];
        all.extend([Kind::Bird, Kind::Bird3, Kind::Frr].map(newest));
        all
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Muslin => "`muslin speaker`",
            Self::Rival(Candidate { kind: Kind::Bird, .. }) => "BIRD 2",
            Self::Rival(Candidate { kind: Kind::Bird3, .. }) => "BIRD 3",
            Self::Rival(Candidate { kind, .. }) => kind.name(),
        }
    }

    /// Its version and settings.
    pub(super) fn settings(&self) -> Option<String> {
        let Self::Rival(candidate) = self else { return None };
        let how = match candidate.kind {
            Kind::Bird3 => "`merge paths`, `threads 2`",
            Kind::Frr => "zebra beside it, `bgp input-queue-limit 4000000`",
            _ => "`merge paths`",
        };
        Some(format!("{} {} ({how})", self.name(), candidate.version().ok()?))
    }

    pub(super) fn start(&self, host: &Namespace) -> Result<Running> {
        match self {
            Self::Muslin => start_muslin(host),
            Self::Rival(Candidate { kind: Kind::Frr, release }) => start_frr(release, host),
            Self::Rival(Candidate { kind, release }) => {
                start_bird(release, host, if *kind == Kind::Bird3 { "threads 2;" } else { "" })
            }
        }
    }
}

impl Running {
    /// What all of its processes have used.
    pub(super) fn usage(&self) -> Result<Usage> {
        let mut all = Vec::new();
        for process in std::iter::once(&self.speaker).chain(&self.beside) {
            for id in process.ids()? {
                all.push(Usage::of(id)?);
            }
        }
        Ok(all.into_iter().sum())
    }
}

fn alone(speaker: Process) -> Running {
    Running { speaker, beside: vec![] }
}

fn start_muslin(host: &Namespace) -> Result<Running> {
    let folder = Process::folder()?;
    let state = folder.path().join("state");
    fs::create_dir(&state)?;
    let mut manifests = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
         spec: {{asn: {CANDIDATE_ASN}, routerID: {CANDIDATE}, import: {{cidrs: [0.0.0.0/0]}}}}\n---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: in}}\n\
         spec: {{import: [{{action: Accept}}]}}\n"
    );
    for (name, address) in [("feeder", ADDRESS), ("second", SECOND)] {
        manifests += &format!(
            "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: {name}}}\n\
             spec: {{peerAddress: {address}, peerASN: {ASN}, connectMode: Passive, families: [IPv4], maxPrefixes: 0, \
             filters: [in]}}\n"
        );
    }
    fs::write(state.join("all.yaml"), manifests)?;
    let mut command = muslin::speaker(&state, folder.path())?;
    Ok(alone(Process::start(host, folder, &mut command)?))
}

fn start_bird(release: &Release, host: &Namespace, threads: &str) -> Result<Running> {
    let folder = Process::folder()?;
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id {CANDIDATE};\n{threads}\nprotocol device {{}}\n\
         protocol direct {{ ipv4; }}\n\
         protocol kernel {{ merge paths on limit 16; scan time 600; \
         ipv4 {{ import none; export where source = RTS_BGP; }}; }}\n"
    );
    for (name, address) in [("feeder", ADDRESS), ("second", SECOND)] {
        text += &format!(
            "protocol bgp {name} {{ local {CANDIDATE} as {CANDIDATE_ASN}; neighbor {address} as {ASN}; passive; \
             ipv4 {{ import all; export none; }}; }}\n"
        );
    }
    write_configuration(&folder.path().join("bird.conf"), &text)?;
    let mut command = release.command("/usr/sbin/bird");
    command.args(["-f", "-c", "bird.conf", "-s", "control"]);
    Ok(alone(Process::start(host, folder, &mut command)?))
}

fn start_frr(release: &Release, host: &Namespace) -> Result<Running> {
    let folder = own_folder()?;
    let mut command = frr::daemon(release, frr::ZEBRA, folder.path());
    command.arg("-z").arg(folder.path().join("zserv.api"));
    let mut zebra = Process::start(host, folder, &mut command)?;
    zebra.await_file("zserv.api")?;
    let folder = own_folder()?;
    let mut text = format!(
        "bgp route-map delay-timer 0\nbgp input-queue-limit 4000000\nrouter bgp {CANDIDATE_ASN}\n \
         bgp router-id {CANDIDATE}\n no bgp ebgp-requires-policy\n coalesce-time 0\n"
    );
    for address in [ADDRESS, SECOND] {
        text += &format!(" neighbor {address} remote-as {ASN}\n neighbor {address} passive\n");
    }
    text += " address-family ipv4 unicast\n  maximum-paths 16\n exit-address-family\n";
    fs::write(folder.path().join("bgpd.conf"), text)?;
    let mut command = frr::daemon(release, frr::PROGRAM, folder.path());
    command.args(["-f", "bgpd.conf", "-z"]).arg(zebra.path("zserv.api"));
    let speaker = Process::start(host, folder, &mut command)?;
    Ok(Running { speaker, beside: vec![zebra] })
}
