//! The speaker under test, with scripted peers around it on one link.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use nix::sys::signal::Signal;
use socket2::Socket;

use crate::daemon::{Process, write_configuration};
use crate::muslin;
use crate::tester::Tester;
use crate::wait;
use crate::wire::{self, Open};

/// The subject's AS.
pub const SUBJECT_ASN: u32 = 65000;
/// The subject's address and identifier.
pub const SUBJECT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The testers' IPv6 address on the link, for next hops.
pub const TESTER_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);
const PORT: u16 = 179;
/// The protocol number of routes that Muslin learned.
const OURS: u8 = 77;

/// A scripted peer of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// External; the one that misbehaves.
    A,
    /// External; the one that watches what A causes.
    B,
    /// Internal.
    Internal,
    /// External; the subject connects to it, too.
    Active,
    /// Not configured.
    Stranger,
}

impl Peer {
    /// Those that the subject knows.
    pub const KNOWN: [Self; 4] = [Self::A, Self::B, Self::Internal, Self::Active];

    /// Its address, which is its identifier as well.
    pub fn address(self) -> Ipv4Addr {
        let host = match self {
            Self::A => 1,
            Self::B => 2,
            Self::Internal => 3,
            Self::Active => 4,
            Self::Stranger => 9,
        };
        Ipv4Addr::new(192, 0, 2, host)
    }

    /// Its AS.
    pub fn asn(self) -> u32 {
        match self {
            Self::A => 65001,
            Self::B => 65002,
            Self::Internal => SUBJECT_ASN,
            Self::Active => 65004,
            Self::Stranger => 65009,
        }
    }

    /// Its name in the subject's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Internal => "internal",
            Self::Active => "active",
            Self::Stranger => "stranger",
        }
    }

    /// A right OPEN of it.
    pub fn open(self) -> Open {
        Open::new(self.asn(), self.address(), 90)
    }
}

/// Whose speaker is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Ours.
    Muslin,
    /// BIRD, to find out whether a tester's expectation is anybody else's, too.
    Bird,
}

/// A subject and the host of its testers.
#[derive(Debug)]
pub struct Arena {
    testers: Namespace,
    host: Namespace,
    process: Process,
    listener: TcpListener,
}

