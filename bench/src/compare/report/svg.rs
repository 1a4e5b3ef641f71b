//! Plots as SVG text: lines and bars, nothing else. Pure.

use std::fmt::Write as _;

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By powers of ten.
    Log,
    /// A share below 1: by powers of ten of what is left, so that 90 %, 99 %, 99.9 % are as far apart.
    Percentile,
}

/// An axis.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// What it shows, with unit.
    pub title: &'static str,
    /// How.
    pub scale: Scale,
}

/// A line and its name.
#[derive(Debug, Clone)]
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// A colour.
    pub colour: &'static str,
    /// Points, by rising x.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;

/// A plot of lines.
#[must_use]
pub fn lines(title: &str, x: Axis, y: Axis, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let across = Range::of(x.scale, points().map(|point| point.0));
    let up = Range::of(y.scale, points().map(|point| point.1));
    let at = |point: &(f64, f64)| {
        (
            LEFT + across.share(point.0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up.share(point.1) * (HEIGHT - TOP - BOTTOM),
        )
    };
    let mut svg = open(title);
    grid(&mut svg, &up, y.title);
    for tick in across.ticks() {
        let left = LEFT + across.share(tick) * (WIDTH - LEFT - RIGHT);
        let (bottom, label) = (HEIGHT - BOTTOM, label(x.scale, tick));
        put(&mut svg, format_args!("<line x1='{left:.1}' y1='{TOP}' x2='{left:.1}' y2='{bottom}' class='g'/>"));
        put(&mut svg, format_args!("<text x='{left:.1}' y='{}' text-anchor='middle'>{label}</text>", bottom + 16.0));
    }
    put(
        &mut svg,
        format_args!("<text x='{}' y='{}' text-anchor='middle'>{}</text>", WIDTH / 2.0, HEIGHT - 26.0, x.title),
    );
    for series in series {
        let places: Vec<String> = series.points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        put(
            &mut svg,
            format_args!(
                "<polyline points='{}' fill='none' stroke='{}' stroke-width='2'/>",
                places.join(" "),
                series.colour
            ),
        );
        // Few points are measurements of their own; many are a curve.
        for (x, y) in series.points.iter().map(at).filter(|_| series.points.len() < 8) {
            put(&mut svg, format_args!("<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='{}'/>", series.colour));
        }
    }
    legend(&mut svg, series.iter().map(|series| (series.name.as_str(), series.colour)));
    svg.push_str("</svg>");
    svg
}

/// A plot of bars: for each group, one bar for each of the names; a bar may be missing.
#[must_use]
pub fn bars(
    title: &str,
    unit: &'static str,
    names: &[(&str, &'static str)],
    groups: &[(String, Vec<Option<f64>>)],
) -> String {
    let up = Range::of(Scale::Linear, groups.iter().flat_map(|(_, values)| values.iter().flatten().copied()));
    let mut svg = open(title);
    grid(&mut svg, &up, unit);
    #[expect(clippy::cast_precision_loss, reason = "a handful of groups and bars")]
    let (group_width, slots) = ((WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64, names.len() as f64 + 1.0);
    let width = group_width / slots;
    for (n, (name, values)) in (0_u32..).zip(groups) {
        let left = LEFT + f64::from(n) * group_width;
        for (m, (value, (_, colour))) in (0_u32..).zip(values.iter().zip(names)) {
            let Some(value) = value else { continue };
            let height = up.share(*value) * (HEIGHT - TOP - BOTTOM);
            let (x, y) = (left + (f64::from(m) + 0.5) * width, HEIGHT - BOTTOM - height);
            put(
                &mut svg,
                format_args!(
                    "<rect x='{x:.1}' y='{y:.1}' width='{:.1}' height='{height:.1}' fill='{colour}'/>",
                    width * 0.9
                ),
            );
            let middle = x + width * 0.45;
            put(
                &mut svg,
                format_args!(
                    "<text x='{middle:.1}' y='{:.1}' text-anchor='middle' class='s'>{}</text>",
                    y - 3.0,
                    short(*value)
                ),
            );
        }
        let (middle, bottom) = (left + group_width / 2.0, HEIGHT - BOTTOM + 16.0);
        // Neighbours' names would touch: every other one stands lower.
        let bottom = if n % 2 == 1 && groups.len() > 4 { bottom + 13.0 } else { bottom };
        put(
            &mut svg,
            format_args!("<text x='{middle:.1}' y='{bottom}' text-anchor='middle' class='s'>{}</text>", escape(name)),
        );
    }
    legend(&mut svg, names.iter().copied());
    svg.push_str("</svg>");
    svg
}

/// The ends of an axis, as its scale counts.
struct Range {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| scale != Scale::Log || *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        if !least.is_finite() {
            (least, most) = (0.1, 0.9);
        }
        match scale {
            Scale::Linear => {
                let step = step(most);
                Self { scale, from: 0.0, to: (most / step).ceil().max(1.0) * step }
            }
            Scale::Log => {
                let from = least.log10().floor();
                Self { scale, from, to: most.log10().ceil().max(from + 1.0) }
            }
            Scale::Percentile => Self { scale, from: 0.0, to: tail(most).max(1.0) },
        }
    }

    /// Where a value lies, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log if value <= 0.0 => self.from,
            Scale::Log => value.log10(),
            Scale::Percentile => tail(value),
        };
        ((place - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let count = |from: f64, to: f64| {
            let mut ticks = vec![from];
            while let Some(&last) = ticks.last().filter(|&&last| last + 1.0 <= to + 1e-9) {
                ticks.push(last + 1.0);
            }
            ticks
        };
        match self.scale {
            Scale::Linear => {
                let step = step(self.to);
                count(0.0, self.to / step).into_iter().map(|n| n * step).collect()
            }
            Scale::Log => count(self.from, self.to).into_iter().map(|n| 10_f64.powf(n)).collect(),
            Scale::Percentile => [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]
                .into_iter()
                .filter(|&share| tail(share) <= self.to + 1e-9)
                .collect(),
        }
    }
}

/// How many powers of ten a share is away from all.
fn tail(share: f64) -> f64 {
    -(1.0 - share).max(1e-6).log10()
}

/// A round step that divides a length into four to ten.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf(most.max(1e-9).log10().floor());
    match most / power {
        share if share < 2.0 => power / 5.0,
        share if share < 5.0 => power / 2.0,
        _ => power,
    }
}

fn open(title: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img'><style>text{{font:11px \
         sans-serif;fill:#333}}.s{{font-size:9px}}.t{{font-size:14px;font-weight:bold}}.g{{stroke:#ddd}}</style><rect \
         width='{WIDTH}' height='{HEIGHT}' fill='#fff'/><text x='{LEFT}' y='18' class='t'>{}</text>",
        escape(title)
    )
}

fn grid(svg: &mut String, up: &Range, title: &str) {
    for tick in up.ticks() {
        let y = HEIGHT - BOTTOM - up.share(tick) * (HEIGHT - TOP - BOTTOM);
        put(svg, format_args!("<line x1='{LEFT}' y1='{y:.1}' x2='{}' y2='{y:.1}' class='g'/>", WIDTH - RIGHT));
        put(
            svg,
            format_args!(
                "<text x='{}' y='{:.1}' text-anchor='end'>{}</text>",
                LEFT - 6.0,
                y + 4.0,
                label(up.scale, tick)
            ),
        );
    }
    put(
        svg,
        format_args!(
            "<text x='14' y='{0}' transform='rotate(-90 14 {0})' text-anchor='middle'>{title}</text>",
            HEIGHT / 2.0
        ),
    );
}

fn legend<'a>(svg: &mut String, names: impl Iterator<Item = (&'a str, &'static str)>) {
    for (n, (name, colour)) in (0_u32..).zip(names) {
        let x = LEFT + f64::from(n) * 110.0;
        put(svg, format_args!("<rect x='{x}' y='{}' width='10' height='10' fill='{colour}'/>", HEIGHT - 14.0));
        put(svg, format_args!("<text x='{}' y='{}'>{}</text>", x + 14.0, HEIGHT - 5.0, escape(name)));
    }
}

