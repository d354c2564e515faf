//! A plugin's memory: small pieces that were given back are given out again at once.
//!
//! A call takes some ten small pieces, most of them for what crosses the boundary, and gives all of them back: for the
//! allocator of the standard library, which joins neighbours and looks for what fits best, that is half of a short call's work.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Pieces are multiples of so many bytes.
const STEP: usize = 16;
/// Longer ones are the standard library's own matter.
const MOST: usize = 512;
/// What pieces are aligned to. What needs more is the standard library's matter too.
const ALIGN: usize = 8;

/// A list for each size. What is in one goes back to no other: the most memory that a plugin had in pieces of a size stays
/// theirs.
pub struct Memory([Cell<Option<NonNull<Free>>>; MOST / STEP]);

/// A piece that nobody has.
struct Free {
    next: Option<NonNull<Free>>,
}

// SAFETY: a component has one thread; `lib.rs` takes it for nothing else.
unsafe impl Sync for Memory {}

impl Memory {
    /// Of which nothing has been given out.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { Cell::new(None) }; MOST / STEP])
    }

    /// The list for pieces like this; none: it is not small.
    fn list(&self, layout: Layout) -> Option<&Cell<Option<NonNull<Free>>>> {
        if layout.align() > ALIGN { None } else { self.0.get(layout.size().wrapping_sub(1) / STEP) }
    }

    /// A piece from the standard library. Seldom needed, and so not where a plugin's code is.
    ///
    /// # Safety
    /// As of [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn more(&self, layout: Layout) -> *mut u8 {
        let layout = self.list(layout).map_or(layout, |_| rounded(layout));
        // SAFETY: the size is not zero, since the caller's is not.
        unsafe { System.alloc(layout) }
    }
}

/// As long as each piece of its list, and aligned as they are.
fn rounded(layout: Layout) -> Layout {
    // SAFETY: `ALIGN` is a power of two, and a small size rounds up to no more than `MOST`.
    unsafe { Layout::from_size_align_unchecked(layout.size().next_multiple_of(STEP), ALIGN) }
}

// SAFETY: a piece is in a list or somebody's, never both: it leaves its list when it is given out, and comes back with the layout
// that it was given out for, which leads to the same list. All pieces of a list are as long as `rounded` says.
unsafe impl GlobalAlloc for Memory {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.list(layout).and_then(|list| list.get().map(|piece| (list, piece))) {
            Some((list, piece)) => {
                // SAFETY: what is in a list is a piece that `dealloc` wrote the next one into.
                list.set(unsafe { piece.as_ref().next });
                piece.as_ptr().cast()
            }
            // SAFETY: as the caller's.
            None => unsafe { self.more(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match (self.list(layout), NonNull::new(pointer.cast::<Free>())) {
            (Some(list), Some(piece)) => {
                // SAFETY: the caller gives the piece back; it is long and aligned enough.
                unsafe { piece.write(Free { next: list.get() }) };
                list.set(Some(piece));
            }
            // SAFETY: as the caller's: it is the system's.
            _ => unsafe { System.dealloc(pointer, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's word.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (self.list(layout), self.list(new)) {
            (None, None) => {
                // SAFETY: as the caller's: it is the system's.
                return unsafe { System.realloc(pointer, layout, size) };
            }
            (Some(old), Some(new)) if ptr::eq(old, new) => return pointer,
            _ => {}
        }
        // SAFETY: both pieces are as long as what is copied, and are not the same.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(pointer, moved, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A piece that is somebody's: where, how, and the byte that it is full of.
    struct Held {
        pointer: *mut u8,
        layout: Layout,
        byte: u8,
    }

    impl Held {
        fn take(memory: &Memory, layout: Layout, byte: u8) -> Self {
            // SAFETY: no size is zero.
            let pointer = unsafe { memory.alloc(layout) };
            assert!(!pointer.is_null() && pointer.addr().is_multiple_of(layout.align()));
            Self { pointer, layout, byte }.fill()
        }

        fn fill(self) -> Self {
            // SAFETY: it is as long as its layout says.
            unsafe { self.pointer.write_bytes(self.byte, self.layout.size()) };
            self
        }

        /// Its first bytes are what was written.
        fn is_whole(&self, size: usize) {
            // SAFETY: all of it was written.
            let bytes = unsafe { std::slice::from_raw_parts(self.pointer, size) };
            assert!(bytes.iter().all(|byte| *byte == self.byte));
        }

        fn resize(mut self, memory: &Memory, size: usize) -> Self {
            // SAFETY: it was given out for this layout.
            self.pointer = unsafe { memory.realloc(self.pointer, self.layout, size) };
            assert!(!self.pointer.is_null());
            self.is_whole(size.min(self.layout.size()));
            self.layout = Layout::from_size_align(size, self.layout.align()).expect("a layout");
            self.fill()
        }

        fn give_back(self, memory: &Memory) {
            self.is_whole(self.layout.size());
            // SAFETY: it was given out for this layout.
            unsafe { memory.dealloc(self.pointer, self.layout) };
        }
    }

    fn layouts() -> impl Strategy<Value = Layout> {
        (1..2 * MOST, 0..6_u32).prop_map(|(size, power)| Layout::from_size_align(size, 1 << power).expect("a layout"))
    }

    proptest! {
        #[test]
        fn nobody_has_what_somebody_else_has(steps in proptest::collection::vec((layouts(), any::<(u8, usize)>()), 1..200)) {
            let memory = Memory::new();
            let mut held: Vec<Held> = Vec::new();
            for (layout, (byte, place)) in steps {
                match byte % 3 {
                    0 if !held.is_empty() => held.swap_remove(place % held.len()).give_back(&memory),
                    1 if !held.is_empty() => {
                        let piece = held.swap_remove(place % held.len());
                        held.push(piece.resize(&memory, layout.size()));
                    }
                    _ => held.push(Held::take(&memory, layout, byte)),
                }
            }
            held.into_iter().for_each(|piece| piece.give_back(&memory));
        }
    }

    #[test]
    fn what_was_given_back_is_given_out_again() {
        let (memory, layout) = (Memory::new(), Layout::from_size_align(40, 1).expect("a layout"));
        let piece = Held::take(&memory, layout, 1);
        let first = piece.pointer;
        piece.give_back(&memory);
        let again = Held::take(&memory, Layout::from_size_align(33, 8).expect("a layout"), 2);
        assert_eq!(again.pointer, first);
        again.resize(&memory, 48).give_back(&memory);
    }
}
