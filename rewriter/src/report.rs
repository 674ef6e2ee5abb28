//! What was done to each function, for people and tools.

use std::fmt;

use serde::Serialize;
use wasm_migrate_abi::{SafePointKind, SlotOrigin};

use crate::analysis::{Frame, Reason, Suspension};
use crate::module::Module;
use crate::pipeline::Rewritten;

/// What was done to a module.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Size of the input in bytes.
    pub bytes_before: usize,
    /// Size of the output in bytes.
    pub bytes_after: usize,
    /// Operators that are executed at most from one poll to the next, as long as no function returns to its caller;
    /// each return can add as much again. Operators of hosts, and bulk operators, count as one.
    pub work_bound: u64,
    /// Every defined function, in index order.
    pub functions: Vec<FunctionReport>,
}

/// What was done to a function.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FunctionReport {
    /// Index in the original module.
    pub index: u32,
    /// Name from the name section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it can be on the stack when the program is stopped.
    pub suspendable: bool,
    /// Why it is suspendable, or why not.
    pub reason: String,
    /// Size of the body in bytes before.
    pub bytes_before: usize,
    /// Size of the body in bytes after.
    pub bytes_after: usize,
    /// Operators, its own and those of what it calls, that are executed at most from one of its polls (or its entry) to
    /// the next, or to its return.
    pub work_bound: u64,
    /// Where it can be stopped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub safe_points: Vec<SafePointReport>,
}

/// A place where a function can be stopped.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SafePointReport {
    /// Id within the function.
    pub id: usize,
    /// `loop header`, `call` and so on.
    pub kind: &'static str,
    /// Byte offset of the operator in the original module.
    pub offset: usize,
    /// Live values, such as `local 3: i32`.
    pub live: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        module: &Module<'_>,
        suspension: &Suspension,
        functions: &[Rewritten],
        bounds: &[u64],
        bytes_before: usize,
    ) -> Self {
        let functions = functions
            .iter()
            .zip(bounds)
            .map(|(function, &work_bound)| FunctionReport {
                index: function.index,
                name: module.name_of(function.index).name,
                suspendable: function.frame.is_some(),
                reason: reason(module, suspension.reason(function.index)),
                bytes_before: function.original.len(),
                bytes_after: function.body.len(),
                work_bound,
                safe_points: safe_points(function, suspension),
            })
            .collect();
        Self {
            bytes_before,
            bytes_after: 0,
            work_bound: bounds.iter().copied().max().unwrap_or(0),
            functions,
        }
    }

    /// What to tell someone who wants no more operators than `max` between two polls, if there may be more.
    pub(crate) fn exceeds(&self, max: u32) -> Option<String> {
        let worst = self
            .functions
            .iter()
            .max_by_key(|function| function.work_bound)?;
        let name = worst
            .name
            .as_deref()
            .map_or(String::new(), |name| format!(" `{name}`"));
        (worst.work_bound > u64::from(max)).then(|| {
            format!(
                "up to {} operators may be executed between two polls, in function {}{name}; expected at most {max}: \
                 polls stand at loops and at entries of recursive functions only",
                worst.work_bound, worst.index
            )
        })
    }

    pub(crate) fn with_output(self, bytes_after: usize) -> Self {
        Self {
            bytes_after,
            ..self
        }
    }
}

fn reason(module: &Module<'_>, reason: Option<Reason>) -> String {
    match reason {
        None => "it has no loop, no recursion and calls nothing suspendable".to_owned(),
        Some(Reason::Import) => "it is an import that may block".to_owned(),
        Some(Reason::Recursive) => "it stands on a cycle of the call graph".to_owned(),
        Some(Reason::Loop) => "it has a loop".to_owned(),
        Some(Reason::Calls(callee)) => format!("it calls {}", module.name_of(callee)),
        Some(Reason::CallsIndirect(ty)) => format!("it makes an indirect call of type {ty}"),
    }
}

fn safe_points(function: &Rewritten, suspension: &Suspension) -> Vec<SafePointReport> {
    let Some((frame, offsets)) = &function.frame else {
        return Vec::new();
    };
    let points = frame.safe_points.iter().zip(offsets).enumerate();
    points
        // Most functions are not polled at their entry.
        .filter(|(id, _)| *id > 0 || suspension.polls_at_entry(function.index))
        .map(|(id, (point, &offset))| SafePointReport {
            id,
            kind: kind_name(point.kind),
            offset: function.original.start + offset as usize,
            live: point.slots().map(|slot| slot_name(frame, slot)).collect(),
        })
        .collect()
}

fn kind_name(kind: SafePointKind) -> &'static str {
    match kind {
        SafePointKind::Entry => "entry",
        SafePointKind::Loop => "loop header",
        SafePointKind::Call => "call",
        SafePointKind::CallIndirect => "indirect call",
        SafePointKind::Import => "import that may block",
    }
}

fn slot_name(frame: &Frame, slot: u32) -> String {
    let (origin, value_type) = frame.slots[slot as usize];
    match origin {
        SlotOrigin::Local(index) => format!("local {index}: {value_type}"),
        SlotOrigin::Operand(height) => format!("operand {height}: {value_type}"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suspendable = self
            .functions
            .iter()
            .filter(|function| function.suspendable)
            .count();
        let points: usize = self
            .functions
            .iter()
            .map(|function| function.safe_points.len())
            .sum();
        writeln!(
            f,
            "{suspendable} of {} functions suspendable, {points} safe points, {} -> {} bytes",
            self.functions.len(),
            self.bytes_before,
            self.bytes_after
        )?;
        writeln!(
            f,
            "at most {} operators from one poll to the next, and as many again for each function that returns",
            self.work_bound
        )?;
        self.functions
            .iter()
            .try_for_each(|function| function.fmt(f))
    }
}

impl fmt::Display for FunctionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\nfunction {}", self.index)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        let verdict = if self.suspendable {
            "suspendable"
        } else {
            "not suspendable"
        };
        writeln!(f, ": {verdict}, {}", self.reason)?;
        writeln!(
            f,
            "  {} -> {} bytes, at most {} operators between polls",
            self.bytes_before, self.bytes_after, self.work_bound
        )?;
        for point in &self.safe_points {
            writeln!(
                f,
                "  safe point {} at {:#x}: {}, live: {}",
                point.id,
                point.offset,
                point.kind,
                if point.live.is_empty() {
                    "nothing".to_owned()
                } else {
                    point.live.join(", ")
                }
            )?;
        }
        Ok(())
    }
}
