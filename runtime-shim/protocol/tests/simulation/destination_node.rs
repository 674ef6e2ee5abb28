//! Carries out the destination's actions, as a node does.

use std::collections::BTreeSet;

use wasm_migrate_protocol::destination::{DestinationAction, DestinationInput};
use wasm_migrate_protocol::message::{Envelope, Failure};
use wasm_migrate_protocol::received::PageBitmaps;

use super::guest::{Guest, MEMORIES, State, unpack};
use super::world::{Event, MIGRATION, Side, World, module};

/// What has arrived of a guest.
#[derive(Debug, Default)]
pub(crate) struct Work {
    module: Vec<u8>,
    state: Vec<u8>,
    /// Memory without the rest.
    pages: Option<Vec<Vec<u64>>>,
}

impl Work {
    pub(crate) fn begin(&mut self) {
        let zeros = MEMORIES.iter().map(|&count| vec![0; count as usize]);
        *self = Self {
            pages: Some(zeros.collect()),
            ..Self::default()
        };
    }
}

impl World {
    pub(crate) fn destination_action(&mut self, action: DestinationAction) {
        if !matches!(
            action,
            DestinationAction::Report(_) | DestinationAction::Send { .. }
        ) {
            self.note(|| format!("destination --> {action:?}"));
        }
        let life = self.destination_node.life;
        let moment = self.a_moment();
        let answer = |world: &mut Self, input| {
            world.after(moment, Event::DestinationInput(life, input));
        };
        match action {
            DestinationAction::Dial => self.after(moment, Event::Dial(Side::Destination, life)),
            DestinationAction::Close(link) => self.cut(link),
            DestinationAction::Send {
                link,
                epoch,
                message,
            } => {
                let envelope = Envelope {
                    migration: MIGRATION,
                    epoch,
                    message,
                    payload: Vec::new(),
                };
                self.transmit(Side::Destination, link, &envelope);
            }
            DestinationAction::StoreModule { offset, bytes } => {
                assert_eq!(self.destination_work.module.len() as u64, offset);
                self.destination_work.module.extend(bytes);
            }
            DestinationAction::PrepareModule { .. } => {
                if !self.setup.has_module {
                    assert_eq!(self.destination_work.module, module());
                }
                answer(
                    self,
                    DestinationInput::ModulePrepared {
                        compile_time: moment,
                    },
                );
            }
            DestinationAction::ApplyPages { runs, payload } => {
                let Some(pages) = unpack(&runs, &payload) else {
                    let failure = Failure::Protocol("a batch that cannot be unpacked".to_owned());
                    return self.destination_fails(failure);
                };
                let memory = self
                    .destination_work
                    .pages
                    .as_mut()
                    .expect("a guest arrives");
                for ((number, page), word) in pages {
                    memory[number as usize][page as usize] = word;
                }
            }
            DestinationAction::FinishRound { round } => {
                answer(self, DestinationInput::RoundFinished { round });
            }
            DestinationAction::StoreState { offset, bytes } => {
                let state = &mut self.destination_work.state;
                state.truncate(offset as usize);
                assert_eq!(state.len() as u64, offset);
                state.extend(bytes);
            }
            DestinationAction::Restore {
                attempt,
                bytes,
                missing,
            } => {
                let state = &self.destination_work.state;
                assert_eq!(state.len() as u64, bytes);
                let step = u64::from_le_bytes(state.as_slice().try_into().expect("eight bytes"));
                let pages = self
                    .destination_work
                    .pages
                    .clone()
                    .expect("a guest arrives");
                let mut guest = Guest::new(State { step, pages });
                guest.missing = pages_of(&missing);
                self.pages_followed |= !guest.missing.is_empty();
                self.destination_node.guest = Some(guest);
                answer(self, DestinationInput::Restored { attempt });
            }
            DestinationAction::Unprepare => {
                self.destination_node.guest = None;
                self.destination_work.state.clear();
            }
            DestinationAction::Persist { expected, record } => {
                assert_eq!(self.destination_node.record, expected, "compare-and-set");
                self.persist(Side::Destination, record);
            }
            DestinationAction::Run { .. } => {
                let guest = self
                    .destination_node
                    .guest
                    .as_mut()
                    .expect("it is prepared");
                guest.is_running = true;
                self.destination_node.steps_at = self.now;
            }
            DestinationAction::InstallPages {
                runs,
                wanted,
                payload,
            } => {
                let Some(pages) = unpack(&runs, &payload) else {
                    let failure = Failure::Protocol("a batch that cannot be unpacked".to_owned());
                    return self.destination_fails(failure);
                };
                let wanted: BTreeSet<_> = wanted
                    .iter()
                    .flat_map(|run| run.pages().map(|page| (run.memory, page)))
                    .collect();
                let guest = self
                    .destination_node
                    .guest
                    .as_mut()
                    .expect("it is prepared");
                for (at, word) in pages.into_iter().filter(|(at, _)| wanted.contains(at)) {
                    guest.install(at, word);
                }
            }
            // The pages came while the fault was on its way.
            DestinationAction::InstallZeros { runs } => {
                if let Some(guest) = &self.destination_node.guest {
                    for run in runs {
                        for page in run.pages() {
                            let is_missing = guest.missing.contains(&(run.memory, page));
                            assert!(
                                !is_missing,
                                "zeros in place of a page that is still to come"
                            );
                        }
                    }
                }
            }
            DestinationAction::StopWatchingFaults => {
                let guest = self.destination_node.guest.as_ref().expect("it runs");
                assert!(guest.missing.is_empty() || self.setup.liar.is_some());
            }
            DestinationAction::MakeDurable => {
                let guest = self.destination_node.guest.as_ref().expect("it runs");
                assert!(
                    guest.missing.is_empty() || self.setup.liar.is_some(),
                    "a checkpoint of a guest that lacks pages"
                );
                self.destination_node.checkpoint = Some(guest.state.clone());
                if self.luck.u8(..) < 40 {
                    answer(self, DestinationInput::DurableFailed("no space".to_owned()));
                } else {
                    answer(self, DestinationInput::MadeDurable);
                }
            }
            DestinationAction::Discard => {
                self.destination_node.guest = None;
                self.destination_node.checkpoint = None;
            }
            DestinationAction::Report(_) => {}
            DestinationAction::Finish(outcome) => {
                self.destination_outcome = Some(outcome);
                self.destination = None;
            }
        }
    }
}

impl World {
    /// What fails is told at once, before later actions are answered.
    fn destination_fails(&mut self, failure: Failure) {
        if let Some(destination) = &mut self.destination {
            destination.handle_input(self.now, DestinationInput::Failed(failure));
        }
    }
}

fn pages_of(sets: &PageBitmaps) -> BTreeSet<(u32, u64)> {
    let pages = sets.iter().flat_map(|(&memory, set)| {
        set.runs()
            .flat_map(move |(first, count)| (first..first + count).map(move |page| (memory, page)))
    });
    pages.collect()
}
