//! How long a guest runs on after it was asked to stop, at random moments.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use wasm_migrate::wasi::Exit;
use wasm_migrate::{Controller, Guest, GuestInstance, Outcome};
use wasmtime::Store;

use super::on_wasmtime::{Engines, Host, host, instantiate};
use super::plan::{Contestant, Program};
use crate::random::random_bytes;

/// A request comes at a random moment within this time of the guest's going on.
const WITHIN: Duration = Duration::from_millis(4);

/// Asks running guests to stop; lives in a thread of its own.
struct Requester {
    /// Whom to ask, and how long from now.
    orders: Sender<(Controller, Duration)>,
    /// When it asked.
    asked: Receiver<Instant>,
}

/// Milliseconds from a request to the guest's having unwound its stack, for so many requests. The program begins anew when
/// it ends.
///
/// # Errors
/// It cannot be compiled, fails, or ends again and again before a request reaches it.
pub fn capture_latencies(
    engines: &Engines,
    program: &Arc<Program>,
    contestant: &Contestant,
    requests: usize,
) -> anyhow::Result<Vec<f64>> {
    let guest = engines.guest(contestant)?;
    let requester = Requester::start()?;
    let random = random_bytes(1, 2 * requests);
    let parts = random.chunks_exact(2).map(|pair| {
        let part = u16::from_le_bytes([pair[0], pair[1]]);
        f64::from(part) / f64::from(u16::MAX)
    });
    let mut delays = parts.map(|part| WITHIN.mul_f64(part)).cycle();
    let mut waits = Vec::with_capacity(requests);
    while waits.len() < requests {
        let before = waits.len();
        let mut running = Running::begin(&guest, program)?;
        while waits.len() < requests {
            let delay = delays.next().expect("there are requests");
            match running.stop(&requester, delay)? {
                Some(wait) => waits.push(wait.as_secs_f64() * 1e3),
                None => break,
            }
        }
        ensure!(
            waits.len() > before,
            "{} ends before it can be stopped",
            program.name
        );
    }
    Ok(waits)
}

impl Requester {
    fn start() -> anyhow::Result<Self> {
        let (orders, ordered) = channel::<(Controller, Duration)>();
        let (tell, asked) = channel();
        let work = move || {
            for (controller, delay) in ordered {
                std::thread::sleep(delay);
                // Before the request, so that the wait is never taken for shorter than it was.
                let now = Instant::now();
                controller.request();
                if tell.send(now).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("requester".to_owned());
        thread
            .spawn(work)
            .context("cannot start the thread that asks")?;
        Ok(Self { orders, asked })
    }
}

/// A program in the middle of its work.
struct Running {
    store: Store<Host>,
    instance: GuestInstance<Host>,
    has_begun: bool,
}

impl Running {
    fn begin(guest: &Guest, program: &Program) -> anyhow::Result<Self> {
        let mut store = Store::new(guest.module().engine(), host(program, io::sink())?);
        let instance = instantiate(guest, &mut store)?;
        Ok(Self {
            store,
            instance,
            has_begun: false,
        })
    }

    /// Lets it go on and has it stopped after a time; answers how long that took, or `None` if it has ended.
    fn stop(&mut self, requester: &Requester, delay: Duration) -> anyhow::Result<Option<Duration>> {
        let controller = self.store.data().migration.controller();
        requester.orders.send((controller, delay))?;
        let ended = match std::mem::replace(&mut self.has_begun, true) {
            true => self.instance.go_on(&mut self.store, "_start"),
            false => self.instance.call(&mut self.store, "_start", &[]),
        };
        let stopped = Instant::now();
        let asked = requester.asked.recv()?;
        match ended {
            Ok(Outcome::Suspended) => Ok(Some(stopped - asked)),
            Ok(_) => Ok(None),
            Err(error) if error.is::<Exit>() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
