//! `wasm-migrate man`: manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};

/// Prints the manual page, or writes it and those of all subcommands to a directory.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write a page for each subcommand to this directory.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn man(arguments: &Arguments, command: Command) -> anyhow::Result<ExitCode> {
    match &arguments.output {
        None => clap_mangen::Man::new(command)
            .render(&mut std::io::stdout())
            .context("cannot print")?,
        Some(directory) => {
            let failed = || format!("cannot write to `{}`", directory.display());
            std::fs::create_dir_all(directory).with_context(failed)?;
            clap_mangen::generate_to(command, directory).with_context(failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
