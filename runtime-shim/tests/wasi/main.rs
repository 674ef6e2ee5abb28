//! WASI preview 1 as a guest sees it: every function called from WebAssembly, with the errors that the
//! public WASI test suite expects.

mod dirs;
mod files;
mod guest;
mod module;
mod numbers;
mod paths;
mod poll;
mod process;
mod ship;
mod snapshot;
mod suspend;
