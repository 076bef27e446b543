//! Contenders take turns, and each turn is a number of every quantity.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Failed;
use super::contender::{Contender, FLOOR, OF_IMAGE};
use super::rig::Turn;
use crate::report::{Column, Row, Samples, Section, Target};

/// Whoever needs this many times as much as the best of everything that we are compared in is measured once: he will be the
/// best of the others in none of it.
const HOPELESS: f64 = 5.0;

/// Who is measured how often.
pub(super) struct Rounds {
    contenders: Vec<Contender>,
    /// How often.
    pub(super) runs: usize,
    patience: Duration,
    failed: Failed,
}

/// Something wanted of a quantity, of which our worst counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    column: &'static str,
    most: Most,
}

#[derive(Clone, Copy, Debug)]
enum Most {
    /// A share of the best rival's median.
    OfBest(f64),
    /// A share of the floor's median.
    OfFloor(f64),
    /// So much of the column's unit.
    Fixed(f64),
}

impl Rounds {
    pub(super) fn new(runs: usize, patience: Duration, with: &[String]) -> Result<Self> {
        let plain = |name: &str| name.to_lowercase().replace(' ', "");
        let mut contenders = Contender::all();
        contenders.retain(|contender| {
            with.is_empty() || with.iter().any(|name| plain(name) == plain(contender.name()))
        });
        ensure!(!contenders.is_empty(), "nobody is called {with:?}");
        Ok(Self { contenders, runs, patience, failed: Failed::default() })
    }

    /// Leaves out the rivals that have failed, and has those who fail here remembered.
    pub(super) fn leave_out(&mut self, failed: Failed) {
        self.contenders
            .retain(|contender| !contender.is_rival() || !failed.borrow().contains(contender.name()));
        self.failed = failed;
    }

    /// Without the floor, where it cannot do what is asked for.
    pub(super) fn without_floor(mut self) -> Self {
        self.contenders.retain(|contender| !matches!(contender, Contender::Floor));
        self
    }

    /// With our program as the image has it beside the usual one.
    pub(super) fn with_image(mut self) -> Self {
        self.contenders.splice(1..1, Contender::of_image());
        self
    }

