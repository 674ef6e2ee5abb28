//! Sending a stopped guest away through a pipe. `wasm_migrate::shipment` says what goes over it, and why at most
//! one side runs the guest.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Stdout, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::shipment::{Message, PIECE_BYTES, ShipmentWriter};

use crate::progress::Progress;
use crate::session::SNAPSHOT_WRITTEN;
use crate::terminal::{note, problem};

/// What a destination with a way back says when it could run the guest, and when it does.
pub(crate) const READY: &str = "wasm-migrate: ready\n";
pub(crate) const RUNNING: &str = "wasm-migrate: running\n";

/// Exit status of a failure.
const FAILED: u8 = 1;
/// Exit statuses of shells that could not start a program.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
/// A command that has failed is killed if it has not ended by then.
const PATIENCE: Duration = Duration::from_millis(500);

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
}

/// A way out for the guest.
pub(crate) struct Shipping {
    way: Way,
    with_module: bool,
    no_keep: bool,
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
            Way::Command(command) => self.ship_to(command, snapshot, module),
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
        let sent = self
            .send(&mut writer, snapshot, module)
            .and_then(|()| Ok(writer.send(&Message::Go)?));
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

    fn ship_to(&self, command: &str, snapshot: &Path, module: &Path) -> anyhow::Result<u8> {
        let shown = snapshot.display();
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{command}` cannot be started"))?;
        let input = child.stdin.take().expect("it is a pipe");
        let mut output = child.stdout.take().expect("it is a pipe");
        let mut writer = ShipmentWriter::new(input);
        let offered = self
            .send(&mut writer, snapshot, module)
            .and_then(|()| expect_line(&mut output, READY))
            .and_then(|()| Ok(writer.send(&Message::Go)?));
        if let Err(error) = offered {
            // Without `Go` it cannot run the guest, whatever it does.
            drop(writer);
            let why = end(&mut child);
            return Err(error.context(format!("`{command}` did not take the guest{why}")));
        }
        if let Err(error) = expect_line(&mut output, RUNNING) {
            problem(format_args!(
                "error: `{command}` was told to run the guest and did not say that it does ({error:#}); the \
                 guest is kept in `{shown}`: if it does not run there, go on with: wasm-migrate resume {shown}"
            ));
            let _ = child.wait();
            return Ok(FAILED);
        }
        remove(snapshot);
        note(format_args!("the guest runs at `{command}`"));
        relay(child, writer.into_inner(), output)
    }

    /// Sends module and snapshot.
    fn send(
        &self,
        writer: &mut ShipmentWriter<impl Write>,
        snapshot: &Path,
        module: &Path,
    ) -> anyhow::Result<()> {
        let open = |path: &Path| {
            File::open(path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let module = self.with_module.then(|| open(module)).transpose()?;
        let snapshot = open(snapshot)?;
        let length = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
        let total = length(&snapshot) + module.as_ref().map_or(0, length);
        let progress = Progress::new("sending", Some(total));
        if let Some(module) = module {
            writer.send_all(module, Message::Module, |bytes| progress.add(bytes))?;
        }
        writer.send_all(snapshot, Message::Snapshot, |bytes| progress.add(bytes))?;
        Ok(writer.send(&Message::Complete)?)
    }
}

/// Copies input and output between the command and this process until the command ends.
fn relay(mut child: Child, mut input: ChildStdin, mut output: ChildStdout) -> anyhow::Result<u8> {
    let copier = std::thread::Builder::new().name("input".to_owned());
    // It ends with the process, or when either side closes its end.
    copier
        .spawn(move || _ = io::copy(&mut io::stdin().lock(), &mut input))
        .context("cannot start the thread `input`")?;
    let mut out = io::stdout().lock();
    // If no one reads any more, the command will notice.
    let _ = io::copy(&mut output, &mut out).and_then(|_| out.flush());
    drop(output);
    let status = child.wait().context("cannot wait for the command")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(FAILED))
}

/// Sees a command to its end that has failed; says more of why, if its exit status does.
fn end(child: &mut Child) -> &'static str {
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) if began.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 100),
            _ => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    match status {
        Some(NOT_FOUND) => {
            ": one of its programs was not found; is it installed where it is to run?"
        }
        Some(NOT_EXECUTABLE) => {
            ": one of its programs cannot be executed; one for another architecture needs an emulator such as qemu"
        }
        _ => "",
    }
}

/// Reads a line without a byte beyond it: what follows is the guest's.
fn expect_line(output: &mut ChildStdout, expected: &str) -> anyhow::Result<()> {
    let mut line = vec![0; expected.len()];
    let mut length = 0;
    while length < line.len() && line[..length].last() != Some(&b'\n') {
        match output.read(&mut line[length..=length])? {
            0 => break,
            _ => length += 1,
        }
    }
    match line[..length] == *expected.as_bytes() {
        true => Ok(()),
        false if length == 0 => anyhow::bail!("it ended without a word"),
        false => anyhow::bail!(
            "it said {:?} where {:?} was expected: does its command end with `wasm-migrate resume - --ack`?",
            String::from_utf8_lossy(&line[..length]),
            expected.trim_end()
        ),
    }
}

fn remove(snapshot: &Path) {
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
