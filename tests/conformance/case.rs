//! A case: one file of `cases/`, WebAssembly text with directives in its comments, or directives alone about a module that
//! is there already (`modules/*.case`).
//!
//! | directive | meaning |
//! |---|---|
//! | `covers: NAME…` | host functions and callbacks the case exercises: its rows in the table |
//! | `about: …` | what it shows, one line |
//! | `abi: 0_1_0` | the version marker that is exported; `0_2_1` without it |
//! | `plugin: …`, `vm: …` | the plugin's and the VM's configuration |
//! | `option: WORD…` | `tcp`, `fail_open`, `stop_iteration`, `restricted`, `env`, `metadata` (the listener has some), `jwt` (a filter before it takes the kit's tokens); `no-marker`, `no-allocator`; `one-vm` (of a chain); `alone` (a process of its own); `as-bytes`, `as-struct` (`plugin` and `vm` are bytes as a step spells them, or JSON that is handed over in parts; text without it); `upstream-races` (what reaches the upstream depends on time and is not told) |
//! | `module: FROM/NAME` | a compiled guest: `prebuilt/NAME` of `filters/`, or `third-party/NAME` |
//! | `chain: WORD…` | filters of this module one after the other instead of one, each with its word as configuration and a VM of its own, and their lines begin with it; or, with `one-vm`, all in one |
//! | `root: ID` | the root id; `kit-root` without it |
//! | `log: WORDS` | of a module's own lines those with these words are told; none without it |
//! | `refused: WORDS` | the host must refuse the configuration, saying all these words |
//! | `step: …` | what the client does, see [`super::drive`] |
//! | `deviation: …` | why Pillion differs from Envoy here; `expect-pillion:` has what it does instead |
//! | `envoy-crashes: …` | Envoy 1.40 ends with a signal; the case is not run there |
//! | `expect:`, `expect-pillion:` | the lines that follow are the transcript, up to the end of the comment block |

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) path: PathBuf,
    /// The compiled guest, where it is not made from `body`.
    pub(crate) module: Option<String>,
    /// The root id.
    pub(crate) root: String,
    /// Which of a module's own log lines are told.
    pub(crate) log: Option<String>,
    /// Rows of the table.
    pub(crate) covers: Vec<String>,
    /// One line for people.
    pub(crate) about: String,
    /// The ABI's version as the marker export spells it.
    pub(crate) abi: String,
    /// The plugin's configuration.
    pub(crate) plugin: String,
    /// The VM's configuration.
    pub(crate) vm: String,
    /// The configurations of several filters of this module, in order; none: there is one.
    pub(crate) chain: Vec<String>,
    /// Words that change how the host is set up.
    pub(crate) options: Vec<String>,
    /// Words a refusal must hold; `None` where the configuration must be taken.
    pub(crate) refused: Option<Vec<String>>,
    /// What the client does, in order.
    pub(crate) steps: Vec<String>,
    /// Why Pillion differs.
    pub(crate) deviation: Option<String>,
    /// Why Envoy is not asked.
    pub(crate) envoy_crashes: Option<String>,
    /// What Envoy 1.40 was seen to do, and everyone should.
    pub(crate) expect: Vec<String>,
    /// What Pillion does instead, where it differs on purpose.
    pub(crate) expect_pillion: Option<Vec<String>>,
    /// The module, before [`super::guest`] completes it.
    pub(crate) body: String,
}

