//! The crate's face: a builder for the rewriting.

use std::borrow::Cow;

use wasm_migrate_abi::Profile;

use crate::error::Error;
use crate::options::{Optimize, Options};
use crate::pipeline::{self, Output};

/// Rewrites modules. Start with [`Migratizer::new`], set what differs from the defaults, then call
/// [`Migratizer::rewrite`] as often as needed.
#[derive(Debug, Clone, Default)]
pub struct Migratizer {
    options: Options,
}

impl Migratizer {
    /// A rewriter with default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares that an import may block. A program that waits in it can be stopped; after the resume the
    /// call is made again with the same arguments. The blocking calls of WASI preview 1 need no declaration.
    pub fn suspending_import(&mut self, module: &str, name: &str) -> &mut Self {
        self.options
            .suspending_imports
            .insert((module.to_owned(), name.to_owned()));
        self
    }

    /// Says what counts most where size and speed are at odds.
    pub fn optimize(&mut self, optimize: Optimize) -> &mut Self {
        self.options.optimize = optimize;
        self
    }

    /// Has the functions in which the program spends its time optimized for speed, and the others for size. Places of
    /// polls follow; every safe point stays, so snapshots fit those of other variants.
    pub fn profile(&mut self, profile: Profile) -> &mut Self {
        self.options.profile = Some(profile);
        self
    }

    /// Says how many operators may be executed between two polls. Loops that are known to end soon are polled if they
    /// may execute more, and so are entries of recursive functions from which too much may follow; there is a warning
    /// if what is left still exceeds it ([`Report::work_bound`]).
    ///
    /// [`Report::work_bound`]: crate::Report::work_bound
    pub fn max_latency(&mut self, operators: u32) -> &mut Self {
        self.options.max_latency = Some(operators);
        self
    }

    /// Rewrites a module, given in the binary or the text format. The same input and options give the same
    /// bytes.
    ///
    /// # Errors
    /// The input is not a valid module, is migratized already, or uses something that cannot be made
    /// migratable; or the profile is of another program.
    pub fn rewrite(&self, module: &[u8]) -> Result<Output, Error> {
        pipeline::run(&binary(module)?, &self.options)
    }
}

/// The module in the binary format.
fn binary(module: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if module.starts_with(b"\0asm") {
        return Ok(Cow::Borrowed(module));
    }
    if module.is_empty() || module[0] == 0 || std::str::from_utf8(module).is_err() {
        return Err(Error::Invalid {
            message: format!(
                "expected the magic bytes `\\0asm` or text, found {} bytes that are neither",
                module.len()
            ),
            offset: 0,
        });
    }
    wat::parse_bytes(module).map_err(|error| Error::Text(error.to_string()))
}
