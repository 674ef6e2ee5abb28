//! A `*.wast` file as a list of commands that own what they need.
//!
//! The parser's own tree borrows from the source and can be encoded only once; every way of
//! executing a file walks the same [`Script`] instead.

use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{F32, F64, Id, Span};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

/// All commands of a file, in order.
#[derive(Debug)]
pub(crate) struct Script {
    /// The commands.
    pub(crate) commands: Vec<Command>,
}

/// One directive.
#[derive(Debug)]
pub(crate) struct Command {
    /// Line of the directive in the file, from 1.
    pub(crate) line: usize,
    /// What is to be done.
    pub(crate) action: Action,
}

/// A module's bytes, or why the text makes none.
pub(crate) type Encoded = Result<Vec<u8>, String>;

/// What a directive asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Define and instantiate a module.
    Module { name: Option<String>, wasm: Encoded },
    /// Define a module only.
    Definition { name: Option<String>, wasm: Encoded },
    /// Instantiate a defined module.
    Instance {
        name: Option<String>,
        definition: Option<String>,
    },
    /// Make an instance's exports importable.
    Register {
        name: String,
        instance: Option<String>,
    },
    /// Call an export and expect no particular result.
    Invoke(Invoke),
    /// Results must match.
    AssertReturn {
        execute: Execute,
        expected: Vec<Expected>,
    },
    /// It must trap.
    AssertTrap { execute: Execute, message: String },
    /// It must overflow the stack.
    AssertExhaustion { invoke: Invoke, message: String },
    /// It must throw an exception that nobody catches.
    AssertException { execute: Execute },
    /// The module must be refused: malformed or invalid.
    AssertRefused { wasm: Encoded },
    /// The module must fail to link.
    AssertUnlinkable { wasm: Encoded },
    /// A directive that no way of ours executes; the text says which.
    Unsupported(&'static str),
}

/// A call of an export.
#[derive(Debug)]
pub(crate) struct Invoke {
    /// Instance, or the latest one.
    pub(crate) instance: Option<String>,
    /// Export name.
    pub(crate) export: String,
    /// Arguments.
    pub(crate) arguments: Vec<Argument>,
}

/// Something that an assertion executes.
#[derive(Debug)]
pub(crate) enum Execute {
    /// A call.
    Invoke(Invoke),
    /// Instantiating a module.
    Instantiate(Encoded),
    /// Reading an exported global.
    Get {
        instance: Option<String>,
        global: String,
    },
}

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a float.
    F32(u32),
    /// Bits of a float.
    F64(u64),
    /// Vector.
    V128(u128),
    /// A null of this hierarchy.
    Null(Hierarchy),
    /// Host value as `externref`.
    Extern(u32),
    /// Host value as `anyref`.
    Host(u32),
}

/// The four hierarchies of reference types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// Functions.
    Func,
    /// Host values.
    Extern,
    /// Garbage-collected objects.
    Any,
    /// Exceptions.
    Exn,
}

/// A float that a result must match.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FloatPattern<Bits> {
    /// The canonical NaN, either sign.
    Canonical,
    /// Any quiet NaN.
    Arithmetic,
    /// Exactly these bits.
    Bits(Bits),
}

/// What a result must be.
#[derive(Debug)]
pub(crate) enum Expected {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// 32-bit float.
    F32(FloatPattern<u32>),
    /// 64-bit float.
    F64(FloatPattern<u64>),
    /// Vector, bit by bit.
    V128(u128),
    /// Four lanes.
    F32x4([FloatPattern<u32>; 4]),
    /// Two lanes.
    F64x2([FloatPattern<u64>; 2]),
    /// Any null.
    Null,
    /// A host value as `externref`; which one, if it matters.
    Extern(Option<u32>),
    /// A host value as `anyref`.
    Host(u32),
    /// A function, not null.
    Func,
    /// An object of a garbage-collected kind, not null.
    Object(ObjectKind),
    /// One of these.
    Either(Vec<Expected>),
}

/// Kinds of garbage-collected objects that results are tested for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectKind {
    /// Anything.
    Any,
    /// Comparable.
    Eq,
    /// Array.
    Array,
    /// Struct.
    Struct,
    /// Unboxed integer.
    I31,
}