impl Arena {
    /// Starts our speaker.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub fn new() -> Result<Self> {
        Self::with(&[])
    }

    /// Starts our speaker with further lines in the specifications of some peers.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub fn with(extra: &[(Peer, &str)]) -> Result<Self> {
        match std::env::var("CONFORMANCE_SUBJECT").as_deref() {
            Ok("bird") => Self::of(Subject::Bird, extra),
            Ok(other) => bail!("CONFORMANCE_SUBJECT is {other:?}, allowed is \"bird\""),
            Err(_) => Self::of(Subject::Muslin, extra),
        }
    }

    /// Starts our speaker with its link in a VRF.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub fn in_vrf(vrf: &str, extra: &[(Peer, &str)]) -> Result<Self> {
        Self::prepared(Subject::Muslin, extra, |host| {
            for arguments in [
                &["link", "add", vrf, "type", "vrf", "table", "10"][..],
                &["link", "set", vrf, "up"],
                &["link", "set", "eth0", "master", vrf],
            ] {
                let made = host.run(|| Command::new("ip").args(arguments).status())??;
                ensure!(made.success(), "ip {arguments:?}: {made}");
            }
            Ok(())
        })
    }

    /// Starts a subject.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub fn of(subject: Subject, extra: &[(Peer, &str)]) -> Result<Self> {
        Self::prepared(subject, extra, |_| Ok(()))
    }

    fn prepared(
        subject: Subject,
        extra: &[(Peer, &str)],
        prepare: impl FnOnce(&Namespace) -> Result<()>,
    ) -> Result<Self> {
        let (testers, host) = (Namespace::new("testers")?, Namespace::new("subject")?);
        connect(&testers, "eth0", &host, "eth0")?;
        prepare(&host)?;
        for peer in Peer::KNOWN.into_iter().chain([Peer::Stranger]) {
            testers.add_address("eth0", IpNet::new(peer.address().into(), 24)?)?;
        }
        testers.add_address("eth0", IpNet::new(TESTER_V6.into(), 64)?)?;
        host.add_address("eth0", IpNet::new(SUBJECT.into(), 24)?)?;
        host.add_address("eth0", IpNet::new(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 0x100).into(), 64)?)?;
        // Before the subject starts, so that its first attempt to connect succeeds.
        let listener = testers.run(|| TcpListener::bind((Peer::Active.address(), PORT)))??;
        let process = match subject {
            Subject::Muslin => start_muslin(&host, extra)?,
            Subject::Bird => start_bird(&host)?,
        };
        let mut arena = Self { testers, host, process, listener };
        wait::until("the subject listens", || {
            arena.process.check()?;
            Ok(arena.connect(Peer::Stranger).map(drop).map_err(|error| format!("{error:#}")))
        })
        .with_context(|| arena.log())?;
        Ok(arena)
    }

    /// Ends our speaker by a signal and starts it again. Routes in its kernel stay.
    ///
    /// # Errors
    /// When it does not end or start.
    pub fn restart(&mut self, by: Signal) -> Result<()> {
        let mut command = muslin::speaker(&self.process.path("state"), &self.process.path(""))?;
        self.process.replace(by, &self.host, &mut command)
    }

    /// Runs an operator's command at our speaker and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn command(&self, args: &[&str]) -> Result<String> {
        muslin::command(self.process.path(""), args)
    }

    /// Whether the subject has put a route into its kernel.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn in_kernel(&self, prefix: &str) -> Result<bool> {
        let prefix: IpNet = prefix.parse()?;
        Ok(self.host.routes()?.iter().any(|route| route.prefix == prefix && route.protocol == OURS))
    }

    /// Waits until the subject has put a route into its kernel.
    ///
    /// # Errors
    /// When it does not.
    pub fn await_kernel(&self, prefix: &str) -> Result<()> {
        wait::until(&format!("{prefix} in the kernel"), || {
            Ok(if self.in_kernel(prefix)? { Ok(()) } else { Err(self.log()) })
        })
    }

    /// Stops the subject in its tracks for as long as something is done.
    ///
    /// # Errors
    /// When it is gone, or what is done fails.
    pub fn while_frozen<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.process.freeze()?;
        let done = act();
        self.process.thaw()?;
        done
    }

    /// A TCP connection to the subject from a peer's address.
    ///
    /// # Errors
    /// When the subject refuses it.
    pub fn connect(&self, peer: Peer) -> Result<Tester> {
        self.connect_with(peer, |_| Ok(()))
    }

    /// The same with further options of the socket.
    ///
    /// # Errors
    /// When the subject refuses it, or the socket its options.
    pub fn connect_with(
        &self,
        peer: Peer,
        prepare: impl FnOnce(&Socket) -> std::io::Result<()> + Send,
    ) -> Result<Tester> {
        Tester::connect_with(&self.testers, peer.address(), SUBJECT, prepare)
    }

    /// A connection on which the subject has sent its OPEN. After a fault of the peer's it may refuse connections for a
    /// while, by a Cease or by closing them: then it is tried again.
    ///
    /// # Errors
    /// When the subject does not want the peer, with its log.
    pub fn meet(&self, peer: Peer) -> Result<Tester> {
        let attempt = || -> Result<Tester> {
            let mut tester = self.connect(peer)?;
            let first = tester.peek()?;
            ensure!(first.kind == wire::OPEN, "{first:?}");
            Ok(tester)
        };
        wait::until("the subject's OPEN", || Ok(attempt().map_err(|error| format!("{error:#}"))))
            .with_context(|| self.log())
    }

    /// An established session from a peer's address.
    ///
    /// # Errors
    /// When the subject does not want it, with its log.
    pub fn establish(&self, peer: Peer) -> Result<Tester> {
        self.establish_with(peer, &peer.open())
    }

    /// An established session with an OPEN of the test's own.
    ///
    /// # Errors
    /// When the subject does not want it, with its log.
    pub fn establish_with(&self, peer: Peer, open: &Open) -> Result<Tester> {
        let mut tester = self.meet(peer)?;
        tester.establish(open).with_context(|| self.log())?;
        Ok(tester)
    }

    /// The connection that the subject opens to [`Peer::Active`].
    ///
    /// # Errors
    /// When it fails.
    pub fn accept(&self) -> Result<Tester> {
        Tester::new(self.listener.accept()?.0)
    }

    /// Writes a peer's manifest anew, with further lines in its specification; `None` removes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn reconfigure(&self, peer: Peer, extra: Option<&str>) -> Result<()> {
        match extra {
            Some(extra) => self.write(peer.name(), &peer_manifest(peer, extra)),
            None => Ok(fs::remove_file(self.process.path("state").join(format!("{}.yaml", peer.name())))?),
        }
    }

    /// Writes anew what passes between our speaker and every peer: the specification of the filter that they share.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_filter(&self, spec: &str) -> Result<()> {
        let folder = self.process.path("state");
        let new = folder.join(".configuration.new");
        fs::write(&new, configuration(spec))?;
        Ok(fs::rename(new, folder.join("configuration.yaml"))?)
    }

    /// What the subject costs now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn footprint(&self) -> Result<Footprint> {
        let process = Path::new("/proc").join(self.process.id().to_string());
        let status = fs::read_to_string(process.join("status"))?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .context("VmRSS")?;
        Ok(Footprint { resident: resident << 10, files: fs::read_dir(process.join("fd"))?.count() })
    }

    /// Everything that the subject has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn whole_log(&self) -> Result<String> {
        self.process.log()
    }

    /// How many lines the subject has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log_lines(&self) -> Result<usize> {
        Ok(self.process.log()?.lines().count())
    }

    /// Writes a manifest beside those of the peers, anew if it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, manifest: &str) -> Result<()> {
        let folder = self.process.path("state");
        // Not to be seen half-written.
        let new = folder.join(format!(".{name}.new"));
        fs::write(&new, manifest)?;
        Ok(fs::rename(new, folder.join(format!("{name}.yaml")))?)
    }

    /// What our speaker says of a peer: an element of `muslin peers --output json`.
    ///
    /// # Errors
    /// When it does not answer or does not know the peer.
    pub fn status(&self, peer: Peer) -> Result<serde_json::Value> {
        self.status_of(peer.name())
    }

    /// The same of a peer by its name.
    ///
    /// # Errors
    /// When it does not answer or does not know the peer.
    pub fn status_of(&self, name: &str) -> Result<serde_json::Value> {
        let peers = muslin::ask_json(&self.process, &["peers"])?;
        let mut peers = peers.as_array().context("a list of peers")?.iter();
        peers.find(|peer| peer["key"] == name).cloned().with_context(|| format!("no peer {name}"))
    }

    /// The end of the subject's log and, of ours, the routes that it has.
    pub fn log(&self) -> String {
        let log = self.process.log().unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        let routes = muslin::routes(self.process.path("")).unwrap_or_default();
        format!("the subject's log ends:\n{}\n{routes}", lines[lines.len().saturating_sub(30)..].join("\n"))
    }
}

