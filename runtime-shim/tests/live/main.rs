//! Guests that are looked after, and moved, while they run.

mod guest;
#[cfg(target_os = "linux")]
mod post_copy;
mod rig;
