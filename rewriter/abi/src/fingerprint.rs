//! What a module must have in common with the one that a state was taken from, as digests.
//!
//! A state names functions, safe points, globals and addresses, and relies on what the module says about
//! them. Of two modules that agree in all of that, each can go on with the other's states, even if code
//! that is not on the stack differs. `docs/patched-modules.md` says what each digest covers and why.

use serde::{Deserialize, Serialize};

/// Bytes of a fingerprint. Modules are made by people who want them to fit, so chance alone counts.
pub const FINGERPRINT_BYTES: usize = 8;

/// The first bytes of a BLAKE3 digest.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Fingerprint(pub [u8; FINGERPRINT_BYTES]);

/// Fingerprints of what a state relies on besides the functions on its stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Types of the memories, without their limits.
    pub memories: Fingerprint,
    /// Types and first values of all globals.
    pub globals: Fingerprint,
    /// Types and first values of the tables, without their limits.
    pub tables: Fingerprint,
    /// Data segments.
    pub data_segments: Fingerprint,
    /// Element segments.
    pub element_segments: Fingerprint,
    /// The functions that references in the state can name, with their indices.
    pub references: Fingerprint,
    /// Which segments the code drops, and which tables may change.
    pub changeable: Fingerprint,
}

impl Parts {
    /// What a state relies on, with its name in the plural.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Fingerprint); 7] {
        // Destructured without `..`: a new part must get its name.
        let Self {
            memories,
            globals,
            tables,
            data_segments,
            element_segments,
            references,
            changeable,
        } = *self;
        [
            ("memories", memories),
            ("globals", globals),
            ("tables", tables),
            ("data segments", data_segments),
            ("element segments", element_segments),
            ("functions that references can name", references),
            (
                "segments that are dropped or tables that may change",
                changeable,
            ),
        ]
    }
}
