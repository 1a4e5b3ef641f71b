//! The text of the tables: rows, escapes, what stands for what.

/// Text to bytes: `\r \n \t \0 \\ \xNN`, and the words in braces.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let text = text
        .replace("{get}", "GET / HTTP/1.1\\r\\nHost: test\\r\\n")
        .replace("{post}", "POST / HTTP/1.1\\r\\nHost: test\\r\\n")
        .replace("{smuggled}", "GET /smuggled HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n");
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                    let (Some(high), Some(low)) = (digit(), digit()) else { panic!("\\x without digits: {text}") };
                    (high * 16 + low) as u8
                }
                other => panic!("unknown escape {other:?}: {text}"),
            },
            plain => plain,
        });
    }
    bytes
}

/// The rows of a table, each split at `||`; the first column into status and name.
pub(super) fn rows(text: &str) -> impl Iterator<Item = (&str, &str, &str, &str)> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut columns = line.splitn(3, " || ");
        let (first, input) =
            (columns.next().unwrap_or(""), columns.next().unwrap_or_else(|| panic!("one column: {line}")));
        let (status, name) = first.split_once(' ').unwrap_or_else(|| panic!("no name: {line}"));
        (status, name, input, columns.next().unwrap_or(""))
    })
}
