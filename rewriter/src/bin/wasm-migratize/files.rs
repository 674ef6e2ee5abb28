//! Reading the input and writing the results. An output file appears whole or not at all.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use wasm_migratize::Profile;

/// Far more than a profile of the largest program has.
const PROFILE_BYTES_MAX: u64 = 256 << 20;

/// The input as people know it.
pub(crate) fn describe(path: &Path) -> String {
    if is_standard(path) {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    }
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if !is_standard(path) {
        return std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .context("failed to read standard input")?;
    Ok(bytes)
}

/// A profile of `wasm-migrate run --profile-to`.
pub(crate) fn read_profile(path: &Path) -> anyhow::Result<Profile> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("failed to read `{shown}`"))?;
    let mut text = Vec::new();
    file.take(PROFILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > PROFILE_BYTES_MAX {
        bail!("`{shown}` is larger than any profile");
    }
    serde_json::from_slice(&text)
        .with_context(|| format!("`{shown}` is not a profile of `wasm-migrate run --profile-to`"))
}

pub(crate) fn write_binary(path: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
    match path.filter(|path| !is_standard(path)) {
        Some(path) => write_file(path, bytes),
        None if std::io::stdout().is_terminal() => bail!(
            "refusing to write a binary module to the terminal: use `-o FILE` to write a file, or \
             `-t` for text"
        ),
        None => write_standard(bytes),
    }
}

pub(crate) fn write_text(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match path.filter(|path| !is_standard(path)) {
        Some(path) => write_file(path, text.as_bytes()),
        None => write_standard(text.as_bytes()),
    }
}

/// A report goes to standard output; if the module may go there too, to standard error.
pub(crate) fn write_report(report: &str, has_output: bool) -> anyhow::Result<()> {
    if has_output {
        return std::io::stderr()
            .write_all(report.as_bytes())
            .context("failed to write the report");
    }
    write_standard(report.as_bytes())
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn write_standard(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context("failed to write to standard output")
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    // A device or a pipe is written in place: there is no file to replace.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes)
            .with_context(|| format!("failed to write `{}`", path.display()));
    }
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(mode())
            .tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("failed to write `{}`", path.display()))
}

#[cfg(unix)]
fn mode() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(not(unix))]
fn mode() -> std::fs::Permissions {
    std::fs::metadata(".")
        .expect("the current directory exists")
        .permissions()
}
