//! The call stack between the guest's words and typed frames.
//!
//! An unwinding guest sends each frame, innermost first, as the words of its live slots. [`RawStack`]
//! keeps just these words; that is enough to rewind the same instance. For a snapshot they become typed
//! [`Frame`]s and back.

use std::collections::HashMap;
use std::ops::Range;

use wasm_migrate_abi::{Description, Function, SafePointKind, ValueType};

use crate::error::ProtocolError;
use crate::state::{Frame, Value};

/// Word of a null function reference: -1 as an `i32`.
const NULL_REFERENCE: u64 = u32::MAX as u64;

/// A call stack as the guest sends it, innermost frame first. An `i32` word is held zero-extended.
#[derive(Debug, Default)]
pub(crate) struct RawStack {
    words: Vec<u64>,
    frames: Vec<RawFrame>,
}

#[derive(Debug, Clone, Copy)]
struct RawFrame {
    function: u32,
    safe_point: u32,
    /// Where the frame's words end and those of its caller begin.
    words_end: usize,
}

impl RawStack {
    pub(crate) fn push_word(&mut self, word: u64) {
        self.words.push(word);
    }

    /// Ends a frame, whose words came from the last to the first.
    pub(crate) fn close_frame(&mut self, function: u32, safe_point: u32) {
        let start = self.frames.last().map_or(0, |inner| inner.words_end);
        self.words[start..].reverse();
        self.add_frame(function, safe_point);
    }

    fn add_frame(&mut self, function: u32, safe_point: u32) {
        self.frames.push(RawFrame {
            function,
            safe_point,
            words_end: self.words.len(),
        });
    }

    fn words_of(&self, frame: usize) -> &[u64] {
        let start = frame
            .checked_sub(1)
            .map_or(0, |inner| self.frames[inner].words_end);
        &self.words[start..self.frames[frame].words_end]
    }

    /// The typed frames, outermost first. `references` are the functions in the guest's scratch table.
    pub(crate) fn to_frames(
        &self,
        description: &Description,
        references: &[Option<u32>],
    ) -> Result<Vec<Frame>, ProtocolError> {
        let decode = |index: usize| {
            let RawFrame {
                function,
                safe_point,
                ..
            } = self.frames[index];
            let layout = SafePointLayout::of(description, function, safe_point)?;
            let values = layout.decode(self.words_of(index), references)?;
            Ok(Frame {
                function,
                safe_point,
                values,
            })
        };
        (0..self.frames.len()).rev().map(decode).collect()
    }

    /// The words of checked `frames`, whose function references stand in the guest's scratch table at
    /// the places that `references` says.
    pub(crate) fn from_frames(frames: &[Frame], references: &HashMap<u32, u32>) -> Self {
        let mut stack = Self::default();
        for frame in frames.iter().rev() {
            for value in &frame.values {
                encode_value(value, references, &mut stack.words);
            }
            stack.add_frame(frame.function, frame.safe_point);
        }
        stack
    }

    /// Makes the stack ready to be loaded again.
    pub(crate) fn into_rewind(self, description: &Description) -> Result<Rewind, ProtocolError> {
        let mut frames = Vec::with_capacity(self.frames.len());
        let mut start = 0;
        for (index, raw) in self.frames.iter().enumerate() {
            let layout = SafePointLayout::of(description, raw.function, raw.safe_point)?;
            layout.check_word_count(self.words_of(index))?;
            frames.push(RewindFrame {
                function: raw.function,
                safe_point: raw.safe_point,
                kind: layout.kind(),
                resume_slot: layout.function.resume_slot,
                words: start..raw.words_end,
            });
            start = raw.words_end;
        }
        Ok(Rewind {
            words: self.words,
            left: frames,
            open: 0..0,
        })
    }
}

/// Checks a frame of a snapshot against the module's description.
pub(crate) fn check_frame(description: &Description, frame: &Frame) -> Result<(), String> {
    let layout = SafePointLayout::of(description, frame.function, frame.safe_point)
        .map_err(|error| error.what)?;
    let expected: Vec<ValueType> = layout.live_types().collect();
    let found: Vec<ValueType> = frame.values.iter().map(Value::value_type).collect();
    if expected != found {
        return Err(format!(
            "a frame of function {} holds {found:?}, its safe point {} has {expected:?}",
            frame.function, frame.safe_point
        ));
    }
    Ok(())
}

/// A stack being loaded.
#[derive(Debug)]
pub(crate) struct Rewind {
    words: Vec<u64>,
    /// Frames not opened yet, the next one last.
    left: Vec<RewindFrame>,
    /// Words that the open frame still holds.
    open: Range<usize>,
}

#[derive(Debug)]
struct RewindFrame {
    function: u32,
    safe_point: u32,
    kind: SafePointKind,
    resume_slot: Option<u32>,
    words: Range<usize>,
}

impl Rewind {
    /// Opens the next frame if it belongs to `function`; answers its safe point.
    pub(crate) fn open(&mut self, function: u32) -> Result<Option<u32>, ProtocolError> {
        if !self.open.is_empty() {
            return Err(ProtocolError::new(
                "it opened a frame before taking all words of the last",
            ));
        }
        let next = self.left.pop_if(|next| next.function == function);
        let Some(next) = next else {
            return if self.left.is_empty() {
                Err(no_frame_left())
            } else {
                Ok(None)
            };
        };
        self.open = next.words;
        Ok(Some(next.safe_point))
    }

