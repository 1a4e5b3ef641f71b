//! What the report says, without how it looks. Pure.

use super::{
    baseline, plots,
    stats::{self, Spread, Step, Summary, ratio},
    targets::{self, Kept},
};
use crate::compare::{
    peers::Peer,
    results::{self, Better, Gravity, Metric, Note, Results},
    scenario::Scenario,
};
use clap::ValueEnum as _;

/// A report.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// Its parts, in order.
    pub blocks: Vec<Block>,
}

/// A part of it.
#[derive(Debug, Clone)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A smaller one.
    Subheading(String),
    /// A paragraph.
    Text(String),
    /// Short lines.
    List(Vec<String>),
    /// A table: heads, then rows of as many cells; the first column names the row.
    Table(Vec<String>, Vec<Vec<String>>),
    /// A plot.
    Svg(String),
    /// What one may want to copy.
    Code(String),
}

/// Puts the report together.
#[must_use]
pub fn compose(results: &Results, baseline: Option<&Results>) -> Document {
    let summary = Summary::of(results);
    let mut blocks = about(results);
    let verdicts = targets::verdicts(&summary);
    if !verdicts.is_empty() {
        let heads = ["of", "target", "reached", "kept"].map(str::to_owned).to_vec();
        let kept = |kept| match kept {
            Kept::Yes => "yes".to_owned(),
            Kept::No => "no".to_owned(),
            Kept::NotTold => "not told".to_owned(),
        };
        let rows = verdicts.into_iter().map(|v| vec![v.what, v.target, v.reached, kept(v.kept)]).collect();
        blocks.extend([Block::Heading("Targets".to_owned()), Block::Table(heads, rows)]);
        let untouched = targets::untouched(&summary);
        let mut lines: Vec<String> =
            targets::ELSEWHERE.iter().map(|line| format!("not of this command: {line}")).collect();
        if !untouched.is_empty() {
            lines.push(format!("not told, as no figure of these scenarios is in this run: {}", untouched.join(", ")));
        }
        blocks.push(Block::List(lines));
    }
    if let Some(baseline) = baseline {
        blocks.extend(compared(&summary, results, baseline));
    }
    if let Some(plot) = plots::costs(&summary) {
        blocks.push(Block::Svg(plot));
    }
    for table in &summary.tables {
        blocks.push(Block::Heading(table.name.clone()));
        blocks.extend(flow(&table.name));
        blocks.extend(notes(results, &table.name));
        for step in &table.steps {
            blocks.push(Block::Subheading(step.name.clone()));
            blocks.push(figures(step));
            blocks.extend(calls(results, &table.name, &step.name));
        }
        blocks.extend(plots::of(results, table).into_iter().map(Block::Svg));
        blocks.extend(command(results, &table.name));
    }
    // Scenarios nobody could do have no figures, but a reason.
    for scenario in Scenario::value_variants().iter().map(|scenario| scenario.name()) {
        let reasons = notes(results, &scenario);
        if summary.tables.iter().all(|table| table.name != scenario) && !reasons.is_empty() {
            blocks.push(Block::Heading(scenario.clone()));
            blocks.extend(flow(&scenario).into_iter().chain(reasons));
        }
    }
    Document { title: "Pillion beside its peers".to_owned(), blocks }
}

fn about(results: &Results) -> Vec<Block> {
    let machine = &results.machine;
    let mut lines = vec![
        format!("{} UTC, commit of the checkout {}", machine.date, machine.commit),
        format!(
            "{}, {} cores, {:.1} GB, {}",
            machine.processor,
            machine.cores,
            results::mb(machine.memory) / 1e3,
            machine.kernel
        ),
        format!("load average when it began: {:.2}", machine.load),
        format!("a page of memory takes {:.1} µs when it is touched first", machine.fresh_page_us),
        format!("one worker each; {}", results.cores),
        format!("{} rounds, each peer in turn; {} s a measurement{}", results.rounds, results.seconds, {
            if results.options.is_empty() { String::new() } else { format!("; {}", results.options) }
        }),
    ];
    if machine.tracked {
        lines.push(
            "the kernel tracks connections over loopback (nf_conntrack; `nft list ruleset` tells for whom): each packet costs everyone \
             more than on a machine that does not, and new connections fail once its table is full"
                .to_owned(),
        );
    }
    lines.extend(results.versions.iter().cloned());
    lines.extend(results.missing.iter().map(|missing| format!("not measured: {missing}")));
    vec![
        Block::Text(
            "Medians of the rounds, in brackets the least and the most. `÷` columns: Pillion's median over the other's; \
             below 1 Pillion needs or takes less. Where requests failed in a run, their number stands beside each of its \
             figures, and no ratio and no verdict is made of them. Added latency is the difference to the direct run (no proxy) of the \
             same round. On a machine with two cores origin and generator share one, so throughput is the proxy's only \
             where that core is not the narrower one; CPU time a request does not depend on it."
                .to_owned(),
        ),
        Block::List(lines),
        Block::Code(results.command.clone()),
    ]
}

