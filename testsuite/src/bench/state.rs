//! What it costs to take, write, read and restore the state of a guest with much memory.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use wasm_migrate::{
    ChangedPages, Compression, Guest, GuestInstance, Migration, ModuleReference, Outcome, Pacing,
    ReadOptions, Snapshot, SnapshotChain, Tracking, WriteOptions, Written,
};
use wasm_migratize::Migratizer;
use wasmtime::{Engine, Linker, Store, Val};

use super::median;

/// Fills its memory with numbers of 24 bits in 64, then keeps writing to one page in a hundred.
const PROGRAM: &str = r#"
(module
  (import "host" "is_over" (func $is_over (result i32)))
  (memory (export "memory") 4096)
  (func (export "run") (result i32) (local $at i32) (local $random i64)
    (loop $fill
      (local.set $random (i64.add
        (i64.mul (local.get $random) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (i64.store (local.get $at) (i64.shr_u (local.get $random) (i64.const 40)))
      (br_if $fill (i32.lt_u
        (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 0x10000000))))
    (loop $wait
      (local.set $at (i32.rem_u (i32.add (local.get $at) (i32.const 1)) (i32.const 655)))
      (i64.store (i32.mul (local.get $at) (i32.const 409600)) (i64.shr_u (local.get $random) (i64.const 40)))
      (br_if $wait (i32.eqz (call $is_over))))
    (i32.load (i32.const 0x8000000))))
"#;

/// What was measured; times are medians.
#[derive(Debug)]
pub struct StateCosts {
    /// Snapshots without compression and with zstd at levels 1 and 3.
    pub snapshots: Vec<SnapshotCosts>,
    /// `cp` of the same bytes.
    pub cp: Time,
    /// `cp` and `sync`: a snapshot is on the disk when it has been written.
    pub synced_cp: Time,
    /// Size of the memory as gzip makes it.
    pub gzip_bytes: u64,
    /// Milliseconds that the guest is stopped for a checkpoint.
    pub checkpoint_stop_ms: f64,
}

/// What a snapshot costs.
#[derive(Debug)]
pub struct SnapshotCosts {
    /// How it is compressed.
    pub compression: Compression,
    /// Capture, writing and synchronising.
    pub store: Time,
    /// Reading and resume.
    pub restore: Time,
    /// Size of the file.
    pub bytes: u64,
}

/// A time by the clock, and that of the processor in all threads.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Milliseconds.
    pub ms: f64,
    /// Milliseconds, in steps of ten.
    pub cpu_ms: f64,
}

impl SnapshotCosts {
    /// Storing and restoring.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.store.ms + self.restore.ms
    }
}

struct Host {
    migration: Migration,
    over: bool,
}

/// Measures all of it, with files in a directory.
///
/// # Errors
/// The engine or the file system fails, or there is no `cp`, `sync` or `gzip`.
pub fn state_costs(directory: &Path, runs: usize) -> anyhow::Result<StateCosts> {
    std::fs::create_dir_all(directory)?;
    let wasm = Migratizer::new().rewrite(PROGRAM.as_bytes())?.wasm;
    let guest = Guest::new(&Engine::default(), &wasm)?;
    let (mut store, instance) = instantiate(&guest, false)?;
    store.data_mut().migration.controller().request();
    let mut outcome = instance.call(&mut store, "run", &[])?;
    // The first stop may come before the memory is full.
    for _ in 0..2 {
        anyhow::ensure!(matches!(outcome, Outcome::Suspended), "it was not stopped");
        let controller = store.data().migration.controller();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            controller.request();
        });
        outcome = instance.go_on(&mut store, "run")?;
    }
    let raw = directory.join("memory");
    let memory = instance.instance().get_memory(&mut store, "memory");
    std::fs::write(&raw, memory.context("it has a memory")?.data(&store))?;

    let ways = [
        Compression::None,
        Compression::Zstd(1),
        Compression::Zstd(3),
    ];
    let mut snapshots = ways.map(|_| (Vec::new(), Vec::new(), 0));
    let (mut cp, mut synced_cp, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    let copy = directory.join("copy");
    for _ in 0..runs {
        stops.push(checkpoint_stop(&mut store, &instance)?.as_secs_f64() * 1e3);
        for (compression, (stored, restored, bytes)) in ways.into_iter().zip(&mut snapshots) {
            let (mut destination, fresh) = instantiate(&guest, true)?;
            let began = Moment::now()?;
            *bytes = write(&mut store, &instance, compression, directory)?.bytes;
            let written = Moment::now()?;
            resume(&mut destination, &fresh, directory)?;
            stored.push(written.since(began));
            restored.push(Moment::now()?.since(written));
        }
        let began = Moment::now()?;
        run(Command::new("cp").arg(&raw).arg(&copy))?;
        cp.push(Moment::now()?.since(began));
        run(Command::new("sync").arg(&copy))?;
        synced_cp.push(Moment::now()?.since(began));
    }
    run(Command::new("gzip").args(["-k", "-f"]).arg(&raw))?;
    let gzip_bytes = std::fs::metadata(directory.join("memory.gz"))?.len();
    std::fs::remove_dir_all(directory)?;
    let costs = |(compression, (stored, restored, bytes)): (_, (Vec<Time>, Vec<Time>, u64))| {
        SnapshotCosts {
            compression,
            store: median_time(&stored),
            restore: median_time(&restored),
            bytes,
        }
    };
    Ok(StateCosts {
        snapshots: ways.into_iter().zip(snapshots).map(costs).collect(),
        cp: median_time(&cp),
        synced_cp: median_time(&synced_cp),
        gzip_bytes,
        checkpoint_stop_ms: median(stops),
    })
}

