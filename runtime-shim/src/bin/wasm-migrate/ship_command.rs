//! Sending a stopped guest to a shell command that takes it over.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use wasm_migrate::shipment::{Message, ShipmentWriter};

use crate::progress::Progress;
use crate::ship::{FAILED, Parcel, remove};
use crate::terminal::{note, problem};

/// What a destination with a way back says when it could run the guest, and when it does.
pub(crate) const READY: &str = "wasm-migrate: ready\n";
pub(crate) const RUNNING: &str = "wasm-migrate: running\n";

/// Exit statuses of shells that could not start a program.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
/// A command that has failed is killed if it has not ended by then.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the thread that makes the offer tells.
enum Offer {
    Moved(u64),
    Done(anyhow::Result<(ShipmentWriter<ChildStdin>, ChildStdout)>),
}

/// Offers the guest to a shell command, and becomes its terminal once it runs there; the exit status is for this process.
/// Gives up if nothing moves for so long as it can still run here. `snapshot` is the file that is kept until then.
///
/// # Errors
/// The command did not take the guest and never will.
pub(crate) fn ship(
    command: &str,
    parcel: Parcel,
    snapshot: &Path,
    patience: Duration,
) -> anyhow::Result<u8> {
    let shown = snapshot.display();
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{command}` cannot be started"))?;
    let offered = offer(&mut child, parcel, patience).and_then(|(mut writer, output)| {
        writer.send(&Message::Go)?;
        Ok((writer, output))
    });
    let (writer, mut output) = match offered {
        Ok(ends) => ends,
        Err(error) => {
            // Without `Go` it cannot run the guest, whatever it does.
            let why = end(&mut child);
            return Err(error.context(format!("`{command}` did not take the guest{why}")));
        }
    };
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

/// Sends the guest and waits for the command to say that it could run it. A thread of its own does so, since a pipe that no
/// one empties holds up who writes: if nothing moves for too long, it is left behind with its ends of the pipes, and as
/// it never says `Go`, the guest does not run there.
fn offer(
    child: &mut Child,
    parcel: Parcel,
    patience: Duration,
) -> anyhow::Result<(ShipmentWriter<ChildStdin>, ChildStdout)> {
    let input = child.stdin.take().expect("it is a pipe");
    let mut output = child.stdout.take().expect("it is a pipe");
    let progress = Progress::new("sending", Some(parcel.length()));
    let (teller, told) = mpsc::channel();
    let make = move || {
        let mut writer = ShipmentWriter::new(input);
        // Where no one listens any more, the guest is not theirs.
        let moved = |bytes| drop(teller.send(Offer::Moved(bytes)));
        let made = parcel
            .send(&mut writer, moved)
            .and_then(|()| expect_line(&mut output, READY))
            .map(|()| (writer, output));
        drop(teller.send(Offer::Done(made)));
    };
    std::thread::Builder::new()
        .name("offer".to_owned())
        .spawn(make)
        .context("cannot start the thread `offer`")?;
    loop {
        match told.recv_timeout(patience) {
            Ok(Offer::Moved(bytes)) => progress.add(bytes),
            Ok(Offer::Done(made)) => return made,
            Err(RecvTimeoutError::Timeout) => anyhow::bail!(
                "nothing moved for {patience:?}; --ship-timeout says how long that may be"
            ),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the thread `offer` is gone"),
        }
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
