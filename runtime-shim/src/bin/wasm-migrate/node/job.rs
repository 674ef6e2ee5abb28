//! A job on its node: running, ended, or elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wasm_migrate::live::{Begin, Ending, GuestRunner, LiveGuest};
use wasm_migrate::wasi::Exit;
use wasm_migrate::{Interruption, ReadOptions, SnapshotChain};
use wasm_migrate_protocol::progress::Progress;
use wasm_migrate_protocol::{Digest, Epoch, JobId, NodeName};
use wasmtime::Trap;

use super::compiled::{Compiled, STACK_BYTES};
use super::directory::{self, Directory};
use super::durable;
use super::hosting::{self, Begins, Hosting};
use super::streams::Streams;
use super::tracking::{Claim, Tracker};
use crate::engine_config::HOST_STACK_BYTES;
use crate::launch::Launch;
use crate::portability::PortabilityOptions;
use crate::session::TRAPPED;

/// Exit status of a job that somebody has killed, as of a process.
const KILLED: u8 = 137;

/// How long a job may take to notice that it is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long another migration or checkpoint is waited for, which has just begun or is about to end.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

/// How a job was started: what is needed to start it anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// Digest of the migratized module.
    pub(crate) module: Digest,
    pub(crate) launch: Launch,
    pub(crate) canonicalize_nans: bool,
    pub(crate) deterministic_relaxed_simd: bool,
    /// Does its input stay open for those who attach?
    pub(crate) wants_input: bool,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: u8,
    /// Why, if it did not end by itself.
    pub(crate) reason: Option<String>,
}

/// Where a job is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Here, and running.
    Running(LiveGuest),
    /// Here, stopped: it is being moved, and nobody knows yet who owns it.
    Uncertain { peer: NodeName },
    /// It runs on another node, which has no checkpoint of it yet: the stopped guest is kept here.
    Handed { to: NodeName },
    /// It came to its end here.
    Ended(Ended),
    /// On another node.
    Gone { to: NodeName },
    /// It was here, and will not run here again.
    Dropped,
}

/// A job.
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) about: About,
    pub(crate) compiled: Arc<Compiled>,
    tracker: Tracker,
    streams: Mutex<Streams>,
    /// Has its guest done anything in this process?
    has_run: Arc<AtomicBool>,
    place: watch::Sender<Place>,
    /// What is told of the migration under way.
    pub(crate) progress: watch::Sender<Option<Progress>>,
}

impl About {
    pub(crate) fn portability(&self) -> PortabilityOptions {
        PortabilityOptions {
            canonicalize_nans: self.canonicalize_nans,
            deterministic_relaxed_simd: self.deterministic_relaxed_simd,
        }
    }
}

