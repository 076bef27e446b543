//! What is wrong with a node: pure functions of the facts. Each check is tried on facts that are wrong.

mod cluster;
mod kernel;
mod managers;
mod mtu;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::facts::Facts;

/// How bad a finding is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) enum Severity {
    /// Packets or routes are lost.
    Error,
    /// It works now, and may stop, or does not work in some cases.
    Warning,
    /// Worth knowing; nothing needs to be done.
    Note,
    /// It could not be looked at.
    Unknown,
}

/// One thing that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Finding {
    /// The check, by a name that stays.
    pub(super) check: &'static str,
    /// How bad it is.
    pub(super) severity: Severity,
    /// What is wrong, and what comes of it.
    pub(super) what: String,
    /// What was seen.
    pub(super) evidence: String,
    /// What helps.
    pub(super) fix: Option<String>,
}

/// What all checks say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Report {
    /// The worst first.
    pub(super) findings: Vec<Finding>,
    /// Checks without one.
    pub(super) passed: Vec<&'static str>,
}

impl Report {
    /// Whether something has to be done.
    pub(super) fn is_bad(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity <= Severity::Warning)
    }
}

/// Where a check puts what it finds.
struct Findings {
    check: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        what: impl Into<String>,
        evidence: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let fix = Some(fix.into()).filter(|fix: &String| !fix.is_empty());
        self.found.push(Finding {
            check: self.check,
            severity,
            what: what.into(),
            evidence: evidence.into(),
            fix,
        });
    }

    /// It could not be looked at, because of `reason`.
    fn unknown(&mut self, what: &str, reason: &str) {
        self.add(
            Severity::Unknown,
            format!("{what} cannot be seen"),
            reason,
            "run as root, in the network namespace of the node",
        );
    }
}

type Check = fn(&Facts, &mut Findings);

/// The checks, by names that stay.
const CHECKS: [(&str, Check); 16] = [
    ("kernel", kernel::release),
    ("forwarding", kernel::forwarding),
    ("reverse-path-filter", kernel::reverse_path_filter),
    ("router-advertisements", kernel::router_advertisements),
    ("multipath-hash", kernel::multipath_hash),
    ("connection-tracking", kernel::connection_tracking),
    ("systemd-networkd", managers::networkd),
    ("network-manager", managers::network_manager),
    ("other-routing", managers::other_routing),
    ("bgp-port", managers::bgp_port),
    ("mtu", mtu::links),
    ("path-mtu", mtu::paths),
    ("packet-filter", cluster::packet_filter),
    ("kube-proxy", cluster::kube_proxy),
    ("cni", cluster::cni),
    ("agent", cluster::agent),
];

/// Runs every check.
pub(super) fn examine(facts: &Facts) -> Report {
    let mut report = Report { findings: Vec::new(), passed: Vec::new() };
    for (name, check) in CHECKS {
        let mut findings = Findings { check: name, found: Vec::new() };
        check(facts, &mut findings);
        if findings.found.is_empty() {
            report.passed.push(name);
        }
        report.findings.append(&mut findings.found);
    }
    report.findings.sort_by_key(|finding| finding.severity);
    report
}
