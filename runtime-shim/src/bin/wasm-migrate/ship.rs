//! Sending a stopped guest away through a pipe. `wasm_migrate::shipment` says what goes over it, and why at most
//! one side runs the guest.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Stdout, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::shipment::{Message, PIECE_BYTES, ShipmentWriter};

use crate::options::duration;
use crate::progress::Progress;
use crate::session::SNAPSHOT_WRITTEN;
use crate::ship_command;
use crate::terminal::{note, problem};

/// Exit status of a failure.
pub(crate) const FAILED: u8 = 1;

/// Where a stopped guest is sent.
#[derive(Args)]
#[command(next_help_heading = "Shipping")]
pub(crate) struct ShipOptions {
    /// When the guest is stopped, send it to standard output, for `wasm-migrate resume -` at the other end of a
    /// pipe. What the guest prints goes there too, and comes out at the other end. A copy stays in the snapshot's
    /// file.
    #[arg(long, value_name = "-", value_parser = ["-"])]
    snapshot_to: Option<String>,
    /// When the guest is stopped, send it to a shell command such as `ssh edge wasm-migrate resume - --ack`, wait
    /// until it runs there, and become its terminal: input, output and exit status are the command's. If it comes
    /// to nothing the guest goes on here.
    #[arg(long, value_name = "COMMAND", conflicts_with = "snapshot_to")]
    snapshot_command: Option<String>,
    /// Send the module too, so that the other side need not have it.
    #[arg(long)]
    with_module: bool,
    /// With --snapshot-to: remove the snapshot's file once everything has been sent.
    #[arg(long, requires = "snapshot_to")]
    no_keep: bool,
    /// With --snapshot-command: if nothing has moved for this time, give up, and go on here.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    ship_timeout: Duration,
}

/// A way out for the guest.
pub(crate) struct Shipping {
    way: Way,
    with_module: bool,
    no_keep: bool,
    patience: Duration,
}

/// What is sent.
pub(crate) struct Parcel {
    module: Option<File>,
    snapshot: File,
}

enum Way {
    Pipe(Arc<Mutex<ShipmentWriter<Stdout>>>),
    Command(String),
}

/// The guest's standard output where it goes through the pipe.
struct PipedOutput(Arc<Mutex<ShipmentWriter<Stdout>>>);

impl ShipOptions {
    /// The way out that the user wants, if any.
    pub(crate) fn shipping(&self) -> anyhow::Result<Option<Shipping>> {
        let way = match (&self.snapshot_to, &self.snapshot_command) {
            (Some(_), _) if io::stdout().is_terminal() => anyhow::bail!(
                "--snapshot-to - writes to standard output, which is a terminal: pipe it into \
                 `wasm-migrate resume -`"
            ),
            (Some(_), _) => Way::Pipe(Arc::new(Mutex::new(ShipmentWriter::new(io::stdout())))),
            (None, Some(command)) => Way::Command(command.clone()),
            (None, None) => return Ok(None),
        };
        Ok(Some(Shipping {
            way,
            with_module: self.with_module,
            no_keep: self.no_keep,
            patience: self.ship_timeout,
        }))
    }
}

impl Shipping {
    /// Where the guest's output goes, if not to standard output.
    pub(crate) fn guest_output(&self) -> Option<Box<dyn Write + Send>> {
        match &self.way {
            Way::Pipe(pipe) => Some(Box::new(PipedOutput(Arc::clone(pipe)))),
            Way::Command(_) => None,
        }
    }

    /// The guest has ended here.
    pub(crate) fn end(&self, status: u8) -> io::Result<()> {
        match &self.way {
            Way::Pipe(pipe) => lock(pipe).send(&Message::Ended(status)),
            Way::Command(_) => Ok(()),
        }
    }

    /// Sends the guest away; the exit status is for this process. The snapshot's file stays for as long as the
    /// guest may need it.
    ///
    /// # Errors
    /// The guest runs nowhere else and never will: it can go on here.
    pub(crate) fn ship(&self, snapshot: &Path, module: &Path) -> anyhow::Result<u8> {
        match &self.way {
            Way::Pipe(pipe) => Ok(self.ship_through(pipe, snapshot, module)),
            Way::Command(command) => {
                let parcel = self.parcel(snapshot, module)?;
                ship_command::ship(command, parcel, snapshot, self.patience)
            }
        }
    }

    /// There is no way back, so the file is kept unless the user wants otherwise.
    fn ship_through(
        &self,
        pipe: &Mutex<ShipmentWriter<Stdout>>,
        snapshot: &Path,
        module: &Path,
    ) -> u8 {
        let shown = snapshot.display();
        let mut writer = lock(pipe);
        let sent = self.parcel(snapshot, module).and_then(|parcel| {
            let progress = Progress::new("sending", Some(parcel.length()));
            parcel.send(&mut writer, |bytes| progress.add(bytes))?;
            Ok(writer.send(&Message::Go)?)
        });
        if let Err(error) = sent {
            problem(format_args!(
                "error: the guest could not be sent ({error:#}); it is kept in `{shown}`, go on with: \
                 wasm-migrate resume {shown}"
            ));
            return FAILED;
        }
        if self.no_keep {
            remove(snapshot);
            note(format_args!("the guest has been sent"));
        } else {
            note(format_args!(
                "the guest has been sent; if it does not arrive, go on with: wasm-migrate resume {shown}"
            ));
        }
        SNAPSHOT_WRITTEN
    }

    /// Module and snapshot, opened.
    fn parcel(&self, snapshot: &Path, module: &Path) -> anyhow::Result<Parcel> {
        let open = |path: &Path| {
            File::open(path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        Ok(Parcel {
            module: self.with_module.then(|| open(module)).transpose()?,
            snapshot: open(snapshot)?,
        })
    }
}

impl Parcel {
    /// Bytes of it.
    pub(crate) fn length(&self) -> u64 {
        let files = self.module.iter().chain([&self.snapshot]);
        files
            .map(|file| file.metadata().map_or(0, |metadata| metadata.len()))
            .sum()
    }

    /// Sends all of it but the word that the guest is to run. `moved` is told how many bytes each piece has.
    pub(crate) fn send(
        self,
        writer: &mut ShipmentWriter<impl Write>,
        mut moved: impl FnMut(u64),
    ) -> anyhow::Result<()> {
        if let Some(module) = self.module {
            writer.send_all(module, Message::Module, &mut moved)?;
        }
        writer.send_all(self.snapshot, Message::Snapshot, &mut moved)?;
        Ok(writer.send(&Message::Complete)?)
    }
}

/// Removes the file of a guest that is elsewhere.
pub(crate) fn remove(snapshot: &Path) {
    if let Err(error) = fs::remove_file(snapshot) {
        log::warn!("`{}` cannot be removed: {error}", snapshot.display());
    }
}

fn lock(pipe: &Mutex<ShipmentWriter<Stdout>>) -> std::sync::MutexGuard<'_, ShipmentWriter<Stdout>> {
    // A message is sent whole or the pipe is broken, so a panic elsewhere leaves it in order.
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Write for PipedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        lock(&self.0).send(&Message::Output(piece.to_vec()))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
