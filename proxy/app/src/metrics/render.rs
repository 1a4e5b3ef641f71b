//! The text that Prometheus reads (exposition format 0.0.4), in pieces.

use super::{
    cells::{HistogramCell, Scale},
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
                Kind::Histogram | Kind::WholeHistogram => "histogram",
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
            write_key(out, name, "", &series.labels);
            end_whole(out, cell.get());
        }
        Cell::Gauge(cell) => {
            write_key(out, name, "", &series.labels);
            end_float(out, cell.get());
        }
        Cell::Histogram(cell) => write_histogram(out, name, &series.labels, cell),
        Cell::WholeHistogram(cell) => write_histogram(out, name, &series.labels, cell),
    }
}

/// Nine lines of ten are a bucket's: what they have in common is put together once and copied.
fn write_histogram<S: Scale<BUCKETS>, const BUCKETS: usize>(
    out: &mut String,
    name: &str,
    labels: &str,
    cell: &HistogramCell<S, BUCKETS>,
) {
    let begun = out.len();
    out.push_str(name);
    out.push_str("_bucket{");
    if !labels.is_empty() {
        out.push_str(labels);
        out.push(',');
    }
    out.push_str("le=\"");
    let common = begun..out.len();
    let mut count = 0;
    for (place, (samples, bound)) in cell.buckets().iter().zip(S::PRINTED).enumerate() {
        count += samples;
        if place > 0 {
            out.extend_from_within(common.clone());
        }
        out.push_str(bound);
        out.push_str("\"}");
        end_whole(out, count);
    }
    write_key(out, name, "_sum", labels);
    end_float(out, cell.sum());
    write_key(out, name, "_count", labels);
    end_whole(out, count);
}

fn write_key(out: &mut String, name: &str, suffix: &str, labels: &str) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() {
        out.push('{');
        out.push_str(labels);
        out.push('}');
    }
}

fn end_whole(out: &mut String, value: impl itoa::Integer) {
    out.push(' ');
    out.push_str(itoa::Buffer::new().format(value));
    out.push('\n');
}

/// Infinities are written `+Inf` and `-Inf`.
fn end_float(out: &mut String, value: f64) {
    let whole = value as i64;
    if whole as f64 == value && whole.unsigned_abs() < 1 << f64::MANTISSA_DIGITS {
        return end_whole(out, whole);
    }
    // Writing into a String cannot fail.
    let _ = match value {
        f64::INFINITY => writeln!(out, " +Inf"),
        f64::NEG_INFINITY => writeln!(out, " -Inf"),
        other => writeln!(out, " {other}"),
    };
}

#[cfg(test)]
mod tests {
    use super::{
        super::cells::{Seconds, Whole},
        *,
    };

    #[test]
    fn bounds_are_printed_as_they_are() {
        fn check<S: Scale<BUCKETS>, const BUCKETS: usize>() {
            let printed = S::BOUNDS.map(|bound| if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() });
            assert_eq!(printed, S::PRINTED);
            assert!(S::BOUNDS.is_sorted() && S::BOUNDS.last() == Some(&f64::INFINITY));
        }
        check::<Seconds, 17>();
        check::<Whole, 20>();
    }

    #[test]
    fn numbers_are_printed_as_prometheus_reads_them() {
        let table = [
            (0.0, "0"),
            (-0.0, "0"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_994.0, "9007199254740994"),
            (1e19, "10000000000000000000"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, printed) in table {
            let mut out = String::new();
            end_float(&mut out, value);
            assert_eq!(out, format!(" {printed}\n"));
        }
    }
}
