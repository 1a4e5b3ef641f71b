//! The conformance kit for proxy-wasm hosts: every host function and callback of ABI 0.2.1, and what 0.2.0 and 0.1.0 have
//! otherwise, seen through what any host shows: its guests' log lines, and what a client and an upstream get.
//!
//! ```text
//! cargo test -p pillion-tests --test conformance                        Pillion beside Envoy
//! cargo test -p pillion-tests --test conformance -- --host envoy        one host
//! cargo test -p pillion-tests --test conformance -- --case headers      cases whose name holds a word
//! cargo test -p pillion-tests --test conformance -- --list              what there is
//! cargo test -p pillion-tests --test conformance -- --bless             take what Envoy does as what is expected
//! cargo test -p pillion-tests --test conformance -- --write             write the table into README.md
//! ```
//!
//! It ends with the table: function × host × verdict. `README.md` beside this says how to write a case. It is Pillion that
//! is judged: where Envoy is not asked for by name, what it does otherwise than a case expects is told and fails nothing.

mod case;
mod drive;
mod guest;
mod host;
mod run;
mod secure;
mod table;
mod upstream;

use case::Case;
use host::Host;
use run::Verdict;
use std::{env, fs, path::Path, process::ExitCode, slice};

#[derive(Debug, Default)]
struct Options {
    hosts: Vec<Host>,
    words: Vec<String>,
    list: bool,
    bless: bool,
    write: bool,
    verbose: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--host" => match value()?.as_str() {
                "envoy" => options.hosts.push(Host::Envoy),
                "pillion" => options.hosts.push(Host::Pillion),
                other => return Err(format!("no host `{other}`; there are envoy and pillion")),
            },
            "--case" => options.words.push(value()?),
            "--list" => options.list = true,
            "--bless" => options.bless = true,
            "--write" => options.write = true,
            "--verbose" => options.verbose = true,
            // What Cargo's own harness takes means nothing here.
            other if other.starts_with('-') => {}
            word => options.words.push(word.to_owned()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match conduct() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(words) => {
            eprintln!("{words}");
            println!("test result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

fn conduct() -> Result<bool, String> {
    let options = options()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut cases = case::read_all(&folder.join("cases"))?;
    cases.extend(case::read_all(&folder.join("modules"))?);
    cases.retain(|case| options.words.is_empty() || options.words.iter().any(|word| case.name.contains(word.as_str())));
    if cases.is_empty() {
        return Err(format!("no case has {} in its name; --list says what there is", options.words.join(" or ")));
    }
    let uncovered = table::uncovered(&cases);
    if options.words.is_empty() && !uncovered.is_empty() {
        return Err(format!("no case covers {}", uncovered.join(", ")));
    }
    if options.list {
        for case in &cases {
            println!("{:<34} {}", case.name, case.about);
        }
        return Ok(true);
    }
    // Expectations are Envoy's: only its run can record them.
    let (asked, hosts) = match (options.bless, options.hosts.is_empty()) {
        (true, _) => (true, vec![Host::Envoy]),
        (false, true) => (false, vec![Host::Pillion, Host::Envoy]),
        (false, false) => (true, options.hosts),
    };
    let counts = |host: Host| asked || host == Host::Pillion;
    let open = fs::read_to_string(folder.join("open.txt")).map_err(|error| format!("open.txt: {error}"))?;
    let is_open = |host: Host, case: &Case| {
        host == Host::Pillion && open.lines().any(|line| line.split_whitespace().next() == Some(case.name.as_str()))
    };
    let upstream = upstream::Upstream::start();
    let mut results = Vec::new();
    for host in hosts {
        let Some(program) = host.program() else { continue };
        let mut verdicts = run::all(host, &program, &cases, &upstream, options.bless)?;
        // Some transcripts depend on what arrives first: a case that is wrong is judged once more, by itself.
        for (case, verdict) in cases.iter().zip(&mut verdicts) {
            if matches!(verdict, Verdict::Wrong(_)) && !is_open(host, case) && !options.bless {
                println!("{} on {}: once more", case.name, host.key());
                *verdict = run::all(host, &program, slice::from_ref(case), &upstream, false)?.remove(0);
            }
        }
        results.push((host, verdicts));
    }
    let (mut passed, mut failed, mut absent) = (0, 0, 0);
    let (mut differing, mut agreeing) = (Vec::new(), Vec::new());
    for (host, verdicts) in &results {
        for (case, verdict) in cases.iter().zip(verdicts) {
            match verdict {
                Verdict::Ok if is_open(*host, case) => {
                    passed += 1;
                    agreeing.push(case.name.as_str());
                }
                Verdict::Ok | Verdict::Deviates | Verdict::Crashes => passed += 1,
                Verdict::Absent => absent += 1,
                Verdict::Wrong(lines) => {
                    if is_open(*host, case) {
                        absent += 1;
                        differing.push(case.name.as_str());
                        if !options.verbose {
                            continue;
                        }
                    } else if counts(*host) {
                        failed += 1;
                    } else {
                        absent += 1;
                        print!("\nnot as expected of the reference, which may be this machine's doing:");
                    }
                    println!("\n{} on {}: {}\n{}", case.name, host.key(), case.about, lines.join("\n"));
                }
            }
        }
    }
    let table = table::render(&cases, &results);
    println!("{table}");
    if options.write && options.words.is_empty() {
        write_table(&folder.join("README.md"), &table)?;
    }
    if !differing.is_empty() {
        println!("differ still, listed in open.txt (--verbose shows how): {}", differing.join(" "));
    }
    if !agreeing.is_empty() {
        println!("agree now, to be taken out of open.txt: {}", agreeing.join(" "));
    }
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {outcome}. {passed} passed; {failed} failed; {absent} ignored");
    Ok(failed == 0)
}

/// Puts the table in place of the one that stands between the README's marks.
fn write_table(readme: &Path, table: &str) -> Result<(), String> {
    const MARKS: (&str, &str) = ("<!-- the table, by `--write` -->\n", "<!-- the table's end -->");
    let failed = |words: &dyn std::fmt::Display| format!("{}: {words}", readme.display());
    let text = fs::read_to_string(readme).map_err(|error| failed(&error))?;
    let parts = text.split_once(MARKS.0).and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?.1)));
    let (before, after) = parts.ok_or_else(|| failed(&"it has no marks for the table"))?;
    fs::write(readme, format!("{before}{}{table}\n{}{after}", MARKS.0, MARKS.1)).map_err(|error| failed(&error))
}