fn flow(scenario: &str) -> Option<Block> {
    let found = Scenario::value_variants().iter().find(|known| known.name() == scenario)?;
    Some(Block::Text(format!("Byte flow: {}.", found.flow())))
}

fn notes(results: &Results, scenario: &str) -> Vec<Block> {
    let notes = results.notes.iter().filter(|note| note.scenario == scenario);
    let words = |note: &Note| match note.gravity {
        Gravity::Remark => format!("{}: {}", note.peer, note.text),
        Gravity::Failure => format!("{} FAILED: {}", note.peer, note.text),
    };
    let lines: Vec<String> = notes.map(words).collect();
    if lines.is_empty() { Vec::new() } else { vec![Block::List(lines)] }
}

/// One row a figure, one column a peer, and Pillion's ratio to each proxy.
fn figures(step: &Step) -> Block {
    let mut peers: Vec<Peer> = step.figures.values().flat_map(|peers| peers.keys().copied()).collect();
    peers.sort_unstable();
    peers.dedup();
    let others: Vec<Peer> = if peers.contains(&Peer::Pillion) {
        peers.iter().copied().filter(|peer| *peer > Peer::Pillion).collect()
    } else {
        Vec::new()
    };
    let heads = std::iter::once(String::new())
        .chain(peers.iter().map(ToString::to_string))
        .chain(others.iter().map(|peer| format!("÷ {peer}")))
        .collect();
    let rows = step.figures.iter().map(|(metric, of)| {
        let written = if metric.is_count() { grouped } else { number };
        // How many failed is what these rows tell.
        let tells = matches!(metric, Metric::Errors | Metric::FailedP50 | Metric::FailedMax);
        let shown = |spread: Spread| if tells { Spread { failed: 0.0, ..spread } } else { spread };
        let value = |peer: &Peer| of.get(peer).map_or_else(|| "–".to_owned(), |spread| cell(shown(*spread), written));
        let against = |peer: &Peer| {
            let ratio = of.get(&Peer::Pillion).zip(of.get(peer)).and_then(|(own, other)| ratio(*own, *other));
            let ratio = ratio.filter(|_| metric.better() != Better::Neither);
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        std::iter::once(metric.title().to_owned())
            .chain(peers.iter().map(value))
            .chain(others.iter().map(against))
            .collect()
    });
    Block::Table(heads, rows.collect())
}

fn cell(spread: Spread, written: fn(f64) -> String) -> String {
    let (median, least, most) = (written(spread.median), written(spread.least), written(spread.most));
    let figure = if least == most { median } else { format!("{median} ({least}–{most})") };
    if spread.failed > 0.0 { format!("{figure}, {} failed", grouped(spread.failed)) } else { figure }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value.round()),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

/// `12,345`.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The system calls by name, a request each, the frequent ones.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn calls(results: &Results, scenario: &str, step: &str) -> Option<Block> {
    let lines: Vec<String> = results
        .runs
        .iter()
        .filter(|run| run.scenario == scenario && run.step == step)
        .filter_map(|run| {
            let requests = run.outcome.as_ref().map_or(1, |outcome| outcome.requests.max(1)) as f64;
            let mut calls: Vec<(&String, f64)> =
                run.calls.as_ref()?.0.iter().map(|(name, count)| (name, *count as f64 / requests)).collect();
            calls.sort_by(|a, b| b.1.total_cmp(&a.1));
            let frequent = calls.iter().filter(|(_, count)| *count >= 0.005);
            let words: Vec<String> = frequent.map(|(name, count)| format!("{name} {count:.2}")).collect();
            Some(format!("{}: {}", run.peer, words.join(", ")))
        })
        .collect();
    (!lines.is_empty()).then_some(Block::List(lines))
}

