//! From runs to a page: medians and ratios, tables, plots, the verdict on each target.
//!
//! [`stats`] → [`targets`] and [`document`] (what the report says) → [`markdown`] and [`html`] (how it looks), with
//! [`svg`] for plots. All pure; [`write()`] puts the files down.

pub mod baseline;
pub mod document;
pub mod html;
pub mod markdown;
pub mod plots;
pub mod stats;
pub mod svg;
pub mod targets;

use super::{results::Results, world::at};
use std::{fs, io, path::Path};

/// Writes `report.md`, `report.html` and `results.json` into the folder, and gives the Markdown back.
///
/// # Errors
///
/// When a file cannot be written; it is named.
pub fn write(folder: &Path, results: &Results, baseline: Option<&Results>) -> io::Result<String> {
    let document = document::compose(results, baseline);
    let text = markdown::render(&document);
    let put = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(&file, bytes).map_err(at(&file))
    };
    put("report.md", text.as_bytes())?;
    put("report.html", html::render(&document).as_bytes())?;
    put("results.json", &serde_json::to_vec(results)?)?;
    Ok(text)
}
