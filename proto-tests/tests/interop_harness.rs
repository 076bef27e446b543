//! The harness tests itself: daemons of others, put together in pairs, have to pass what ours has to pass; and a
//! wrong expectation has to fail.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::{Process, is_ready};
use muslin_proto_tests::daemons::{Candidate, Kind};
use muslin_proto_tests::peering::{Link, Side, exchange};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

fn pair(left: Kind, right: Kind, left_asn: u32, right_asn: u32) -> Result<()> {
    let link = Link::new(left_asn, right_asn)?;
    let mut a = Side::new(left.installed().start(&link.left, &link.left_setup())?, link.left_setup());
    let mut b = Side::new(right.installed().start(&link.right, &link.right_setup())?, link.right_setup());
    exchange(&mut a, &mut b)
}

#[test]
fn frr_and_bird_exchange_routes() -> Result<()> {
    pair(Kind::Frr, Kind::Bird, 65001, 4_200_000_002)
}

#[test]
fn gobgp_and_openbgpd_exchange_routes() -> Result<()> {
    pair(Kind::GoBgp, Kind::OpenBgpd, 4_200_000_001, 65002)
}

#[test]
fn exabgp_and_bird_exchange_routes() -> Result<()> {
    pair(Kind::ExaBgp, Kind::Bird, 65001, 65002)
}

#[test]
fn every_daemon_tells_its_version() -> Result<()> {
    let all = Candidate::all()?;
    let versions = all.iter().map(Candidate::version).collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(versions.len(), all.len(), "{versions:?}");
    Ok(())
}

/// A socket has its name before anybody can connect to it.
#[test]
fn a_socket_is_ready_once_somebody_listens() -> Result<()> {
    let folder = Process::folder()?;
    let path = folder.path().join("control");
    assert!(is_ready(&path).is_err());
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
    assert!(path.exists() && is_ready(&path).is_err());
    listen(&socket, Backlog::new(1)?)?;
    is_ready(&path)?;
    Ok(())
}

/// A child of a daemon may hold its port a little longer than the daemon itself lives.
#[test]
fn a_daemon_is_replaced_once_all_its_processes_have_ended() -> Result<()> {
    let host = Namespace::new("host")?;
    let mut family = Command::new("sh");
    family
        .args(["-c", "(trap '' TERM; sh -c 'echo $PPID > new; mv new child; sleep 0.5') & exec sleep 1000"]);
    let mut process = Process::start(&host, Process::folder()?, &mut family)?;
    process.await_file("child")?;
    let child = fs::read_to_string(process.path("child"))?;
    let runs = || {
        let stat = fs::read_to_string(Path::new("/proc").join(child.trim()).join("stat"));
        // One that has ended may wait for its new parent to notice.
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(runs());
    process.replace(Signal::SIGTERM, &host, Command::new("sleep").arg("1000"))?;
    assert!(!runs(), "process {child} is still there");
    Ok(())
}
