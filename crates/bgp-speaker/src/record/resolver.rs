//! Resolvers that write down what they say, and one that says it again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Answer, Question};
use crate::rib::{NextHopResolver, Resolution};

/// Answers that are remembered; more are forgotten together and written down again.
const REMEMBERED: usize = 1 << 16;

/// Answers as they stand, and those that are new since they were last taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    answers: BTreeMap<Question, Answer>,
    fresh: Vec<(Question, Answer)>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, question: Question, answer: Answer) {
        let mut known = self.lock();
        if known.answers.get(&question) == Some(&answer) {
            return;
        }
        if known.answers.len() >= REMEMBERED {
            known.answers.clear();
        }
        known.answers.insert(question, answer.clone());
        known.fresh.push((question, answer));
    }

    /// What is new.
    pub(super) fn take_fresh(&self) -> Vec<(Question, Answer)> {
        std::mem::take(&mut self.lock().fresh)
    }

    /// Everything that is known.
    pub(super) fn all(&self) -> Vec<(Question, Answer)> {
        self.lock().answers.iter().map(|(question, answer)| (*question, answer.clone())).collect()
    }

    /// From now on this is the answer.
    pub(super) fn set(&self, question: Question, answer: Answer) {
        self.lock().answers.insert(question, answer);
    }

    fn get(&self, question: &Question) -> Option<Answer> {
        self.lock().answers.get(question).cloned()
    }
}

/// A resolver whose answers are written down.
pub(super) struct Writing {
    pub(super) inner: Box<dyn NextHopResolver + Send>,
    pub(super) answers: Answers,
}

impl NextHopResolver for Writing {
    fn resolve(&self, next_hop: IpAddr, interface: Option<u32>) -> Option<Resolution> {
        let way = self.inner.resolve(next_hop, interface);
        self.answers.note(Question::Resolve(next_hop, interface), Answer::Way(way));
        way
    }

    fn is_local(&self, address: IpAddr) -> bool {
        let local = self.inner.is_local(address);
        self.answers.note(Question::IsLocal(address), Answer::Local(local));
        local
    }

    fn addresses_of(&self, interface: u32) -> Vec<IpAddr> {
        let addresses = self.inner.addresses_of(interface);
        self.answers.note(Question::AddressesOf(interface), Answer::Addresses(addresses.clone()));
        addresses
    }
}

/// A resolver that says what was written down; of the rest it knows nothing.
pub(super) struct Reading(pub(super) Answers);

impl NextHopResolver for Reading {
    fn resolve(&self, next_hop: IpAddr, interface: Option<u32>) -> Option<Resolution> {
        match self.0.get(&Question::Resolve(next_hop, interface)) {
            Some(Answer::Way(way)) => way,
            _ => None,
        }
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.0.get(&Question::IsLocal(address)) == Some(Answer::Local(true))
    }

    fn addresses_of(&self, interface: u32) -> Vec<IpAddr> {
        match self.0.get(&Question::AddressesOf(interface)) {
            Some(Answer::Addresses(addresses)) => addresses,
            _ => Vec::new(),
        }
    }
}
