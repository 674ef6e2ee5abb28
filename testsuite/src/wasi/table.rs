//! Which programs check which function, and where wasm-migrate answers otherwise than wasmtime: a part of
//! `docs/wasi.md` that is written from what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Case;

/// All functions of WASI preview 1, and `sock_accept`, which came later.
const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];
/// Programs that are named for one function.
const NAMED: usize = 6;
const BEGIN: &str = "<!-- What follows is written by `scripts/wasi --update`. -->\n";
const END: &str = "<!-- The end of what is written. -->\n";

/// What the programs called.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<String, BTreeSet<String>>);

impl Table {
    /// Notes what a program called.
    pub fn add(&mut self, program: &str, called: BTreeSet<String>) {
        for function in called {
            self.0
                .entry(function)
                .or_default()
                .insert(program.to_owned());
        }
    }

    /// Functions that no program called.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = FUNCTIONS.to_vec();
        missing.retain(|function| !self.0.contains_key(*function));
        missing
    }

    /// The part of the document that says all this.
    #[must_use]
    pub fn render(&self, cases: &[Case]) -> String {
        let mut text = format!("{BEGIN}\n| function | programs that call it |\n|---|---|\n");
        for function in FUNCTIONS {
            let programs = self.programs(function);
            let named = programs
                .iter()
                .take(NAMED)
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
            let more = match programs.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            writeln!(text, "| `{function}` | {named}{more} |").expect("text has room");
        }
        text += "\nWhere it answers otherwise than wasmtime 48, with the programs that say so:\n\n";
        for (reason, programs) in differences(cases) {
            let programs: Vec<&str> = programs.into_iter().collect();
            writeln!(text, "* {reason}: {}", programs.join(", ")).expect("text has room");
        }
        text + "\n" + END
    }
}

impl Table {
    /// The programs that call a function, those first that call few others and are most about it.
    fn programs(&self, function: &str) -> Vec<&str> {
        let calls = |program: &str| {
            self.0
                .values()
                .filter(|called| called.contains(program))
                .count()
        };
        let programs = self.0.get(function).into_iter().flatten();
        let mut programs: Vec<&str> = programs.map(String::as_str).collect();
        programs.sort_by_key(|program| (calls(program), *program));
        programs
    }
}

/// Why programs expect other answers than wasmtime's, as their sources say it.
#[must_use]
pub fn differences(cases: &[Case]) -> BTreeMap<String, BTreeSet<&str>> {
    let mut differences: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for case in cases {
        let checks = ["differs(", "ends("].iter();
        let checks = checks.flat_map(|check| case.source.split(check).skip(1));
        let reasons = checks.filter_map(|rest| {
            let (check, _) = rest.split_once(");\n")?;
            let reason = check.strip_suffix('"')?.rsplit_once('"')?.1;
            Some(reason.to_owned())
        });
        for reason in reasons.chain(case.settings.oracle.clone()) {
            differences.entry(reason).or_default().insert(&case.name);
        }
    }
    differences
}

/// A document with the written part exchanged for `part`; `None` if it has none.
#[must_use]
pub fn in_document(document: &str, part: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{part}{after}"))
}
