//! Named steps at which a test may kill the plugin, as a power failure or an OOM kill would.

/// Dies on the spot, without unwinding or cleaning up, if `MUSLIN_CNI_DIE_AT` names this `step`.
#[cfg(feature = "fail-points")]
pub(crate) fn reached(step: &str) {
    if std::env::var("MUSLIN_CNI_DIE_AT").is_ok_and(|chosen| chosen == step) {
        std::process::abort();
    }
}

/// In a build that ships there is nothing to die of.
#[cfg(not(feature = "fail-points"))]
pub(crate) fn reached(_step: &str) {}
