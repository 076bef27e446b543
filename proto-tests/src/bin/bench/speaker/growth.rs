//! How cost grows: a scenario at four sizes, ours on two cores and on one, beside the best of the others.

use anyhow::Result;
use muslin_proto_tests::daemons::Kind;

use super::contender::Contender;
use super::rig::Turn;
use super::{Extent, churn, full_table, many_feeders, reflector};
use crate::plot::{Line, Plot};
use crate::report::{Column, Row, Samples, Section, Target};

/// Nothing may grow faster than the work; the rest is for what differs between two runs.
const STEEPEST: f64 = 1.05;

/// A scenario at several sizes.
pub(super) struct Growth {
    pub(super) title: &'static str,
    /// What it is that grows.
    unit: &'static str,
    sizes: [u32; 4],
    /// The best of the others, as `docs/benchmarks.md` has it.
    rival: Kind,
    /// What is done at a size, in whatever there is most of.
    work: fn(u32) -> f64,
    /// What is plotted.
    cost: &'static str,
    columns: &'static [Column],
    run: fn(Turn<'_>, u32) -> Result<Vec<f64>>,
}

/// S1 at four sizes.
pub(super) const FULL_TABLE: Growth = Growth {
    title: "How the full table grows",
    unit: "prefixes",
    sizes: [125_000, 250_000, 500_000, 1_000_000],
    rival: Kind::Bird,
    work: f64_of,
    cost: "time",
    columns: &full_table::COLUMNS,
    run: full_table::at,
};

/// S2 at four sizes.
pub(super) const MANY_FEEDERS: Growth = Growth {
    title: "How many feeders' prefixes grow",
    unit: "prefixes of each of ten feeders",
    sizes: [25_000, 50_000, 100_000, 200_000],
    rival: Kind::Bird,
    work: f64_of,
    cost: "time",
    columns: &many_feeders::COLUMNS,
    run: many_feeders::at,
};

/// S3 at four sizes.
pub(super) const REFLECTOR: Growth = Growth {
    title: "How a reflector's clients grow",
    unit: "clients with 8 blocks each",
    sizes: [250, 500, 1000, 2000],
    rival: Kind::Frr,
    work: |nodes| 8.0 * f64::from(nodes) * f64::from(nodes - 1),
    cost: "time",
    columns: &reflector::COLUMNS,
    run: |turn, nodes| reflector::run(turn, nodes, 8),
};

/// S4 at four sizes.
pub(super) const CHURN: Growth = Growth {
    title: "How churn grows",
    unit: "announcements and withdrawals a second",
    sizes: [125_000, 250_000, 500_000, 1_000_000],
    rival: Kind::Bird,
    work: f64_of,
    cost: "processor",
    columns: &churn::COLUMNS,
    run: churn::at,
};

fn f64_of(size: u32) -> f64 {
    size.into()
}

impl Growth {
    /// Measures each size a few times; everybody takes turns.
    pub(super) fn measure(&self, extent: &Extent) -> Result<Section> {
        let runs = extent.runs.unwrap_or(if extent.quick { 1 } else { 3 });
        let [smallest, .., largest] = self.sizes;
        let sizes = if extent.quick { vec![smallest / 25, largest / 25] } else { self.sizes.to_vec() };
        let rival = Contender::Rival(self.rival.later().unwrap_or_else(|_| self.rival.installed()));
        let contenders = [Contender::Muslin, Contender::MuslinOnOneCore, rival];
        let shown = ["time", "processor", "peak memory"];
        let shown: Vec<usize> =
            (0..self.columns.len()).filter(|column| shown.contains(&self.columns[*column].name)).collect();
        let mut rows: Vec<Row> = Vec::new();
        for contender in &contenders {
            for size in &sizes {
                let name = format!("{}, {size}", contender.name());
                rows.push(Row { name, values: vec![Samples::default(); shown.len()] });
            }
        }
        for run in 0..runs {
            for (step, &size) in sizes.iter().enumerate() {
                for (place, contender) in contenders.iter().enumerate() {
                    eprintln!("round {} of {runs}: {} with {size}", run + 1, contender.name());
                    let values = (self.run)(extent.turn(contender), size)?;
                    let samples = &mut rows[place * sizes.len() + step].values;
                    for (samples, column) in samples.iter_mut().zip(&shown) {
                        samples.push(values[*column]);
                    }
                }
            }
        }
        let columns: Vec<Column> = shown.iter().map(|column| self.columns[*column]).collect();
        let cost = columns.iter().position(|column| column.name == self.cost).unwrap_or_default();
        let lines: Vec<Line> = contenders
            .iter()
            .zip(rows.chunks(sizes.len()))
            .map(|(contender, rows)| Line {
                name: contender.name().to_owned(),
                points: sizes
                    .iter()
                    .zip(rows)
                    .filter_map(|(size, row)| Some(((*size).into(), row.values[cost].median()?)))
                    .collect(),
            })
            .collect();
        let exponents: Vec<f64> = lines
            .iter()
            .map(|line| {
                let points: Vec<_> = sizes
                    .iter()
                    .zip(&line.points)
                    .map(|(size, point)| ((self.work)(*size), point.1))
                    .collect();
                exponent(&points)
            })
            .collect();
        let named: Vec<String> = lines
            .iter()
            .zip(&exponents)
            .map(|(line, exponent)| format!("{} {exponent:.2}", line.name))
            .collect();
        let ours = contenders.iter().zip(exponents).filter(|(contender, _)| !contender.is_rival());
        let targets = ours.map(|(contender, found)| Target {
            statement: format!(
                "{}: the exponent of {} against the work at most {STEEPEST}",
                contender.name(),
                self.cost
            ),
            found,
            limit: STEEPEST,
        });
        let targets = targets.collect();
        let method = format!(
            "{} at {} sizes, {runs} repetitions each. The exponent of {} against the work: {}.",
            self.unit,
            sizes.len(),
            self.cost,
            named.join(", ")
        );
        let plot = Plot {
            title: self.title.to_owned(),
            across: self.unit.to_owned(),
            up: format!("{}, s", self.cost),
            lines,
        };
        Ok(Section { title: self.title, method, columns, rows, targets, notes: vec![], plot: Some(plot) })
    }
}

/// The slope of the straight line through the logarithms that is nearest to them: 1 if cost grows as the work does.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(work, cost)| (work.ln(), cost.ln())).collect();
    let count = f64::from(logs.len() as u32);
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = logs.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = logs.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::exponent;

    #[test]
    fn the_exponent_is_that_of_the_power() {
        for power in [0.5, 1.0, 2.0] {
            let points = [1.0, 2.0, 4.0, 8.0].map(|work: f64| (work, 3.0 * work.powf(power)));
            assert!((exponent(&points) - power).abs() < 1e-9);
        }
    }
}
