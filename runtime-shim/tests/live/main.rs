//! Guests that are looked after, and moved, while they run.

mod guest;
mod rig;
