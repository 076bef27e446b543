//! What a session runs over: interfaces and VRFs, and signatures of segments.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muslin_netns::Namespace;
use muslin_proto_tests::arena::{Arena, Peer};
use muslin_proto_tests::wait;

use crate::scene::Scene;

/// Says past the harness, which would keep it to itself, what could not be shown on this machine.
fn skipped(what: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "SKIPPED: {what}")?)
}

#[test]
fn a_session_that_is_bound_to_an_interface_comes_up_over_it_both_ways() -> Result<()> {
    let arena = Arena::with(&[(Peer::A, "vrf: eth0"), (Peer::Active, "vrf: eth0")])?;
    arena.establish(Peer::A)?;
    arena.accept()?.establish(&Peer::Active.open()).map(drop).with_context(|| arena.log())
}

#[test]
fn a_session_that_is_bound_elsewhere_is_not_let_in() -> Result<()> {
    let mut scene = Scene::with(&[(Peer::Internal, "vrf: lo")])?;
    let mut stray = scene.arena.connect(Peer::Internal)?;
    stray.send_if_open(&Peer::Internal.open().message());
    ensure!(stray.receive().is_err(), "answered though it came another way");
    scene.a_is_heard()
}

#[test]
fn a_session_runs_over_a_vrf() -> Result<()> {
    let namespace = Namespace::new("vrf")?;
    let made = namespace
        .run(|| Command::new("ip").args(["link", "add", "red", "type", "vrf", "table", "10"]).output())??;
    if !made.status.success() {
        return skipped("this kernel has no VRF: sessions over one are shown with a plain interface only");
    }
    let arena = Arena::in_vrf("red", &[(Peer::A, "vrf: red"), (Peer::Active, "vrf: red")])?;
    arena.establish(Peer::A)?;
    arena.accept()?.establish(&Peer::Active.open()).map(drop).with_context(|| arena.log())
}

#[test]
fn rfc5925_1_a_peer_that_wants_tcp_ao_has_it_or_no_session() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.arena.write(
        "key",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: key\n  namespace: kube-system\nstringData:\n  password: hush\n",
    )?;
    let key = "tcpAO:\n  secretKeyRef:\n    name: key\n    namespace: kube-system\n";
    scene.arena.reconfigure(Peer::Internal, Some(key))?;
    if muslin_sockopt::has_tcp_ao() {
        let unsigned =
            || Ok(scene.arena.connect(Peer::Internal).map_or(Ok(()), |_| Err("answered".to_owned())));
        wait::until("unsigned segments are not answered", unsigned)?;
    } else {
        skipped("this kernel has no TCP-AO: only its refusal is shown")?;
        let said =
            |log: String| log.lines().any(|line| line.contains(".spec.tcpAO") && line.contains("Linux 6.7"));
        wait::until("the refusal in the log", || {
            let log = scene.arena.whole_log()?;
            Ok(if said(log.clone()) { Ok(()) } else { Err(log) })
        })?;
        let mut unprotected = scene.arena.connect(Peer::Internal)?;
        unprotected.send_if_open(&Peer::Internal.open().message());
        ensure!(unprotected.receive().is_err(), "a session without the protection that was asked for");
    }
    scene.a_is_heard()
}

#[test]
fn our_open_names_our_software_and_what_the_peer_says_is_shown_escaped() -> Result<()> {
    use muslin_proto_tests::wire::{self, OPEN};
    let arena = Arena::new()?;
    let version = [&[9][..], b"tor\x1b[2J\n!"].concat();
    let list = [wire::common_capabilities(Peer::A.asn()), vec![wire::capability(75, &version)]].concat();
    let open = Peer::A.open().with_parameters(wire::parameters(&[wire::capabilities(&list)]));
    let mut a = arena.meet(Peer::A)?;
    let ours = a.establish(&open).with_context(|| arena.log())?;
    ensure!(ours.kind == OPEN && ours.body.windows(7).any(|octets| octets == b"muslin/"), "{ours:02x?}");
    let status = wait::until("the session", || {
        let status = arena.status(Peer::A)?;
        Ok(if status["established"] == true { Ok(status) } else { Err(format!("{status:#}")) })
    })?;
    let theirs = status["negotiated"]["capabilities"]["theirs"].to_string();
    ensure!(theirs.contains("software tor") && !theirs.contains("\\u001b"), "{theirs}");
    Ok(())
}
