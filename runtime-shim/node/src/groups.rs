//! Puts together the three TCP connections of a link, which may come in any order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::fingerprint::Fingerprint;
use crate::greeting::{GREETING_TIME, Stream, Token, invalid};

/// Links of all peers that wait for connections.
const GROUPS_MAX: usize = 256;
/// Links of one peer that wait for connections.
const GROUPS_OF_A_PEER_MAX: usize = 32;

/// Connections belong together only if the same certificate was shown on them.
pub(crate) type GroupKey = (Fingerprint, Token);

/// Connections that wait for the others of their link.
#[derive(Default)]
pub(crate) struct Groups {
    waiting: Mutex<HashMap<GroupKey, Group>>,
}

type Group = [Option<Stream>; 3];

impl Groups {
    /// Takes a connection; gives all three when it is the last one.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: GroupKey,
        place: usize,
        stream: Stream,
    ) -> io::Result<Option<[Stream; 3]>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = waiting.keys().filter(|(peer, _)| *peer == key.0).count();
        let is_full = waiting.len() >= GROUPS_MAX || of_peer >= GROUPS_OF_A_PEER_MAX;
        let mut group = match waiting.entry(key) {
            Entry::Occupied(group) => group,
            Entry::Vacant(_) if is_full => {
                return Err(invalid(
                    "too many links wait for the rest of their connections",
                ));
            }
            Entry::Vacant(free) => {
                self.forget_later(key);
                free.insert_entry(Group::default())
            }
        };
        match group.get_mut().get_mut(place) {
            Some(free @ None) => *free = Some(stream),
            _ => return Err(invalid("a link has a channel twice")),
        }
        if group.get().iter().any(Option::is_none) {
            return Ok(None);
        }
        let [Some(bulk), Some(control), Some(demand)] = group.remove() else {
            return Ok(None);
        };
        Ok(Some([bulk, control, demand]))
    }

    /// Tokens are random, so what has this key later is the same group still.
    fn forget_later(self: &Arc<Self>, key: GroupKey) {
        let groups = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(GREETING_TIME).await;
            if let Some(groups) = groups.upgrade() {
                let mut waiting = groups
                    .waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if waiting.remove(&key).is_some() {
                    log::debug!("a link is dropped: not all of its connections came");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream {
            reader: Box::new(tokio::io::empty()),
            writer: Box::new(tokio::io::empty()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn links_are_put_together_and_forgotten() {
        let groups = Arc::new(Groups::default());
        let [a, b] = [[1; 32], [2; 32]].map(Fingerprint);
        let token = [9; 16];
        assert!(groups.join((a, token), 2, stream()).unwrap().is_none());
        assert!(groups.join((b, token), 0, stream()).unwrap().is_none());
        assert!(groups.join((a, token), 2, stream()).is_err());
        assert!(groups.join((a, token), 0, stream()).unwrap().is_none());
        assert!(groups.join((a, token), 1, stream()).unwrap().is_some());
        assert_eq!(groups.waiting.lock().unwrap().len(), 1);
        tokio::time::sleep(GREETING_TIME * 2).await;
        assert_eq!(groups.waiting.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn waiting_links_are_bounded() {
        let groups = Arc::new(Groups::default());
        let open = |peer: u8| {
            (0..=u8::MAX)
                .filter(|number| {
                    let key = (Fingerprint([peer; 32]), [*number; 16]);
                    groups.join(key, 0, stream()).is_ok()
                })
                .count()
        };
        assert_eq!(open(0), GROUPS_OF_A_PEER_MAX);
        assert_eq!(
            (1..20).map(open).sum::<usize>(),
            GROUPS_MAX - GROUPS_OF_A_PEER_MAX
        );
    }
}
