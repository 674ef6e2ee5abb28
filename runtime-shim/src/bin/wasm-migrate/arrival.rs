//! A guest that comes in through standard input.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context as _;
use tempfile::NamedTempFile;
use wasm_migrate::shipment::{MAGIC, Message, ShipmentReader};

use crate::module::MODULE_BYTES_MAX;
use crate::progress::Progress;
use crate::ship_command::{READY, RUNNING};

/// What has come.
pub(crate) enum Arrival {
    Guest(ArrivedGuest),
    /// The guest has ended at its source, with this exit status.
    Ended(u8),
}

/// A guest that has come, whole, and has not run yet.
pub(crate) struct ArrivedGuest {
    snapshot: NamedTempFile,
    /// The module, if it came along.
    pub(crate) module: Option<Vec<u8>>,
    pub(crate) departure: Departure,
}

/// The source's word that the guest is to run here.
pub(crate) struct Departure {
    /// `None` for a plain snapshot, which waits for no one.
    stream: Option<ShipmentReader<Input>>,
}

/// Standard input without a buffer: what follows the guest is for the guest to read.
struct Input;

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = || rustix::io::read(rustix::stdio::stdin(), &mut *bytes);
        Ok(rustix::io::retry_on_intr(read)?)
    }
}

impl ArrivedGuest {
    /// The snapshot's file, which is gone with this.
    pub(crate) fn snapshot(&self) -> &Path {
        self.snapshot.path()
    }
}

/// Reads a guest from standard input: a stream, or a snapshot as it is. What the guest printed before goes to
/// `output`.
pub(crate) fn receive(output: &mut dyn Write) -> anyhow::Result<Arrival> {
    let mut snapshot = NamedTempFile::new().context("cannot make a file for the snapshot")?;
    let mut first = Vec::new();
    Input
        .take(MAGIC.len() as u64)
        .read_to_end(&mut first)
        .context("cannot read standard input")?;
    if first != MAGIC {
        snapshot.write_all(&first)?;
        io::copy(&mut Input, &mut snapshot).context("cannot keep the snapshot")?;
        return Ok(Arrival::Guest(ArrivedGuest {
            snapshot,
            module: None,
            departure: Departure { stream: None },
        }));
    }
    let mut stream = ShipmentReader::after_magic(Input)?;
    let mut module: Option<Vec<u8>> = None;
    let progress = Progress::new("receiving", None);
    loop {
        match stream.receive()? {
            Some(Message::Output(bytes)) => {
                output.write_all(&bytes)?;
                output.flush()?;
            }
            Some(Message::Module(bytes)) => {
                progress.add(bytes.len() as u64);
                let module = module.get_or_insert_default();
                anyhow::ensure!(
                    (module.len() + bytes.len()) as u64 <= MODULE_BYTES_MAX,
                    "the module that comes along is larger than any may be"
                );
                module.extend_from_slice(&bytes);
            }
            Some(Message::Snapshot(bytes)) => {
                progress.add(bytes.len() as u64);
                snapshot
                    .write_all(&bytes)
                    .context("cannot keep the snapshot")?;
            }
            Some(Message::Complete) => {
                return Ok(Arrival::Guest(ArrivedGuest {
                    snapshot,
                    module,
                    departure: Departure {
                        stream: Some(stream),
                    },
                }));
            }
            Some(Message::Ended(status)) => return Ok(Arrival::Ended(status)),
            Some(Message::Go) | None => {
                anyhow::bail!(
                    "the stream ended before the guest had come: it is where it was, or in its snapshot there"
                )
            }
        }
    }
}

impl Departure {
    /// Waits for the source to let go of the guest. With `acknowledge`, tells it on standard output that the guest
    /// could run here, and then that it does.
    pub(crate) fn wait(&mut self, acknowledge: bool) -> anyhow::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let tell = |text: &str| {
            if !acknowledge {
                return Ok(());
            }
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
        tell(READY).context("the source does not listen any more")?;
        match stream.receive()? {
            Some(Message::Go) => {}
            _ => anyhow::bail!("the source has not let go of the guest: it does not run here"),
        }
        // The guest is ours now, heard or not.
        if let Err(error) = tell(RUNNING) {
            log::warn!("the source cannot be told that the guest runs here: {error}");
        }
        Ok(())
    }
}
