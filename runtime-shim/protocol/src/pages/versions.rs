//! What the destination has, as far as the source remembers: a hash for every page that was sent, where pages with some
//! contents are, and the contents of some pages.
//!
//! Hashes take 16 bytes for each page of the guest. Places and contents are kept within bounds: places are forgotten in two
//! generations; contents make room for those of pages that are sent again, since these are the ones that will be sent once more.

use std::collections::HashMap;

use super::{Hash, PAGE};

/// Memory and page.
pub(super) type Place = (u32, u64);

/// What the destination has.
#[derive(Debug)]
pub(super) struct Versions {
    /// By memory and page; `None` if unknown.
    hashes: Vec<Vec<Option<Hash>>>,
    places: Places,
    contents: Contents,
}

impl Versions {
    pub(super) fn new(places_max: usize, contents_bytes: usize) -> Self {
        Self {
            hashes: Vec::new(),
            places: Places {
                most: places_max.div_ceil(2),
                ..Places::default()
            },
            contents: Contents {
                most: contents_bytes / PAGE,
                ..Contents::default()
            },
        }
    }

    /// The contents that the destination has in a page.
    pub(super) fn hash(&self, place: Place) -> Option<Hash> {
        let pages = self.hashes.get(place.0 as usize)?;
        *pages.get(usize::try_from(place.1).ok()?)?
    }

    /// A page that has these contents at the destination.
    pub(super) fn place_of(&self, hash: Hash) -> Option<Place> {
        let place = self.places.get(hash)?;
        (self.hash(place) == Some(hash)).then_some(place)
    }

    /// The contents that the destination has in a page, if they are kept.
    pub(super) fn contents(&self, place: Place) -> Option<&[u8; PAGE]> {
        self.hash(place)?;
        self.contents.get(place)
    }

    /// The destination has, from now on, this in a page.
    pub(super) fn sent(&mut self, place: Place, hash: Hash, contents: Option<&[u8; PAGE]>) {
        let was_sent = self.hash(place).is_some();
        let memory = place.0 as usize;
        let page = usize::try_from(place.1).expect("a page of this machine's memory");
        if self.hashes.len() <= memory {
            self.hashes.resize(memory + 1, Vec::new());
        }
        let pages = &mut self.hashes[memory];
        if pages.len() <= page {
            pages.resize(page + 1, None);
        }
        pages[page] = Some(hash);
        match contents {
            Some(contents) => {
                self.places.insert(hash, place);
                self.contents.insert(place, contents, was_sent);
            }
            None => self.contents.remove(place),
        }
    }

    /// It is unknown what the destination has in a page.
    pub(super) fn forget(&mut self, place: Place) {
        let pages = self.hashes.get_mut(place.0 as usize);
        let page = usize::try_from(place.1).ok();
        if let (Some(pages), Some(page)) = (pages, page)
            && let Some(hash) = pages.get_mut(page)
        {
            *hash = None;
        }
        self.contents.remove(place);
    }
}

/// Where pages with some contents are; may be out of date.
#[derive(Debug, Default)]
struct Places {
    young: HashMap<Hash, Place>,
    old: HashMap<Hash, Place>,
    /// Of a generation.
    most: usize,
}

impl Places {
    fn get(&self, hash: Hash) -> Option<Place> {
        let found = self.young.get(&hash).or_else(|| self.old.get(&hash));
        found.copied()
    }

    fn insert(&mut self, hash: Hash, place: Place) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        if self.most > 0 {
            self.young.insert(hash, place);
        }
    }
}

/// Contents of pages.
#[derive(Debug, Default)]
struct Contents {
    slots: Vec<Slot>,
    by_place: HashMap<Place, usize>,
    free: Vec<usize>,
    most: usize,
    /// The next that may have to make room.
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    place: Place,
    /// Was it used since the hand last passed?
    is_used: bool,
    page: Box<[u8; PAGE]>,
}

impl Contents {
    fn get(&self, place: Place) -> Option<&[u8; PAGE]> {
        let slot = self.by_place.get(&place)?;
        Some(&self.slots[*slot].page)
    }

    fn insert(&mut self, place: Place, page: &[u8; PAGE], was_sent: bool) {
        if let Some(slot) = self.by_place.get(&place) {
            let slot = &mut self.slots[*slot];
            *slot.page = *page;
            slot.is_used = true;
            return;
        }
        if let Some(at) = self.free.pop() {
            *self.slots[at].page = *page;
            self.occupy(at, place, was_sent);
        } else if self.slots.len() < self.most {
            let page = Box::new(*page);
            self.slots.push(Slot {
                place,
                is_used: was_sent,
                page,
            });
            self.by_place.insert(place, self.slots.len() - 1);
        } else if was_sent && self.most > 0 {
            let at = self.make_room();
            self.by_place.remove(&self.slots[at].place);
            *self.slots[at].page = *page;
            self.occupy(at, place, true);
        }
    }

    fn occupy(&mut self, at: usize, place: Place, is_used: bool) {
        self.slots[at].place = place;
        self.slots[at].is_used = is_used;
        self.by_place.insert(place, at);
    }

    /// The next slot that was not used for a whole turn. All are taken, and there is one.
    fn make_room(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[at].is_used) {
                return at;
            }
        }
    }

    fn remove(&mut self, place: Place) {
        self.free.extend(self.by_place.remove(&place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_again_stays_longest() {
        let mut versions = Versions::new(10, 4 * PAGE);
        let page = |number: u8| [number; PAGE];
        for number in 0..6 {
            versions.sent((0, number), number.into(), Some(&page(number as u8)));
        }
        let kept = |versions: &Versions| {
            (0..6)
                .filter(|number| versions.contents((0, *number)).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&versions), [0, 1, 2, 3], "first come, first served");
        versions.sent((0, 0), 70, Some(&page(70)));
        versions.sent((0, 5), 75, Some(&page(75)));
        assert_eq!(kept(&versions), [0, 2, 3, 5]);
        assert_eq!(versions.contents((0, 5)), Some(&page(75)));
        versions.forget((0, 5));
        assert_eq!(versions.hash((0, 5)), None);
        versions.sent((0, 1), 1, Some(&page(1)));
        assert_eq!(kept(&versions), [0, 1, 2, 3], "room was free");
    }

    #[test]
    fn places_out_of_date_are_not_named() {
        let mut versions = Versions::new(4, 0);
        versions.sent((0, 0), 1, Some(&[1; PAGE]));
        assert_eq!(versions.place_of(1), Some((0, 0)));
        versions.sent((0, 0), 2, Some(&[2; PAGE]));
        assert_eq!(versions.place_of(1), None);
        for page in 1..100 {
            versions.sent((1, page), 100 + u128::from(page), Some(&[3; PAGE]));
        }
        assert_eq!(versions.place_of(2), None, "forgotten");
        assert_eq!(versions.place_of(199), Some((1, 99)));
        assert!(versions.places.young.len() + versions.places.old.len() <= 4);
    }
}
