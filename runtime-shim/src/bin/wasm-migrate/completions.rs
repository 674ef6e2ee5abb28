//! `wasm-migrate completions`: completion scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;

/// Prints a completion script for a shell.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn completions(arguments: &Arguments, command: &mut Command) {
    clap_complete::generate(
        arguments.shell,
        command,
        "wasm-migrate",
        &mut std::io::stdout(),
    );
}
