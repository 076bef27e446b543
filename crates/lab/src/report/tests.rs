use super::*;

fn report(proofs: Vec<Proof>) -> Report {
    Report {
        version: 1,
        holds: proofs.iter().all(Proof::holds),
        topology: Topology::DualTor,
        router: RouterKind::Frr,
        tampered: None,
        convergence: Convergence {
            waited_for: "all routes".to_owned(),
            seconds: 0.25,
            ..Convergence::default()
        },
        nodes: vec![NodeReport {
            name: "n1".to_owned(),
            agent_resident_bytes: Some(9 * 1024 * 1024 + 600_000),
        }],
        pods: Vec::new(),
        proofs,
    }
}

fn proof(failing: usize) -> Proof {
    let mut proof = Proof::new(ProofId::OtherNode, "Pods reach pods");
    for part in 0..6 {
        proof.judge(Family::V4, part >= failing, || format!("part {part}"));
    }
    proof
}

#[test]
fn a_proof_without_parts_proves_nothing() {
    assert!(!Proof::new(ProofId::Wire, "").holds());
    assert!(proof(0).holds());
    assert!(!proof(1).holds());
}

#[test]
fn the_table_is_plain_unless_it_goes_to_a_terminal() {
    let report = report(vec![proof(0), proof(1)]);
    assert!(!report.table(Terminal::No).contains('\u{1b}'));
    assert!(report.table(Terminal::Yes).contains('\u{1b}'));
}

#[test]
fn failures_are_told_but_not_without_end() {
    let text = report(vec![proof(5)]).table(Terminal::No);
    assert!(text.contains(
        "FAILS: Pods reach pods\n  IPv4: part 0\n  IPv4: part 1\n  IPv4: part 2\n  IPv4: and 2 more\n"
    ));
    assert!(text.ends_with("1 proof fails.\n"), "{text}");
}

#[test]
fn the_summary_names_what_convergence_waited_for_and_the_memory() {
    let text = report(vec![proof(0)]).table(Terminal::No);
    assert!(text.contains("Convergence: 0.25 s from the start of the agents to all routes."), "{text}");
    assert!(text.contains("Memory of an agent: at most 9.5 MiB."), "{text}");
    assert!(text.ends_with("All 1 proofs hold.\n"), "{text}");
}

#[test]
fn programs_get_stable_names() {
    let json = serde_json::to_value(report(vec![proof(1)])).unwrap();
    assert_eq!(json["holds"], false);
    assert_eq!(json["topology"], "dual-tor");
    assert_eq!(json["router"], "frr");
    assert_eq!(json["proofs"][0]["id"], "other-node");
    assert_eq!(json["proofs"][0]["ipv4"]["passed"], 5);
    assert_eq!(json["convergence"]["waitedFor"], "all routes");
    assert!(json.get("tampered").is_none());
}
