//! `wasm-migrate compile`: compiles a module for later, or for another machine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanBytes;
use wasm_migrate::Machine;

use crate::compiler;
use crate::engine_config;
use crate::module as modules;
use crate::portability::{PortabilityOptions, Processor};
use crate::terminal::note;

/// Compiles a module for `run --precompiled` and `resume --precompiled`: on machines that have no compiler or are slow at
/// compiling, or so that nothing is left to be compiled when a guest arrives.
///
/// Code is bound to its module, to the machine, and to the version of wasm-migrate. It is trusted by who runs it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The module, as `wasm-migratize` wrote it.
    module: PathBuf,
    /// Compile for any machine of this kind: x86_64, aarch64, s390x, riscv64; or for an interpreter where there is no
    /// compiler: arm, ppc64le and others (pulley32, pulley64, pulley32be, pulley64be) [default: for this very machine].
    #[arg(long, value_name = "MACHINE")]
    target: Option<Machine>,
    /// Where the code goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    portability: PortabilityOptions,
}

pub(crate) fn compile(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        module,
        target,
        output,
        portability,
    } = arguments;
    let shown = module.display();
    let wasm = modules::read(module)?;
    let processor = Processor::here(*portability);
    // Any size: code does not depend on it.
    let config = engine_config::config(1 << 20, &processor);
    let code = compiler::precompile(config, *target, &processor, &wasm)
        .with_context(|| format!("cannot compile `{shown}`"))?;
    let bytes = code.to_bytes();
    std::fs::write(output, &bytes)
        .with_context(|| format!("cannot write `{}`", output.display()))?;
    note(format_args!(
        "`{}` written ({}, for {})",
        output.display(),
        HumanBytes(bytes.len() as u64),
        code.origin().machine
    ));
    Ok(ExitCode::SUCCESS)
}