/// What a process costs at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Resident memory in octets.
    pub resident: u64,
    /// Open files, connections among them.
    pub files: usize,
}

/// An ordinary UPDATE of a peer: its own AS and address.
pub fn announce(peer: Peer, prefixes: &[&str]) -> Vec<u8> {
    announce_with(peer, &[], prefixes)
}

/// An ordinary UPDATE of a peer with further attributes.
pub fn announce_with(peer: Peer, further: &[Vec<u8>], prefixes: &[&str]) -> Vec<u8> {
    let path = match peer {
        Peer::Internal => wire::as_path(&[]),
        _ => wire::as_path(&[peer.asn()]),
    };
    let mut attributes = vec![wire::origin(0), path, wire::next_hop(peer.address())];
    if peer == Peer::Internal {
        attributes.push(wire::local_pref(100));
    }
    attributes.extend(further.iter().cloned());
    wire::update(&[], &attributes, prefixes)
}

fn start_muslin(host: &Namespace, extra: &[(Peer, &str)]) -> Result<Process> {
    let folder = Process::folder()?;
    let state = folder.path().join("state");
    fs::create_dir(&state)?;
    fs::write(state.join("configuration.yaml"), configuration(EVERYTHING))?;
    for peer in Peer::KNOWN {
        let lines: String = extra.iter().filter(|(of, _)| *of == peer).map(|(_, lines)| *lines).collect();
        fs::write(state.join(format!("{}.yaml", peer.name())), peer_manifest(peer, &lines))?;
    }
    let mut command = muslin::speaker(&state, folder.path())?;
    Process::start(host, folder, &mut command)
}

/// The specification of a filter that lets everything pass.
pub const EVERYTHING: &str = "import: [{action: Accept}], export: [{action: Accept}]";

fn configuration(filter: &str) -> String {
    format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata:\n  name: default\nspec:\n  \
         asn: {SUBJECT_ASN}\n  routerID: {SUBJECT}\n  import:\n    cidrs: [0.0.0.0/0, \"::/0\"]\n    \
         defaultRoute: Accept\n---\napiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata:\n  name: all\n\
         spec: {{{filter}}}\n"
    )
}

fn peer_manifest(peer: Peer, extra: &str) -> String {
    let mode = if peer == Peer::Active { "Both" } else { "Passive" };
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: {}\nspec:\n  peerAddress: {}\n  \
         peerASN: {}\n  connectMode: {mode}\n  families: [IPv4, IPv6]\n  connectRetry: 1s\n  filters: [all]\n",
        peer.name(),
        peer.address(),
        peer.asn(),
    );
    for line in extra.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn start_bird(host: &Namespace) -> Result<Process> {
    let folder = Process::folder()?;
    let mut text = format!(
        "log stderr all;\nrouter id {SUBJECT};\nprotocol device {{}}\nprotocol direct {{ ipv4; ipv6; }}\n"
    );
    for peer in Peer::KNOWN {
        let passive = if peer == Peer::Active { "" } else { "passive;" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "protocol bgp peer_{} {{ local {SUBJECT} as {SUBJECT_ASN}; neighbor {} as {}; {passive} connect delay time 1; \
             error wait time 1, 2; ipv4 {{ import all; export where source = RTS_BGP; }}; \
             ipv6 {{ import all; export where source = RTS_BGP; }}; }}",
            peer.name(),
            peer.address(),
            peer.asn(),
        );
    }
    write_configuration(&folder.path().join("bird.conf"), &text)?;
    let mut command = Command::new("/usr/sbin/bird");
    command.args(["-f", "-c", "bird.conf", "-s", "control"]);
    Process::start(host, folder, &mut command)
}
