//! How many operators are executed at most from one poll to the next.
//!
//! Every cycle in a function passes the poll of a loop, unless the loop is known to end soon; every cycle of calls
//! passes the poll of a loop or of an entry. So from a function's entry on, as long as no poll is passed, only a
//! bounded number of operators can follow: its own, and those of what it calls outside loops. From a poll inside a
//! function on, those of what it calls anywhere are added.
//!
//! Limit: a function that returns to its caller goes on there without a poll, so each return can add as much again.
//! Operators of hosts, and bulk operators on memories and tables, count as one.

use std::collections::HashMap;

use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::call_graph::Suspension;
use super::scan::{CallSites, CodeFacts, FunctionFacts};
use crate::module::Module;
use crate::plan::count32;

/// Entries from which fewer operators follow are not worth a poll.
const ALLOWED_MIN: u64 = 256;

/// What is executed from functions' entries on, as long as no poll is passed.
struct Unpolled {
    /// By function, then by type: operators from an entry to the first poll, or to the return.
    from_entry: Vec<u64>,
    /// By type: its node.
    type_nodes: Vec<usize>,
}

/// By defined function: operators that are executed at most from one of its polls to the next, or to its return.
/// `own` are those of the functions alone.
pub(crate) fn work_bounds(
    module: &Module<'_>,
    code: &CodeFacts,
    suspension: &Suspension,
    own: &[u64],
) -> Vec<u64> {
    let mut polled = polled_entries(module, suspension);
    let unpolled = Unpolled::new(module, code, suspension, own, &mut polled, |_, _| false);
    unpolled.since_polls(code, own)
}

/// Recursive functions, besides those that are, that must be polled at their entries lest more operators than `max` be
/// executed between two polls, as far as that can help: the fewer may follow from entries, the more of these are polled.
pub(crate) fn entries_to_poll(
    module: &Module<'_>,
    code: &CodeFacts,
    suspension: &Suspension,
    max: u32,
) -> Vec<bool> {
    let own: Vec<u64> = code.functions.iter().map(|facts| facts.operators).collect();
    let mut allowed = u64::from(max);
    loop {
        let mut polled = polled_entries(module, suspension);
        let unpolled = Unpolled::new(
            module,
            code,
            suspension,
            &own,
            &mut polled,
            |function, work| work > allowed && suspension.recursive(count32(function)),
        );
        let worst = unpolled.since_polls(code, &own).into_iter().max();
        if worst.is_none_or(|worst| worst <= u64::from(max)) || allowed < ALLOWED_MIN {
            return polled;
        }
        allowed /= 4;
    }
}

fn polled_entries(module: &Module<'_>, suspension: &Suspension) -> Vec<bool> {
    (0..count32(module.function_types.len()))
        .map(|function| suspension.polls_at_entry(function))
        .collect()
}

impl Unpolled {
    /// `poll` decides, with the work from its entry on, whether a function is polled at its entry after all.
    fn new(
        module: &Module<'_>,
        code: &CodeFacts,
        suspension: &Suspension,
        own: &[u64],
        polled: &mut [bool],
        poll: impl Fn(usize, u64) -> bool,
    ) -> Self {
        let imported = module.imported_functions() as usize;
        let count = module.function_types.len();
        let mut graph: DiGraph<(), u32> = DiGraph::new();
        for _ in 0..count + module.types.len() {
            graph.add_node(());
        }
        // Equal types share a node.
        let mut first_equal = HashMap::new();
        let type_nodes: Vec<usize> = module
            .types
            .iter()
            .enumerate()
            .map(|(index, ty)| count + *first_equal.entry(ty).or_insert(index))
            .collect();
        let mut unpolled = Self {
            from_entry: vec![0; graph.node_count()],
            type_nodes,
        };
        for &function in &suspension.address_taken {
            let ty = module.function_types[function as usize];
            let node = NodeIndex::new(unpolled.type_nodes[ty as usize]);
            graph.add_edge(node, NodeIndex::new(function as usize), 1);
        }
        for (function, facts) in (imported..).zip(&code.functions) {
            if !polled[function] {
                for (callee, times) in unpolled.sites(&facts.outside_loops) {
                    graph.add_edge(NodeIndex::new(function), NodeIndex::new(callee), times);
                }
            }
        }
        let order = toposort(&graph, None);
        let order = order.expect("every cycle of calls outside loops has a polled entry");
        for node in order.into_iter().rev() {
            let index = node.index();
            let edges = graph.edges(node).map(|edge| {
                let work = unpolled.from_entry[edge.target().index()];
                u64::from(*edge.weight()).saturating_mul(work)
            });
            unpolled.from_entry[index] = if index >= count {
                // Of what an indirect call may reach, one is called.
                edges.max().unwrap_or(0)
            } else if index < imported || polled[index] {
                1
            } else {
                let work = edges.fold(own[index - imported], u64::saturating_add);
                polled[index] = poll(index, work);
                if polled[index] { 1 } else { work }
            };
        }
        unpolled
    }

    /// By defined function: what is executed from one of its polls on.
    fn since_polls(&self, code: &CodeFacts, own: &[u64]) -> Vec<u64> {
        let from_poll = |(facts, own): (&FunctionFacts, &u64)| {
            let calls = self
                .sites(&facts.outside_loops)
                .chain(self.sites(&facts.inside_loops));
            calls.fold(*own, |work, (callee, times)| {
                work.saturating_add(u64::from(times).saturating_mul(self.from_entry[callee]))
            })
        };
        code.functions.iter().zip(own).map(from_poll).collect()
    }

    /// Nodes that are called, with how often each is.
    fn sites(&self, calls: &CallSites) -> impl Iterator<Item = (usize, u32)> {
        let direct = calls.calls.iter().map(|(&callee, &n)| (callee as usize, n));
        let indirect = calls.indirect_calls.iter();
        let indirect = indirect.map(|(&ty, &n)| (self.type_nodes[ty as usize], n));
        direct.chain(indirect)
    }
}
