//! What a node keeps on its disk.
//!
//! ```text
//! NODE/lock                           held by the process that is the node
//! NODE/addresses.json                 where other nodes are, besides what node.toml says
//! NODE/modules/DIGEST.wasm            migratized modules, by the BLAKE3 digest of their bytes
//! NODE/jobs/JOB/journal               who may run the job
//!              /about.json            how it was started
//!              /checkpoint.snapshot   from which it goes on after a crash
//!              /ended.json            how it ended
//!              /stdout.N, stderr.N    what it wrote here, from byte N of its output on
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_migrate_protocol::{Digest, JobId};

/// The directory of a node.
#[derive(Debug, Clone)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.0.join("modules"))?;
        fs::create_dir_all(self.0.join("jobs"))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn addresses(&self) -> PathBuf {
        self.0.join("addresses.json")
    }

    pub(crate) fn module(&self, digest: Digest) -> PathBuf {
        self.0.join("modules").join(format!("{digest}.wasm"))
    }

    pub(crate) fn job(&self, job: &JobId) -> PathBuf {
        self.0.join("jobs").join(job.as_str())
    }

    pub(crate) fn journal(&self, job: &JobId) -> PathBuf {
        self.job(job).join("journal")
    }

    pub(crate) fn about(&self, job: &JobId) -> PathBuf {
        self.job(job).join("about.json")
    }

    pub(crate) fn ended(&self, job: &JobId) -> PathBuf {
        self.job(job).join("ended.json")
    }

    pub(crate) fn checkpoint(&self, job: &JobId) -> PathBuf {
        self.job(job).join("checkpoint.snapshot")
    }

    /// Jobs that there are directories of.
    pub(crate) fn jobs(&self) -> io::Result<Vec<JobId>> {
        let mut jobs = Vec::new();
        for entry in fs::read_dir(self.0.join("jobs"))? {
            let name = entry?.file_name().into_string().ok();
            jobs.extend(name.and_then(|name| JobId::new(name).ok()));
        }
        jobs.sort();
        Ok(jobs)
    }
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(parent)?.sync_all()
}

/// Writes something as JSON, as [`write_whole`].
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(value)?)
}

/// Reads what [`write_json`] wrote; `None` if there is no such file.
pub(crate) fn read_json<V: DeserializeOwned>(path: &Path) -> io::Result<Option<V>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, if there is one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
