//! Every metric there is, once: what is answered, documented and checked against alerts and dashboards comes from here.

/// What kind of thing a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, and starts anew with what it counts.
    Counter,
    /// Durations by size.
    Histogram,
}

impl Kind {
    /// Its word in the text format.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [&'static str],
}

/// Declares the metrics, and the list of all of them.
macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] };)*
        /// All of them, in the order in which they are documented.
        #[cfg(test)]
        pub(crate) const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    BUILD_INFO: Gauge "muslin_build_info" ["version"] "Always 1; the version of the daemon";
    UPTIME: Gauge "muslin_uptime_seconds" [] "How long the daemon has been running";
    READY: Gauge "muslin_ready" ["goal"] "Whether the daemon is serving (packets find their way), established (every session stands) and converged (every route is known and in the kernel)";
    DRAINING: Gauge "muslin_draining" [] "Whether the node is being taken out of service";
    PROBLEMS: Gauge "muslin_problems" [] "What is wrong with the cluster's resources, as `muslin status` lists it";
    FAULTS: Gauge "muslin_faults" [] "What could not be carried out, as `muslin status` lists it";
    SESSIONS: Gauge "muslin_bgp_sessions" ["peer"] "Sessions that should be established: 1 for a peer, and for a listen range as many as are connected";
    ESTABLISHED: Gauge "muslin_bgp_sessions_established" ["peer"] "Sessions that are established";
    AWAITED: Gauge "muslin_bgp_peers_awaited" [] "Peers that were not found on their interfaces yet";
    SESSIONS_UP: Counter "muslin_bgp_sessions_up_total" ["peer"] "How often the session of a peer was established";
    SESSIONS_LOST: Counter "muslin_bgp_sessions_lost_total" ["peer"] "How often the established session of a peer was lost";
    MESSAGES: Counter "muslin_bgp_messages_total" ["peer", "direction", "type"] "BGP messages received from a peer and sent to it";
    BYTES: Counter "muslin_bgp_bytes_total" ["peer", "direction"] "Octets received from a peer and sent to it";
    QUEUED: Gauge "muslin_bgp_queued_bytes" ["peer"] "Octets that wait for the peer to take them";
    FAULTY: Counter "muslin_bgp_faulty_updates_total" ["peer"] "UPDATEs with faulty attributes (RFC 7606)";
    ROUTES: Gauge "muslin_bgp_routes" ["peer", "family", "state"] "Routes of a peer: received, and of those accepted and rejected by import; and advertised to it";
    LIMIT: Gauge "muslin_bgp_prefix_limit" ["peer", "family"] "Most routes that the peer may have";
    STALE: Gauge "muslin_bgp_stale" ["peer", "family"] "Whether routes of a lost session are kept (graceful restart)";
    REFUSED: Counter "muslin_bgp_refused_routes_total" ["peer", "reason"] "Routes that import refused since the session came up, by reason";
    ORIGINATED: Gauge "muslin_originated_routes" [] "Routes that this node announces of itself";
    KERNEL_AGREEMENT: Gauge "muslin_kernel_agreement" [] "Whether the kernel holds exactly the routes that it should";
    KERNEL_ROUTES: Gauge "muslin_kernel_routes" ["state"] "Routes in the kernel: desired, installed, pending, and unclaimed ones of an earlier process";
    KERNEL_CLASHES: Gauge "muslin_kernel_clashes" [] "Prefixes of ours for which another program has a route";
    KERNEL_REFUSALS: Gauge "muslin_kernel_refusals" [] "Routes and next hops that the kernel does not accept";
    KERNEL_MESSAGES: Counter "muslin_kernel_messages_total" ["result"] "Changes that the kernel accepted and refused";
    KERNEL_DISTURBED: Counter "muslin_kernel_disturbed_routes_total" [] "Routes of ours that someone else deleted or changed, and that were put back";
    KERNEL_DRIFTED: Counter "muslin_kernel_drifted_routes_total" [] "Routes that an audit found different from what was believed";
    KERNEL_RESYNCS: Counter "muslin_kernel_resyncs_total" [] "Full reads of the kernel's routes";
    KERNEL_OVERRUNS: Counter "muslin_kernel_event_overruns_total" [] "Times that the kernel's events were lost";
    NEXT_HOPS: Gauge "muslin_kernel_next_hops" ["kind"] "Next-hop objects and groups of ours in the kernel";
    ADDRESSES: Gauge "muslin_ipam_addresses" ["block", "family", "state"] "Addresses of the node's blocks: allocated, resting after a release, and free";
    EVENT_TO_UPDATE: Histogram "muslin_event_to_update_seconds" [] "From a change of a cluster object, or of the node's links, to the last UPDATE that tells peers of it";
    UPDATE_TO_KERNEL: Histogram "muslin_update_to_kernel_seconds" [] "From the arrival of what a peer sent to the kernel's routes that follow from it";
    LOSS_TO_WITHDRAWAL: Histogram "muslin_session_loss_to_withdrawal_seconds" ["to"] "From the end of a session to the last UPDATE that tells other peers (to=\"peers\"), and to the kernel's routes without it (to=\"kernel\")";
}