impl Script {
    /// Parses a file.
    ///
    /// # Errors
    /// What the parser does not understand, as text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lexer = Lexer::new(text);
        lexer.allow_confusing_unicode(true);
        let buffer = ParseBuffer::new_with_lexer(lexer).map_err(|error| error.message())?;
        let wast = parser::parse::<Wast<'_>>(&buffer).map_err(|error| error.message())?;
        let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |span: Span| newlines.partition_point(|&at| at < span.offset()) + 1;
        let commands = wast
            .directives
            .into_iter()
            .map(|directive| Command {
                line: line(directive.span()),
                action: action(directive),
            })
            .collect();
        Ok(Self { commands })
    }
}

fn action(directive: WastDirective<'_>) -> Action {
    match directive {
        WastDirective::Module(mut module) => Action::Module {
            name: id(module.name()),
            wasm: encode(&mut module),
        },
        WastDirective::ModuleDefinition(mut module) => Action::Definition {
            name: id(module.name()),
            wasm: encode(&mut module),
        },
        WastDirective::ModuleInstance {
            instance, module, ..
        } => Action::Instance {
            name: id(instance),
            definition: id(module),
        },
        WastDirective::Register { name, module, .. } => Action::Register {
            name: name.to_owned(),
            instance: id(module),
        },
        WastDirective::Invoke(call) => {
            invoke(call).map_or_else(Action::Unsupported, Action::Invoke)
        }
        WastDirective::AssertReturn { exec, results, .. } => {
            let expected: Result<Vec<_>, _> = results.into_iter().map(expected).collect();
            match (execute(exec), expected) {
                (Ok(execute), Ok(expected)) => Action::AssertReturn { execute, expected },
                (Err(what), _) | (_, Err(what)) => Action::Unsupported(what),
            }
        }
        WastDirective::AssertTrap { exec, message, .. } => match execute(exec) {
            Ok(execute) => Action::AssertTrap {
                execute,
                message: message.to_owned(),
            },
            Err(what) => Action::Unsupported(what),
        },
        WastDirective::AssertExhaustion { call, message, .. } => match invoke(call) {
            Ok(invoke) => Action::AssertExhaustion {
                invoke,
                message: message.to_owned(),
            },
            Err(what) => Action::Unsupported(what),
        },
        WastDirective::AssertException { exec, .. } => match execute(exec) {
            Ok(execute) => Action::AssertException { execute },
            Err(what) => Action::Unsupported(what),
        },
        WastDirective::AssertMalformed { mut module, .. }
        | WastDirective::AssertInvalid { mut module, .. } => Action::AssertRefused {
            wasm: encode(&mut module),
        },
        WastDirective::AssertUnlinkable { mut module, .. } => Action::AssertUnlinkable {
            wasm: module.encode().map_err(|error| error.message()),
        },
        WastDirective::AssertInvalidCustom { .. } => Action::Unsupported("assert_invalid_custom"),
        WastDirective::AssertMalformedCustom { .. } => {
            Action::Unsupported("assert_malformed_custom")
        }
        WastDirective::AssertSuspension { .. } => Action::Unsupported("assert_suspension"),
        WastDirective::Thread(_) => Action::Unsupported("thread"),
        WastDirective::Wait { .. } => Action::Unsupported("wait"),
    }
}

fn id(id: Option<Id<'_>>) -> Option<String> {
    id.map(|id| id.name().to_owned())
}

fn encode(module: &mut QuoteWat<'_>) -> Encoded {
    module.encode().map_err(|error| error.message())
}

