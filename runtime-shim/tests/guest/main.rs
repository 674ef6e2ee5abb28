//! Guests that are stopped, moved and frozen, against the same ones left alone.

mod common;
mod freeze;
mod migrate;
mod references;
