use std::fmt::Write as _;
use std::process::Command;

use super::{Neighbour, PATIENCE, RouterSetup, Seat, find};
use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::{CLUSTER_ASN, REFLECTION_CLUSTER, ROUTER_ASN};
use crate::daemon::Daemon;
use crate::options::Topology;

pub(super) fn missing() -> Option<String> {
    find(&["bird"]).is_none().then(|| "--router bird needs BIRD 2: install the package bird2".to_owned())
}

pub(super) fn start(setup: &RouterSetup<'_>) -> Result<Daemon, LabError> {
    let configuration = setup.write("bird.conf", &configuration(setup))?;
    let control = setup.folder.join("bird.ctl");
    let mut command = Command::new(find(&["bird"]).unwrap_or_default().join("bird"));
    command.arg("-f").arg("-c").arg(configuration).arg("-s").arg(&control);
    command.arg("-P").arg(setup.folder.join("bird.pid"));
    let mut daemon = setup.start("bird", &mut command)?;
    daemon.await_path(&control, PATIENCE)?;
    Ok(daemon)
}

fn configuration(setup: &RouterSetup<'_>) -> String {
    let mut text = format!(
        "log stderr all;
router id {};
protocol device {{}}
",
        setup.id(),
    );
    let (session, routes) = match setup.seat {
        Seat::Router(_) => {
            for family in Family::BOTH {
                let channel = channel(family);
                // Writing to a String cannot fail, here and below.
                let _ = write!(
                    text,
                    "protocol kernel {{
  {channel} {{ import none; export where source = RTS_BGP; }};
  merge paths on limit 64;
}}
"
                );
            }
            (String::new(), "import all; export all;")
        }
        Seat::Reflector(_) => {
            // The way to next hops is known from the link; nothing goes into the kernel.
            text.push_str("protocol direct { ipv4; ipv6; }\n");
            let session = format!("  rr client;\n  rr cluster id {REFLECTION_CLUSTER};\n");
            (session, "import all; export where source = RTS_BGP; add paths tx;")
        }
    };
    let asn = setup.asn();
    if setup.lab.topology == Topology::Unnumbered {
        text.push_str(&unnumbered(setup));
        return text;
    }
    for Neighbour { node, family, local, remote } in setup.neighbours() {
        let (channel, node) = (channel(family), &node.name);
        let _ = write!(
            text,
            "protocol bgp {node}_{channel} {{
  local {local} as {asn};
  neighbor {remote} as {CLUSTER_ASN};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
{session}  {channel} {{ {routes} }};
}}
"
        );
    }
    text
}

/// BIRD advertises itself on its links but does not look for others there: it is told their addresses.
fn unnumbered(setup: &RouterSetup<'_>) -> String {
    let mut text = String::new();
    for Neighbour { node, remote, .. } in setup.links() {
        let node = &node.name;
        let _ = write!(
            text,
            "protocol radv {{
  interface \"{node}\" {{ min ra interval 3; max ra interval 10; default lifetime 0; }};
}}
protocol bgp {node}_both {{
  local as {ROUTER_ASN};
  neighbor {remote}%{node} as {CLUSTER_ASN};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ipv4 {{ extended next hop; import all; export all; }};
  ipv6 {{ import all; export all; }};
}}
"
        );
    }
    text
}

fn channel(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}
