//! A record once more: the same inputs into the same core, and where it comes out differently.

use std::time::{Duration, Instant};

use super::configuration;
use super::digest::Digest;
use super::entry::{Begin, Entry, Origin};
use super::format::{Corrupt, Entries};
use super::resolver::{Answers, Reading};
use crate::Speaker;
use crate::config::ConfigError;
use crate::rib::FibChange;
use crate::speaker::{Output, SpeakerEvent};

/// Outputs of the place where a replay differs that are kept in words.
const SHOWN: usize = 16;

/// Events that are kept, the newest.
const EVENTS: usize = 100_000;

/// What came of a record.
pub struct Replay {
    /// The speaker at its end.
    pub speaker: Speaker,
    /// The time at its end, for questions to the speaker.
    pub now: Instant,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// The program's version that wrote it.
    pub version: String,
    /// Whether it begins with a checkpoint, so that only the tables can be compared.
    pub from_checkpoint: bool,
    /// How long it is.
    pub length: Duration,
    /// Entries.
    pub entries: u64,
    /// Octets at its end that are no whole entry.
    pub cut_off: usize,
    /// What happened, each with the time since the beginning.
    pub events: Vec<(Duration, SpeakerEvent)>,
    /// What the kernel was told.
    pub fib: Vec<FibChange>,
    /// Where the outputs were others first.
    pub divergence: Option<Divergence>,
    /// Whether the tables came out as they were, at every place where the record says what they were; `None`
    /// if it says so nowhere.
    pub tables_agree: Option<bool>,
}

/// Where a replay differs from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Number of the entry.
    pub entry: u64,
    /// Time since the beginning.
    pub at: Duration,
    /// Outputs that the record counts there.
    pub recorded: u64,
    /// The outputs of the replay there, in words, the first of them.
    pub outputs: Vec<String>,
}

/// Why a record cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// It does not begin with a speaker.
    #[error("the record is empty: it was cut off before the speaker began")]
    Empty,
    /// A configuration of it cannot be read by this program.
    #[error("the configuration at {at:?} is not one of this version")]
    Configuration {
        /// Time since the beginning.
        at: Duration,
    },
    /// A configuration of it cannot be.
    #[error(transparent)]
    Refused(#[from] ConfigError),
}

/// Replays a record.
///
/// # Errors
/// When it is none, or of another version. A record that was cut off is replayed up to there.
pub fn replay(record: &[u8]) -> Result<Replay, ReplayError> {
    let mut entries = Entries::new(record)?;
    let answers = Answers::default();
    let epoch = Instant::now();
    let mut at = Duration::ZERO;
    let mut count = 0;
    let begin = loop {
        let (since, entry) = entries.next()?.ok_or(ReplayError::Empty)?;
        at += since;
        count += 1;
        match entry {
            Entry::Answer(question, answer) => answers.set(question, answer),
            Entry::Begin(begin) => break begin,
            _ => return Err(ReplayError::Empty),
        }
    };
    let config = configuration::read(&begin.config).ok_or(ReplayError::Configuration { at })?;
    let now = epoch + at;
    let speaker = Speaker::started(now, config, Box::new(Reading(answers.clone())), begin.start)?;
    let mut replay = Replay::new(speaker, now, &begin);
    replay.entries = count;
    let mut digest = Digest::default();
    let mut restoring = replay.from_checkpoint;
    while let Some((since, entry)) = entries.next()? {
        at += since;
        replay.now = epoch + at;
        replay.entries += 1;
        replay.length = at;
        match entry {
            Entry::Answer(question, answer) => answers.set(question, answer),
            Entry::Outputs { count, digest: recorded } => replay.compare(at, count, recorded, &mut digest),
            Entry::CheckpointEnd { dialed } => {
                restoring = false;
                replay.speaker.set_dialed(dialed);
                replay.settle();
            }
            other => replay.apply(at, other)?,
        }
        if restoring {
            replay.settle();
        }
    }
    replay.cut_off = entries.cut_off();
    Ok(replay)
}

impl Replay {
    fn new(speaker: Speaker, now: Instant, begin: &Begin) -> Self {
        Self {
            speaker,
            now,
            began: begin.wall,
            version: begin.version.to_string(),
            from_checkpoint: begin.origin == Origin::Checkpoint,
            length: Duration::ZERO,
            entries: 0,
            cut_off: 0,
            events: Vec::new(),
            fib: Vec::new(),
            divergence: None,
            tables_agree: None,
        }
    }

    fn apply(&mut self, at: Duration, entry: Entry) -> Result<(), ReplayError> {
        let (speaker, now) = (&mut self.speaker, self.now);
        match entry {
            Entry::Input(input) => speaker.handle_input(now, input),
            Entry::Timeout => speaker.handle_timeout(now),
            Entry::Advance => drop(speaker.advance(now)),
            Entry::Fib(max) => {
                speaker.fib_changes(usize::try_from(max).unwrap_or(usize::MAX), &mut self.fib);
            }
            Entry::Configure(config) => {
                let config = configuration::read(&config).ok_or(ReplayError::Configuration { at })?;
                speaker.configure(now, config)?;
            }
            Entry::Stop(stop) => speaker.stop(now, &stop),
            Entry::Tables(digest) => {
                if self.from_checkpoint {
                    self.settle();
                }
                let agrees = Digest::of_tables(&self.speaker) == digest;
                self.tables_agree = Some(self.tables_agree.unwrap_or(true) && agrees);
            }
            Entry::Connection { conn, peer, remote, local } => speaker.adopt(now, conn, &peer, remote, local),
            // Met elsewhere, or a second beginning, which no record has.
            Entry::Begin(_) | Entry::Answer(..) | Entry::Outputs { .. } | Entry::CheckpointEnd { .. } => {}
        }
        Ok(())
    }

    /// Takes as many outputs as the record counts and compares them with it.
    fn compare(&mut self, at: Duration, count: u64, recorded: u64, digest: &mut Digest) {
        let mut words = Vec::new();
        let mut taken = 0;
        // After a checkpoint outputs are others: the speaker has just sent all its routes again.
        while (self.from_checkpoint || taken < count)
            && let Some(output) = self.speaker.poll_output()
        {
            taken += 1;
            digest.add_output(&output);
            if words.len() < SHOWN {
                words.push(in_words(&output));
            }
            self.note(at, output);
        }
        if self.divergence.is_none() && !self.from_checkpoint && (taken, digest.value()) != (count, recorded)
        {
            self.divergence = Some(Divergence { entry: self.entries, at, recorded: count, outputs: words });
        }
    }

    fn note(&mut self, at: Duration, output: Output) {
        if let Output::Event(event) = output {
            if self.events.len() >= EVENTS {
                self.events.drain(..EVENTS / 2);
            }
            self.events.push((at, event));
        }
    }

    /// Does everything that waits, and drops what comes out.
    fn settle(&mut self) {
        while self.speaker.advance(self.now) {
            while self.speaker.poll_output().is_some() {}
        }
        while self.speaker.poll_output().is_some() {}
    }
}

fn in_words(output: &Output) -> String {
    match output {
        Output::Send { conn, octets } => {
            let kind = octets.get(18).map_or("?", |kind| match kind {
                1 => "OPEN",
                2 => "UPDATE",
                3 => "NOTIFICATION",
                4 => "KEEPALIVE",
                5 => "ROUTE-REFRESH",
                _ => "?",
            });
            format!("send {} octets, first a message {kind}, on {conn:?}", octets.len())
        }
        other => format!("{other:?}"),
    }
}
