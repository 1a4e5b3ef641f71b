//! Every case of h2spec (`h2spec.tsv`) has its test here, and no test claims a case that is none.

use std::collections::BTreeSet;

/// The sources of each suite's tests: a case is the string literal that begins with its section and number.
const SUITES: [(&str, &[&str]); 3] = [
    ("generic", &[include_str!("generic.rs")]),
    (
        "http2",
        &[
            include_str!("section3_to_4.rs"),
            include_str!("section5.rs"),
            include_str!("section6.rs"),
            include_str!("section7_to_8.rs"),
        ],
    ),
    ("hpack", &[include_str!("hpack.rs")]),
];

/// `5.1.1/2` of `5.1.1/2 smaller than before`.
fn case_of(text: &str) -> Option<&str> {
    let (id, _) = text.split_once(' ')?;
    let (section, number) = id.split_once('/')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (section.split('.').all(digits) && digits(number)).then_some(id)
}

#[test]
fn every_case_of_h2spec_has_its_test() {
    let rows: Vec<Vec<&str>> = include_str!("h2spec.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == 5), "five columns");
    assert_eq!(rows.len(), 147, "146, and one of the strict mode");
    for (suite, sources) in SUITES {
        let listed: BTreeSet<_> = rows.iter().filter(|row| row[0] == suite).map(|row| row[1]).collect();
        let named: Vec<_> = sources.iter().flat_map(|source| source.split('"')).filter_map(case_of).collect();
        let tested: BTreeSet<_> = named.iter().copied().collect();
        assert_eq!(named.len(), tested.len(), "{suite}: a case is tested under one name");
        assert_eq!(listed, tested, "{suite}");
    }
}
