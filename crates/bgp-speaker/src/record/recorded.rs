//! A speaker with its recorder: the same verbs, written down where somebody wants them.

use std::ops::Deref;
use std::time::{Duration, Instant};

use super::checkpoint;
use super::configuration;
use super::digest::Digest;
use super::entry::{Begin, Entry, Origin};
use super::format::{write_entry, write_header};
use super::resolver::{Answers, Writing};
use crate::Speaker;
use crate::config::{ConfigError, SpeakerConfig};
use crate::rib::{FibChange, NextHopResolver};
use crate::session::Stop;
use crate::speaker::{Input, Output, Start};

/// A speaker whose every input may be written down.
pub struct Recorded {
    speaker: Speaker,
    tape: Option<Tape>,
}

/// A record that grows in memory until it is [taken](Recorded::take_record).
#[derive(Debug)]
pub struct Tape {
    answers: Answers,
    octets: Vec<u8>,
    last: Instant,
    /// Outputs since they were last written down, and the digest of all.
    outputs: u64,
    digest: Digest,
}

impl Tape {
    fn new(now: Instant, answers: Answers) -> Self {
        let mut octets = Vec::new();
        write_header(&mut octets);
        Self { answers, octets, last: now, outputs: 0, digest: Digest::default() }
    }

    pub(super) fn put(&mut self, now: Instant, entry: &Entry) {
        let mut payload = Vec::new();
        let kind = entry.write(&mut payload);
        self.put_payload(now, kind, &payload);
    }

    fn put_payload(&mut self, now: Instant, kind: u8, payload: &[u8]) {
        let since = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        write_entry(kind, payload, since, &mut self.octets);
    }

    /// What the resolver said meanwhile goes before the entry that asked for it.
    fn put_answers(&mut self, now: Instant) {
        for (question, answer) in self.answers.take_fresh() {
            self.put(now, &Entry::Answer(question, answer));
        }
    }

    fn put_outputs(&mut self, now: Instant) {
        if self.outputs > 0 {
            let count = std::mem::take(&mut self.outputs);
            self.put(now, &Entry::Outputs { count, digest: self.digest.value() });
        }
    }
}

impl Recorded {
    /// A speaker that nobody records.
    pub fn off(
        now: Instant,
        config: SpeakerConfig,
        resolver: Box<dyn NextHopResolver + Send>,
        start: Start,
    ) -> Result<Self, ConfigError> {
        Ok(Self { speaker: Speaker::started(now, config, resolver, start)?, tape: None })
    }

    /// A speaker that is recorded from its birth; `wall` is the time since 1970.
    pub fn on(
        now: Instant,
        wall: Duration,
        config: SpeakerConfig,
        resolver: Box<dyn NextHopResolver + Send>,
        start: Start,
    ) -> Result<Self, ConfigError> {
        let answers = Answers::default();
        let begin = begin(wall, start, &config, Origin::Birth);
        let resolver = Box::new(Writing { inner: resolver, answers: answers.clone() });
        let speaker = Speaker::started(now, config, resolver, start)?;
        let mut tape = Tape::new(now, answers);
        tape.put_answers(now);
        tape.put(now, &Entry::Begin(begin));
        Ok(Self { speaker, tape: Some(tape) })
    }

    /// Moves what was written down to `out`.
    pub fn take_record(&mut self, out: &mut Vec<u8>) {
        if let Some(tape) = &mut self.tape {
            out.append(&mut tape.octets);
        }
    }

    /// Writes nothing down from now on.
    pub fn end_record(&mut self) {
        self.tape = None;
    }

    /// Octets that were written down and not taken.
    pub fn untaken(&self) -> usize {
        self.tape.as_ref().map_or(0, |tape| tape.octets.len())
    }

    /// Begins a record of its own with the sessions and routes as they are now: what was written down before
    /// and [taken](Self::take_record) is not needed to replay it.
    pub fn checkpoint(&mut self, now: Instant, wall: Duration) {
        if let Some(tape) = &mut self.tape {
            write_header(&mut tape.octets);
            tape.last = now;
            tape.outputs = 0;
            tape.digest = Digest::default();
            for (question, answer) in tape.answers.all() {
                tape.put(now, &Entry::Answer(question, answer));
            }
            let config = self.speaker.config();
            tape.put(now, &Entry::Begin(begin(wall, Start::Fresh, config, Origin::Checkpoint)));
            checkpoint::write(&self.speaker, now, tape);
        }
    }

    /// Writes down what the tables are, so that a replay can be compared with them.
    pub fn mark(&mut self, now: Instant) {
        if let Some(tape) = &mut self.tape {
            tape.put_outputs(now);
            tape.put(now, &Entry::Tables(Digest::of_tables(&self.speaker)));
        }
    }

    /// As [`Speaker::handle_input`].
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if self.tape.is_none() {
            return self.speaker.handle_input(now, input);
        }
        let entry = Entry::Input(input);
        // Written before the input is used up, put after the answers that it asks for.
        let mut payload = Vec::new();
        let kind = entry.write(&mut payload);
        let Entry::Input(input) = entry else { return };
        self.speaker.handle_input(now, input);
        if let Some(tape) = &mut self.tape {
            tape.put_outputs(now);
            tape.put_answers(now);
            tape.put_payload(now, kind, &payload);
        }
    }

    fn put(&mut self, now: Instant, entry: &Entry) {
        if let Some(tape) = &mut self.tape {
            tape.put_outputs(now);
            tape.put_answers(now);
            tape.put(now, entry);
        }
    }

    /// As [`Speaker::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.speaker.handle_timeout(now);
        self.put(now, &Entry::Timeout);
    }

    /// As [`Speaker::advance`].
    pub fn advance(&mut self, now: Instant) -> bool {
        let more = self.speaker.advance(now);
        self.put(now, &Entry::Advance);
        more
    }

    /// As [`Speaker::poll_output`].
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.speaker.poll_output()?;
        if let Some(tape) = &mut self.tape {
            tape.outputs += 1;
            tape.digest.add_output(&output);
        }
        Some(output)
    }

    /// As [`Speaker::configure`].
    ///
    /// # Errors
    /// As there.
    pub fn configure(&mut self, now: Instant, wanted: SpeakerConfig) -> Result<(), ConfigError> {
        let entry = self.tape.is_some().then(|| Entry::Configure(configuration::write(&wanted)));
        self.speaker.configure(now, wanted)?;
        if let Some(entry) = entry {
            self.put(now, &entry);
        }
        Ok(())
    }

    /// As [`Speaker::fib_changes`].
    pub fn fib_changes(&mut self, max: usize, out: &mut Vec<FibChange>) {
        if self.speaker.has_fib_changes() {
            self.speaker.fib_changes(max, out);
            if let Some(now) = self.tape.as_ref().map(|tape| tape.last) {
                self.put(now, &Entry::Fib(max as u64));
            }
        }
    }

    /// As [`Speaker::stop`].
    pub fn stop(&mut self, now: Instant, stop: &Stop) {
        self.mark(now);
        self.speaker.stop(now, stop);
        self.put(now, &Entry::Stop(stop.clone()));
    }
}

fn begin(wall: Duration, start: Start, config: &SpeakerConfig, origin: Origin) -> Begin {
    let version = env!("CARGO_PKG_VERSION").into();
    Begin { wall: wall.as_secs(), version, start, config: configuration::write(config), origin }
}

impl Deref for Recorded {
    type Target = Speaker;

    fn deref(&self) -> &Speaker {
        &self.speaker
    }
}
