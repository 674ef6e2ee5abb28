//! Does a module fit a state that was taken from another one: a variant of the same original, or a
//! patched one?
//!
//! It does if everything that the state relies on is unchanged: the code and the safe points of each
//! function on the stack, and globals, tables, memories and segments. Functions may have moved to other
//! indices. `docs/patched-modules.md` says what may change and what may not.

use std::collections::HashMap;
use std::fmt;

use wasm_migrate_abi::{Description, FINGERPRINT_BYTES, Fingerprint, Function, Parts};

use crate::error::{ProtocolError, ResumeError};
use crate::names::Names;
use crate::snapshot::hex;
use crate::state::{Frame, State};

/// So many changes are listed in an error.
const LISTED_MAX: usize = 20;

/// What a module must be like for a state to fit it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// What the state relies on besides its stack.
    pub parts: Parts,
    /// The functions on the stack, each once, by ascending index.
    pub functions: Vec<RequiredFunction>,
}

/// What a function on the stack must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredFunction {
    /// Its index in the original that was running.
    pub index: u32,
    /// Its name there.
    pub name: Option<String>,
    /// Its type, locals and code, and what it calls.
    pub code: Fingerprint,
    /// Where it can be stopped and what it saves there.
    pub safe_points: Fingerprint,
}

/// Something that a state relies on and that is not the same in a module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Something other than a function, by its name in the plural.
    Part(&'static str),
    /// The code of a function on the stack.
    Code(RequiredFunction),
    /// The safe points of a function on the stack, whose code is the same.
    SafePoints(RequiredFunction),
    /// A function on the stack is gone, or can no longer be stopped.
    Gone(RequiredFunction),
}

impl fmt::Display for RequiredFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.index)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(name) => write!(f, "the {name} are others"),
            Self::Code(function) => {
                write!(f, "{function} is on the stack, and its code is another")
            }
            Self::SafePoints(function) => write!(
                f,
                "{function} is on the stack, and it can be stopped at other places (a function that \
                 it calls may suspend only in one of the modules)"
            ),
            Self::Gone(function) => write!(
                f,
                "{function} is on the stack, and there is no such function that can be stopped"
            ),
        }
    }
}

/// Changes, one a line.
pub(crate) struct List<'a>(pub(crate) &'a [Change]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in self.0.iter().take(LISTED_MAX) {
            write!(f, "\n  {change}")?;
        }
        match self.0.len().saturating_sub(LISTED_MAX) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Requirements {
    /// What a state with these frames, taken from this module, relies on.
    pub(crate) fn new(
        description: &Description,
        names: &Names,
        frames: &[Frame],
    ) -> Result<Self, ProtocolError> {
        let mut indices: Vec<u32> = frames.iter().map(|frame| frame.function).collect();
        indices.sort_unstable();
        indices.dedup();
        let require = |index: u32| {
            let function = description.function(index).ok_or_else(|| {
                ProtocolError::new(format!("function {index} is not in its description"))
            })?;
            Ok(RequiredFunction {
                index,
                name: names.function(index).map(str::to_owned),
                code: function.code,
                safe_points: safe_points(function),
            })
        };
        Ok(Self {
            parts: description.parts,
            functions: indices.into_iter().map(require).collect::<Result<_, _>>()?,
        })
    }
}

/// The state's frames as the module numbers its functions.
///
/// # Errors
/// The module lacks something that the state relies on.
pub(crate) fn frames_in<M>(
    description: &Description,
    names: &Names,
    state: &State<M>,
) -> Result<Vec<Frame>, ResumeError> {
    let required = &state.requirements;
    let parts = required.parts.named().into_iter();
    let mut changes: Vec<Change> = parts
        .zip(description.parts.named())
        .filter(|((_, required), (_, found))| required != found)
        .map(|((name, _), _)| Change::Part(name))
        .collect();
    let candidates = Candidates::new(description, names);
    let mut indices = HashMap::new();
    for function in &required.functions {
        match candidates.find(function) {
            Ok(index) => _ = indices.insert(function.index, index),
            Err(change) => changes.push(change),
        }
    }
    if !changes.is_empty() {
        return Err(ResumeError::OtherModule {
            expected: hex(&description.original_digest),
            found: hex(&state.original_digest),
            changes,
        });
    }
    let renumber = |frame: &Frame| {
        let function = indices.get(&frame.function).ok_or_else(|| {
            ResumeError::Mismatch(format!(
                "it does not say what function {} on its stack was like",
                frame.function
            ))
        })?;
        Ok(Frame {
            function: *function,
            ..frame.clone()
        })
    };
    state.frames.iter().map(renumber).collect()
}

/// The module's functions that can be on a stack, by what they are.
struct Candidates<'d> {
    description: &'d Description,
    names: &'d Names,
    /// `None` if several functions are alike.
    by_code: HashMap<Fingerprint, Option<&'d Function>>,
}

impl<'d> Candidates<'d> {
    fn new(description: &'d Description, names: &'d Names) -> Self {
        let mut by_code = HashMap::with_capacity(description.functions.len());
        for function in &description.functions {
            by_code
                .entry(function.code)
                .and_modify(|found| *found = None)
                .or_insert(Some(function));
        }
        Self {
            description,
            names,
            by_code,
        }
    }

    /// The index of the function that is as required.
    fn find(&self, required: &RequiredFunction) -> Result<u32, Change> {
        let in_place = self.description.function(required.index);
        let found = in_place
            .filter(|function| function.code == required.code)
            .or_else(|| self.by_code.get(&required.code).copied().flatten());
        match found {
            Some(function) if safe_points(function) == required.safe_points => Ok(function.index),
            Some(_) => Err(Change::SafePoints(required.clone())),
            None if self.has_namesake(required) => Err(Change::Code(required.clone())),
            None => Err(Change::Gone(required.clone())),
        }
    }

    /// Is there a function by that name, or at that index if it had no name?
    fn has_namesake(&self, required: &RequiredFunction) -> bool {
        match &required.name {
            None => self.description.function(required.index).is_some(),
            Some(name) => {
                let mut functions = self.description.functions.iter();
                functions.any(|function| self.names.function(function.index) == Some(name.as_str()))
            }
        }
    }
}

/// Fingerprint of where a function can be stopped and of what it saves there. Byte offsets do not count:
/// they move with the lengths of indices.
fn safe_points(function: &Function) -> Fingerprint {
    let points = &function.safe_points;
    let kinds: Vec<_> = points
        .iter()
        .map(|point| (point.kind, point.live_set))
        .collect();
    let bytes = postcard::to_stdvec(&(&function.slots, &function.live_sets, kinds))
        .expect("a description has only serialisable fields");
    let digest = blake3::hash(&bytes);
    let first: &[u8; FINGERPRINT_BYTES] = digest.as_bytes().first_chunk().expect("it is longer");
    Fingerprint(*first)
}
