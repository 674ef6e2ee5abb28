//! What a store of these tests holds.

use std::hash::{DefaultHasher, Hasher};

use wasm_migrate::Migration;

/// Data of a store.
#[derive(Default)]
pub struct Host {
    /// One per rewritten instance in the store.
    pub migrations: Vec<Migration>,
    /// Calls of recording imports so far.
    pub calls: CallLog,
    /// Exports that the re-entering import may call.
    pub again: Vec<String>,
    /// Is the re-entering import on the stack?
    pub inside_again: bool,
}

/// Digest of all calls of recording imports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLog {
    count: u64,
    digest: u64,
}

impl CallLog {
    /// Notes a call and returns a number that depends on it and on all calls before it.
    pub fn record(&mut self, function: u64, arguments: &[u64]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.digest);
        hasher.write_u64(function);
        for &argument in arguments {
            hasher.write_u64(argument);
        }
        self.count += 1;
        self.digest = hasher.finish();
        self.digest
    }
}