fn label(scale: Scale, value: f64) -> String {
    if scale == Scale::Percentile { format!("{} %", trim(value * 100.0)) } else { trim(value) }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Text that cannot be taken for markup.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&quot;")
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::{Axis, Range, Scale, Series, bars, escape, lines, step};

    #[test]
    fn values_lie_where_the_scale_says() {
        let linear = Range::of(Scale::Linear, [3.0, 47.0].into_iter());
        assert_eq!((linear.from, linear.to, linear.share(25.0)), (0.0, 50.0, 0.5));
        let log = Range::of(Scale::Log, [20.0, 900.0].into_iter());
        assert_eq!((log.from, log.to, log.share(100.0), log.share(0.0)), (1.0, 3.0, 0.5, 0.0));
        let percentile = Range::of(Scale::Percentile, [0.5, 0.99].into_iter());
        assert!((percentile.share(0.9) - 0.5).abs() < 1e-9);
        assert_eq!(percentile.ticks(), [0.0, 0.5, 0.9, 0.99]);
        assert_eq!((step(47.0), step(1.5), step(8.0)), (5.0, 0.2, 1.0));
    }

    #[test]
    fn plots_bear_nothing_and_odd_values() {
        let axis = |scale| Axis { title: "a", scale };
        for scale in [Scale::Linear, Scale::Log, Scale::Percentile] {
            for points in [vec![], vec![(0.0, 0.0)], vec![(1.0, -5.0), (1.0, 1e12)]] {
                let series = [Series { name: "<n>".to_owned(), colour: "#000", points }];
                let plot = lines("t", axis(scale), axis(Scale::Log), &series);
                assert!(plot.ends_with("</svg>") && plot.contains("&lt;n&gt;") && !plot.contains("NaN"), "{plot}");
            }
        }
        let plot = bars("t", "u", &[("n", "#000")], &[("g".to_owned(), vec![None]), ("h".to_owned(), vec![Some(3.0)])]);
        assert_eq!(plot.matches("fill='#000'").count(), 2);
        assert_eq!(escape("a<b>'\"&"), "a&lt;b&gt;&#39;&quot;&amp;");
    }
}
