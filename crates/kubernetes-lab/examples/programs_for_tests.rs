//! Builds what tests with a cluster want of Kubernetes, once: `cargo xtask test` has it done while other tiers wait.

use muslin_kubernetes_lab::{Programs, Progress};
use muslin_lab::LabError;

fn main() -> Result<(), LabError> {
    Programs::prepare_for_tests(Progress::Shown).map(drop)
}
