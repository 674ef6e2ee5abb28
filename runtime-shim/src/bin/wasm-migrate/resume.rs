//! `wasm-migrate resume`: goes on with a program from its snapshot.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::SnapshotChain;
use wasm_migrate::wasi::{DescriptorFault, RestoreError};

use crate::arrival::{self, Arrival, ArrivedGuest};
use crate::keys::ReadKeys;
use crate::launch::{Directory, Launch};
use crate::options::HostOptions;
use crate::portability::Processor;
use crate::progress::Progress;
use crate::session::{Begin, Program, Session};
use crate::ship::Shipping;
use crate::{module, terminal};

/// Goes on with a program from its snapshot. The exit status is the guest's own; 134 if it traps, 75 if
/// it was stopped and its snapshot written.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot; `-` reads a guest, or a snapshot, from standard input.
    snapshot_file: PathBuf,
    /// The module: also one made with other options or from a patched original, if all that the snapshot
    /// relies on is the same [default: where it was].
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// With `-`: tell the source on standard output when the guest could run here, and run it when the source
    /// lets go of it. For `--snapshot-command`.
    #[arg(long)]
    ack: bool,
    /// Number this host so, instead of one more than the last one; greater than the snapshot's.
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// Open the directories to the guest that were opened to it before. The snapshot says which these are: only for
    /// snapshots that you trust.
    #[arg(long, conflicts_with = "dirs")]
    same_dirs: bool,
    #[command(flatten)]
    keys: ReadKeys,
    #[command(flatten)]
    host: HostOptions,
}

pub(crate) fn resume(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        snapshot_file,
        module,
        ack,
        epoch,
        same_dirs,
        keys,
        mut host,
    } = arguments;
    let shipping = host.ship.shipping()?;
    let keys = keys.load()?;
    let mut arrived = None;
    if snapshot_file == Path::new("-") {
        let piped = shipping.as_ref().and_then(Shipping::guest_output);
        let mut output = piped.unwrap_or_else(|| Box::new(std::io::stdout()));
        match arrival::receive(&mut output)? {
            Arrival::Guest(guest) => arrived = Some(guest),
            Arrival::Ended(status) => {
                shipping.map_or(Ok(()), |shipping| shipping.end(status))?;
                return Ok(ExitCode::from(status));
            }
        }
    }
    let file = arrived.as_ref().map(ArrivedGuest::snapshot);
    let chain = SnapshotChain::open(file.unwrap_or(&snapshot_file), &keys)?;
    let recorded = &chain.newest().snapshot().module;
    let shipped = arrived.as_mut().and_then(|guest| guest.module.take());
    let from = Processor::read(&chain.newest().snapshot().sections)?;
    let processor = Processor::after(from.as_ref(), host.portability);
    let is_shipped = module.is_none() && shipped.is_some();
    let wasm = match shipped.filter(|_| is_shipped) {
        Some(wasm) => wasm,
        None => module::read_for_snapshot(module.as_deref(), Path::new(&recorded.path))?,
    };
    let path = module.unwrap_or_else(|| PathBuf::from(&recorded.path));
    let program = Program::load(path, &wasm, &host, processor)?;
    if is_shipped && program.guest.digest() != recorded.digest {
        anyhow::bail!("the module that came along is not the one that was running");
    }
    if let Some(from) = from {
        program.processor.check_move(&from, &wasm)?;
    }
    drop(wasm);
    if program.guest.description().original_digest != chain.newest().header().original_digest {
        log::warn!(
            "`{}` is another version of the program that was running",
            program.path.display()
        );
    } else if program.guest.digest() != recorded.digest {
        log::info!(
            "`{}` is not the very file that was running",
            program.path.display()
        );
    }
    let last = chain.newest().header().epoch;
    if let Some(epoch) = epoch.filter(|epoch| *epoch <= last) {
        anyhow::bail!("host {last} has run this guest already: give --epoch more than {epoch}");
    }
    let mut launch = Launch::read(&chain.newest().snapshot().sections)?;
    let before = launch.dirs.clone();
    if !same_dirs {
        launch.dirs = std::mem::take(&mut host.dirs);
    }
    let checkpoints = host.checkpoint_files(&program.path)?;
    let mut session =
        session(program, chain, launch, host, shipping)?.with_checkpoints(checkpoints)?;
    if let Some(epoch) = epoch {
        session = session.with_epoch(epoch);
    }
    if let Some(ArrivedGuest { mut departure, .. }) = arrived {
        session = session.on_arrival(move || {
            if let Err(error) = departure.wait(ack) {
                // The guest has done nothing here, and its source has it still.
                terminal::error(&error);
                std::process::exit(1);
            }
        });
    }
    session
        .run()
        .map_err(|error| with_hint(error, &before))
        .with_context(|| format!("`{}` cannot be resumed", snapshot_file.display()))
}

/// Says which directories the guest had if it lacks one.
fn with_hint(error: anyhow::Error, before: &[Directory]) -> anyhow::Error {
    let lacks_directory = error.chain().any(|cause| {
        let Some(RestoreError::Descriptors { problems }) = cause.downcast_ref() else {
            return false;
        };
        let is_lack = |fault: &_| matches!(fault, DescriptorFault::NotMapped(_));
        problems.iter().any(|problem| is_lack(&problem.fault))
    });
    if !lacks_directory {
        return error;
    }
    let before: Vec<String> = before.iter().map(ToString::to_string).collect();
    error.context(format!(
        "the guest needs the directories that it had; they were opened with {}, and --same-dirs opens the same",
        before.join(" ")
    ))
}

/// A session that goes on from a snapshot. Directories are those of `launch`.
pub(crate) fn session(
    program: Program,
    chain: SnapshotChain<'static>,
    launch: Launch,
    host: HostOptions,
    shipping: Option<Shipping>,
) -> anyhow::Result<Session> {
    let progress = Progress::new("reading", Some(chain.stored_bytes()));
    let chain = chain.on_progress(move |bytes| progress.add(bytes));
    let wasi = launch.wasi(host.files.policy(), shipping.as_ref())?.build();
    let begin = Begin::Resume(chain);
    Ok(Session::new(program, launch, wasi, host, begin)?.with_shipping(shipping))
}
