//! The result of a lab: for people a table, for programs JSON.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, CellAlignment, Color, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::addresses::Family;
use crate::options::{RouterKind, Tamper, Topology};

/// No lines but one under the header.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How many failures of one proof are told one by one.
const TOLD: usize = 3;

/// Everything that a lab found out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Format of this report; raised when a field changes its meaning.
    pub version: u32,
    /// Whether every proof holds.
    pub holds: bool,
    /// The wiring.
    pub topology: Topology,
    /// The external router.
    pub router: RouterKind,
    /// What was broken on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tampered: Option<Tamper>,
    /// How long it took, from the start of the agents.
    pub convergence: Convergence,
    /// The nodes.
    pub nodes: Vec<NodeReport>,
    /// The pods.
    pub pods: Vec<PodReport>,
    /// The proofs, in the order in which they were made.
    pub proofs: Vec<Proof>,
}

/// How long the nodes and routers took to agree.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Convergence {
    /// What was waited for.
    pub waited_for: String,
    /// Seconds from the start of the agents until it was there.
    pub seconds: f64,
    /// Seconds from the start of the agents until each of them had said that it is ready.
    pub agents_ready_seconds: f64,
    /// Seconds from writing the Service's endpoints until its routes were on the routers.
    pub service_seconds: f64,
    /// Seconds from shutting down the peers in the manifests until no learned route was left in any kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawal_seconds: Option<f64>,
}

/// A node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// Resident memory of its agent in bytes, all proofs of reachability done.
    pub agent_resident_bytes: Option<u64>,
}

/// A pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Seconds that the CNI plugin took.
    pub added_seconds: f64,
}

/// One thing that was proven, or not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// Stable name for programs.
    pub id: ProofId,
    /// The statement.
    pub statement: String,
    /// The part with IPv4.
    pub ipv4: Tally,
    /// The part with IPv6.
    pub ipv6: Tally,
}

/// Stable names of the proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofId {
    /// Pods of one node reach each other.
    SameNode,
    /// Pods of different nodes reach each other.
    OtherNode,
    /// The receiver sees the pod's own address.
    Source,
    /// TTL and hop limit fall by exactly the hops.
    Hops,
    /// Between nodes the packets carry pod source and pod destination.
    Wire,
    /// No tunnel device, no tunnelled packet.
    NoTunnel,
    /// Pods reach the outside host, seen with a node's address.
    Masquerade,
    /// The outside host reaches pods by their own addresses.
    FromOutside,
    /// The kernels of nodes have the routes to all other nodes' pods.
    Routes,
    /// The routers' kernels have each Service address with the right next hops.
    Service,
    /// A packet to a Service that nothing translated is dropped at the node.
    Untranslated,
    /// With one of two reflectors dead pods of different nodes still reach each other.
    ReflectorLoss,
    /// Without BGP nothing passes between nodes.
    Silence,
    /// Without BGP pods of one node still reach each other, and the outside host.
    Isolation,
}

/// How many of a proof's parts hold.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Parts that hold.
    pub passed: usize,
    /// All parts.
    pub total: usize,
    /// The first few that do not.
    pub failures: Vec<String>,
}

impl Proof {
    /// A proof of which no part is judged yet.
    pub(crate) fn new(id: ProofId, statement: impl Into<String>) -> Self {
        Self { id, statement: statement.into(), ipv4: Tally::default(), ipv6: Tally::default() }
    }

    /// Counts one part.
    pub(crate) fn judge(&mut self, family: Family, holds: bool, failure: impl FnOnce() -> String) {
        let tally = match family {
            Family::V4 => &mut self.ipv4,
            Family::V6 => &mut self.ipv6,
        };
        tally.total += 1;
        if holds {
            tally.passed += 1;
        } else if tally.failures.len() < TOLD {
            tally.failures.push(failure());
        }
    }

    /// Whether there is at least one part, and all hold. Nothing looked at is nothing proven.
    pub fn holds(&self) -> bool {
        let Self { ipv4, ipv6, .. } = self;
        ipv4.total + ipv6.total > 0 && ipv4.passed == ipv4.total && ipv6.passed == ipv6.total
    }
}

impl Report {
    /// The table, and after it what fails. Colour only where `terminal` says so.
    pub fn table(&self, terminal: Terminal) -> String {
        let mut table = Table::new();
        table.load_style(STYLE);
        match terminal {
            Terminal::Yes => table.enforce_styling(),
            Terminal::No => table.force_no_tty(),
        };
        table.set_header(["Proof", "IPv4", "IPv6", ""]);
        for proof in &self.proofs {
            let (word, color) = if proof.holds() { ("holds", Color::Green) } else { ("FAILS", Color::Red) };
            table.add_row([
                Cell::new(&proof.statement),
                Cell::new(&proof.ipv4).set_alignment(CellAlignment::Right),
                Cell::new(&proof.ipv6).set_alignment(CellAlignment::Right),
                Cell::new(word).fg(color).add_attribute(Attribute::Bold),
            ]);
        }
        let failures = self.proofs.iter().filter(|proof| !proof.holds()).flat_map(failures);
        let lines: Vec<String> =
            [table.to_string()].into_iter().chain(failures).chain([self.summary()]).collect();
        lines.join("\n")
    }

    fn summary(&self) -> String {
        let Convergence { waited_for, seconds, .. } = &self.convergence;
        let resident = self.nodes.iter().filter_map(|node| node.agent_resident_bytes).max();
        let resident = resident.map_or_else(String::new, |bytes| {
            let tenths = bytes * 10 / (1024 * 1024);
            format!("Memory of an agent: at most {}.{} MiB.\n", tenths / 10, tenths % 10)
        });
        let failing = self.proofs.iter().filter(|proof| !proof.holds()).count();
        let verdict = match failing {
            0 => format!("All {} proofs hold.", self.proofs.len()),
            1 => "1 proof fails.".to_owned(),
            _ => format!("{failing} proofs fail."),
        };
        format!(
            "Convergence: {seconds:.2} s from the start of the agents to {waited_for}.\n{resident}{verdict}\n"
        )
    }
}

/// Whether the table goes to a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// It does: colours.
    Yes,
    /// It goes to a file or a pipe.
    No,
}

impl Terminal {
    /// What standard output is.
    pub fn detect() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !plain { Self::Yes } else { Self::No }
    }
}

fn failures(proof: &Proof) -> Vec<String> {
    let mut lines = vec![format!("FAILS: {}", proof.statement)];
    for (family, tally) in [(Family::V4, &proof.ipv4), (Family::V6, &proof.ipv6)] {
        lines.extend(tally.failures.iter().map(|failure| format!("  {}: {failure}", family.name())));
        let more = (tally.total - tally.passed).saturating_sub(tally.failures.len());
        if more > 0 {
            lines.push(format!("  {}: and {more} more", family.name()));
        }
    }
    lines
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            0 => f.write_str("-"),
            total => write!(f, "{}/{total}", self.passed),
        }
    }
}
