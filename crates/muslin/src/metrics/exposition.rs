//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use muslin_bgp_speaker::net::HistogramReading;

use super::catalogue::Metric;

/// The answer as it grows: metrics one after the other, each with its samples.
#[derive(Debug, Default)]
pub(super) struct Exposition(pub(super) String);

impl Exposition {
    /// Begins a metric. One without samples is left out by whoever has none.
    pub(super) fn begin(&mut self, metric: &Metric) {
        let Metric { name, kind, help, .. } = metric;
        // Writing to a String cannot fail.
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.name());
    }

    /// A sample of the metric, with the values of its labels in their order.
    pub(super) fn sample(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        let labels: Vec<_> = metric.labels.iter().copied().zip(labels.iter().copied()).collect();
        self.line(metric.name, "", &labels, value);
    }

    /// The samples of a histogram.
    pub(super) fn histogram(&mut self, metric: &Metric, labels: &[&str], reading: &HistogramReading) {
        let labels: Vec<_> = metric.labels.iter().copied().zip(labels.iter().copied()).collect();
        let mut bucket = |bound: &str, counted: u64| {
            let labels = [&labels[..], &[("le", bound)]].concat();
            self.line(metric.name, "_bucket", &labels, float(counted));
        };
        for (bound, counted) in &reading.buckets {
            bucket(&bound.to_string(), *counted);
        }
        bucket("+Inf", reading.count);
        self.line(metric.name, "_sum", &labels, reading.sum.as_secs_f64());
        self.line(metric.name, "_count", &labels, float(reading.count));
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.0 += name;
        self.0 += suffix;
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            // Writing to a String cannot fail.
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// A count as Prometheus has numbers.
#[allow(clippy::cast_precision_loss, reason = "every number of Prometheus is one of these")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
