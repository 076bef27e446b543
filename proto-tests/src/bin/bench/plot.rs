//! A plot of costs over sizes, both logarithmic: what grows as the work does is a straight line of slope one.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

/// Colours that people who see some of them alike can tell apart (after Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(86, 180, 233), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];

/// Lines over one axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plot {
    /// Heading.
    pub(crate) title: String,
    /// What goes from left to right.
    pub(crate) across: String,
    /// What goes up.
    pub(crate) up: String,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// A candidate's line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The candidate.
    pub(crate) name: String,
    /// Size and cost.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    /// Draws it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let area = SVGBackend::new(file, (720, 440)).into_drawing_area();
        self.draw(&area).map_err(|error| anyhow!("{}: {error}", file.display()))
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let range = |of: fn(&(f64, f64)) -> f64, room: f64| {
            let low = points().map(of).fold(f64::INFINITY, f64::min);
            let high = points().map(of).fold(0.0, f64::max);
            (low / room..high * room).log_scale()
        };
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(range(|point| point.0, 1.1), range(|point| point.1, 1.5))?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(&self.across)
            .y_desc(&self.up)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| format!("{value:.3}"))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.into_iter().cycle()) {
            let points = || line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_lines_and_axes() {
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(1.0, 0.5), (10.0, 5.0)] };
        let plot = Plot {
            title: "Growth".to_owned(),
            across: "prefixes".to_owned(),
            up: "time, s".to_owned(),
            lines: vec![line("ours"), line("theirs")],
        };
        let file = tempfile::Builder::new().suffix(".svg").tempfile().unwrap();
        plot.write(file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        for wanted in ["Growth", "prefixes", "time, s", "ours", "theirs", "<polyline"] {
            assert!(text.contains(wanted), "{wanted}");
        }
    }
}
