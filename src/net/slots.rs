//! Slots whose keys cannot dangle: a key carries its slot's generation, so an event for a value that is gone misses.
use slotmap::{DefaultKey, Key as _, SlotMap};

/// Names one value while it lives, and no value afterwards.
pub type Key = DefaultKey;

/// The number of a key's slot: small, and the same for all values that follow each other in the slot.
#[must_use]
pub fn slot_number(key: Key) -> usize {
    (key.data().as_ffi() & 0xFFFF_FFFF) as usize
}

/// Values that are taken out to work and put back while they live.
///
/// A vacated slot is free for reuse only after [`Slots::free`], at the end of the turn. Until then events of the same
/// turn meet an empty slot, and never another value.
pub struct Slots<T> {
    slots: SlotMap<Key, Option<T>>,
    vacated: Vec<Key>,
}

impl<T> Slots<T> {
    /// No slots.
    #[must_use]
    pub fn new() -> Slots<T> {
        Slots { slots: SlotMap::new(), vacated: Vec::new() }
    }

    /// A slot for a value that the caller will [`put`](Slots::put), or [`vacate`](Slots::vacate).
    pub fn reserve(&mut self) -> Key {
        self.slots.insert(None)
    }

    /// Takes the value of `key` out of its slot.
    pub fn take(&mut self, key: Key) -> Option<T> {
        self.slots.get_mut(key)?.take()
    }

    /// The value of `key`, in its slot.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key)?.as_ref()
    }

    /// The same, mutable.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key)?.as_mut()
    }

    /// Puts the value back.
    pub fn put(&mut self, key: Key, value: T) {
        if let Some(slot) = self.slots.get_mut(key) {
            *slot = Some(value);
        }
    }

    /// Notes that no value will be put back.
    pub fn vacate(&mut self, key: Key) {
        self.vacated.push(key);
    }

    /// Makes the vacated slots free for reuse.
    pub fn free(&mut self) {
        for key in self.vacated.drain(..) {
            self.slots.remove(key);
        }
    }

    /// The number of live values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.vacated.len()
    }

    /// Every value that is in its slot, mutable.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.values_mut().filter_map(Option::as_mut)
    }

    /// Every value that is in its slot.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().filter_map(|(key, slot)| Some((key, slot.as_ref()?)))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots::new()
    }
}