/// When something begins or ends.
#[derive(Clone, Copy)]
struct Moment {
    clock: Instant,
    cpu_ms: f64,
}

impl Moment {
    fn now() -> anyhow::Result<Self> {
        /// Of this process and of those that it has waited for, in user mode and in the kernel.
        const CPU_FIELDS: std::ops::Range<usize> = 11..15;
        const TICK_MS: f64 = 10.0;
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // The program's name may hold anything but is in parentheses.
        let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat is odd")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = fields.get(CPU_FIELDS).context("/proc/self/stat is short")?;
        let ticks = ticks.iter().map(|ticks| Ok(ticks.parse::<f64>()?));
        Ok(Self {
            clock: Instant::now(),
            cpu_ms: ticks.sum::<anyhow::Result<f64>>()? * TICK_MS,
        })
    }

    fn since(self, before: Self) -> Time {
        Time {
            ms: (self.clock - before.clock).as_secs_f64() * 1e3,
            cpu_ms: self.cpu_ms - before.cpu_ms,
        }
    }
}

fn median_time(times: &[Time]) -> Time {
    Time {
        ms: median(times.iter().map(|time| time.ms).collect()),
        cpu_ms: median(times.iter().map(|time| time.cpu_ms).collect()),
    }
}

/// Time from the request to the end of the stop in which an incremental checkpoint copies what it needs, 1% of
/// the memory having been written since the last.
fn checkpoint_stop(
    store: &mut Store<Host>,
    instance: &GuestInstance<Host>,
) -> anyhow::Result<Duration> {
    let mut tracker = Tracking::Auto.tracker()?;
    tracker.take(&instance.memories(&*store))?;
    let controller = store.data().migration.controller();
    let asked = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        controller.request();
        Instant::now()
    });
    let outcome = instance.go_on(&mut *store, "run")?;
    anyhow::ensure!(matches!(outcome, Outcome::Suspended), "it was not stopped");
    let image = instance.capture_image(&mut *store, "run")?;
    let memories = instance.memories(&*store);
    let dirty = tracker.take(&memories)?.remove(0);
    let changed = ChangedPages::copy(memories[0], dirty.into_iter().flatten());
    let stopped = asked.join().expect("it does not panic").elapsed();
    anyhow::ensure!(
        changed.count() >= 655 && image.frames.len() == 1,
        "{} pages were written",
        changed.count()
    );
    Ok(stopped)
}

fn write(
    store: &mut Store<Host>,
    instance: &GuestInstance<Host>,
    compression: Compression,
    directory: &Path,
) -> anyhow::Result<Written> {
    let image = instance.capture_image(&mut *store, "run")?;
    let snapshot = Snapshot {
        state: image.with_memories(instance.memories(&*store)),
        module: ModuleReference {
            path: String::new(),
            digest: [0; 32],
        },
        sections: [].into(),
        epoch: 1,
    };
    let options = WriteOptions {
        compression,
        ..WriteOptions::default()
    };
    Ok(snapshot.write(&directory.join("snapshot"), options)?)
}

fn resume(
    store: &mut Store<Host>,
    instance: &GuestInstance<Host>,
    directory: &Path,
) -> anyhow::Result<()> {
    let chain = SnapshotChain::open(&directory.join("snapshot"), &ReadOptions::default())?;
    let image = &chain.newest().snapshot().state;
    let outcome = instance.resume_with(store, image, |memory, target| {
        Ok(chain.fill(memory, target)?)
    })?;
    match outcome {
        Outcome::Finished(values) if matches!(values[..], [Val::I32(value)] if value != 0) => {
            Ok(())
        }
        outcome => anyhow::bail!("the resumed program ended with {outcome:?}"),
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    anyhow::ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn instantiate(guest: &Guest, over: bool) -> anyhow::Result<(Store<Host>, GuestInstance<Host>)> {
    let engine = guest.module().engine();
    let migration = Migration::new(Pacing::Latency(Duration::from_micros(500)));
    let mut store = Store::new(engine, Host { migration, over });
    let mut linker = Linker::new(engine);
    Guest::add_to_linker(&mut linker, |host: &mut Host| &mut host.migration)?;
    linker.func_wrap("host", "is_over", |caller: wasmtime::Caller<'_, Host>| {
        i32::from(caller.data().over)
    })?;
    let instance = GuestInstance::new(&mut store, &linker, guest, |host: &mut Host| {
        &mut host.migration
    })?;
    Ok((store, instance))
}
