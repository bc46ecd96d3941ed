//! The variables that closures have captured.
//!
//! Rhai puts a captured variable into a counted cell that the closure and the scope share. A closure that is put into a
//! variable it captured keeps itself alive for ever, and a chain of 60,000 closures, each of which captured the one
//! before, overflows a stack of 8 MiB when it drops. So every cell is noted when it is first seen, and emptied at the end
//! of the call, one by one and without recursion, unless a handler of the entry script can still reach it. What a
//! closure captured therefore lives to the end of the call.

use std::cell::RefCell;
use std::collections::HashSet;
use std::mem;

use rhai::{Dynamic, FnPtr};

use super::weight;
use crate::meter;

/// How deep values that outlive a call may nest, closures included: dropping and cloning them recurses.
const MAX_LASTING_DEPTH: usize = 256;
/// What a cell takes at least.
const CELL: usize = 192;

/// The cells of one VM.
#[derive(Default)]
pub(super) struct Cells {
    /// All that were seen and are not emptied yet.
    cells: Vec<Dynamic>,
    /// Their addresses.
    known: HashSet<usize>,
    /// How many of them, from the first, the top level made: those stay as long as the VM.
    lasting: usize,
}

thread_local! {
    static CELLS: RefCell<Option<Cells>> = const { RefCell::new(None) };
}

/// Gives the thread back to the call around this one when it drops, also when the call panics.
pub(super) struct Guard {
    outer: Option<Cells>,
}

/// Cells seen from here on are noted in `cells`.
pub(super) fn enter(cells: Cells) -> Guard {
    Guard { outer: CELLS.replace(Some(cells)) }
}

impl Guard {
    /// The cells, with those that the call added.
    pub(super) fn leave(self) -> Cells {
        CELLS.take().unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        CELLS.replace(self.outer.take());
    }
}

/// The cells that there are now stay as long as the VM: its top levels made them.
pub(super) fn keep_all() {
    CELLS.with_borrow_mut(|cells| {
        if let Some(cells) = cells {
            cells.lasting = cells.cells.len();
        }
    });
}

/// Notes a variable's value if it is a cell.
#[inline]
pub(super) fn note(value: &Dynamic) {
    if value.is_shared() {
        note_cell(value);
    }
}

fn note_cell(cell: &Dynamic) {
    // A cell that is locked is in use, so it was noted when it was made.
    let Some(address) = address(cell) else { return };
    CELLS.with_borrow_mut(|cells| {
        let Some(cells) = cells else { return };
        if cells.known.insert(address) {
            cells.cells.push(cell.clone());
            if (cells.cells.len() - cells.lasting).saturating_mul(CELL) > meter::heap() {
                meter::out_of_memory();
            }
        }
    });
}

/// Where the content of a cell is: one address for all handles on it.
fn address(cell: &Dynamic) -> Option<usize> {
    cell.read_lock::<Dynamic>().map(|content| std::ptr::from_ref::<Dynamic>(&content).addr())
}

fn empty(cell: &mut Dynamic) {
    let content = cell.write_lock::<Dynamic>().map(|mut content| mem::take(&mut *content));
    drop(content);
}

impl Cells {
    /// Empties what no handler can reach any more. Gives the bytes that the rest holds.
    ///
    /// # Errors
    /// What is reachable nests too deep to be kept.
    pub(super) fn settle<'a>(&mut self, mut roots: impl Iterator<Item = &'a Dynamic>) -> Result<usize, TooDeep> {
        if self.cells.is_empty() {
            return Ok(0);
        }
        let mut reach = Reach { seen: HashSet::new(), bytes: 0, room: meter::heap() };
        let reached = roots
            .try_for_each(|value| reach.visit(value, 0))
            .and_then(|()| self.cells[..self.lasting].iter().try_for_each(|cell| reach.visit(cell, 0)));
        if self.cells.len() > self.lasting {
            let seen = &reach.seen;
            let known = &mut self.known;
            let mut index = 0;
            let lasting = self.lasting;
            self.cells.retain_mut(|cell| {
                index += 1;
                let Some(address) = address(cell) else { return true };
                if index <= lasting || (reached.is_ok() && seen.contains(&address)) {
                    return true;
                }
                known.remove(&address);
                empty(cell);
                false
            });
        }
        reached.map(|()| reach.bytes)
    }

    /// Empties all of them.
    pub(super) fn clear(&mut self) {
        for cell in &mut self.cells {
            empty(cell);
        }
        *self = Self::default();
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        for cell in &mut self.cells {
            empty(cell);
        }
    }
}

/// A value that outlives the call nests deeper than [`MAX_LASTING_DEPTH`].
#[derive(Debug)]
pub(super) struct TooDeep;

/// What handlers can reach.
struct Reach {
    seen: HashSet<usize>,
    bytes: usize,
    room: usize,
}

impl Reach {
    fn visit(&mut self, value: &Dynamic, depth: usize) -> Result<(), TooDeep> {
        if depth > MAX_LASTING_DEPTH {
            return Err(TooDeep);
        }
        // Over the limit it does not matter any more by how much; the cells beyond are emptied.
        if self.bytes > self.room {
            return Ok(());
        }
        if value.is_shared() {
            let Some(content) = value.read_lock::<Dynamic>() else { return Ok(()) };
            if !self.seen.insert(std::ptr::from_ref::<Dynamic>(&content).addr()) {
                return Ok(());
            }
            self.bytes = self.bytes.saturating_add(CELL);
            return self.visit(&content, depth + 1);
        }
        self.bytes = self.bytes.saturating_add(weight::own(value));
        if let Ok(array) = value.as_array_ref() {
            array.iter().try_for_each(|item| self.visit(item, depth + 1))?;
        } else if let Ok(map) = value.as_map_ref() {
            map.values().try_for_each(|item| self.visit(item, depth + 1))?;
        } else if let Some(function) = value.read_lock::<FnPtr>() {
            function.curry().iter().try_for_each(|item| self.visit(item, depth + 1))?;
        }
        Ok(())
    }
}
