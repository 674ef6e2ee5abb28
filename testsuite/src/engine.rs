//! Engines as the tests configure them, and the clock that ends guests which never finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, Result};

/// Ticks of [`Watchdog`] after which a guest is interrupted.
pub const TIME_LIMIT_TICKS: u64 = 4;

/// Stack of guests in the deterministic engine: enough that the sizes of frames seldom matter.
const STACK_BYTES: usize = 2 << 20;

const TICK: Duration = Duration::from_millis(500);

/// An engine with everything on that wasmtime runs, for the spec suite and small programs.
///
/// # Errors
/// This machine cannot run the configuration.
pub fn engine() -> Result<Engine> {
    Engine::new(&base())
}

/// The same, but every NaN that an operation makes is the canonical one, so that two differently
/// compiled bodies of one function agree bit for bit.
///
/// # Errors
/// This machine cannot run the configuration.
pub fn deterministic_engine() -> Result<Engine> {
    let mut config = base();
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(2 * STACK_BYTES);
    Engine::new(&config)
}

fn base() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::None)
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
        Self { stop, thread: Some(thread) }
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
