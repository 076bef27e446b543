//! The rows, in the order of the page.

use anyhow::Result;
use muslin_proto_tests::daemons::Candidate;

use crate::record::Verdict;
use crate::{limits, reflection, restart, routes, sessions, surroundings};

/// A row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feature {
    /// Name of its tests.
    pub(crate) id: &'static str,
    /// What the page calls it.
    pub(crate) text: &'static str,
    /// What has to happen for a cell to say that it works.
    pub(crate) meaning: &'static str,
    /// Makes it happen with one daemon.
    pub(crate) scenario: fn(&Candidate) -> Result<Verdict>,
}

const fn feature(
    id: &'static str,
    text: &'static str,
    meaning: &'static str,
    scenario: fn(&Candidate) -> Result<Verdict>,
) -> Feature {
    Feature { id, text, meaning, scenario }
}

/// Every row.
pub(crate) const FEATURES: &[Feature] = &[
    feature(
        "external_peers",
        "IPv4 and IPv6, external",
        "A session per family: routes both ways, with MED, standard and large communities; announcing and withdrawing \
         while the session is up; End-of-RIB; a route refresh; no session lost on the way.",
        sessions::external,
    ),
    feature("internal_peers", "IPv4 and IPv6, internal", "The same within one AS.", sessions::internal),
    feature(
        "four_octet_as",
        "4-octet AS numbers",
        "The same between AS 4200000001 and 4200000002.",
        sessions::four_octet_as,
    ),
    feature(
        "wrong_as",
        "A wrong AS is refused",
        "Ours expects another AS: it names the fault, no session comes up and no route is exchanged.",
        sessions::wrong_as,
    ),
    feature(
        "a_hanging_peer",
        "A peer that hangs",
        "It is given up after the hold time, its routes go, and it is welcome when it wakes.",
        sessions::hangs,
    ),
    feature(
        "md5",
        "TCP-MD5",
        "While only theirs has the key, the kernel drops segments and counts them; with it on both sides everything of the \
         first row.",
        sessions::md5,
    ),
    feature(
        "md5_rotation",
        "TCP-MD5, key changed",
        "Both sides get another key while they run; segments with the old one are dropped, the sessions come back, \
         and do everything of the first row.",
        sessions::md5_rotation,
    ),
    feature("tcp_ao", "TCP-AO", "With a key on both sides everything of the first row.", surroundings::ao),
    feature(
        "gtsm",
        "GTSM",
        "Both with TTL security: everything of the first row. A neighbour without it: its packets are dropped and counted, \
         and no session comes up.",
        sessions::gtsm,
    ),
    feature(
        "vrf",
        "A session in a VRF",
        "Our end of the link belongs to a VRF to which our session is bound: everything of the first row.",
        surroundings::vrf,
    ),
    feature(
        "unnumbered",
        "Unnumbered",
        "A cable without addresses: ours finds theirs by its router advertisements, and one session between link-local \
         addresses carries both families, with next hops that are link-local, both ways.",
        surroundings::unnumbered,
    ),
    feature(
        "in_our_range",
        "Neighbour in our listen range",
        "Ours knows a range, theirs connects out of it.",
        sessions::in_our_range,
    ),
    feature(
        "in_their_range",
        "We in their listen range",
        "Theirs knows a range, ours connects out of it; routes both ways.",
        sessions::in_their_range,
    ),
    feature(
        "roles",
        "Roles (RFC 9234)",
        "Our provider and their customer exchange routes; between two providers no session comes up, with 2/11.",
        sessions::roles,
    ),
    feature(
        "communities",
        "Communities of all kinds",
        "From theirs through ours to another of theirs: standard, extended (route target and origin) and large ones are \
         shown by ours and arrive.",
        reflection::communities,
    ),
    feature(
        "extended_next_hop",
        "RFC 8950",
        "One IPv6 session carries IPv4 routes with IPv6 next hops, both ways.",
        routes::extended_next_hop,
    ),
    feature(
        "refresh",
        "Route refresh",
        "Theirs asks on every session, ours counts the requests and sends everything again.",
        routes::refresh,
    ),
    feature(
        "enhanced_refresh",
        "Enhanced route refresh",
        "Theirs asks, and counts BoRR and EoRR around the answer on every session; none is lost by them.",
        routes::enhanced_refresh,
    ),
    feature(
        "extended_messages",
        "Extended messages",
        "A route with 1200 communities, which fits no ordinary message, both ways.",
        routes::extended_messages,
    ),
    feature(
        "our_prefix_limit",
        "Our prefix limit",
        "Theirs sends more: ours ends the session with 6/1 and drops the routes.",
        limits::our_prefix_limit,
    ),
    feature(
        "their_prefix_limit",
        "Their prefix limit",
        "Ours sends more: theirs ends the session, and ours shows its 6/1.",
        limits::their_prefix_limit,
    ),
    feature(
        "our_shutdown_text",
        "Shutdown text, ours",
        "What ours says when it shuts a peer down is in their log.",
        limits::our_shutdown_text,
    ),
    feature(
        "their_shutdown_text",
        "Shutdown text, theirs",
        "What theirs says when it shuts down is in our status.",
        limits::their_shutdown_text,
    ),
    feature(
        "add_path_to_theirs",
        "ADD-PATH, ours sends",
        "Two origins behind ours: theirs has both paths, and one when an origin goes.",
        reflection::add_path_to_theirs,
    ),
    feature(
        "add_path_to_ours",
        "ADD-PATH, theirs sends",
        "Two origins behind theirs: ours has both paths, and one when an origin goes.",
        reflection::add_path_to_ours,
    ),
    feature(
        "ours_reflects",
        "Ours reflects",
        "Theirs and another are clients of ours: each has the other's route with its next hop untouched, and a withdrawal \
         passes.",
        reflection::ours_reflects,
    ),
    feature(
        "theirs_reflects",
        "Theirs reflects",
        "Two of ours are clients of theirs: each has the other's route, next hop untouched, with originator and cluster list.",
        reflection::theirs_reflects,
    ),
    feature(
        "ours_restarts",
        "Ours restarts gracefully",
        "Ours is killed and started again under five hundred packets a second each way and family: at most 50 ms of them are lost, \
         theirs never lacks a route, and End-of-RIB ends it.",
        restart::ours_restarts,
    ),
    feature(
        "theirs_restarts",
        "Theirs restarts gracefully",
        "Theirs is killed and started again under the same packets: at most 50 ms of them are lost.",
        restart::theirs_restarts,
    ),
    feature(
        "long_lived",
        "Long-lived graceful restart",
        "Theirs is killed and stays away: when its restart time is over ours still has its routes, marked as stale for long.",
        restart::long_lived,
    ),
];
