//! The report as one page that needs nothing beside it. Pure.

use super::{
    document::{Block, Document},
    svg::escape,
};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:.5em 0;font-size:13px}td,th{padding:.25em .6em;text-align:right;border-bottom:1px \
    solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left}td:nth-child(2):last-child{text-align:left}\
    h2{margin-top:2em;border-bottom:2px solid #d1495b}div{overflow-x:auto}pre{background:#f6f6f6;padding:.6em;overflow-x:auto;\
    font-size:12px}svg{max-width:760px;display:block;margin:1em 0}";

/// The page.
#[must_use]
pub fn render(document: &Document) -> String {
    let title = escape(&document.title);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>\n"
    );
    for block in &document.blocks {
        let part = match block {
            Block::Heading(heading) => format!("<h2>{}</h2>\n", escape(heading)),
            Block::Subheading(heading) => format!("<h3>{}</h3>\n", escape(heading)),
            Block::Text(paragraph) => format!("<p>{}</p>\n", words(paragraph)),
            Block::List(lines) => {
                format!(
                    "<ul>{}</ul>\n",
                    lines.iter().map(|line| format!("<li>{}</li>", words(line))).collect::<String>()
                )
            }
            Block::Table(heads, rows) => {
                let row = |tag: &str, cells: &Vec<String>| {
                    let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
                    format!("<tr>{cells}</tr>")
                };
                let body: String = rows.iter().map(|cells| row("td", cells)).collect();
                format!("<div><table>{}{body}</table></div>\n", row("th", heads))
            }
            // Made by this crate, with every name in it escaped.
            Block::Svg(svg) => format!("{svg}\n"),
            Block::Code(code) => format!("<pre>{}</pre>\n", escape(code)),
        };
        page.push_str(&part);
    }
    page.push_str("</body></html>\n");
    page
}

/// Text in which `…` marks code.
fn words(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }).collect()
}
