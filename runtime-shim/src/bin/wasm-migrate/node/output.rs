//! What a job writes: bytes numbered from the first that it ever wrote, wherever that was. A node keeps those that were written
//! here, in files that are named by the number of their first byte.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// One of a job's two outputs. Clones are the same.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    /// `stdout` or `stderr`.
    name: &'static str,
    current: Mutex<Option<Current>>,
    /// Number of the byte that will be written next.
    end: watch::Sender<u64>,
}

/// The file that is written to.
struct Current {
    file: File,
    first: u64,
}

/// What is there of an output.
pub(crate) enum Part {
    /// Some of it, from where it was asked for.
    Bytes(Vec<u8>),
    /// Not those bytes, but later ones: others were written on other nodes.
    Gap { next: u64 },
    /// Nothing yet.
    Nothing,
}

impl Output {
    pub(crate) fn new(directory: &Path, name: &'static str) -> Self {
        Self(Arc::new(Shared {
            directory: directory.to_owned(),
            name,
            current: Mutex::new(None),
            end: watch::Sender::new(0),
        }))
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on at this byte: what was written here from it on is void.
    pub(crate) fn begin_at(&self, offset: u64) -> io::Result<()> {
        fs::create_dir_all(&self.0.directory)?;
        let mut current = self.current();
        let mut first = offset;
        for (start, length) in self.segments()? {
            if start >= offset {
                fs::remove_file(self.path(start))?;
            } else if start + length >= offset {
                first = start;
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path(first))?;
        file.set_len(offset - first)?;
        let mut file = file;
        file.seek(SeekFrom::End(0))?;
        *current = Some(Current { file, first });
        self.0.end.send_replace(offset);
        Ok(())
    }

    /// Finds what was written by an earlier process.
    pub(crate) fn find_end(&self) -> io::Result<()> {
        let last = self.segments()?.last().copied();
        self.0
            .end
            .send_replace(last.map_or(0, |(start, length)| start + length));
        Ok(())
    }

    /// Number of the byte that will be written next.
    pub(crate) fn end(&self) -> u64 {
        *self.0.end.borrow()
    }

    /// Tells when there is more.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.end.subscribe()
    }

    /// What is there from `offset` on, at most so many bytes.
    pub(crate) fn read(&self, offset: u64, most: u64) -> io::Result<Part> {
        let end = self.end();
        let mut next = None;
        for (start, length) in self.segments()? {
            // The file may be longer already than was told.
            let last = (start + length).min(end);
            if (start..last).contains(&offset) {
                let mut file = File::open(self.path(start))?;
                file.seek(SeekFrom::Start(offset - start))?;
                let mut bytes = Vec::new();
                file.take(most.min(last - offset)).read_to_end(&mut bytes)?;
                return Ok(Part::Bytes(bytes));
            }
            if start > offset && next.is_none() && start < last {
                next = Some(start);
            }
        }
        Ok(next.map_or(Part::Nothing, |next| Part::Gap { next }))
    }

    /// Makes sure that a crash does not take away what was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match &*self.current() {
            Some(current) => current.file.sync_data(),
            None => Ok(()),
        }
    }

    fn path(&self, first: u64) -> PathBuf {
        self.0.directory.join(format!("{}.{first}", self.0.name))
    }

    /// First byte and length of each file, ascending.
    fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.0.directory)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let number = name
                .strip_prefix(self.0.name)
                .and_then(|rest| rest.strip_prefix('.'))
                .and_then(|number| number.parse().ok());
            if let Some(number) = number {
                segments.push((number, entry.metadata()?.len()));
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }
}

/// The guest's end of it.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut current = self.current();
        let Some(current) = &mut *current else {
            return Err(io::Error::other("this output is not open yet"));
        };
        let written = current.file.write(bytes)?;
        let end = current.first + current.file.stream_position()?;
        self.0.end.send_replace(end);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(output: &Output, from: u64) -> Vec<u8> {
        match output.read(from, 100).expect("it is there") {
            Part::Bytes(bytes) => bytes,
            Part::Gap { next } => panic!("a gap up to {next}"),
            Part::Nothing => Vec::new(),
        }
    }

    #[test]
    fn output_goes_on_where_the_guest_does() {
        let root = tempfile::tempdir().expect("there is room");
        let mut output = Output::new(root.path(), "stdout");
        output.begin_at(0).expect("there is room");
        output.write_all(b"one two").expect("it is open");
        // A guest that goes on from a checkpoint writes again what it wrote since.
        output.begin_at(4).expect("there is room");
        output.write_all(b"three").expect("it is open");
        assert_eq!(bytes(&output, 0), b"one three");
        // It was elsewhere meanwhile.
        output.begin_at(20).expect("there is room");
        output.write_all(b"back").expect("it is open");
        assert_eq!(bytes(&output, 4), b"three");
        assert_eq!(bytes(&output, 21), b"ack");
        assert!(matches!(output.read(10, 9), Ok(Part::Gap { next: 20 })));
        assert!(matches!(output.read(24, 9), Ok(Part::Nothing)));
        let again = Output::new(root.path(), "stdout");
        again.find_end().expect("it is there");
        assert_eq!(again.end(), 24);
        assert_eq!(bytes(&again, 20), b"back");
    }
}
