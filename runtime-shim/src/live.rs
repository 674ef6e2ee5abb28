//! Guests that other threads look after while they run, and whose memory moves between hosts meanwhile.
//!
//! ```text
//!  other threads                         the guest's thread
//!  LiveGuest --- at_stop, stop, kill --> GuestRunner: runs the guest, and what is asked for at stops
//!      |
//!      v
//!  StoppedGuest --depart--> DepartedGuest     stands still and can be read; goes on here, or not
//! ```
//!
//! Everything here is the mechanism of one host. Who may run the guest is for the protocol to say
//! (`wasm-migrate-protocol`).

mod arriving;
mod guest;
mod missing;
mod oversight;
mod runner;
mod stopped;

pub use arriving::{ArrivalError, ArrivingGuest};
pub use guest::{GuestPhase, GuestStatus, LiveGuest, StopError};
pub use missing::MissingPages;
pub use runner::{Begin, Ending, Entry, Fill, GuestRunner};
pub use stopped::{AtStop, DepartedGuest, Next, StoppedGuest};

pub(crate) use oversight::Oversight;
