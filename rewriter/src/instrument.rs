//! Instrumentation: from a lifted function to the bytes of one that can save and rebuild its frame.
//!
//! The normal path keeps its structured control flow. A *region* (the function's body, or a loop's body
//! that contains safe points) is straight or forward code, so every place in it can be reached from its
//! beginning by a forward branch, if a block that ends there begins at the region's beginning:
//!
//! ```wat
//! ;; before                     ;; after
//! (if (local.get $c)            block $join              ;; all blocks begin here
//!   (then (call $f)))            block $else
//! (call $g)                       <entry: if rewinding, branch to a landing; each loads what is live,
//!                                  calls what goes on in the next frame, and branches to its $join>
//!                                 local.get $c  i32.eqz  br_if $else
//!                                 ...                     ;; `call $f` has blocks of its own
//!                                end
//!                                call $g
//!                               end                       ;; $join
//!                               global.get $state  br_if $unwind
//! ```
//!
//! So blocks and ifs that contain safe points are *hoisted* to the beginning of their region; only
//! function entries and loop headers hold a test, which is the test for a poll as well. Code without safe
//! points is copied unchanged.

mod blocks;
mod branches;
mod calls;
mod code;
mod exits;
mod frame;
mod function;
mod helpers;
mod loops;
mod operands;
mod parking;
mod region;
mod wrapper;

pub(crate) use function::{after_drop, instrument, replacement};
pub(crate) use helpers::added_functions;
pub(crate) use wrapper::wrapper_frame;
