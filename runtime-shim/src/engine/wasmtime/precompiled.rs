//! Code that was compiled before it is needed, perhaps on another machine: for hosts that have no compiler, or no time
//! to compile.
//!
//! ```text
//! wasm-migrate code 1\n     what it is, and the version of this layout
//! {"machine":"aarch64",...}\n   what it was made of, and for
//! <code>                    as wasmtime writes it
//! ```
//!
//! Everything that wasmtime does not check itself is checked here: that the code is of the very module, undamaged, and
//! made for the wanted treatment of NaNs. Neither can tell whether it does what the module says, so whoever loads it
//! must trust whoever made it.
#![expect(unsafe_code, reason = "compiled code is taken at its word")]

use serde::{Deserialize, Serialize};
use wasmtime::{Engine, Module};

use super::machine::Machine;
use super::{Error, Guest};
use crate::error::EngineError;
use crate::names::read_description;

const MAGIC: &[u8] = b"wasm-migrate code ";
const VERSION: u32 = 1;
/// Of the two lines before the code.
const HEAD_BYTES_MAX: usize = 4096;

/// What code was made of, and for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeOrigin {
    /// What it runs on.
    pub machine: Machine,
    /// Does it use whatever the very processor has on which it was made, beyond what all of the kind have?
    pub is_native: bool,
    /// Does it work with vectors?
    pub has_vectors: bool,
    /// Does it make all NaNs canonical?
    pub canonical_nans: bool,
    /// Do its relaxed vector operators do the same everywhere?
    pub deterministic_relaxed_simd: bool,
    /// BLAKE3 digest of the module, in hexadecimal digits.
    pub module_digest: String,
    /// The same of the code.
    pub code_digest: String,
}

/// Code of a module.
#[derive(Debug, Clone)]
pub struct Precompiled {
    pub(super) origin: CodeOrigin,
    pub(super) code: Vec<u8>,
}

/// Why code cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrecompiledError {
    /// The bytes are something else.
    #[error("this is not code that `wasm-migrate compile` has made")]
    NotCode,
    /// They are of another version.
    #[error(
        "the code has version {0} of its format, and this wasm-migrate reads {VERSION}: compile the module again"
    )]
    Version(u32),
    /// They changed since.
    #[error("the code is damaged: compile the module again")]
    Damaged,
    /// They are another module's.
    #[error("the code was compiled from another module than this one: compile this one")]
    OtherModule,
    /// They are for another machine.
    #[error(
        "the code was compiled for {found}, and this machine needs code for {here}: `wasm-migrate compile --target {here}`"
    )]
    OtherMachine {
        /// Where it runs.
        found: Machine,
        /// This machine.
        here: Machine,
    },
    /// They need vector instructions.
    #[error("the code works with vectors, and this processor does not have the extension V")]
    NoVectors,
}

impl Precompiled {
    /// Reads what [`Precompiled::to_bytes`] has written.
    ///
    /// # Errors
    /// It is something else, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PrecompiledError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(PrecompiledError::NotCode)?;
        let (version, rest) = line(rest).ok_or(PrecompiledError::NotCode)?;
        let version = std::str::from_utf8(version)
            .ok()
            .and_then(|version| version.parse().ok());
        match version {
            Some(VERSION) => {}
            Some(other) => return Err(PrecompiledError::Version(other)),
            None => return Err(PrecompiledError::NotCode),
        }
        let (origin, code) = line(rest).ok_or(PrecompiledError::Damaged)?;
        let origin: CodeOrigin =
            serde_json::from_slice(origin).map_err(|_| PrecompiledError::Damaged)?;
        if digest(code) != origin.code_digest {
            return Err(PrecompiledError::Damaged);
        }
        let code = code.to_vec();
        Ok(Self { origin, code })
    }

    /// As a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let origin = serde_json::to_string(&self.origin).expect("it is plain data");
        let mut bytes = format!("wasm-migrate code {VERSION}\n{origin}\n").into_bytes();
        bytes.extend_from_slice(&self.code);
        bytes
    }

    /// What it was made of, and for.
    #[must_use]
    pub fn origin(&self) -> &CodeOrigin {
        &self.origin
    }

    /// Can it run on this machine as code of this module?
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, wasm: &[u8]) -> Result<(), PrecompiledError> {
        let (found, here) = (self.origin.machine, Machine::here());
        if found != here {
            return Err(PrecompiledError::OtherMachine { found, here });
        }
        if digest(wasm) != self.origin.module_digest {
            return Err(PrecompiledError::OtherModule);
        }
        if self.origin.has_vectors && !Machine::has_vectors_here() {
            return Err(PrecompiledError::NoVectors);
        }
        Ok(())
    }
}

impl Guest {
    /// A module whose code was compiled before.
    ///
    /// # Errors
    /// The module is not migratized or for another version of the contract; the code is another module's, for another machine,
    /// or made by another version or with other settings of the engine.
    ///
    /// # Safety
    /// The code must be what [`Precompiled::compile`] has made of the module, unchanged: anything else can do whatever
    /// this process can.
    pub unsafe fn precompiled(
        engine: &Engine,
        wasm: &[u8],
        precompiled: &Precompiled,
    ) -> Result<Self, Error> {
        precompiled.check(wasm)?;
        let described = read_description(wasm)?;
        // SAFETY: the caller vouches for the code.
        let module = unsafe { Module::deserialize(engine, &precompiled.code) };
        let module = module.map_err(|error| Error::Code(EngineError::from(error)))?;
        Ok(Self::from_parts(module, wasm, described))
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The first line, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes
        .iter()
        .take(HEAD_BYTES_MAX)
        .position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::{CodeOrigin, Machine, Precompiled, PrecompiledError, digest};

    fn sample() -> Precompiled {
        let code = b"code\nmore".to_vec();
        Precompiled {
            origin: CodeOrigin {
                machine: Machine::here(),
                is_native: false,
                has_vectors: false,
                canonical_nans: true,
                deterministic_relaxed_simd: false,
                module_digest: digest(b"module"),
                code_digest: digest(&code),
            },
            code,
        }
    }

    #[test]
    fn files_are_read_back() {
        let sample = sample();
        let read = Precompiled::from_bytes(&sample.to_bytes()).expect("it was just written");
        assert_eq!((&read.origin, &read.code), (&sample.origin, &sample.code));
        assert_eq!(read.check(b"module"), Ok(()));
        assert_eq!(read.check(b"other"), Err(PrecompiledError::OtherModule));
    }

    #[test]
    fn other_machines_are_refused() {
        let mut sample = sample();
        let here = Machine::here();
        sample.origin.machine = Machine::Pulley32be;
        let refused = sample.check(b"module").expect_err("it is no Pulley");
        let said = refused.to_string();
        assert!(
            said.contains("pulley32be") && said.contains(&format!("--target {here}")),
            "{said}"
        );
    }

    #[test]
    fn damage_is_found() {
        let whole = sample().to_bytes();
        for length in 0..whole.len() {
            assert!(
                Precompiled::from_bytes(&whole[..length]).is_err(),
                "{length} bytes"
            );
        }
        let head = whole.len() - sample().code.len();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            // What the head says may be another thing that makes sense.
            let read = Precompiled::from_bytes(&bytes);
            assert!(place < head || read.is_err(), "byte {place}");
        }
        assert!(matches!(
            Precompiled::from_bytes(b"wasm-migrate code 9\n{}\n"),
            Err(PrecompiledError::Version(9))
        ));
    }
}
