//! `wasm-migratize`: the rewriter as a command for build pipelines.

mod arguments;
mod files;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use wasm_migratize::Migratizer;

use arguments::{Arguments, ReportFormat};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(shell) = arguments.completions {
        let mut command = Arguments::command();
        clap_complete::generate(
            shell,
            &mut command,
            "wasm-migratize",
            &mut std::io::stdout(),
        );
        return ExitCode::SUCCESS;
    }
    if arguments.man {
        return match clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    arguments.start_logging();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            arguments.print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let input = arguments
        .input
        .as_deref()
        .expect("required unless completions or the manual are asked for");
    let bytes = files::read(input)?;
    let mut migratizer = Migratizer::new();
    migratizer.optimize(arguments.optimize.into());
    if let Some(path) = &arguments.profile {
        migratizer.profile(files::read_profile(path)?);
    }
    if let Some(operators) = arguments.max_latency {
        migratizer.max_latency(operators);
    }
    for import in &arguments.suspending_imports {
        migratizer.suspending_import(&import.module, &import.name);
    }
    let started = std::time::Instant::now();
    let output = migratizer
        .rewrite(&bytes)
        .with_context(|| format!("failed to rewrite {}", files::describe(input)))?;
    for warning in &output.warnings {
        log::warn!("{warning}");
    }
    let suspendable = output
        .report
        .functions
        .iter()
        .filter(|function| function.suspendable)
        .count();
    log::info!(
        "rewrote {} ({suspendable} of {} functions suspendable, {} -> {} bytes) in {:.2} s",
        files::describe(input),
        output.report.functions.len(),
        output.report.bytes_before,
        output.report.bytes_after,
        started.elapsed().as_secs_f64()
    );
    if let Some(format) = arguments.report {
        let report = match format {
            ReportFormat::Text => output.report.to_string(),
            ReportFormat::Json => serde_json::to_string_pretty(&output.report)? + "\n",
        };
        files::write_report(&report, arguments.output.is_some())?;
        if arguments.output.is_none() {
            return Ok(());
        }
    }
    if arguments.text {
        let text =
            wasmprinter::print_bytes(&output.wasm).context("failed to print the result as text")?;
        files::write_text(arguments.output.as_deref(), &text)
    } else {
        files::write_binary(arguments.output.as_deref(), &output.wasm)
    }
}
