//! `wasm-migrate doctor`: what this machine can do.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;
use wasm_migrate::KernelSupport;
use wasm_migrate::live::MissingPages;

use crate::compiler;
use crate::engines::{self, FoundEngine};
use crate::output;
use crate::soft_dirty;

/// Shows what this machine can do for guests that move: kernel and memory, how written pages can be found,
/// whether compiled code is cached, and which WebAssembly engines there are.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that is shown. What cannot be found out is `None`.
#[derive(Serialize)]
struct Report {
    wasm_migrate: &'static str,
    os: &'static str,
    architecture: &'static str,
    kernel: Option<String>,
    page_bytes: usize,
    cores: Option<usize>,
    memory_bytes: Option<u64>,
    available_memory_bytes: Option<u64>,
    /// Of the main thread, soft limit; guests run on stacks of their own.
    stack_limit_bytes: Option<u64>,
    tracking: Tracking,
    /// Why guests cannot arrive here before their pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    post_copy_problem: Option<String>,
    compile_cache: CompileCache,
    engines: Vec<FoundEngine>,
}

/// How the kernel can tell which pages have been written.
#[derive(Serialize)]
struct Tracking {
    #[serde(flatten)]
    kernel: KernelSupport,
    soft_dirty: bool,
}

/// Whether compiled code is kept.
#[derive(Serialize)]
struct CompileCache {
    works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(crate) fn doctor(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = Report::make();
    output::print(arguments.json, &report, |out| report.print(out))
}

impl Report {
    fn make() -> Self {
        let proc_text = |path: &str| fs::read_to_string(path).ok();
        let memory = proc_text("/proc/meminfo").unwrap_or_default();
        let limits = proc_text("/proc/self/limits").unwrap_or_default();
        Self {
            wasm_migrate: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            kernel: proc_text("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            page_bytes: rustix::param::page_size(),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: kibibytes(&memory, "MemTotal:"),
            available_memory_bytes: kibibytes(&memory, "MemAvailable:"),
            stack_limit_bytes: limits
                .lines()
                .find_map(|line| line.strip_prefix("Max stack size"))
                .and_then(|line| line.split_whitespace().next()?.parse().ok()),
            tracking: Tracking {
                kernel: KernelSupport::probe(),
                soft_dirty: soft_dirty::is_supported(),
            },
            post_copy_problem: MissingPages::supported()
                .err()
                .map(|error| error.to_string()),
            compile_cache: CompileCache::probe(),
            engines: engines::find(),
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let unknown = || "unknown".to_owned();
        let bytes = |bytes: Option<u64>| bytes.map_or_else(unknown, |b| HumanBytes(b).to_string());
        writeln!(out, "wasm-migrate   {}", self.wasm_migrate)?;
        writeln!(
            out,
            "system         {} on {}, kernel {}",
            self.os,
            self.architecture,
            self.kernel.as_deref().unwrap_or("unknown")
        )?;
        writeln!(out, "pages          {}", HumanBytes(self.page_bytes as u64))?;
        let cores = self.cores.map_or_else(unknown, |cores| cores.to_string());
        writeln!(out, "cores          {cores}")?;
        writeln!(
            out,
            "memory         {}, {} available",
            bytes(self.memory_bytes),
            bytes(self.available_memory_bytes)
        )?;
        let stack = match self.stack_limit_bytes {
            Some(_) => bytes(self.stack_limit_bytes),
            None => "unlimited or unknown".to_owned(),
        };
        writeln!(
            out,
            "native stack   {stack} (guests have stacks of their own: run --stack-size)"
        )?;
        writeln!(out, "\nfinding written pages")?;
        for (name, is_there) in self.tracking.list() {
            let shown = if is_there { "yes" } else { "no" };
            writeln!(out, "  {name:<38} {shown}")?;
        }
        let post_copy = match &self.post_copy_problem {
            None => "yes",
            Some(problem) => &format!("no: {problem}"),
        };
        writeln!(
            out,
            "\nguests that arrive before their pages (post-copy)\n  {post_copy}"
        )?;
        let CompileCache {
            works,
            directory,
            problem,
        } = &self.compile_cache;
        let shown = match (works, directory, problem) {
            (true, Some(directory), _) => format!("works, in `{}`", directory.display()),
            (_, _, Some(problem)) => format!("does not work: {problem}"),
            _ => "does not work".to_owned(),
        };
        writeln!(out, "\ncompiled code's cache {shown}")?;
        writeln!(out, "\nother engines")?;
        if self.engines.is_empty() {
            writeln!(out, "  none found")?;
        }
        for engine in &self.engines {
            writeln!(out, "  {engine}")?;
        }
        Ok(())
    }
}

impl Tracking {
    fn list(&self) -> Vec<(&'static str, bool)> {
        let KernelSupport {
            userfaultfd_missing: _,
            userfaultfd_write_protect,
            userfaultfd_write_protect_async,
            pagemap_scan,
        } = self.kernel;
        vec![
            ("userfaultfd, writes", userfaultfd_write_protect),
            (
                "userfaultfd, writes noted on the side",
                userfaultfd_write_protect_async,
            ),
            ("PAGEMAP_SCAN", pagemap_scan),
            ("soft-dirty bits", self.soft_dirty),
        ]
    }
}

impl CompileCache {
    fn probe() -> Self {
        match compiler::try_cache() {
            Ok((directory, works)) => Self {
                works,
                directory: Some(directory),
                problem: (!works).then(|| "nothing comes back out of it".to_owned()),
            },
            Err(error) => Self {
                works: false,
                directory: None,
                problem: Some(format!("{error:#}")),
            },
        }
    }
}

/// A value of `/proc/meminfo`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn memory_sizes_are_read() {
        let text = "MemTotal:       16 kB\nMemFree:  x kB\n";
        assert_eq!(kibibytes(text, "MemTotal:"), Some(16_384));
        assert_eq!(kibibytes(text, "MemFree:"), None);
        assert_eq!(kibibytes(text, "MemAvailable:"), None);
    }
}
