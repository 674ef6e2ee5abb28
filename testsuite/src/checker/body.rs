//! A decoded function body with its control flow.

use wasmparser::{BinaryReaderError, FunctionBody, Operator};

/// A function body as a flat list of operators.
#[derive(Debug)]
pub(super) struct Body<'a> {
    /// The operators.
    pub(super) ops: Vec<Operator<'a>>,
    /// Byte offset of each operator from the start of the body.
    pub(super) offsets: Vec<usize>,
    /// For each operator, the innermost construct around it; the operator that opens it.
    parents: Vec<Option<usize>>,
    /// For each operator that opens a construct, its `end`; for others, itself.
    ends: Vec<usize>,
    /// For each `if`, its `else`.
    elses: Vec<Option<usize>>,
    /// Number of declared locals, without parameters.
    pub(super) locals: usize,
}

/// Where a branch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To an operator; the construct whose label it is.
    Operator { at: usize, opener: usize },
    /// Out of the function.
    Return,
}

impl<'a> Body<'a> {
    pub(super) fn decode(body: &FunctionBody<'a>) -> Result<Self, BinaryReaderError> {
        let start = body.range().start;
        let mut locals = 0_usize;
        for group in body.get_locals_reader()? {
            locals += group?.0 as usize;
        }
        let (mut ops, mut offsets) = (Vec::new(), Vec::new());
        for op in body.get_operators_reader()?.into_iter_with_offsets() {
            let (op, offset) = op?;
            ops.push(op);
            offsets.push(usize::try_from(offset).unwrap_or(usize::MAX) - start as usize);
        }
        let mut decoded = Self {
            parents: vec![None; ops.len()],
            ends: (0..ops.len()).collect(),
            elses: vec![None; ops.len()],
            ops,
            offsets,
            locals,
        };
        decoded.connect();
        Ok(decoded)
    }

    fn connect(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for at in 0..self.ops.len() {
            self.parents[at] = open.last().copied();
            match &self.ops[at] {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    open.push(at);
                }
                Operator::Else => {
                    if let Some(&opener) = open.last() {
                        self.elses[opener] = Some(at);
                    }
                }
                Operator::End => {
                    if let Some(opener) = open.pop() {
                        self.ends[opener] = at;
                        self.parents[at] = self.parents[opener];
                    }
                }
                _ => {}
            }
        }
    }

    /// Where a branch with this relative depth goes.
    pub(super) fn target(&self, at: usize, depth: u32) -> Target {
        let mut opener = self.parents[at];
        for _ in 0..depth {
            opener = opener.and_then(|opener| self.parents[opener]);
        }
        match opener {
            None => Target::Return,
            Some(opener) if matches!(self.ops[opener], Operator::Loop { .. }) => Target::Operator {
                at: opener + 1,
                opener,
            },
            Some(opener) => Target::Operator {
                at: self.ends[opener] + 1,
                opener,
            },
        }
    }

    /// Where an `if` whose condition is zero goes.
    pub(super) fn not_taken(&self, at: usize) -> usize {
        self.elses[at].unwrap_or(self.ends[at]) + 1
    }

    /// Where an `else` that is reached from above goes.
    pub(super) fn after_else(&self, at: usize) -> usize {
        self.parents[at].map_or(at, |opener| self.ends[opener]) + 1
    }

    /// Operators that can follow one; none stands for the end of the function.
    pub(super) fn successors(&self, at: usize) -> Vec<usize> {
        let branch = |depth: u32| match self.target(at, depth) {
            Target::Operator { at, .. } => Some(at),
            Target::Return => None,
        };
        let next = Some(at + 1).filter(|next| *next < self.ops.len());
        let successors: Vec<Option<usize>> = match &self.ops[at] {
            Operator::Unreachable
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => Vec::new(),
            Operator::Br { relative_depth } => vec![branch(*relative_depth)],
            Operator::BrIf { relative_depth } => vec![branch(*relative_depth), next],
            Operator::BrTable { targets } => {
                let depths = targets.targets().filter_map(Result::ok);
                depths.chain([targets.default()]).map(branch).collect()
            }
            Operator::If { .. } => vec![next, Some(self.not_taken(at))],
            Operator::Else => vec![Some(self.after_else(at))],
            _ => vec![next],
        };
        let inside = |at: &usize| *at < self.ops.len();
        successors.into_iter().flatten().filter(inside).collect()
    }

    /// Operators that can be reached from the first.
    pub(super) fn reachable(&self) -> Vec<bool> {
        let mut reachable = vec![false; self.ops.len()];
        let mut work = vec![0];
        while let Some(at) = work.pop() {
            if !std::mem::replace(&mut reachable[at], true) {
                work.extend(self.successors(at));
            }
        }
        reachable
    }
}
