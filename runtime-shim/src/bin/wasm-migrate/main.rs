//! `wasm-migrate`: runs migratized WebAssembly programs, snapshots them, and resumes them elsewhere.
//!
//! Exit status: 0 success, 1 failure, 2 wrong usage; `run` and `resume` pass on the guest's own, 134 if
//! it traps, and 75 ("try again later") if it was stopped and its snapshot written.

mod arrival;
mod checkpoint_files;
mod checkpoints;
mod compile;
#[cfg_attr(not(feature = "compile"), path = "no_compiler.rs")]
mod compiler;
mod completions;
mod coredump;
mod diff;
mod doctor;
mod engine_config;
mod engines;
mod file_options;
mod fork;
mod freeze;
mod inspect;
mod keys;
mod launch;
mod listing;
mod listing_wasi;
mod man;
mod memory_map;
mod module;
mod notes;
mod options;
mod output;
mod portability;
mod precompiled;
mod progress;
mod resume;
mod run;
mod session;
mod ship;
mod soft_dirty;
mod triggers;
mod verify;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgAction, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use log::LevelFilter;

/// Runs migratized WebAssembly programs, snapshots them, and resumes them elsewhere.
#[derive(Parser)]
#[command(name = "wasm-migrate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more; twice for everything. RUST_LOG is finer.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing but errors: no notes, warnings and progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Resume(resume::Arguments),
    Inspect(inspect::Arguments),
    Verify(verify::Arguments),
    Diff(diff::Arguments),
    Coredump(coredump::Arguments),
    Freeze(freeze::Arguments),
    Compile(compile::Arguments),
    Fork(fork::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

fn main() -> ExitCode {
    let matches = Cli::command().color(color_from_arguments()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    notes::set_quiet(cli.quiet);
    start_log(cli.verbose, cli.quiet, cli.color);
    let done = match cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Resume(arguments) => resume::resume(arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Diff(arguments) => diff::diff(&arguments),
        Command::Coredump(arguments) => coredump::coredump(&arguments),
        Command::Freeze(arguments) => freeze::freeze(&arguments),
        Command::Compile(arguments) => compile::compile(&arguments),
        Command::Fork(arguments) => fork::fork(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Man(arguments) => man::man(&arguments, Cli::command()),
        Command::Completions(arguments) => {
            completions::completions(&arguments, &mut Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        print_error(&error, cli.color);
        ExitCode::FAILURE
    })
}

/// clap prints usage errors before it knows the arguments, so this one is looked up first.
fn color_from_arguments() -> ColorChoice {
    let mut arguments = std::env::args().skip_while(|argument| !argument.starts_with("--color"));
    let value = match arguments.next() {
        Some(argument) if argument == "--color" => arguments.next(),
        Some(argument) => argument.strip_prefix("--color=").map(str::to_owned),
        None => None,
    };
    match value.as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

fn start_log(verbose: u8, quiet: bool, color: ColorChoice) {
    let level = match verbose {
        _ if quiet => LevelFilter::Error,
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Trace,
    };
    let style = match color {
        ColorChoice::Always => env_logger::WriteStyle::Always,
        ColorChoice::Never => env_logger::WriteStyle::Never,
        ColorChoice::Auto => env_logger::WriteStyle::Auto,
    };
    env_logger::Builder::new()
        // The engine's own log is for RUST_LOG alone.
        .filter_module("wasm_migrate", level)
        .parse_default_env()
        .write_style(style)
        .init();
}

/// Prints an error and all its causes.
fn print_error(error: &anyhow::Error, color: ColorChoice) {
    let stderr = std::io::stderr();
    let is_colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let label = if is_colored {
        "\x1b[1;31merror:\x1b[0m"
    } else {
        "error:"
    };
    let mut out = stderr.lock();
    // Nothing is left to tell if standard error is gone.
    let _ = writeln!(out, "{label} {error}");
    for (number, cause) in error.chain().skip(1).enumerate() {
        let _ = writeln!(out, "  {number}: {cause}");
    }
}
