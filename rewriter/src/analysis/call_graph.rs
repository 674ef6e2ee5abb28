//! Which functions can be on the stack when the program is stopped, and why.
//!
//! A function is suspendable if it has a loop, stands on a cycle of the call graph, is an import that
//! may block, or calls (or tail-calls) a function that is suspendable. Indirect calls go to every
//! function of the right type whose address is taken; the graph has one extra node per signature for
//! them, so it stays linear in the size of the module.

use std::collections::{BTreeSet, HashMap, HashSet};

use indexmap::IndexSet;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, DfsEvent, Reversed, depth_first_search};

use crate::analysis::CodeFacts;
use crate::module::{Module, Signature};

/// Why a function is suspendable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is an import that may block.
    Import,
    /// It stands on a cycle of the call graph.
    Recursive,
    /// It has a loop.
    Loop,
    /// It calls the given suspendable function.
    Calls(u32),
    /// It makes an indirect call of the given type that may reach a suspendable function.
    CallsIndirect(u32),
}

/// Result of the analysis.
pub(crate) struct Suspension {
    reasons: Vec<Option<Reason>>,
    polled_entries: Vec<bool>,
    indirect: HashSet<Signature>,
    /// Functions whose address is taken, in index order.
    pub(crate) address_taken: BTreeSet<u32>,
    /// Functions that code or tables can call, in index order.
    pub(crate) callees: BTreeSet<u32>,
    /// By function: its own frame may have been replaced through a tail call.
    tail_calls: Vec<bool>,
}

impl Suspension {
    /// Whether the function can be on the stack when the program is stopped.
    pub(crate) fn function(&self, index: u32) -> bool {
        self.reasons[index as usize].is_some()
    }

    pub(crate) fn reason(&self, index: u32) -> Option<Reason> {
        self.reasons[index as usize]
    }

    /// Whether an indirect call of this type can be on the stack when the program is stopped.
    pub(crate) fn indirect(&self, signature: &Signature) -> bool {
        self.indirect.contains(signature)
    }

    /// Whether the function stands on a cycle of the call graph.
    pub(crate) fn recursive(&self, index: u32) -> bool {
        self.reason(index) == Some(Reason::Recursive)
    }

    /// Whether the function is polled at its entry. Every cycle of the call graph has a function that is, or
    /// a call in a loop.
    pub(crate) fn polls_at_entry(&self, index: u32) -> bool {
        self.polled_entries[index as usize]
    }

    /// Has these functions polled at their entries.
    pub(crate) fn poll_entries(&mut self, polled: Vec<bool>) {
        self.polled_entries = polled;
    }

    /// Whether the frame of a call to this function may belong to another one.
    pub(crate) fn tail_calls(&self, index: u32) -> bool {
        self.tail_calls[index as usize]
    }
}

/// Computes the suspendable functions. `blocking` are the imports that may block.
pub(crate) fn suspension(
    module: &Module<'_>,
    code: &CodeFacts,
    blocking: &BTreeSet<u32>,
) -> Suspension {
    let address_taken = address_taken(module, code);
    let graph = CallGraph::new(module, code, &address_taken);
    let recursive = graph.recursive();

    let count = module.function_types.len();
    let imports = module.imported_functions();
    let mut reasons = vec![None; count];
    for &import in blocking {
        reasons[import as usize] = Some(Reason::Import);
    }
    for (defined, facts) in code.functions.iter().enumerate() {
        let function = imports as usize + defined;
        if recursive[function] {
            reasons[function] = Some(Reason::Recursive);
        } else if facts.has_loop {
            reasons[function] = Some(Reason::Loop);
        }
    }
    let reached = graph.callers_of(reasons.iter().map(Option::is_some));
    let indirect: HashSet<Signature> = graph
        .signatures
        .iter()
        .enumerate()
        .filter(|(node, _)| reached[count + node])
        .map(|(_, signature)| signature.clone())
        .collect();

    let mut tail_calls = vec![false; count];
    let mut callees = address_taken.clone();
    for (defined, facts) in code.functions.iter().enumerate() {
        let function = imports as usize + defined;
        let suspends = |callee: &&u32| reached[**callee as usize];
        let indirectly = |ty: &&u32| indirect.contains(&module.types[**ty as usize]);
        if reasons[function].is_none() && reached[function] {
            let direct = facts.calls.iter().chain(&facts.tail_calls).find(suspends);
            let by_type = facts
                .indirect_calls
                .iter()
                .chain(&facts.indirect_tail_calls)
                .find(indirectly);
            reasons[function] = direct
                .map(|&callee| Reason::Calls(callee))
                .or(by_type.map(|&ty| Reason::CallsIndirect(ty)));
        }
        callees.extend(facts.calls.union(&facts.tail_calls));
        tail_calls[function] |= facts.tail_calls.iter().any(|callee| suspends(&callee));
        // Targets of indirect tail calls are resumed like those of indirect calls.
        tail_calls[function] |= facts.indirect_tail_calls.iter().any(|ty| indirectly(&ty));
    }
    Suspension {
        reasons,
        polled_entries: graph.polled_entries(),
        indirect,
        address_taken,
        callees,
        tail_calls,
    }
}