    /// The next word of the open frame.
    pub(crate) fn take_word(&mut self) -> Result<u64, ProtocolError> {
        let word = self.open.next().map(|place| self.words[place]);
        word.ok_or_else(|| ProtocolError::new("it asked for more words than the frame has"))
    }

    /// The resume slot of the next frame's function.
    pub(crate) fn callee(&self) -> Result<u32, ProtocolError> {
        let next = self.left.last().ok_or_else(no_frame_left)?;
        next.resume_slot.ok_or_else(|| {
            ProtocolError::new(format!("function {} has no resume slot", next.function))
        })
    }

    /// Are all frames loaded?
    pub(crate) fn is_done(&self) -> bool {
        self.left.is_empty() && self.open.is_empty()
    }

    /// Number of frames not opened yet.
    pub(crate) fn depth(&self) -> usize {
        self.left.len()
    }

    /// Does the guest poll as soon as it runs again, at the very safe point where it was stopped?
    pub(crate) fn ends_with_poll(&self) -> bool {
        let innermost = self.left.first().map(|frame| frame.kind);
        matches!(innermost, Some(SafePointKind::Loop | SafePointKind::Entry))
    }
}

fn no_frame_left() -> ProtocolError {
    ProtocolError::new("it asked for more frames than there are")
}

fn wrong_word_count(function: u32, expected: usize, found: usize) -> ProtocolError {
    ProtocolError::new(format!(
        "a frame of function {function} has {found} words where its description says {expected}"
    ))
}

/// Which words a frame has at one safe point.
struct SafePointLayout<'d> {
    function: &'d Function,
    safe_point: u32,
    /// Live slots, in the order of their words.
    live: &'d [u32],
}

impl<'d> SafePointLayout<'d> {
    fn of(
        description: &'d Description,
        index: u32,
        safe_point: u32,
    ) -> Result<Self, ProtocolError> {
        let function = description.function(index);
        let found =
            function.and_then(|function| Some((function, function.live_slots(safe_point)?)));
        let (function, live) = found.ok_or_else(|| {
            ProtocolError::new(format!("function {index} has no safe point {safe_point}"))
        })?;
        Ok(Self {
            function,
            safe_point,
            live,
        })
    }

    fn kind(&self) -> SafePointKind {
        self.function.safe_points[self.safe_point as usize].kind
    }

    fn live_types(&self) -> impl Iterator<Item = ValueType> {
        self.live
            .iter()
            .map(|slot| self.function.slots[*slot as usize].value_type)
    }

    fn saved_words(&self) -> usize {
        self.live_types().map(word_count).sum()
    }

    fn decode(
        &self,
        words: &[u64],
        references: &[Option<u32>],
    ) -> Result<Vec<Value>, ProtocolError> {
        self.check_word_count(words)?;
        let mut words = words.iter().copied();
        self.live_types()
            .map(|ty| decode_value(ty, &mut words, references))
            .collect()
    }

    fn check_word_count(&self, words: &[u64]) -> Result<(), ProtocolError> {
        let expected = self.saved_words();
        if words.len() == expected {
            return Ok(());
        }
        Err(wrong_word_count(self.function.index, expected, words.len()))
    }
}

fn word_count(value_type: ValueType) -> usize {
    if value_type == ValueType::V128 { 2 } else { 1 }
}

/// Takes a value off `words`; `references` are the functions in the guest's scratch table.
pub(crate) fn decode_value(
    value_type: ValueType,
    words: &mut impl Iterator<Item = u64>,
    references: &[Option<u32>],
) -> Result<Value, ProtocolError> {
    let mut word = || {
        words
            .next()
            .ok_or_else(|| ProtocolError::new("it sent too few words"))
    };
    Ok(match value_type {
        // The cast drops the upper half, which is zero.
        ValueType::I32 => Value::I32(word()? as i32),
        ValueType::F32 => Value::F32(word()? as u32),
        ValueType::I64 => Value::I64(word()?.cast_signed()),
        ValueType::F64 => Value::F64(word()?),
        ValueType::V128 => Value::V128(u128::from(word()?) | u128::from(word()?) << 64),
        ValueType::FuncRef => match word()? {
            NULL_REFERENCE => Value::FuncRef(None),
            place => {
                let function = usize::try_from(place)
                    .ok()
                    .and_then(|place| references.get(place));
                Value::FuncRef(*function.ok_or_else(|| {
                    ProtocolError::new(format!(
                        "it saved a reference at place {place}, which is not there"
                    ))
                })?)
            }
        },
        ValueType::ExternRef => {
            return Err(ProtocolError::new("it saved a host reference in a frame"));
        }
    })
}

/// Appends the words of a checked value.
pub(crate) fn encode_value(value: &Value, references: &HashMap<u32, u32>, words: &mut Vec<u64>) {
    let word = match value {
        Value::I32(value) => u64::from(value.cast_unsigned()),
        Value::F32(bits) => u64::from(*bits),
        Value::I64(value) => value.cast_unsigned(),
        Value::F64(bits) => *bits,
        Value::V128(value) => {
            // Low half first; the casts cut on purpose.
            words.push(*value as u64);
            (*value >> 64) as u64
        }
        Value::FuncRef(Some(function)) => u64::from(references[function]),
        Value::FuncRef(None) | Value::ExternRef(_) => NULL_REFERENCE,
    };
    words.push(word);
}
