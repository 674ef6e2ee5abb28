//! Programs and their settings, which stand in comments at the beginning of their sources: lines that begin with
//! `//@` or `;;@` are TOML.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// A program of the set.
#[derive(Debug)]
pub struct Case {
    /// Its name, without directory and extension.
    pub name: String,
    /// How it is run.
    pub settings: Settings,
    /// The module as it was compiled.
    pub wasm: Vec<u8>,
    /// Its source.
    pub source: String,
}

/// How a program is run, and what it should come to.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Arguments behind the program's name.
    pub args: Vec<String>,
    /// Names and values.
    pub env: Vec<[String; 2]>,
    /// The guest's names of its directories; all begin empty but for what follows.
    pub dirs: Vec<String>,
    /// Files in the first directory, with their contents.
    pub files: BTreeMap<String, String>,
    /// Symbolic links in the first directory, with their targets.
    pub links: BTreeMap<String, String>,
    /// What standard input holds.
    pub stdin: String,
    /// What standard output must have received.
    pub stdout: Option<String>,
    /// The status with which the program must end.
    pub exit_code: i32,
    /// Is it a program on the C library? For the build.
    pub libc: bool,
    /// Is it stopped while it waits, too?
    pub interrupt: bool,
    /// Why other runtimes are not asked.
    pub oracle: Option<String>,
    /// Why it cannot go to other directories in the middle.
    pub elsewhere: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            dirs: vec!["/".to_owned()],
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            stdin: String::new(),
            stdout: None,
            exit_code: 0,
            libc: false,
            interrupt: false,
            oracle: None,
            elsewhere: None,
        }
    }
}

impl Settings {
    /// The settings in the comments of a source.
    ///
    /// # Errors
    /// They are no TOML, or do not exist.
    pub fn of_source(source: &str) -> Result<Self> {
        let lines = source.lines().filter_map(|line| {
            line.strip_prefix("//@")
                .or_else(|| line.strip_prefix(";;@"))
        });
        let text: Vec<&str> = lines.collect();
        Ok(toml::from_str(&text.join("\n"))?)
    }
}

impl Case {
    /// Reads a program, `.c` or `.wat`. What was compiled from C lies in the directory `built`.
    ///
    /// # Errors
    /// The source has settings that do not exist, or it has not been compiled.
    pub fn read(path: &Path, built: &Path) -> Result<Self> {
        let shown = path.display();
        let source = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let wasm = match path.extension().and_then(|extension| extension.to_str()) {
            Some("wat") => wat::parse_str(&source).with_context(|| format!("parsing {shown}"))?,
            Some("c") => {
                let module = built.join(format!("{name}.wasm"));
                std::fs::read(&module).with_context(|| {
                    format!("reading {}, made by scripts/wasi", module.display())
                })?
            }
            _ => bail!("{shown} is neither `.c` nor `.wat`"),
        };
        let settings =
            Settings::of_source(&source).with_context(|| format!("the settings in {shown}"))?;
        Ok(Self {
            name,
            settings,
            wasm,
            source,
        })
    }

    /// The name of the module's file, which the program gets as its first argument.
    pub(super) fn module_name(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// The program's arguments, its name first.
    pub(super) fn arguments(&self) -> Vec<String> {
        let name = [self.module_name()];
        name.into_iter()
            .chain(self.settings.args.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn settings_are_read_from_comments() {
        let read =
            Settings::of_source("// Text.\n//@ args = [\"a\"]\n//@ exit_code = 3\nint main;\n");
        let read = read.expect("they are well-formed");
        assert_eq!((read.args, read.exit_code), (vec!["a".to_owned()], 3));
        assert_eq!(read.dirs, ["/"]);
        assert!(Settings::of_source(";;@ no_such = 1\n").is_err());
    }
}
