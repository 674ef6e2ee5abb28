//! The guest's WASI state in the listing of a snapshot.

use std::fmt;
use std::io::{self, Write};

use wasm_migrate::wasi::{ListedDescriptor, ListedWasi};

use crate::terminal::name;

/// Prints it as text.
pub(crate) fn print(wasi: &ListedWasi, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nWASI")?;
    writeln!(out, "  arguments: {}", name(&wasi.args.join(" ")))?;
    for variable in &wasi.env {
        writeln!(out, "  environment: {}", name(variable))?;
    }
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    writeln!(
        out,
        "  clocks: monotonic {:.3} s, wall {:.3} s since 1970{}",
        seconds(wasi.monotonic_clock_ns),
        seconds(wasi.wall_clock_ns),
        match wasi.is_waiting {
            true => "; waiting in poll_oneoff",
            false => "",
        }
    )?;
    if let Some(offset) = wasi.stdin_offset {
        writeln!(out, "  standard input: a file, at {offset}")?;
    }
    if wasi.shipped_files > 0 || wasi.shipped_bytes > 0 {
        writeln!(
            out,
            "  shipped: {} files for the mapped directories, {} bytes of contents in all",
            wasi.shipped_files, wasi.shipped_bytes
        )?;
    }
    writeln!(out, "\ndescriptors")?;
    for descriptor in &wasi.descriptors {
        writeln!(out, "  {}", Shown(descriptor))?;
    }
    Ok(())
}

/// A descriptor on one line.
pub(crate) struct Shown<'a>(pub(crate) &'a ListedDescriptor);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedDescriptor {
            fd,
            kind,
            path,
            access,
            offset,
            size,
            entries,
            is_shipped,
            flags,
            rights,
            inheriting: _,
        } = self.0;
        write!(f, "{fd}: {kind}")?;
        if let Some(path) = path {
            write!(f, " {path:?}")?;
        }
        if let Some(access) = access {
            write!(f, ", {access}")?;
        }
        if let (Some(offset), Some(size)) = (offset, size) {
            write!(f, ", at {offset} of {size} bytes")?;
        }
        if let Some(entries) = entries {
            write!(f, ", being read ({entries} entries)")?;
        }
        if *is_shipped {
            write!(f, ", contents shipped")?;
        }
        if !flags.is_empty() {
            write!(f, ", flags {}", flags.join(" "))?;
        }
        match rights.len() {
            0 => write!(f, ", no rights"),
            1..=4 => write!(f, ", rights {}", rights.join(" ")),
            count => write!(f, ", {count} rights (--json names them)"),
        }
    }
}
