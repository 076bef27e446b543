//! How a session is ended on purpose.

use anyhow::{Context, Result, bail};
use muslin_proto_tests::daemon::{Daemon, Refused};
use muslin_proto_tests::daemons::Candidate;
use muslin_proto_tests::route::Announcement;
use muslin_proto_tests::wait;

use crate::pair::Pair;
use crate::record::Verdict;

/// More than ours takes: it ends the session with 6/1.
pub(crate) fn our_prefix_limit(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = Pair::new(candidate, |ours| ours.max_prefixes = Some(1), |_| {})?;
    pair.await_fault("6/1 to both peers", |text| text.contains("6/1") || text.contains("refix"))?;
    pair.await_nothing()?;
    Ok(Verdict::WORKS)
}

/// More than theirs takes: it ends the session, and ours says why.
pub(crate) fn their_prefix_limit(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = Pair::new(candidate, |_| {}, |theirs| theirs.max_prefixes = Some(1))?;
    // FRR 8.4.4 notices with the second one too many.
    for prefix in ["10.1.50.0/24", "10.1.51.0/24", "fd00:1:50::/64", "fd00:1:51::/64"] {
        pair.ours.announce(Announcement::plain(prefix.parse()?))?;
    }
    pair.await_fault("6/1 from both peers", |text| text.contains("6/1"))?;
    Ok(Verdict::WORKS)
}

/// What ExaBGP 4.2.21 says of a NOTIFICATION with a text.
const CANNOT: &str = "can not decode update message of type";

const TEXT: &str = "rack 7 moves at noon";

/// The text that ours sends is in their log.
pub(crate) fn our_shutdown_text(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = Pair::new(candidate, |_| {}, |_| {})?;
    pair.both_have_all()?;
    pair.ours.daemon.shut_down(TEXT)?;
    let read = wait::until("the text among what theirs said", || {
        let said = pair.theirs.daemon.said()?;
        if let Some(fault) = said.lines().find_map(|line| line.find(CANNOT).map(|start| &line[start..])) {
            bail!(Refused(
                fault.split('}').next().unwrap_or(fault).replace(['"', '\\'], "").trim().to_owned()
            ));
        }
        Ok(if said.contains(TEXT) { Ok(()) } else { Err("it is not there".to_owned()) })
    });
    read.with_context(|| pair.theirs.daemon.said().unwrap_or_default())?;
    wait::until("no session", || {
        let established = pair.theirs.daemon.established()?;
        Ok(if established == 0 { Ok(()) } else { Err(format!("{established} established")) })
    })?;
    Ok(Verdict::WORKS)
}

/// The text that theirs sends is what ours says of the peer.
pub(crate) fn their_shutdown_text(candidate: &Candidate) -> Result<Verdict> {
    let mut pair = Pair::new(candidate, |_| {}, |_| {})?;
    pair.both_have_all()?;
    pair.theirs.daemon.shut_down(TEXT)?;
    pair.await_fault("the text on both peers", |text| text.contains(TEXT))?;
    Ok(Verdict::WORKS)
}
