//! The functions that carry out a [`FilePlan`].
//!
//! Descriptors that the host gave other numbers than the guest knows are moved there by way of numbers above all
//! others, so that none is overwritten before it has been moved. `fd_renumber` wants its target open, so the
//! numbers below are filled first; in the end whatever the guest does not know is closed.

use wasm_encoder::{BlockType, Function, Instruction, MemArg, MemArgTarget, ValType};

use super::files::{Descriptor, FIRST_PREOPEN, FilePlan, PlannedOrigin, Text};
use super::layout::{Layout, Signature, count32};
use crate::wasi::Opened;

/// `oflags` of a directory.
const DIRECTORY: i32 = 2;
/// Rights to open and read: `fd_read`, `path_open`, `fd_readdir`.
const READ_RIGHTS: i64 = 1 << 1 | 1 << 13 | 1 << 14;
/// Offset of the name's length in a `prestat`, and of the size in a `filestat`.
const NAME_BYTES_AT: u64 = 4;
const SIZE_AT: u64 = 32;
/// Exit status of a program whose files are not there: a system error, as in `sysexits.h`.
const EXIT_STATUS: i32 = 71;
const STDERR: i32 = 2;

/// The functions, in this order.
const FAIL: u32 = 0;
const EQUAL: u32 = 1;
const RESERVE: u32 = 2;
const KNOWS: u32 = 3;
pub(super) const OPEN: u32 = 4;

/// Writes functions; they will stand at `first` and following.
pub(super) struct FileCode<'p> {
    pub(super) plan: &'p FilePlan,
    pub(super) layout: &'p Layout,
    pub(super) first: u32,
}