fn execute(execute: WastExecute<'_>) -> Result<Execute, &'static str> {
    Ok(match execute {
        WastExecute::Invoke(call) => Execute::Invoke(invoke(call)?),
        WastExecute::Wat(mut module) => {
            Execute::Instantiate(module.encode().map_err(|error| error.message()))
        }
        WastExecute::Get { module, global, .. } => Execute::Get {
            instance: id(module),
            global: global.to_owned(),
        },
    })
}

fn invoke(call: WastInvoke<'_>) -> Result<Invoke, &'static str> {
    let arguments: Result<Vec<_>, _> = call.args.into_iter().map(argument).collect();
    Ok(Invoke {
        instance: id(call.module),
        export: call.name.to_owned(),
        arguments: arguments?,
    })
}

fn argument(argument: WastArg<'_>) -> Result<Argument, &'static str> {
    let WastArg::Core(argument) = argument else {
        return Err("component value");
    };
    Ok(match argument {
        WastArgCore::I32(value) => Argument::I32(value),
        WastArgCore::I64(value) => Argument::I64(value),
        WastArgCore::F32(value) => Argument::F32(value.bits),
        WastArgCore::F64(value) => Argument::F64(value.bits),
        WastArgCore::V128(value) => Argument::V128(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(heap) => Argument::Null(hierarchy(&heap)?),
        WastArgCore::RefExtern(value) => Argument::Extern(value),
        WastArgCore::RefHost(value) => Argument::Host(value),
    })
}

fn hierarchy(heap: &HeapType<'_>) -> Result<Hierarchy, &'static str> {
    let HeapType::Abstract { shared: false, ty } = heap else {
        return Err("null of a named type");
    };
    Ok(match ty {
        AbstractHeapType::Func | AbstractHeapType::NoFunc => Hierarchy::Func,
        AbstractHeapType::Extern | AbstractHeapType::NoExtern => Hierarchy::Extern,
        AbstractHeapType::Exn | AbstractHeapType::NoExn => Hierarchy::Exn,
        AbstractHeapType::Any
        | AbstractHeapType::Eq
        | AbstractHeapType::Struct
        | AbstractHeapType::Array
        | AbstractHeapType::I31
        | AbstractHeapType::None => Hierarchy::Any,
        AbstractHeapType::Cont | AbstractHeapType::NoCont => return Err("continuation reference"),
    })
}

fn expected(result: WastRet<'_>) -> Result<Expected, &'static str> {
    let WastRet::Core(result) = result else {
        return Err("component value");
    };
    expected_core(result)
}

fn expected_core(result: WastRetCore<'_>) -> Result<Expected, &'static str> {
    Ok(match result {
        WastRetCore::I32(value) => Expected::I32(value),
        WastRetCore::I64(value) => Expected::I64(value),
        WastRetCore::F32(pattern) => Expected::F32(f32_pattern(pattern)),
        WastRetCore::F64(pattern) => Expected::F64(f64_pattern(pattern)),
        WastRetCore::V128(pattern) => vector(&pattern),
        WastRetCore::RefNull(_) => Expected::Null,
        WastRetCore::RefExtern(value) => Expected::Extern(value),
        WastRetCore::RefHost(value) => Expected::Host(value),
        WastRetCore::RefFunc(_) => Expected::Func,
        WastRetCore::RefAny => Expected::Object(ObjectKind::Any),
        WastRetCore::RefEq => Expected::Object(ObjectKind::Eq),
        WastRetCore::RefArray => Expected::Object(ObjectKind::Array),
        WastRetCore::RefStruct => Expected::Object(ObjectKind::Struct),
        WastRetCore::RefI31 => Expected::Object(ObjectKind::I31),
        WastRetCore::RefI31Shared => return Err("shared reference"),
        WastRetCore::Either(cases) => {
            let cases: Result<Vec<_>, _> = cases.into_iter().map(expected_core).collect();
            Expected::Either(cases?)
        }
    })
}

fn f32_pattern(pattern: NanPattern<F32>) -> FloatPattern<u32> {
    match pattern {
        NanPattern::CanonicalNan => FloatPattern::Canonical,
        NanPattern::ArithmeticNan => FloatPattern::Arithmetic,
        NanPattern::Value(value) => FloatPattern::Bits(value.bits),
    }
}

fn f64_pattern(pattern: NanPattern<F64>) -> FloatPattern<u64> {
    match pattern {
        NanPattern::CanonicalNan => FloatPattern::Canonical,
        NanPattern::ArithmeticNan => FloatPattern::Arithmetic,
        NanPattern::Value(value) => FloatPattern::Bits(value.bits),
    }
}

fn vector(pattern: &V128Pattern) -> Expected {
    let lanes = |lanes: &[&[u8]]| {
        let bytes: [u8; 16] = lanes
            .concat()
            .try_into()
            .expect("a vector's lanes fill 16 bytes");
        Expected::V128(u128::from_le_bytes(bytes))
    };
    match pattern {
        V128Pattern::I8x16(values) => {
            lanes(&values.map(i8::to_le_bytes).each_ref().map(|b| &b[..]))
        }
        V128Pattern::I16x8(values) => {
            lanes(&values.map(i16::to_le_bytes).each_ref().map(|b| &b[..]))
        }
        V128Pattern::I32x4(values) => {
            lanes(&values.map(i32::to_le_bytes).each_ref().map(|b| &b[..]))
        }
        V128Pattern::I64x2(values) => {
            lanes(&values.map(i64::to_le_bytes).each_ref().map(|b| &b[..]))
        }
        V128Pattern::F32x4(values) => Expected::F32x4(values.map(f32_pattern)),
        V128Pattern::F64x2(values) => Expected::F64x2(values.map(f64_pattern)),
    }
}
