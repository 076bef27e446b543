//! Two hosts on two cables without an address but the link-local ones: unnumbered sessions.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use muslin_netns::{Namespace, connect};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::daemon::{Process, ask};
use crate::daemons::frr;
use crate::release::Release;
use crate::{muslin, wait};

/// Both cables, by the name that either end has.
pub const CABLES: [&str; 2] = ["eth0", "eth1"];
/// The protocol number of routes that our speaker learned.
pub const OURS: u8 = 77;

/// One host: what it announces, and an address in it.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Its AS.
    pub asn: u32,
    /// Its identifier.
    pub id: &'static str,
    /// What it announces, IPv4 and IPv6.
    pub blocks: [&'static str; 2],
    /// An address of its own in each.
    pub addresses: [&'static str; 2],
}

/// The left host runs our speaker.
pub const LEFT: Side = Side {
    asn: 65001,
    id: "10.255.0.1",
    blocks: ["10.244.1.0/24", "fd44:0:0:1::/64"],
    addresses: ["10.244.1.1", "fd44:0:0:1::1"],
};
/// The right host runs the other one.
pub const RIGHT: Side = Side {
    asn: 65002,
    id: "10.255.0.2",
    blocks: ["10.244.2.0/24", "fd44:0:0:2::/64"],
    addresses: ["10.244.2.1", "fd44:0:0:2::1"],
};

/// The hosts, wired.
#[derive(Debug)]
pub struct Cables {
    /// Ours.
    pub left: Namespace,
    /// The other.
    pub right: Namespace,
}

impl Cables {
    /// Wires the hosts; each has the addresses of its block on its loopback.
    ///
    /// # Errors
    /// Without the privileges for it.
    pub fn new() -> Result<Self> {
        let cables = Self { left: Namespace::new("left")?, right: Namespace::new("right")? };
        for name in CABLES {
            connect(&cables.left, name, &cables.right, name)?;
        }
        for (host, side) in [(&cables.left, LEFT), (&cables.right, RIGHT)] {
            host.sysctl("net/ipv4/ip_forward", "1")?;
            host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            for address in side.addresses {
                host.add_address("lo", IpNet::from(address.parse::<IpAddr>()?))?;
            }
        }
        Ok(cables)
    }

    /// The link-local address that a host has on a cable, once the kernel lets it be used.
    ///
    /// # Errors
    /// When there is none.
    pub fn link_local(host: &Namespace, cable: &str) -> Result<Ipv6Addr> {
        wait::until("a link-local address", || {
            let found = host.addresses(cable)?.into_iter().find_map(|address| match address.addr() {
                IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
                _ => None,
            });
            Ok(found.ok_or_else(|| format!("none on {cable}")))
        })
    }

    /// Gives every end of one host the same link-local address, as switches do.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn renumber(host: &Namespace, cable: &str, address: Ipv6Addr) -> Result<()> {
        let old = Self::link_local(host, cable)?;
        host.add_address(cable, IpNet::new(address.into(), 64)?)?;
        Ok(host.remove_address(cable, IpNet::new(old.into(), 64)?)?)
    }

    /// Gives a host an IPv6 default route, as an administrator would.
    ///
    /// # Errors
    /// When there is one already.
    pub fn default_route(host: &Namespace, gateway: Ipv6Addr, cable: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-6", "route", "add", "default", "via", &gateway.to_string(), "dev", cable]);
        let status = host.spawn(&mut command)?.wait()?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    }

    /// Waits until the left host's kernel has both blocks of the right one over these neighbours.
    ///
    /// # Errors
    /// What the kernel has instead.
    pub fn await_ways(&self, wanted: &[(&str, Ipv6Addr)]) -> Result<()> {
        let links = self.left.links()?;
        let index = |name: &str| links.iter().find(|link| link.name == name).map(|link| link.index);
        let wanted: BTreeSet<(u32, IpAddr)> = wanted
            .iter()
            .map(|(name, address)| Ok((index(name).context("interface")?, IpAddr::from(*address))))
            .collect::<Result<_>>()?;
        for block in RIGHT.blocks {
            let block: IpNet = block.parse()?;
            let mut last = BTreeSet::new();
            let reached = self.left.await_routes(wait::PATIENCE, |routes| {
                last = routes
                    .iter()
                    .filter(|route| route.prefix == block && route.protocol == OURS)
                    .flat_map(|route| &route.next_hops)
                    .filter_map(|hop| Some((hop.interface, hop.gateway?)))
                    .collect();
                last == wanted
            })?;
            ensure!(reached, "{block}: wanted {wanted:?}, the kernel has {last:?}");
        }
        Ok(())
    }

    /// Waits until the right host's kernel has both blocks of the left one.
    ///
    /// # Errors
    /// When it has not.
    pub fn await_way_back(&self) -> Result<()> {
        let blocks: Vec<IpNet> = LEFT.blocks.iter().map(|block| block.parse()).collect::<Result<_, _>>()?;
        let reached = self.right.await_routes(wait::PATIENCE, |routes| {
            blocks.iter().all(|block| routes.iter().any(|route| route.prefix == *block))
        })?;
        ensure!(reached, "the right host does not know {blocks:?}");
        Ok(())
    }

    /// Sends a few octets there and back, from block to block, in both families: TCP, as pods would.
    ///
    /// # Errors
    /// Which family does not pass.
    pub fn talk(&self) -> Result<()> {
        for (from, to) in LEFT.addresses.into_iter().zip(RIGHT.addresses) {
            let (from, to): (IpAddr, IpAddr) = (from.parse()?, to.parse()?);
            let listener = self.right.run(|| TcpListener::bind(SocketAddr::new(to, 0)))??;
            let there = listener.local_addr()?;
            let mut stream: TcpStream = self
                .left
                .run(|| -> std::io::Result<TcpStream> {
                    let socket = Socket::new(Domain::for_address(there), Type::STREAM, None)?;
                    socket.bind(&SocketAddr::new(from, 0).into())?;
                    socket.connect_timeout(&there.into(), Duration::from_secs(10))?;
                    Ok(socket.into())
                })?
                .with_context(|| format!("{from} to {to}"))?;
            let (mut accepted, seen) = listener.accept()?;
            ensure!(seen.ip() == from, "{seen} instead of {from}");
            stream.write_all(b"muslin")?;
            let mut octets = [0; 6];
            accepted.read_exact(&mut octets)?;
            ensure!(&octets == b"muslin");
        }
        Ok(())
    }
}

