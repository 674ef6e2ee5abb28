//! WebAssembly engines on this machine: on the search path, and where their installers put them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Programs, with how they are asked for their version.
const ENGINES: [(&str, &str); 12] = [
    ("wasmtime", "--version"),
    ("wasmer", "--version"),
    ("wazero", "version"),
    ("wasmedge", "--version"),
    ("iwasm", "--version"),
    ("wasm3", "--version"),
    ("wasmi", "--version"),
    ("wasmi_cli", "--version"),
    ("node", "--version"),
    ("bun", "--version"),
    ("deno", "--version"),
    ("jsc", "--version"),
];
/// Below the home directory.
const HOME_PLACES: [&str; 8] = [
    ".wasmtime/bin",
    ".wasmer/bin",
    ".wasmedge/bin",
    ".bun/bin",
    ".deno/bin",
    ".cargo/bin",
    ".local/bin",
    "go/bin",
];
const PLACES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"];
/// An engine that has not answered by then is shown without a version.
const PATIENCE: Duration = Duration::from_secs(5);

/// An engine that has been found.
#[derive(Serialize)]
pub(crate) struct FoundEngine {
    name: &'static str,
    path: PathBuf,
    /// As it says itself.
    version: Option<String>,
}

/// All engines; of those with one name in several places, all different files.
pub(crate) fn find() -> Vec<FoundEngine> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&search_path).collect();
    if let Some(home) = std::env::home_dir() {
        places.extend(HOME_PLACES.map(|place| home.join(place)));
    }
    places.extend(PLACES.map(PathBuf::from));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (name, question) in ENGINES {
        for path in places.iter().map(|place| place.join(name)) {
            let is_new = path.is_file()
                && path
                    .canonicalize()
                    .is_ok_and(|file| seen.insert((name, file)));
            if is_new {
                let version = version(&path, question);
                found.push(FoundEngine {
                    name,
                    path,
                    version,
                });
            }
        }
    }
    found
}

/// The first line that a program prints when it is asked for its version.
fn version(path: &Path, question: &str) -> Option<String> {
    let mut child = Command::new(path)
        .arg(question)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut text = String::new();
    child
        .stdout
        .take()?
        .take(4096)
        .read_to_string(&mut text)
        .ok()?;
    let line = text.lines().next()?.trim();
    (status.success() && !line.is_empty()).then(|| line.to_owned())
}

impl fmt::Display for FoundEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("version unknown");
        write!(f, "{:<10} {version} (`{}`)", self.name, self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn programs_say_their_version() {
        let directory = tempfile::tempdir().expect("there is room");
        let program = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("there is room");
            let status = std::process::Command::new("chmod")
                .arg("+x")
                .arg(&path)
                .status();
            assert!(status.expect("there is a chmod").success());
            path
        };
        let good = program("good", "echo \"engine 1.2 $1\"; echo more");
        assert_eq!(
            version(&good, "--version").as_deref(),
            Some("engine 1.2 --version")
        );
        assert_eq!(
            version(&program("bad", "echo no; exit 1"), "--version"),
            None
        );
        assert_eq!(version(&program("silent", ":"), "--version"), None);
        assert_eq!(version(&directory.path().join("none"), "--version"), None);
    }
}