    /// Has everybody measured by `measure`, which gives a number for each column. Whoever fails is left out from
    /// then on, and so is whoever is far behind in all that is wanted; a note says so.
    pub(super) fn measure(
        &self,
        title: &'static str,
        method: String,
        columns: &[Column],
        wanted: &[Wanted],
        mut measure: impl FnMut(Turn<'_>) -> Result<Vec<f64>>,
    ) -> Section {
        let mut samples = vec![vec![Samples::default(); columns.len()]; self.contenders.len()];
        let mut notes: Vec<Option<String>> = vec![None; self.contenders.len()];
        for run in 0..self.runs {
            if run == 1 {
                self.give_up_on_the_hopeless(&compared(columns, wanted), &samples, &mut notes);
            }
            for turn in 0..self.contenders.len() {
                let place = (run + turn) % self.contenders.len();
                let contender = &self.contenders[place];
                if notes[place].is_some() {
                    continue;
                }
                eprintln!("round {} of {}: {}", run + 1, self.runs, contender.name());
                match measure(Turn { contender, patience: self.patience }) {
                    Ok(values) => {
                        for (samples, value) in samples[place].iter_mut().zip(values) {
                            samples.push(value);
                        }
                    }
                    Err(error) => {
                        eprintln!("{}: {error:#}", contender.name());
                        self.failed.borrow_mut().insert(contender.name());
                        let first = error.root_cause().to_string();
                        notes[place] = Some(format!("{} failed: {first}", contender.name()));
                    }
                }
            }
        }
        let rows = self.contenders.iter().zip(samples);
        let rows =
            rows.map(|(contender, values)| Row { name: contender.name().to_owned(), values }).collect();
        let mut section = Section {
            title,
            method,
            columns: columns.to_vec(),
            rows,
            targets: vec![],
            notes: notes.into_iter().flatten().collect(),
            plot: None,
        };
        section.targets = wanted.iter().filter_map(|wanted| wanted.judge(&section)).collect();
        section
    }

    fn give_up_on_the_hopeless(
        &self,
        compared: &[usize],
        samples: &[Vec<Samples>],
        notes: &mut [Option<String>],
    ) {
        let is_rival = |place: &usize| self.contenders[*place].is_rival();
        let places: Vec<usize> = (0..self.contenders.len()).filter(is_rival).collect();
        let rivals: Vec<&[Samples]> = places.iter().map(|place| &samples[*place][..]).collect();
        for number in hopeless(&rivals, compared) {
            let place = places[number];
            let said = format!(
                "{} was measured once: it needs more than {HOPELESS} times the best of everything that a target is about.",
                self.contenders[place].name()
            );
            notes[place].get_or_insert(said);
        }
    }

    /// Versions and settings of everybody.
    pub(super) fn settings(&self) -> String {
        let of = |contender: &Contender| {
            let version = contender.version().map(|version| format!(" {version}")).unwrap_or_default();
            format!("{}{version} ({})", contender.name(), contender.settings())
        };
        self.contenders.iter().map(of).collect::<Vec<_>>().join("; ")
    }
}

/// The columns in which the best of the others is what we are compared with.
fn compared(columns: &[Column], wanted: &[Wanted]) -> Vec<usize> {
    let wanted = wanted.iter().filter(|wanted| matches!(wanted.most, Most::OfBest(_)));
    wanted.filter_map(|wanted| columns.iter().position(|column| column.name == wanted.column)).collect()
}

/// Which of the rivals are far behind the best in all of these columns.
fn hopeless(rivals: &[&[Samples]], columns: &[usize]) -> Vec<usize> {
    let best = |column: usize| {
        rivals.iter().filter_map(|rival| rival[column].median()).min_by(f64::total_cmp).unwrap_or(f64::NAN)
    };
    let limits: Vec<(usize, f64)> =
        columns.iter().map(|column| (*column, HOPELESS * best(*column))).collect();
    // Who has nothing of a kind is not the best of it.
    let is_behind = |rival: &[Samples]| {
        limits.iter().all(|(column, limit)| rival[*column].median().is_none_or(|value| value > *limit))
    };
    let numbered = rivals.iter().enumerate();
    numbered.filter(|(_, rival)| !limits.is_empty() && is_behind(rival)).map(|(number, _)| number).collect()
}

impl Wanted {
    /// At most a share of what the best of the others takes.
    pub(super) const fn of_best(column: &'static str, share: f64) -> Self {
        Self { column, most: Most::OfBest(share) }
    }

    /// At most a share of what the floor takes.
    pub(super) const fn of_floor(column: &'static str, share: f64) -> Self {
        Self { column, most: Most::OfFloor(share) }
    }

    /// At most so much of the column's unit.
    pub(super) const fn at_most(column: &'static str, limit: f64) -> Self {
        Self { column, most: Most::Fixed(limit) }
    }

    fn judge(&self, section: &Section) -> Option<Target> {
        let ours = &section.rows.first()?.name;
        let (limit, is_floor) = match self.most {
            Most::OfBest(share) => (share, false),
            Most::OfFloor(share) => (share, true),
            Most::Fixed(limit) => {
                let unit = section.columns.iter().find(|column| column.name == self.column)?.unit;
                let statement = format!("{}: our worst at most {limit:.2} {unit}", self.column);
                return Some(Target { statement, found: section.worst(ours, self.column)?, limit });
            }
        };
        let (found, name) = section
            .worst_to_best(ours, self.column, |name| name != OF_IMAGE && (name == FLOOR) == is_floor)?;
        let statement = format!("{}: our worst at most {limit:.2} of {name}'s median", self.column);
        Some(Target { statement, found, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::hopeless;
    use crate::report::Samples;

    fn rival(values: [f64; 2]) -> Vec<Samples> {
        values.map(|value| [value].into_iter().collect()).into()
    }

    #[test]
    fn who_is_slow_but_small_is_measured_on() {
        let (fast, small, neither) = (rival([1.0, 100.0]), rival([10.0, 1.0]), rival([10.0, 30.0]));
        let rivals = [&fast[..], &small, &neither];
        assert_eq!(hopeless(&rivals, &[0, 1]), [2]);
        assert_eq!(hopeless(&rivals, &[0]), [1, 2]);
        assert!(hopeless(&rivals, &[]).is_empty(), "nobody is compared in anything");
    }

    #[test]
    fn who_failed_is_behind() {
        let (one, failed) = (rival([1.0, 1.0]), vec![Samples::default(); 2]);
        assert_eq!(hopeless(&[&one, &failed], &[0, 1]), [1]);
    }
}