/// Our speaker on a host with cables.
#[derive(Debug)]
pub struct Speaker(Process);

impl Speaker {
    /// Starts it with a `BGPPeer` `tor` of this specification.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub fn start(host: &Namespace, side: Side, peer: &str) -> Result<Self> {
        let folder = Process::folder()?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        let [v4, v6] = side.blocks;
        let manifest = format!(
            "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\nspec:\n  \
             asn: {asn}\n  routerID: {id}\n  import: {{cidrs: [0.0.0.0/0, \"::/0\"]}}\n  \
             originate: [{{cidr: {v4}}}, {{cidr: \"{v6}\"}}]\n\
             ---\napiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata: {{name: all}}\nspec:\n  \
             import: [{{action: Accept}}]\n  export: [{{action: Accept}}]\n\
             ---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: tor}}\nspec: {{{peer}, filters: [all]}}\n",
            asn = side.asn,
            id = side.id,
        );
        fs::write(state.join("state.yaml"), manifest)?;
        let mut command = muslin::speaker(&state, folder.path())?;
        let mut process = Process::start(host, folder, &mut command)?;
        process.await_file("muslin.sock")?;
        Ok(Self(process))
    }

    /// The answer to `muslin WORDS --output json`, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let mut command = Command::new(muslin::binary()?);
        command.args(words).args(["--output", "json", "--socket"]).arg(self.0.path("muslin.sock"));
        let output = command.stdin(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Waits until exactly these sessions are established: name and link-local address.
    ///
    /// # Errors
    /// What there is instead, with the log.
    pub fn await_sessions(&mut self, wanted: &[(&str, Ipv6Addr)]) -> Result<()> {
        let wanted: BTreeSet<(String, String)> =
            wanted.iter().map(|(name, address)| ((*name).to_owned(), address.to_string())).collect();
        let result = wait::until("the sessions", || {
            self.0.check()?;
            let peers = self.ask(&["peers"])?;
            let up = peers.as_array().into_iter().flatten().filter(|peer| peer["established"] == true);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let up: BTreeSet<_> = up.map(|peer| (text(&peer["key"]), text(&peer["address"]))).collect();
            Ok(if up == wanted { Ok(()) } else { Err(format!("{up:?} instead of {wanted:?}")) })
        });
        result.with_context(|| self.0.log().unwrap_or_default())
    }
}

/// FRR on a host with cables: `neighbor eth0 interface`.
pub struct Frr {
    bgpd: Process,
    zebra: Process,
}

impl Frr {
    /// Starts zebra, which advertises the host on its links, and bgpd.
    ///
    /// # Errors
    /// When one of them does not start, with its log.
    pub fn start(host: &Namespace, side: Side) -> Result<Self> {
        let folder = frr::own_folder()?;
        let mut command = frr::daemon(&Release::Installed, frr::ZEBRA, folder.path());
        command.arg("-z").arg(folder.path().join("zserv.api"));
        let mut zebra = Process::start(host, folder, &mut command)?;
        zebra.await_file("zserv.api")?;
        let folder = frr::own_folder()?;
        fs::write(folder.path().join("bgpd.conf"), configuration(side))?;
        let mut command = frr::daemon(&Release::Installed, frr::PROGRAM, folder.path());
        command.args(["-f", "bgpd.conf", "-z"]).arg(zebra.path("zserv.api"));
        let mut bgpd = Process::start(host, folder, &mut command)?;
        bgpd.await_file("bgpd.vty")?;
        Ok(Self { bgpd, zebra })
    }

    /// What bgpd says.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, words: &str) -> Result<String> {
        let mut command = Command::new("/usr/bin/vtysh");
        ask(command.arg("--vty_socket").arg(self.bgpd.path("")).args(["-d", "bgpd", "-c", words]))
    }

    /// The logs of both daemons.
    pub fn log(&self) -> String {
        let log = |process: &Process| process.log().unwrap_or_else(|error| error.to_string());
        format!("zebra:\n{}\nbgpd:\n{}", log(&self.zebra), log(&self.bgpd))
    }
}

fn configuration(side: Side) -> String {
    let [v4, v6] = side.blocks;
    let each = |line: fn(&str) -> String| CABLES.map(line).concat();
    let activate = each(|cable| format!("  neighbor {cable} activate\n"));
    format!(
        "router bgp {asn}\n bgp router-id {id}\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
         no bgp default ipv4-unicast\n{neighbors}\
         \x20address-family ipv4 unicast\n{activate}  network {v4}\n  maximum-paths 8\n exit-address-family\n \
         address-family ipv6 unicast\n{activate}  network {v6}\n  maximum-paths 8\n exit-address-family\n",
        asn = side.asn,
        id = side.id,
        neighbors = each(|cable| format!(
            " neighbor {cable} interface remote-as external\n neighbor {cable} timers connect 1\n \
             neighbor {cable} advertisement-interval 0\n"
        )),
    )
}
