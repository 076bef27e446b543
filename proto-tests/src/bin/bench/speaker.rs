//! The speaker beside others under the same load: every sink checks the path of every prefix.

mod churn;
mod contender;
mod establish;
mod full_table;
mod growth;
mod idle;
mod latency;
mod many_feeders;
mod reflector;
mod rig;
mod rounds;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use self::contender::Contender;
use self::rig::Turn;
use self::rounds::Rounds;
use crate::report::{Column, Section};

/// How much is measured, and with whom.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    /// Few repetitions of small problems.
    pub(crate) quick: bool,
    /// Prefixes, or clients, instead of those of the scenario.
    pub(crate) size: Option<u32>,
    /// Repetitions instead of the usual ones.
    pub(crate) runs: Option<usize>,
    /// Names of contenders; all if there is none.
    pub(crate) with: Vec<String>,
    /// An MRT dump whose table is S1's.
    pub(crate) table: Option<PathBuf>,
    /// Rivals that have failed in a subject before.
    pub(crate) failed: Failed,
}

/// Names that all subjects of a run share.
pub(crate) type Failed = Rc<RefCell<BTreeSet<&'static str>>>;

impl Extent {
    fn size(&self, full: u32, quick: u32) -> u32 {
        self.size.unwrap_or(if self.quick { quick } else { full })
    }

    fn rounds(&self, full: usize) -> Result<Rounds> {
        let mut rounds =
            Rounds::new(self.runs.unwrap_or(if self.quick { 1 } else { full }), self.patience(), &self.with)?;
        if self.quick {
            // Nobody's failure is waited for twice.
            rounds.leave_out(self.failed.clone());
        }
        Ok(rounds)
    }

    /// Beyond this a contender has failed.
    fn patience(&self) -> Duration {
        Duration::from_secs(if self.quick { 10 } else { 60 })
    }

    fn turn<'a>(&self, contender: &'a Contender) -> Turn<'a> {
        Turn { contender, patience: self.patience() }
    }
}

/// S1: a full table comes, and goes again.
pub(crate) fn full_table(extent: &Extent) -> Result<Section> {
    full_table::measure(extent)
}

/// S2: many feeders of the same prefixes.
pub(crate) fn many_feeders(extent: &Extent) -> Result<Section> {
    many_feeders::measure(extent)
}

/// S3: a reflector of many nodes.
pub(crate) fn reflector(extent: &Extent) -> Result<Section> {
    reflector::measure(extent, &reflector::USUAL)
}

/// S3b: a reflector of more nodes.
pub(crate) fn large_reflector(extent: &Extent) -> Result<Section> {
    reflector::measure(extent, &reflector::LARGE)
}

/// S3c: a reflector of as many nodes as a large cluster has.
pub(crate) fn huge_reflector(extent: &Extent) -> Result<Section> {
    reflector::measure(extent, &reflector::HUGE)
}

/// What a reflector of ours takes for a cluster with a block for each node, in the order of [`REFLECTOR_COSTS`].
pub(crate) fn reflect(nodes: u32) -> Result<Vec<f64>> {
    // The largest has 225 million deliveries, and how long they take is the question.
    reflector::run(Turn { contender: &Contender::Muslin, patience: Duration::from_mins(5) }, nodes, 1)
}

/// What is measured of a reflector.
pub(crate) const REFLECTOR_COSTS: [Column; 6] = reflector::COLUMNS;

/// A thousand sessions come up.
pub(crate) fn establish(extent: &Extent) -> Result<Section> {
    establish::measure(extent)
}

/// S4: churn.
pub(crate) fn churn(extent: &Extent) -> Result<Section> {
    churn::measure(extent, churn::USUAL)
}

/// S4m: ten times the churn.
pub(crate) fn fast_churn(extent: &Extent) -> Result<Section> {
    churn::measure(extent, churn::FAST)
}

/// S4s: churn beside a receiver that is stalled.
pub(crate) fn stalled_churn(extent: &Extent) -> Result<Section> {
    churn::measure(extent, churn::STALLED)
}

/// S6: idle sessions.
pub(crate) fn idle(extent: &Extent) -> Result<Section> {
    idle::measure(extent)
}

/// S7: the latency of one change.
pub(crate) fn latency(extent: &Extent) -> Result<Section> {
    latency::measure(extent)
}

/// How the cost of S1 to S4 grows with their size.
pub(crate) fn growth(of: Grown, extent: &Extent) -> Result<Section> {
    match of {
        Grown::FullTable => growth::FULL_TABLE,
        Grown::ManyFeeders => growth::MANY_FEEDERS,
        Grown::Reflector => growth::REFLECTOR,
        Grown::Churn => growth::CHURN,
    }
    .measure(extent)
}

/// Scenarios that are measured at several sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grown {
    /// S1.
    FullTable,
    /// S2.
    ManyFeeders,
    /// S3.
    Reflector,
    /// S4.
    Churn,
}