impl Case {
    /// Whether a word stands among the options.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|word| word == option)
    }

    /// Whether it needs a process of its own: the others must not suffer where it is refused.
    pub(crate) fn alone(&self) -> bool {
        self.refused.is_some() || self.has("alone")
    }

    /// The transcript a host must give.
    pub(crate) fn expected(&self, host: &str) -> &[String] {
        match (&self.expect_pillion, host) {
            (Some(lines), "pillion") => lines,
            _ => &self.expect,
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let name = &path.file_stem().unwrap_or_default().to_string_lossy();
        let mut case = Self {
            name: name.to_string(),
            path: path.to_owned(),
            abi: "0_2_1".to_owned(),
            root: "kit-root".to_owned(),
            ..Self::default()
        };
        let mut into = Into::Directives;
        for (number, line) in text.lines().enumerate() {
            let Some(rest) = line.strip_prefix(";;!") else {
                into = Into::Directives;
                if !line.trim_start().starts_with(";;") {
                    case.body.push_str(line);
                }
                case.body.push('\n');
                continue;
            };
            // Line numbers of the body stay those of the file.
            case.body.push('\n');
            match into {
                Into::Expect if rest.starts_with("   ") => case.expect.push(rest[3..].to_owned()),
                Into::Pillion if rest.starts_with("   ") => {
                    case.expect_pillion.get_or_insert_default().push(rest[3..].to_owned());
                }
                _ => {
                    into = case
                        .directive(rest.trim())
                        .map_err(|what| format!("{}:{}: {what}", path.display(), number + 1))?
                }
            }
        }
        if case.covers.is_empty() || case.about.is_empty() {
            return Err(format!("{}: `covers:` and `about:` are missing", path.display()));
        }
        Ok(case)
    }

    fn directive(&mut self, line: &str) -> Result<Into, String> {
        let (key, value) = line.split_once(':').ok_or_else(|| format!("no directive: {line:?}"))?;
        let value = value.trim();
        let words = || value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match key {
            "covers" => self.covers.extend(words()),
            "about" => value.clone_into(&mut self.about),
            "abi" => value.clone_into(&mut self.abi),
            "module" => self.module = Some(value.to_owned()),
            "root" => value.clone_into(&mut self.root),
            "log" => self.log = Some(value.to_owned()),
            "plugin" => value.clone_into(&mut self.plugin),
            "vm" => value.clone_into(&mut self.vm),
            "chain" => self.chain.extend(words()),
            "option" => self.options.extend(words()),
            "refused" => self.refused = Some(words()),
            "step" => self.steps.push(value.to_owned()),
            "deviation" => self.deviation = Some(value.to_owned()),
            "envoy-crashes" => self.envoy_crashes = Some(value.to_owned()),
            "expect" => return Ok(Into::Expect),
            "expect-pillion" => {
                self.expect_pillion = Some(Vec::new());
                return Ok(Into::Pillion);
            }
            _ => return Err(format!("no such directive: `{key}`; they stand in case.rs")),
        }
        Ok(Into::Directives)
    }
}

#[derive(Debug, Clone, Copy)]
enum Into {
    Directives,
    Expect,
    Pillion,
}

/// Reads every case of a folder, by name.
pub(crate) fn read_all(folder: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "wat" || ending == "case") {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            cases.push(Case::parse(&path, &text)?);
        }
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

/// Writes a transcript into a case's file in place of the one it has.
pub(crate) fn bless(path: &Path, key: &str, lines: &[String]) -> std::io::Result<()> {
    let text = fs::read_to_string(path)?;
    let (mut out, mut skipping, mut written) = (String::new(), false, false);
    let block = |out: &mut String| {
        out.push_str(&format!(";;! {key}:\n"));
        for line in lines {
            out.push_str(&format!(";;!   {line}\n"));
        }
    };
    for line in text.lines() {
        let directive = line.strip_prefix(";;!");
        skipping = skipping && directive.is_some_and(|rest| rest.starts_with("   "));
        if skipping {
            continue;
        }
        if directive.is_some_and(|rest| rest.trim() == format!("{key}:")) {
            (skipping, written) = (true, true);
            block(&mut out);
            continue;
        }
        // The transcript ends the block of directives.
        if directive.is_none() && !written {
            written = true;
            block(&mut out);
        }
        out.push_str(line);
        out.push('\n');
    }
    if !written {
        block(&mut out);
    }
    fs::write(path, out)
}