impl FileCode<'_> {
    /// All functions with their signatures.
    pub(super) fn functions(&self) -> Vec<(Signature, Function)> {
        use ValType::I32;
        vec![
            ((&[I32, I32], &[]), self.fail()),
            ((&[I32, I32, I32], &[I32]), self.equal()),
            ((&[I32, I32], &[I32]), self.reserve()),
            ((&[I32], &[I32]), self.knows()),
            ((&[], &[]), self.open()),
        ]
    }

    fn wasi(&self, name: &str) -> Instruction<'static> {
        Instruction::Call(self.layout.wasi(name))
    }

    fn helper(&self, helper: u32) -> Instruction<'static> {
        Instruction::Call(self.first + helper)
    }

    fn at(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 0,
            target: MemArgTarget::Memory(self.plan.memory),
            ordering: None,
        }
    }

    /// If the value on the stack is not zero, ends the program with this message.
    fn fail_if(&self, message: Text) -> [Instruction<'static>; 5] {
        [
            Instruction::If(BlockType::Empty),
            constant(message.at),
            constant(message.bytes),
            self.helper(FAIL),
            Instruction::End,
        ]
    }

    /// `(text, bytes)`: says it on standard error and ends the program.
    fn fail(&self) -> Function {
        build(
            0,
            [
                Instruction::I32Const(0),
                Instruction::LocalGet(0),
                Instruction::I32Store(self.at(0)),
                Instruction::I32Const(0),
                Instruction::LocalGet(1),
                Instruction::I32Store(self.at(4)),
                Instruction::I32Const(STDERR),
                Instruction::I32Const(0),
                Instruction::I32Const(1),
                Instruction::I32Const(8),
                self.wasi("fd_write"),
                Instruction::Drop,
                Instruction::I32Const(EXIT_STATUS),
                self.wasi("proc_exit"),
                Instruction::Unreachable,
            ],
        )
    }

    /// `(a, b, bytes) -> are they equal`.
    fn equal(&self) -> Function {
        build(
            0,
            [
                Instruction::Block(BlockType::Empty),
                Instruction::Loop(BlockType::Empty),
                Instruction::LocalGet(2),
                Instruction::I32Eqz,
                Instruction::BrIf(1),
                Instruction::LocalGet(2),
                Instruction::I32Const(1),
                Instruction::I32Sub,
                Instruction::LocalTee(2),
                Instruction::LocalGet(0),
                Instruction::I32Add,
                Instruction::I32Load8U(self.at(0)),
                Instruction::LocalGet(1),
                Instruction::LocalGet(2),
                Instruction::I32Add,
                Instruction::I32Load8U(self.at(0)),
                Instruction::I32Eq,
                Instruction::BrIf(0),
                Instruction::I32Const(0),
                Instruction::Return,
                Instruction::End,
                Instruction::End,
                Instruction::I32Const(1),
            ],
        )
    }

    /// `(directory, limit) -> descriptor`: opens the directory until the host hands out a number that is not
    /// below the limit; all below are open then. Answers that number.
    fn reserve(&self) -> Function {
        let mut body = vec![
            Instruction::Loop(BlockType::Empty),
            Instruction::LocalGet(0),
            Instruction::I32Const(0),
            constant(self.plan.here.at),
            constant(self.plan.here.bytes),
            Instruction::I32Const(DIRECTORY),
            Instruction::I64Const(READ_RIGHTS),
            Instruction::I64Const(READ_RIGHTS),
            Instruction::I32Const(0),
            Instruction::I32Const(0),
            self.wasi("path_open"),
        ];
        body.extend(self.fail_if(self.plan.cannot_move));
        body.extend([
            Instruction::I32Const(0),
            Instruction::I32Load(self.at(0)),
            Instruction::LocalTee(2),
            Instruction::LocalGet(1),
            Instruction::I32LtU,
            Instruction::BrIf(0),
            Instruction::End,
            Instruction::LocalGet(2),
        ]);
        build(1, body)
    }

    /// `(descriptor) -> does the guest have it`.
    fn knows(&self) -> Function {
        let mut body = Vec::new();
        for descriptor in &self.plan.descriptors {
            body.extend([
                Instruction::LocalGet(0),
                constant(descriptor.fd),
                Instruction::I32Eq,
                Instruction::If(BlockType::Empty),
                Instruction::I32Const(1),
                Instruction::Return,
                Instruction::End,
            ]);
        }
        body.push(Instruction::I32Const(0));
        build(0, body)
    }

    /// Carries out the whole plan. Locals: by descriptor, the number that it has now; then whether any has
    /// another than it should, the first number above all others, and a number.
    fn open(&self) -> Function {
        let count = count32(self.plan.descriptors.len());
        let mut body = Vec::new();
        for (fd, directory) in (FIRST_PREOPEN..).zip(&self.plan.directories) {
            body.extend(self.check_directory(fd, directory.shown, directory.missing));
        }
        for (local, descriptor) in (0..).zip(&self.plan.descriptors) {
            match &descriptor.origin {
                PlannedOrigin::Host(fd) => body.push(constant(*fd)),
                PlannedOrigin::Opened {
                    opened,
                    path,
                    unreachable,
                    changed,
                } => body.extend(self.open_file(opened, *path, *unreachable, *changed)),
            }
            body.push(Instruction::LocalSet(local));
        }
        body.extend(self.arrange(count));
        for (at, word) in (0..).step_by(8).zip(self.plan.contents.chunks_exact(8)) {
            let word = i64::from_le_bytes(word.try_into().expect("8 bytes"));
            body.extend([
                Instruction::I32Const(0),
                Instruction::I64Const(word),
                Instruction::I64Store(self.at(at)),
            ]);
        }
        build(count + 3, body)
    }

    /// Is the host's directory at `fd` the one of this name?
    fn check_directory(&self, fd: u32, name: Text, missing: Text) -> Vec<Instruction<'static>> {
        let buffer = constant(self.plan.name_buffer);
        let mut body = vec![
            constant(fd),
            Instruction::I32Const(0),
            self.wasi("fd_prestat_get"),
        ];
        body.extend(self.fail_if(missing));
        body.extend([
            Instruction::I32Const(0),
            Instruction::I32Load(self.at(NAME_BYTES_AT)),
            constant(name.bytes),
            Instruction::I32Ne,
        ]);
        body.extend(self.fail_if(missing));
        body.extend([
            constant(fd),
            buffer.clone(),
            constant(name.bytes),
            self.wasi("fd_prestat_dir_name"),
        ]);
        body.extend(self.fail_if(missing));
        body.extend([
            buffer,
            constant(name.at),
            constant(name.bytes),
            self.helper(EQUAL),
            Instruction::I32Eqz,
        ]);
        body.extend(self.fail_if(missing));
        body
    }

    /// Opens a file or directory; leaves its number on the stack.
    fn open_file(
        &self,
        opened: &Opened,
        path: Text,
        unreachable: Text,
        changed: Text,
    ) -> Vec<Instruction<'static>> {
        let directory = constant(FIRST_PREOPEN + opened.preopen);
        let follow = Instruction::I32Const(i32::from(opened.follow));
        let mut body = Vec::new();
        if let Some((_, size)) = opened.contents {
            body.extend([
                directory.clone(),
                follow.clone(),
                constant(path.at),
                constant(path.bytes),
                Instruction::I32Const(0),
                self.wasi("path_filestat_get"),
            ]);
            body.extend(self.fail_if(unreachable));
            body.extend([
                Instruction::I32Const(0),
                Instruction::I64Load(self.at(SIZE_AT)),
                Instruction::I64Const(size.cast_signed()),
                Instruction::I64Ne,
            ]);
            body.extend(self.fail_if(changed));
        }
        body.extend([
            directory,
            follow,
            constant(path.at),
            constant(path.bytes),
            Instruction::I32Const(i32::from(opened.oflags)),
            Instruction::I64Const(opened.rights.cast_signed()),
            Instruction::I64Const(opened.inheriting.cast_signed()),
            Instruction::I32Const(i32::from(opened.flags)),
            Instruction::I32Const(0),
            self.wasi("path_open"),
        ]);
        body.extend(self.fail_if(unreachable));
        body.extend([Instruction::I32Const(0), Instruction::I32Load(self.at(0))]);
        if let Some((offset @ 1.., _)) = opened.contents {
            // What it answers lies where the number is; the last local holds that meanwhile.
            let held = count32(self.plan.descriptors.len()) + 2;
            body.extend([
                Instruction::LocalTee(held),
                Instruction::I64Const(offset.cast_signed()),
                Instruction::I32Const(0),
                Instruction::I32Const(0),
                self.wasi("fd_seek"),
            ]);
            body.extend(self.fail_if(unreachable));
            body.push(Instruction::LocalGet(held));
        }
        body
    }

    /// Brings all descriptors to their numbers, and closes what the guest does not know.
    fn arrange(&self, count: u32) -> Vec<Instruction<'static>> {
        let (is_moved, top) = (count, count + 1);
        let first_free = FIRST_PREOPEN + count32(self.plan.directories.len());
        let largest = self.plan.descriptors.last().map_or(0, |last| last.fd);
        let mut body = vec![
            constant(first_free.max(largest + 1)),
            Instruction::LocalSet(top),
        ];
        for (local, descriptor) in (0..).zip(&self.plan.descriptors) {
            body.extend(is_elsewhere(local, descriptor));
            body.extend([
                Instruction::LocalGet(is_moved),
                Instruction::I32Or,
                Instruction::LocalSet(is_moved),
                // top = max(top, now + 1)
                Instruction::LocalGet(top),
                Instruction::LocalGet(local),
                Instruction::I32Const(1),
                Instruction::I32Add,
                Instruction::LocalGet(top),
                Instruction::LocalGet(local),
                Instruction::I32GtU,
                Instruction::Select,
                Instruction::LocalSet(top),
            ]);
        }
        body.extend([
            Instruction::LocalGet(is_moved),
            Instruction::If(BlockType::Empty),
        ]);
        if self.plan.directories.is_empty() {
            // Every descriptor is a stream that is where it should be.
            body.push(Instruction::Unreachable);
        } else {
            body.extend(self.move_all(count));
        }
        body.push(Instruction::Else);
        for fd in (0..first_free).filter(|fd| !self.plan.has(*fd)) {
            body.extend([constant(fd), self.wasi("fd_close"), Instruction::Drop]);
        }
        body.push(Instruction::End);
        body
    }

    fn move_all(&self, count: u32) -> Vec<Instruction<'static>> {
        let (top, number) = (count + 1, count + 2);
        let limit = [
            Instruction::LocalGet(top),
            constant(count),
            Instruction::I32Add,
            self.helper(RESERVE),
            Instruction::LocalSet(number),
        ];
        let mut body = vec![constant(FIRST_PREOPEN)];
        body.extend(limit.clone());
        for step in [Move::Away, Move::Home] {
            for (local, descriptor) in (0..).zip(&self.plan.descriptors) {
                body.extend(self.renumber(local, descriptor, top, step));
            }
            if step == Move::Away {
                // What was moved away has left its number.
                body.push(Instruction::LocalGet(number));
                body.extend(limit.clone());
            }
        }
        body.extend([
            Instruction::Loop(BlockType::Empty),
            Instruction::LocalGet(number),
            self.helper(KNOWS),
            Instruction::I32Eqz,
            Instruction::If(BlockType::Empty),
            Instruction::LocalGet(number),
            self.wasi("fd_close"),
            Instruction::Drop,
            Instruction::End,
            Instruction::LocalGet(number),
            Instruction::I32Const(1),
            Instruction::I32Sub,
            Instruction::LocalTee(number),
            Instruction::I32Const(0),
            Instruction::I32GeS,
            Instruction::BrIf(0),
            Instruction::End,
        ]);
        body
    }

    /// Moves a descriptor that is not where it should be to its own place above all others, or from there.
    fn renumber(
        &self,
        local: u32,
        descriptor: &Descriptor,
        top: u32,
        step: Move,
    ) -> Vec<Instruction<'static>> {
        let above = [
            Instruction::LocalGet(top),
            constant(local),
            Instruction::I32Add,
        ];
        let mut body = is_elsewhere(local, descriptor).to_vec();
        body.push(Instruction::If(BlockType::Empty));
        match step {
            Move::Away => {
                body.push(Instruction::LocalGet(local));
                body.extend(above);
            }
            Move::Home => {
                body.extend(above);
                body.push(constant(descriptor.fd));
            }
        }
        body.push(self.wasi("fd_renumber"));
        body.extend(self.fail_if(self.plan.cannot_move));
        body.push(Instruction::End);
        body
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Away,
    Home,
}

/// Does this descriptor have another number than it should?
fn is_elsewhere(local: u32, descriptor: &Descriptor) -> [Instruction<'static>; 3] {
    [
        Instruction::LocalGet(local),
        constant(descriptor.fd),
        Instruction::I32Ne,
    ]
}

fn constant(value: u32) -> Instruction<'static> {
    Instruction::I32Const(value.cast_signed())
}

/// A function with so many `i32` locals beside its parameters.
fn build(locals: u32, instructions: impl IntoIterator<Item = Instruction<'static>>) -> Function {
    let mut function = Function::new([(locals, ValType::I32)]);
    for instruction in instructions {
        function.instruction(&instruction);
    }
    function.instruction(&Instruction::End);
    function
}
