//! Live migration of a guest between two nodes, as state machines and pure functions.
//!
//! Nothing here does I/O: no sockets, clocks, threads, disks or engines. Time is an argument, messages go in and actions
//! come out, so that tests can drop, delay, reorder and crash at will.
