//! Which rules applied to a route, in two octets.

use crate::config::{Action, Outcome, Policy, PolicyError, Rule};

/// The rules that applied: the one that decided, and which of those before it that continue matched.
///
/// The low bits number the deciding rule, or stand at the number of rules if none did; the high bits are one for
/// each continuing rule, in their order. With the policy this says everything about what becomes of a route, so
/// that a table of sent routes needs nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Trail(u16);

impl Trail {
    /// No rule decided, and `matched` are the continuing ones that matched.
    pub(crate) fn otherwise(policy: &Policy, matched: u16) -> Self {
        Self::new(policy, policy.rules.len(), matched)
    }

    /// The rule at `deciding` decided.
    pub(crate) fn new(policy: &Policy, deciding: usize, matched: u16) -> Self {
        // `Policy::check` keeps both parts within their bits.
        Self(deciding as u16 | matched.checked_shl(index_bits(policy)).unwrap_or(0))
    }

    /// The rules that applied, in their order.
    pub(crate) fn rules(self, policy: &Policy) -> impl Iterator<Item = &Rule> {
        let bits = index_bits(policy);
        let index_mask = 1_u16.checked_shl(bits).map_or(u16::MAX, |first| first - 1);
        let deciding = usize::from(self.0 & index_mask);
        let mut matched = self.0.checked_shr(bits).unwrap_or(0);
        let end = (deciding + 1).min(policy.rules.len());
        // Without a continuing rule that matched, there is at most the one that decided.
        let start = if matched == 0 { deciding.min(end) } else { 0 };
        policy.rules[start..end].iter().zip(start..).filter_map(move |(rule, index)| {
            let applies = match rule.outcome {
                Outcome::Decide(_) => index == deciding,
                Outcome::Continue => {
                    let applies = matched & 1 == 1;
                    matched >>= 1;
                    applies
                }
            };
            applies.then_some(rule)
        })
    }

    /// What is to be changed, in order.
    pub(crate) fn actions(self, policy: &Policy) -> impl Iterator<Item = &Action> {
        self.rules(policy).flat_map(|rule| &rule.actions)
    }

    /// Where the decision is written.
    pub(crate) fn cause(self, policy: &Policy) -> String {
        let mut causes: Vec<&str> = self.rules(policy).map(|rule| &*rule.cause).collect();
        let decided = self.rules(policy).last().is_some_and(|rule| rule.outcome != Outcome::Continue);
        let rest = format!("{}, no rule matches", policy.name);
        if !decided {
            causes.push(&rest);
        }
        causes.join(", then ")
    }
}

/// Bits that number the rules of a policy and the end of it.
fn index_bits(policy: &Policy) -> u32 {
    usize::BITS - policy.rules.len().leading_zeros()
}

impl Policy {
    /// Checks what no type can say.
    ///
    /// # Errors
    /// It has more rules, or more that continue, than can be told apart.
    pub fn check(&self) -> Result<(), PolicyError> {
        let continuing = self.rules.iter().filter(|rule| rule.outcome == Outcome::Continue).count();
        let most = u16::BITS.checked_sub(index_bits(self)).map_or(0, |bits| bits as usize);
        if index_bits(self) > u16::BITS || continuing > most {
            let policy = self.name.to_string();
            return Err(PolicyError { policy, rules: self.rules.len(), continuing, most });
        }
        Ok(())
    }
}
