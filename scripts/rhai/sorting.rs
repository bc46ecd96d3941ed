//! Sorting that ends when its comparer fails.

use std::cmp::Ordering;

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, NativeCallContext, Position};

use super::calls::over;
use crate::meter;

/// Items that are sorted without a look at the clocks.
const AT_ONCE: usize = 10_000;

type Checked<T> = Result<T, Box<EvalAltResult>>;

/// A stable copy in the order of `by(a, b)`: a number below, at or above zero, or whether `a` comes first.
pub(super) fn sort_by(context: &NativeCallContext, array: &[Dynamic], by: &FnPtr) -> Checked<Array> {
    merge_sort(array.to_vec(), |a, b| after(context, a, b, by))
}

/// Sorts stably; `after` says whether its first item must stand after the second.
fn merge_sort(mut sorted: Array, mut after: impl FnMut(&Dynamic, &Dynamic) -> Checked<bool>) -> Checked<Array> {
    let mut spare = Array::with_capacity(sorted.len());
    // Merges runs of doubling length.
    let mut run = 1;
    while run < sorted.len() {
        let mut rest = sorted.into_iter().peekable();
        while rest.peek().is_some() {
            let mut left = rest.by_ref().take(run).collect::<Array>().into_iter().peekable();
            let mut right = rest.by_ref().take(run).collect::<Array>().into_iter().peekable();
            while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
                let next = if after(a, b)? { right.next() } else { left.next() };
                spare.extend(next);
            }
            spare.extend(left);
            spare.extend(right);
        }
        sorted = std::mem::take(&mut spare);
        run *= 2;
    }
    Ok(sorted)
}

/// Whether `a` must stand after `b`.
fn after(context: &NativeCallContext, a: &Dynamic, b: &Dynamic, by: &FnPtr) -> Checked<bool> {
    let answer = by.call_raw(context, None, [a.clone(), b.clone()])?;
    if let Ok(number) = answer.as_int() {
        return Ok(number > 0);
    }
    match answer.as_bool() {
        Ok(first) => Ok(!first),
        Err(found) => {
            let message = format!("a comparer must answer a whole number or a truth value, found {found}");
            Err(Box::new(EvalAltResult::ErrorRuntime(message.into(), Position::NONE)))
        }
    }
}

/// Charges a sort of `array` before it is done.
pub(super) fn charge(array: &[Dynamic]) -> Checked<()> {
    let rounds = array.len().max(1).ilog2() as usize;
    let texts: usize = array.iter().filter_map(|item| item.as_immutable_string_ref().ok().map(|text| text.len())).sum();
    let work = array.len().saturating_mul(size_of::<Dynamic>()).saturating_add(texts).saturating_mul(rounds);
    if meter::charge_bytes(work).is_some() { Err(over()) } else { Ok(()) }
}

/// Sorts items of one kind: numbers, texts, characters, truth values.
pub(super) fn sort(array: &mut Array, descending: bool) -> Checked<()> {
    let Some(first) = array.first() else { return Ok(()) };
    let kind = first.type_id();
    let name = first.type_name();
    let fault = |what: String| Box::new(EvalAltResult::ErrorRuntime(what.into(), Position::NONE));
    if array.iter().any(|item| item.type_id() != kind) {
        return Err(fault("items of different types cannot be sorted without a comparer".into()));
    }
    if !(first.is_int()
        || first.is_float()
        || first.is_string()
        || first.is_char()
        || first.is_bool()
        || first.is_unit())
    {
        return Err(fault(format!("items of type {name} cannot be sorted without a comparer")));
    }
    let ordered = |a: &Dynamic, b: &Dynamic| if descending { compare(b, a) } else { compare(a, b) };
    if array.len() <= AT_ONCE {
        array.sort_by(ordered);
        return Ok(());
    }
    *array = merge_sort(array.clone(), |a, b| {
        if meter::tick(1).is_some() { Err(over()) } else { Ok(ordered(a, b) == Ordering::Greater) }
    })?;
    Ok(())
}

fn compare(a: &Dynamic, b: &Dynamic) -> Ordering {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return a.cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        // A total order, NaN included: the sort may rely on it.
        return a.total_cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
        return a.as_str().cmp(b.as_str());
    }
    if let (Ok(a), Ok(b)) = (a.as_char(), b.as_char()) {
        return a.cmp(&b);
    }
    a.as_bool().unwrap_or_default().cmp(&b.as_bool().unwrap_or_default())
}

/// Removes items that equal the one before them.
pub(super) fn dedup(
    array: &mut Array,
    mut equal: impl FnMut(&mut Dynamic, &mut Dynamic) -> Result<Dynamic, Box<EvalAltResult>>,
) -> Checked<()> {
    let mut fault = None;
    array.dedup_by(|item, before| {
        if fault.is_some() {
            return false;
        }
        match equal(item, before) {
            Ok(answer) => answer.as_bool().unwrap_or(false),
            Err(error) => {
                // Things of different kinds are not equal; there is no function that says so.
                if !matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)) {
                    fault = Some(error);
                }
                false
            }
        }
    });
    fault.map_or(Ok(()), Err)
}
