//! Engines as the tests configure them, and the clock that ends guests which never finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, Result};

/// Ticks of [`Watchdog`] after which a guest is interrupted.
pub const TIME_LIMIT_TICKS: u64 = 60;

const TICK: Duration = Duration::from_millis(500);

/// Stack that wasmtime gives guests by default, so that tests of its exhaustion are quick.
const SHALLOW_STACK_BYTES: usize = 512 << 10;

/// Stack enough that the sizes of frames do not matter, and for recursions 100,000 deep. A thread that
/// runs such guests needs more than that itself: see [`in_deep_thread`].
const DEEP_STACK_BYTES: usize = 64 << 20;

/// Stack of such a thread.
const DEEP_THREAD_BYTES: usize = 2 * DEEP_STACK_BYTES;

/// An engine with everything on that wasmtime runs, for the spec suite.
///
/// # Errors
/// This machine cannot run the configuration.
pub fn engine() -> Result<Engine> {
    Engine::new(&base(SHALLOW_STACK_BYTES))
}

/// The same with a deep stack.
///
/// # Errors
/// This machine cannot run the configuration.
pub fn deep_engine() -> Result<Engine> {
    Engine::new(&base(DEEP_STACK_BYTES))
}

/// With a deep stack, and every NaN that an operation makes is the canonical one, so that two
/// differently compiled bodies of one function agree bit for bit.
///
/// # Errors
/// This machine cannot run the configuration.
pub fn deterministic_engine() -> Result<Engine> {
    let mut config = base(DEEP_STACK_BYTES);
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    Engine::new(&config)
}

/// Does work in a thread with stack enough for the guests of [`deep_engine`] and
/// [`deterministic_engine`].
///
/// # Panics
/// The work panics, or there can be no more threads.
pub fn in_deep_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP_THREAD_BYTES);
        let thread = thread
            .spawn_scoped(scope, work)
            .expect("a thread can be started");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn base(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
        .max_wasm_stack(stack_bytes)
        .async_stack_size(2 * stack_bytes)
        .epoch_interruption(true)
        .shared_memory(true)
        .wasm_custom_page_sizes(true)
        .wasm_wide_arithmetic(true);
    config
}

/// Advances the epoch of an engine for as long as it lives; guests that run for
/// [`TIME_LIMIT_TICKS`] of it are interrupted.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the clock.
    #[must_use]
    pub fn start(engine: &Engine) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (stop, engine) = (Arc::clone(&stop), engine.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(TICK);
                    engine.increment_epoch();
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The clock cannot panic; if it did, the guests' own results tell more.
            let _ = thread.join();
        }
    }
}
