//! Policies at work: which rule decides about a route, and what its actions change.

mod actions;
mod evaluate;

pub(crate) use actions::apply;
pub(crate) use evaluate::{RuleNumber, Subject, decide, has_same_effect, hash_effect, needs_communities};
