//! From runs to a page: medians and ratios, tables, plots, the verdict on each target.
//!
//! [`stats`] → [`targets`] and [`document`] (what the report says) → [`markdown`] and [`html`] (how it looks), with
//! [`svg`] for plots. All pure; [`write()`] puts the files down.

pub mod document;
pub mod html;
pub mod markdown;
pub mod plots;
pub mod stats;
pub mod svg;
pub mod targets;

use super::results::Results;
use std::{fs, io, path::Path};

/// Writes `report.md`, `report.html` and `results.json` into the folder, and gives the Markdown back.
pub fn write(folder: &Path, results: &Results, baseline: Option<&Results>) -> io::Result<String> {
    let document = document::compose(results, baseline);
    let text = markdown::render(&document);
    fs::write(folder.join("report.md"), &text)?;
    fs::write(folder.join("report.html"), html::render(&document))?;
    fs::write(folder.join("results.json"), serde_json::to_vec(results)?)?;
    Ok(text)
}