/// Functions that an indirect call may reach.
fn address_taken(module: &Module<'_>, code: &CodeFacts) -> BTreeSet<u32> {
    let mut taken: BTreeSet<u32> = module.constant_function_refs.iter().copied().collect();
    taken.extend(&code.shared.function_refs);
    let host_writes_tables = module.imported_tables > 0
        || module
            .exports
            .iter()
            .any(|export| export.kind == wasmparser::ExternalKind::Table)
        || code.shared.uses_references;
    if host_writes_tables {
        // The host may put any exported function into a table.
        let functions = module
            .exports
            .iter()
            .filter(|export| export.kind == wasmparser::ExternalKind::Func);
        taken.extend(functions.map(|export| export.index));
    }
    taken
}

/// Nodes: the functions by index, then one per signature that is called indirectly.
struct CallGraph {
    graph: DiGraph<(), ()>,
    /// The edges that calls outside all loops make: the others pass a loop's header, and so a poll.
    unpolled: DiGraph<(), ()>,
    functions: usize,
    signatures: IndexSet<Signature>,
}

impl CallGraph {
    fn new(module: &Module<'_>, code: &CodeFacts, address_taken: &BTreeSet<u32>) -> Self {
        let functions = module.function_types.len();
        let mut signatures = IndexSet::new();
        for facts in &code.functions {
            for &ty in facts
                .indirect_calls
                .iter()
                .chain(&facts.indirect_tail_calls)
            {
                signatures.insert(module.types[ty as usize].clone());
            }
        }
        let mut graph = DiGraph::with_capacity(functions + signatures.len(), 0);
        for _ in 0..functions + signatures.len() {
            graph.add_node(());
        }
        let mut unpolled = graph.clone();
        let by_type: HashMap<u32, NodeIndex> = (0..)
            .zip(&module.types)
            .filter_map(|(ty, signature)| {
                let node = signatures.get_index_of(signature)?;
                Some((ty, NodeIndex::new(functions + node)))
            })
            .collect();
        let first = module.imported_functions() as usize;
        for (defined, facts) in code.functions.iter().enumerate() {
            let from = NodeIndex::new(first + defined);
            for &callee in facts.calls.union(&facts.tail_calls) {
                graph.add_edge(from, NodeIndex::new(callee as usize), ());
            }
            for ty in facts.indirect_calls.union(&facts.indirect_tail_calls) {
                graph.add_edge(from, by_type[ty], ());
            }
            for &callee in facts.outside_loops.calls.keys() {
                unpolled.add_edge(from, NodeIndex::new(callee as usize), ());
            }
            for ty in facts.outside_loops.indirect_calls.keys() {
                unpolled.add_edge(from, by_type[ty], ());
            }
        }
        for &function in address_taken {
            if let Some(&node) = by_type.get(&module.function_types[function as usize]) {
                graph.add_edge(node, NodeIndex::new(function as usize), ());
                unpolled.add_edge(node, NodeIndex::new(function as usize), ());
            }
        }
        Self {
            graph,
            unpolled,
            functions,
            signatures,
        }
    }

    /// By function: is it polled at its entry? Every cycle of calls outside loops has a polled function: of
    /// each edge that closes a cycle in a depth-first walk, one end is polled.
    fn polled_entries(&self) -> Vec<bool> {
        let mut polled = vec![false; self.functions];
        depth_first_search(&self.unpolled, self.unpolled.node_indices(), |event| {
            let DfsEvent::BackEdge(from, to) = event else {
                return;
            };
            let is_polled =
                |node: NodeIndex| polled.get(node.index()).is_some_and(|&polled| polled);
            if !is_polled(from) && !is_polled(to) {
                // A signature's node has no entry, but no two of those are neighbours.
                let end = if to.index() < self.functions {
                    to
                } else {
                    from
                };
                polled[end.index()] = true;
            }
        });
        polled
    }

    /// By function: does it stand on a cycle?
    fn recursive(&self) -> Vec<bool> {
        let mut recursive = vec![false; self.functions];
        for component in kosaraju_scc(&self.graph) {
            let cyclic =
                component.len() > 1 || self.graph.contains_edge(component[0], component[0]);
            for node in component.into_iter().filter(|_| cyclic) {
                if node.index() < self.functions {
                    recursive[node.index()] = true;
                }
            }
        }
        recursive
    }

    /// By node: can it reach one of the given functions?
    fn callers_of(&self, functions: impl Iterator<Item = bool>) -> Vec<bool> {
        let mut reached = vec![false; self.graph.node_count()];
        let callers = Reversed(&self.graph);
        let mut search = Dfs::empty(callers);
        for (function, _) in functions.enumerate().filter(|(_, root)| *root) {
            search.move_to(NodeIndex::new(function));
            while let Some(node) = search.next(callers) {
                reached[node.index()] = true;
            }
        }
        reached
    }
}
