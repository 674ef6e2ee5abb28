//! Two nodes on 127.0.0.1, over real sockets.

mod commands;
mod errors;
mod links;
mod setup;
mod strangers;
mod trust;
