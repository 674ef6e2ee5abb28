//! Counts of the spec suite: a table per version or proposal, totals, and reasons for skips.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::suite::SuiteFile;
use super::verdict::Verdict;
use crate::Way;

/// Reason of every skip whose assertion the original does not meet.
const NO_ORACLE: &str = "the original does not do this on wasmtime";

/// What happened so far.
#[derive(Debug, Default)]
pub struct Report {
    groups: Vec<Group>,
    skips: BTreeMap<String, usize>,
    /// Stops and resumes.
    pub stops: u64,
    /// Failures, one line each.
    pub failures: Vec<String>,
    /// Skips whose original does not work, one line each.
    pub without_oracle: Vec<String>,
}

#[derive(Debug)]
struct Group {
    name: String,
    files: usize,
    ways: Vec<(Way, Totals)>,
}

/// Numbers of assertions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// They hold.
    pub passed: usize,
    /// They do not.
    pub failed: usize,
    /// They were not tried.
    pub skipped: usize,
}

impl Report {
    /// Counts a file.
    pub fn begin_file(&mut self, file: &SuiteFile) {
        self.group(&file.group).files += 1;
    }

    /// Counts a file that cannot be executed as one skip.
    pub fn skip_file(&mut self, file: &SuiteFile, reason: &str) {
        self.begin_file(file);
        self.totals(&file.group, Way::Original).skipped += 1;
        *self.skips.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts a file's verdicts in one way.
    pub fn add_way(
        &mut self,
        file: &SuiteFile,
        way: Way,
        lines: &[usize],
        original: &[Verdict],
        verdicts: Vec<Verdict>,
    ) {
        for ((line, original), verdict) in lines.iter().zip(original).zip(verdicts) {
            let place = || format!("{}/{}:{line} ({way})", file.group, file.name);
            match (original, verdict) {
                (Verdict::Failed(why), _) => {
                    if way == Way::Original {
                        self.without_oracle.push(format!("{}: {why}", place()));
                    }
                    self.skip(&file.group, way, NO_ORACLE);
                }
                (Verdict::Skipped(reason), _) => self.skip(&file.group, way, reason),
                (_, Verdict::Skipped(reason)) => self.skip(&file.group, way, &reason),
                (_, Verdict::Failed(why)) => {
                    self.failures.push(format!("{}: {why}", place()));
                    self.totals(&file.group, way).failed += 1;
                }
                (_, Verdict::Passed) => self.totals(&file.group, way).passed += 1,
                (_, Verdict::Done) => {}
            }
        }
    }

    /// Adds the counts of another part of the suite.
    pub fn merge(&mut self, other: Self) {
        for group in other.groups {
            self.group(&group.name).files += group.files;
            for (way, totals) in group.ways {
                let sum = self.totals(&group.name, way);
                sum.passed += totals.passed;
                sum.failed += totals.failed;
                sum.skipped += totals.skipped;
            }
        }
        for (reason, count) in other.skips {
            *self.skips.entry(reason).or_default() += count;
        }
        self.stops += other.stops;
        self.failures.extend(other.failures);
        self.without_oracle.extend(other.without_oracle);
    }

    /// Sum over everything.
    #[must_use]
    pub fn totals_of_all(&self) -> Totals {
        let mut sum = Totals::default();
        for (_, totals) in self.groups.iter().flat_map(|group| &group.ways) {
            sum.passed += totals.passed;
            sum.failed += totals.failed;
            sum.skipped += totals.skipped;
        }
        sum
    }

    /// Table, reasons for skips, and the totals in the last line. Groups stand in the order of
    /// `order`.
    #[must_use]
    pub fn render(&self, order: &[String]) -> String {
        let mut text = String::new();
        let mut line = |cells: [&str; 6]| {
            let [group, files, way, passed, failed, skipped] = cells;
            writeln!(
                text,
                "{group:<38} {files:>5}  {way:<12} {passed:>7} {failed:>7} {skipped:>7}"
            )
            .expect("writing to a string");
        };
        line(["proposal", "files", "way", "passed", "failed", "skipped"]);
        for group in order
            .iter()
            .filter_map(|name| self.groups.iter().find(|g| g.name == *name))
        {
            for (index, (way, totals)) in group.ways.iter().enumerate() {
                let first = index == 0;
                line([
                    if first { &group.name } else { "" },
                    &if first {
                        group.files.to_string()
                    } else {
                        String::new()
                    },
                    &way.to_string(),
                    &totals.passed.to_string(),
                    &totals.failed.to_string(),
                    &totals.skipped.to_string(),
                ]);
            }
        }
        for (reason, count) in &self.skips {
            writeln!(text, "skipped {count:>6}: {reason}").expect("writing to a string");
        }
        writeln!(text, "{} stops and resumes", self.stops).expect("writing to a string");
        let Totals {
            passed,
            failed,
            skipped,
        } = self.totals_of_all();
        writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped")
            .expect("writing to a string");
        text
    }

    fn skip(&mut self, group: &str, way: Way, reason: &str) {
        self.totals(group, way).skipped += 1;
        *self.skips.entry(reason.to_owned()).or_default() += 1;
    }

    fn group(&mut self, name: &str) -> &mut Group {
        let at = self
            .groups
            .iter()
            .position(|group| group.name == name)
            .unwrap_or_else(|| {
                self.groups.push(Group {
                    name: name.to_owned(),
                    files: 0,
                    ways: Vec::new(),
                });
                self.groups.len() - 1
            });
        &mut self.groups[at]
    }

    fn totals(&mut self, group: &str, way: Way) -> &mut Totals {
        let ways = &mut self.group(group).ways;
        let at = ways
            .iter()
            .position(|(known, _)| *known == way)
            .unwrap_or_else(|| {
                ways.push((way, Totals::default()));
                ways.len() - 1
            });
        &mut ways[at].1
    }
}
