//! The text that Prometheus reads (exposition format 0.0.4), in pieces.

use super::{
    cells::{BOUNDS, HistogramCell},
    process,
    registry::{Cell, Family, Kind, Registry, Series},
};
use metrics_exporter_prometheus::formatting::{write_help_line, write_type_line};
use std::{fmt::Write as _, sync::Arc, vec};

/// The media type of what a [`Scrape`] yields.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The most bytes of a piece. One takes well under a millisecond to render, so that who yields between pieces does
/// not keep the control thread from its other work.
pub const PIECE_BYTES: usize = 64 << 10;

/// Room for the lines of a family's or a series' beginning; most pieces end this far from full.
const MARGIN: usize = 4 << 10;

/// A scrape under way: yields the text in pieces of whole lines, none larger than [`PIECE_BYTES`].
///
/// Each piece is rendered when it is asked for, from the values of that moment; series registered after their family
/// was begun are left for the next scrape. Let other tasks run between two pieces.
#[derive(Debug)]
pub struct Scrape {
    /// Lines that come before the registry's.
    process: Option<String>,
    families: vec::IntoIter<Arc<Family>>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    family: Arc<Family>,
    series: Arc<Vec<Series>>,
    next: usize,
}

impl Scrape {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { process: Some(process::render()), families: registry.families().into_iter(), current: None }
    }

    /// Goes on to the next family that has series, and writes its head. `false`: there is none.
    fn begin_family(&mut self, out: &mut String) -> bool {
        for family in self.families.by_ref() {
            let series = family.series();
            if series.is_empty() {
                continue;
            }
            if let Some(help) = family.help.get() {
                write_help_line(out, &family.name, None, None, help);
            }
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            write_type_line(out, &family.name, None, None, kind);
            self.current = Some(Current { family, series, next: 0 });
            return true;
        }
        false
    }
}

impl Iterator for Scrape {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut out = self.process.take().unwrap_or_default();
        out.reserve(PIECE_BYTES - out.len());
        loop {
            let Some(current) = &mut self.current else {
                if out.len() + MARGIN > PIECE_BYTES || !self.begin_family(&mut out) {
                    break;
                }
                continue;
            };
            let Some(one) = current.series.get(current.next) else {
                self.current = None;
                continue;
            };
            let before = out.len();
            write_series(&mut out, &current.family.name, one);
            if out.len() > PIECE_BYTES && before > 0 {
                // It comes first in the next piece.
                out.truncate(before);
                break;
            }
            current.next += 1;
        }
        (!out.is_empty()).then_some(out)
    }
}

fn write_series(out: &mut String, name: &str, series: &Series) {
    match &series.cell {
        Cell::Counter(cell) => {
            let mut number = Number::new(name, "", out);
            number.labels(&series.labels, None).end(cell.get());
        }
        Cell::Gauge(cell) => {
            Number::new(name, "", out).labels(&series.labels, None).end(Float(cell.get()));
        }
        Cell::Histogram(cell) => write_histogram(out, name, &series.labels, cell),
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &str, cell: &HistogramCell) {
    let buckets = cell.buckets();
    let mut count = 0;
    for (samples, bound) in buckets.iter().zip(BOUNDS.iter().chain(&[f64::INFINITY])) {
        count += samples;
        Number::new(name, "_bucket", out).labels(labels, Some(*bound)).end(count);
    }
    Number::new(name, "_sum", out).labels(labels, None).end(Float(cell.sum()));
    Number::new(name, "_count", out).labels(labels, None).end(count);
}

/// A line in the making: name, labels, value.
struct Number<'a>(&'a mut String);

impl<'a> Number<'a> {
    fn new(name: &str, suffix: &str, out: &'a mut String) -> Self {
        out.push_str(name);
        out.push_str(suffix);
        Self(out)
    }

    fn labels(&mut self, labels: &str, bound: Option<f64>) -> &mut Self {
        if labels.is_empty() && bound.is_none() {
            return self;
        }
        self.0.push('{');
        self.0.push_str(labels);
        if let Some(bound) = bound {
            if !labels.is_empty() {
                self.0.push(',');
            }
            // Writing into a String cannot fail; here and below.
            let _ = write!(self.0, "le=\"{}\"", Float(bound));
        }
        self.0.push('}');
        self
    }

    fn end(&mut self, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, " {value}");
    }
}

/// A number as the format writes it: infinities are `+Inf` and `-Inf`.
struct Float(f64);

impl std::fmt::Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == f64::INFINITY {
            f.write_str("+Inf")
        } else if self.0 == f64::NEG_INFINITY {
            f.write_str("-Inf")
        } else {
            write!(f, "{}", self.0)
        }
    }
}
