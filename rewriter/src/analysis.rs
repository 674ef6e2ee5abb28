//! Analyses: they look at the module or at a lifted function, return what they found, and change
//! nothing.

mod bound;
mod call_graph;
mod control_flow;
mod layout;
mod liveness;
mod scan;
mod trip_count;
mod work;

pub(crate) use bound::{entries_to_poll, work_bounds};
pub(crate) use call_graph::{Reason, Suspension, suspension};
pub(crate) use layout::{Frame, SafePoint, frame_layout};
pub(crate) use liveness::{Liveness, liveness};
pub(crate) use scan::{CodeFacts, scan};
pub(crate) use work::{Work, work};
