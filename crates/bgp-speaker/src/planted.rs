//! Bugs on purpose: a simulation that finds nothing proves something only if it finds these. No program is
//! built with them; the feature `planted-bugs` is for tests.

use std::cell::Cell;

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident,)+) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)+];
        }
    };
}

bugs! {
    /// A peer whose route became the best keeps what it was sent before.
    SourceFlipMissed,
    /// What a lost session left is never removed.
    StaleRoutesKept,
    /// A family's End-of-RIB is not sent.
    EndOfRibForgotten,
    /// End-of-RIB is sent before the routes.
    EndOfRibTooEarly,
    /// Some withdrawals are not written.
    WithdrawalDropped,
    /// Paths of one peer replace one another whatever their identifier.
    PathIdIgnored,
    /// A change of the kernel's routes does not reach the paths.
    NextHopChangeMissed,
    /// Paths through our own AS are accepted.
    OwnAsAccepted,
    /// Anybody may announce a node's block.
    ForeignBlockAccepted,
    /// A new import policy holds for new routes only.
    ImportChangeForgotten,
    /// A new export policy holds for new sessions only.
    ExportChangeForgotten,
    /// The kernel is not told that a route is gone.
    KernelRemovalForgotten,
    /// Between the marks of a refresh nothing is repeated.
    RefreshSendsNothing,
    /// A change of an ECMP set is seen only if it changes the best path.
    MultipathChangeMissed,
    /// Of two connections that both sides established at the same moment none is kept.
    CollisionClosesBoth,
    /// Long-lived stale routes are sent to peers that take them for good ones.
    LongLivedStaleLeaked,
    /// Long-lived stale routes compete with others as before.
    LongLivedStalePreferred,
    /// The stale time of long-lived stale routes never ends.
    StaleTimeForgotten,
    /// Peers that are told everything already are not told that we are about to go.
    GracefulShutdownForgotten,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug into every speaker of this thread, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted here.
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