/// The generator's commands, to be repeated: of each step and peer the first, those that differ in no more than the port and
/// the rate once for all.
fn command(results: &Results, scenario: &str) -> Option<Block> {
    let mut seen: Vec<(String, Vec<&str>, Vec<Peer>, String)> = Vec::new();
    for run in results.runs.iter().filter(|run| run.scenario == scenario && !run.command.is_empty()) {
        let mut same: Vec<&str> = run.command.iter().map(String::as_str).collect();
        for flag in ["--target", "--rate"] {
            if let Some(at) = same.iter().position(|word| *word == flag) {
                same.drain(at..(at + 2).min(same.len()));
            }
        }
        match seen.iter_mut().find(|(step, words, ..)| *step == run.step && *words == same) {
            Some((_, _, peers, _)) if peers.contains(&run.peer) => {}
            Some((_, _, peers, _)) => peers.push(run.peer),
            None => seen.push((run.step.clone(), same, vec![run.peer], quoted(&run.command))),
        }
    }
    let lines: Vec<String> = seen
        .into_iter()
        .map(|(step, _, peers, words)| {
            let names: Vec<String> = peers.iter().map(ToString::to_string).collect();
            format!("# {step}: {} (the port is that of the first)\npillion-bench {words}", names.join(", "))
        })
        .collect();
    (!lines.is_empty()).then(|| Block::Code(lines.join("\n")))
}

/// Words as a shell takes them.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Every figure of a proxy beside that of an earlier run.
fn compared(now: &Summary, results: &Results, baseline: &Results) -> Vec<Block> {
    let then = Summary::of(baseline);
    let heads: Vec<String> = ["scenario", "step", "figure"]
        .into_iter()
        .map(str::to_owned)
        .chain(Peer::PROXIES.iter().map(|peer| format!("{peer}, now ÷ then")))
        .collect();
    let mut rows = Vec::new();
    for table in &now.tables {
        for step in &table.steps {
            for (metric, peers) in step.figures.iter().filter(|(metric, _)| metric.better() != Better::Neither) {
                let of = |peer: &Peer| {
                    let before = then.get(&table.name, &step.name, *metric, *peer)?;
                    stats::ratio(*peers.get(peer)?, before)
                };
                let ratios: Vec<Option<f64>> = Peer::PROXIES.iter().map(of).collect();
                if ratios.iter().any(Option::is_some) {
                    let cells =
                        ratios.into_iter().map(|ratio| ratio.map_or_else(|| "–".to_owned(), |r| format!("{r:.2}")));
                    let names = [table.name.clone(), step.name.clone(), metric.title().to_owned()];
                    rows.push(names.into_iter().chain(cells).collect());
                }
            }
        }
    }
    let said = format!("Against the run of {} (commit {}).", baseline.machine.date, baseline.machine.commit);
    let mut blocks = vec![Block::Heading("Compared".to_owned()), Block::Text(said)];
    let mut differences = baseline::surroundings(results, baseline);
    if differences.is_empty() && Peer::PROXIES[1..].iter().any(|peer| baseline::version(results, *peer).is_some()) {
        blocks.push(Block::Text(
            "The peers and what they ran on did not change between the runs: how far their ratios are from 1 is how far two \
             runs differ by chance."
                .to_owned(),
        ));
    }
    differences.splice(0..0, baseline::pillion(results, baseline));
    differences.extend(baseline::only_in_one(now, &then));
    if !differences.is_empty() {
        blocks.extend([Block::Text("What differs beside the figures:".to_owned()), Block::List(differences)]);
    }
    blocks.push(Block::Table(heads, rows));
    blocks
}

#[cfg(test)]
mod tests {
    use super::{Spread, cell, grouped, number, quoted};

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.126, "0.13"),
            (9.0, "9.00"),
            (28.46, "28.5"),
            (136.4, "136"),
            (-1234.0, "-1,234"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(cell(Spread { median: 2.0, least: 1.0, most: 3.0, failed: 0.0 }, number), "2.00 (1.00–3.00)");
        let failed = Spread { median: 2.0, least: 2.0, most: 2.0, failed: 1200.0 };
        assert_eq!(cell(failed, number), "2.00, 1,200 failed");
        assert_eq!(cell(Spread { median: 2.0, least: 2.0, most: 2.0, failed: 0.0 }, grouped), "2");
    }

    #[test]
    fn commands_can_be_pasted() {
        let words = ["compare", "--output", "a b", "it's", "", "--rate", "2000"].map(str::to_owned);
        assert_eq!(quoted(&words), r"compare --output 'a b' 'it'\''s' '' --rate 2000");
    }
}
