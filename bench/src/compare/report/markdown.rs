//! The report as Markdown. Plots are left to the page. Pure.

use super::document::{Block, Document};

/// The text.
#[must_use]
pub fn render(document: &Document) -> String {
    let mut text = format!("# {}\n", document.title);
    for block in &document.blocks {
        let part = match block {
            Block::Heading(heading) => format!("\n## {heading}\n"),
            Block::Subheading(heading) => format!("\n### {heading}\n"),
            Block::Text(paragraph) => format!("\n{paragraph}\n"),
            Block::List(lines) => lines.iter().fold("\n".to_owned(), |list, line| format!("{list}- {line}\n")),
            Block::Table(heads, rows) => {
                let row = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
                let rule = format!("|{}\n", "---|".repeat(heads.len()));
                format!("\n{}{rule}{}", row(heads), rows.iter().map(row).collect::<String>())
            }
            Block::Svg(_) => continue,
            Block::Code(code) => format!("\n```sh\n{code}\n```\n"),
        };
        text.push_str(&part);
    }
    text
}
