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
mod file_lock;
mod file_options;
mod fork;
mod freeze;
mod host;
mod inspect;
mod keys;
mod launch;
mod listing;
mod listing_wasi;
mod man;
mod memory_diff;
mod memory_map;
mod memory_view;
mod module;
#[cfg(feature = "nodes")]
mod node;
mod options;
mod output;
mod portability;
mod precompiled;
mod profiler;
mod progress;
mod resume;
mod run;
mod session;
mod ship;
mod ship_command;
mod soft_dirty;
mod terminal;
mod triggers;
mod verify;

use std::io::Write as _;
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
    #[cfg(feature = "nodes")]
    Serve(node::serve::Arguments),
    #[cfg(feature = "nodes")]
    Keys(node::keys_command::Arguments),
    #[cfg(feature = "nodes")]
    Submit(node::commands::SubmitArguments),
    #[cfg(feature = "nodes")]
    Ps(node::commands::PsArguments),
    #[cfg(feature = "nodes")]
    Logs(node::commands::LogsArguments),
    #[cfg(feature = "nodes")]
    Attach(node::commands::AttachArguments),
    #[cfg(feature = "nodes")]
    Move(node::move_command::MoveArguments),
    #[cfg(feature = "nodes")]
    Plan(node::move_command::PlanArguments),
    #[cfg(feature = "nodes")]
    Cancel(node::commands::CancelArguments),
    #[cfg(feature = "nodes")]
    Kill(node::commands::KillArguments),
    #[cfg(feature = "nodes")]
    Resolve(node::commands::ResolveArguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

fn main() -> ExitCode {
    let matches = Cli::command().color(color_from_arguments()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    terminal::set_up(cli.quiet, cli.color);
    start_log(cli.verbose, cli.quiet);
    let is_diff = matches!(cli.command, Command::Diff(_));
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
        #[cfg(feature = "nodes")]
        Command::Serve(arguments) => node::serve::serve(arguments),
        #[cfg(feature = "nodes")]
        Command::Keys(arguments) => node::keys_command::keys(arguments),
        #[cfg(feature = "nodes")]
        Command::Submit(arguments) => node::commands::submit(arguments),
        #[cfg(feature = "nodes")]
        Command::Ps(arguments) => node::commands::ps(&arguments),
        #[cfg(feature = "nodes")]
        Command::Logs(arguments) => node::commands::logs(arguments),
        #[cfg(feature = "nodes")]
        Command::Attach(arguments) => node::commands::attach(arguments),
        #[cfg(feature = "nodes")]
        Command::Move(arguments) => node::move_command::migrate(&arguments),
        #[cfg(feature = "nodes")]
        Command::Plan(arguments) => node::move_command::plan(&arguments),
        #[cfg(feature = "nodes")]
        Command::Cancel(arguments) => node::commands::cancel(arguments),
        #[cfg(feature = "nodes")]
        Command::Kill(arguments) => node::commands::kill(arguments),
        #[cfg(feature = "nodes")]
        Command::Resolve(arguments) => node::commands::resolve(arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Man(arguments) => man::man(&arguments, Cli::command()),
        Command::Completions(arguments) => {
            completions::completions(&arguments, &mut Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        terminal::error(&error);
        // As of `diff`, whose 1 means that there are differences.
        ExitCode::from(if is_diff { 2 } else { 1 })
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

fn start_log(verbose: u8, quiet: bool) {
    let level = match verbose {
        _ if quiet => LevelFilter::Error,
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Trace,
    };
    env_logger::Builder::new()
        // The engine's own log is for RUST_LOG alone.
        .filter_module("wasm_migrate", level)
        .parse_default_env()
        .format(|out, record| writeln!(out, "{}", terminal::log_line(record)))
        .init();
}