impl Job {
    /// A job that does not run yet.
    pub(crate) fn new(
        id: JobId,
        about: About,
        compiled: Arc<Compiled>,
        streams: Streams,
        place: Place,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            about,
            compiled,
            tracker: Tracker::default(),
            streams: Mutex::new(streams),
            has_run: Arc::default(),
            place: watch::Sender::new(place),
            progress: watch::Sender::new(None),
        })
    }

    /// The right to ask which pages it has written.
    pub(crate) fn claim(&self) -> anyhow::Result<Claim> {
        let claim = self.tracker.claim(CLAIM_PATIENCE);
        claim.with_context(|| {
            format!(
                "job {} is being checkpointed, planned or moved: try again later",
                self.id
            )
        })
    }

    /// As [`Job::claim`], if nobody else has it after this time.
    pub(crate) fn claim_within(&self, patience: Duration) -> Option<Claim> {
        self.tracker.claim(patience)
    }

    /// Its streams where it runs now.
    pub(crate) fn streams(&self) -> Streams {
        let streams: MutexGuard<'_, Streams> =
            self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.clone()
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        self.place.borrow().clone()
    }

    /// Tells when that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Place> {
        self.place.subscribe()
    }

    pub(crate) fn set_place(&self, place: Place) {
        self.place.send_replace(place);
    }

    /// Its guest, if it runs here.
    pub(crate) fn guest(&self) -> Option<LiveGuest> {
        match &*self.place.borrow() {
            Place::Running(guest) => Some(guest.clone()),
            _ => None,
        }
    }

    /// The guest is gone: waits until its end is on disk.
    pub(crate) fn wait_until_ended(&self) -> anyhow::Result<()> {
        for _ in 0..500 {
            match self.place() {
                Place::Ended(_) => return Ok(()),
                Place::Running(_) => std::thread::sleep(Duration::from_millis(10)),
                _ => break,
            }
        }
        anyhow::bail!("the job does not run here")
    }

    /// As [`Job::wait_until_ended`], for tasks.
    pub(crate) async fn wait_until_ended_async(&self) -> anyhow::Result<()> {
        let mut places = self.watch();
        let ended = places.wait_for(|place| !matches!(place, Place::Running(_)));
        tokio::time::timeout(KILL_PATIENCE, ended)
            .await
            .context("the job is inside a host function that cannot be left")??;
        Ok(())
    }

    /// Its guest, which has arrived, does something from now on.
    pub(crate) fn set_has_run(&self) {
        self.has_run.store(true, Ordering::Release);
    }

    /// Runs a guest as this job's.
    pub(crate) fn run(
        self: &Arc<Self>,
        directory: &Directory,
        runner: GuestRunner<'static, crate::host::Host>,
        begin: Begin,
    ) -> anyhow::Result<LiveGuest> {
        let guest = runner.guest();
        let thread = runner
            .spawn("guest", STACK_BYTES + HOST_STACK_BYTES, begin)
            .context("there is no memory for the guest's stack")?;
        let (job, directory) = (Arc::clone(self), directory.clone());
        std::thread::Builder::new()
            .name("job".to_owned())
            .spawn(move || {
                let ending = thread.join().unwrap_or_else(|_| {
                    Ending::Failed(wasmtime::format_err!("the guest's thread has failed"))
                });
                job.ended(&directory, ending);
            })
            .context("there is no thread for the job")?;
        Ok(guest)
    }

    /// Starts it from its beginning.
    pub(crate) fn start(self: &Arc<Self>, hosting: &Hosting) -> anyhow::Result<()> {
        let (host, streams) = hosting::host(self, hosting, Begins::Anew)?;
        streams.begin()?;
        if !self.about.wants_input {
            streams.input.end();
        }
        let (store, instance) = hosting::instantiate(&self.compiled, host)?;
        self.take_streams(streams);
        self.set_has_run();
        let runner = GuestRunner::new(
            store,
            instance,
            hosting::entries(&self.about.launch.entries),
        );
        let guest = self.run(&hosting.directory, runner, Begin::Start)?;
        self.set_place(Place::Running(guest));
        Ok(())
    }

    /// Goes on from its checkpoint, or from its beginning if there is none.
    pub(crate) fn resume(self: &Arc<Self>, hosting: &Hosting, epoch: Epoch) -> anyhow::Result<()> {
        let path = hosting.directory.checkpoint(&self.id);
        if !path.exists() {
            log::info!("job {} starts anew: there is no checkpoint of it", self.id);
            return self.start(hosting);
        }
        let chain = SnapshotChain::open(&path, &ReadOptions::default())?;
        let snapshot = chain.newest().snapshot().clone();
        let (mut host, streams) = hosting::host(self, hosting, Begins::FromCheckpoint)?;
        let has_run = Arc::clone(&self.has_run);
        host.migration
            .on_arrival(move || has_run.store(true, Ordering::Release));
        let (store, instance) = hosting::instantiate(&self.compiled, host)?;
        self.take_streams(streams);
        let rest = self.about.launch.entries_after(&snapshot.state.entry);
        let runner = GuestRunner::new(store, instance, hosting::entries(rest));
        let begin = Begin::Resume {
            epoch: epoch.0.max(snapshot.epoch + 1),
            snapshot: Box::new(snapshot),
            fill: Box::new(move |memory, target| Ok(chain.fill(memory, target)?)),
        };
        let guest = self.run(&hosting.directory, runner, begin)?;
        self.set_place(Place::Running(guest));
        Ok(())
    }

    pub(crate) fn take_streams(&self, streams: Streams) {
        *self.streams.lock().unwrap_or_else(PoisonError::into_inner) = streams;
    }

    fn ended(&self, directory: &Directory, ending: Ending) {
        let ended = match ending {
            Ending::Left => return,
            Ending::Finished(_) => Ended {
                status: 0,
                reason: None,
            },
            Ending::Failed(error) => {
                if let Some(Exit(status)) = error.downcast_ref::<Exit>() {
                    Ended {
                        status: (*status & 0xff) as u8,
                        reason: None,
                    }
                } else {
                    match error.downcast_ref::<Interruption>() {
                        Some(Interruption::NotAdmitted) => return,
                        Some(Interruption::Killed) if matches!(self.place(), Place::Dropped) => {
                            return;
                        }
                        Some(interruption) => Ended {
                            status: KILLED,
                            reason: Some(interruption.to_string()),
                        },
                        None if error.is::<Trap>() => Ended {
                            status: TRAPPED,
                            reason: Some(format!("{error:?}")),
                        },
                        // It is where it was: what is on disk stays.
                        None if !self.has_run.load(Ordering::Acquire) => {
                            let error = anyhow::Error::from(error);
                            log::error!("job {} cannot go on: {error:#}", self.id);
                            self.set_place(Place::Dropped);
                            return;
                        }
                        None => Ended {
                            status: 1,
                            reason: Some(format!("{:#}", anyhow::Error::from(error))),
                        },
                    }
                }
            }
        };
        let written = self
            .streams()
            .sync()
            .and_then(|()| directory::write_json(&directory.ended(&self.id), &ended))
            .and_then(|()| durable::forget(directory, self));
        if let Err(error) = written {
            log::error!("that job {} has ended cannot be written: {error}", self.id);
        }
        log::info!("job {} has ended with status {}", self.id, ended.status);
        self.set_place(Place::Ended(ended));
    }
}
