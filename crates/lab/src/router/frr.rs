use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use nix::unistd::{User, chown};

use super::{Neighbour, PATIENCE, RouterSetup, Seat, find};
use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::{CLUSTER_ASN, REFLECTION_CLUSTER};
use crate::daemon::Daemon;
use crate::options::Topology;

const ZEBRA: &str = "zebra";
const BGPD: &str = "bgpd";
/// The daemons make folders below /var/tmp, whatever they are told, and leave them there when they are killed. Theirs are
/// seen by nobody else, and go with them.
const IN_PRIVATE: &str = "mount -n -t tmpfs frr /var/tmp && exec \"$@\"";
/// Looked for together: OpenBGPD has a bgpd too, in another folder.
const DAEMONS: [&str; 2] = [ZEBRA, BGPD];

pub(super) fn missing() -> Option<String> {
    // In a user namespace only one user is mapped; the daemons want to change to theirs.
    let mapping = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let real_root = mapping.split_whitespace().nth(2).is_some_and(|count| count != "1")
        && nix::unistd::geteuid().is_root();
    let sentence = match (real_root, find(&DAEMONS).is_some()) {
        (true, true) => return None,
        (false, _) => "--router frr needs root: run it with sudo, or take --router bird or --router muslin",
        (true, false) => "--router frr needs FRRouting's zebra and bgpd: install the package frr",
    };
    Some(sentence.to_owned())
}

pub(super) fn start(setup: &RouterSetup<'_>) -> Result<Vec<Daemon>, LabError> {
    let zserv = setup.folder.join("zserv.api");
    own_folder(setup)?;
    let programs = find(&DAEMONS).unwrap_or_default();
    let mut daemons = Vec::new();
    for (program, text, socket) in
        [(ZEBRA, String::new(), &zserv), (BGPD, configuration(setup), &setup.folder.join("bgpd.vty"))]
    {
        let configuration = setup.write(&format!("{program}.conf"), &text)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", IN_PRIVATE, "sh"]).arg(programs.join(program));
        command.arg("-f").arg(configuration).arg("-z").arg(&zserv);
        command.arg("-i").arg(setup.folder.join(format!("{program}.pid")));
        command.arg("--vty_socket").arg(setup.folder).args(["-A", "127.0.0.1", "-P", "0"]);
        command.args(["--log", "stdout", "--log-level", "informational"]);
        let mut daemon = setup.start(program, &mut command)?;
        daemon.await_path(socket, PATIENCE)?;
        daemons.push(daemon);
    }
    // The last started first, so that bgpd never outlives the zebra that it talks to.
    daemons.reverse();
    Ok(daemons)
}

/// The daemons change to their package's user, who must be able to make sockets.
fn own_folder(setup: &RouterSetup<'_>) -> Result<(), LabError> {
    let failed = |errno: nix::Error| LabError::file(setup.folder)(errno.into());
    match User::from_name("frr").map_err(failed)? {
        Some(user) => chown(setup.folder, Some(user.uid), Some(user.gid)).map_err(failed),
        // Built to run as root.
        None => Ok(()),
    }
}

fn configuration(setup: &RouterSetup<'_>) -> String {
    let mut text = format!(
        "hostname {}
router bgp {}
 bgp router-id {}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 coalesce-time 50
",
        setup.name(),
        setup.asn(),
        setup.id(),
    );
    let options: &[&str] = match setup.seat {
        Seat::Router(_) => &[],
        Seat::Reflector(_) => {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, " bgp cluster-id {REFLECTION_CLUSTER}");
            &["route-reflector-client", "addpath-tx-all-paths"]
        }
    };
    if setup.lab.topology == Topology::Unnumbered {
        text.push_str(&unnumbered(setup));
        return text;
    }
    for Neighbour { remote, .. } in setup.neighbours() {
        let _ = write!(
            text,
            " neighbor {remote} remote-as {CLUSTER_ASN}
 neighbor {remote} timers connect 1
"
        );
    }
    for family in Family::BOTH {
        let _ =
            writeln!(text, " address-family {} unicast\n  maximum-paths 64", family.name().to_lowercase());
        for Neighbour { remote, .. } in setup.neighbours().filter(|neighbour| neighbour.family == family) {
            let _ = writeln!(text, "  neighbor {remote} activate");
            for option in options {
                let _ = writeln!(text, "  neighbor {remote} {option}");
            }
        }
        text.push_str(" exit-address-family\n");
    }
    text
}

/// Whoever advertises itself on a link is a neighbour, and gets routes of both families over its one session.
fn unnumbered(setup: &RouterSetup<'_>) -> String {
    let mut text = String::new();
    for Neighbour { node, .. } in setup.links() {
        let node = &node.name;
        let _ = write!(
            text,
            " neighbor {node} interface remote-as {CLUSTER_ASN}
 neighbor {node} timers connect 1
"
        );
    }
    for family in Family::BOTH {
        let _ =
            writeln!(text, " address-family {} unicast\n  maximum-paths 64", family.name().to_lowercase());
        for Neighbour { node, .. } in setup.links() {
            let _ = writeln!(text, "  neighbor {} activate", node.name);
        }
        text.push_str(" exit-address-family\n");
    }
    text
}
