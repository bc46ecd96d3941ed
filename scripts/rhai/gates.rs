//! Functions that stand before those of the crate's packages, because those could work long or allocate much without a
//! step of the engine, overflow a size check, or swallow the error that ends a call.
//!
//! What is left of the packages does at most a few passes over values that the size caps bound.

use rhai::{
    Array, Dynamic, EvalAltResult, FnPtr, FuncRegistration, ImmutableString, Module, NativeCallContext, Position,
};

use super::calls::over;
use super::sorting;
use crate::meter;

pub(super) type Checked<T> = Result<T, Box<EvalAltResult>>;

/// Every gate.
pub(super) fn module() -> Module {
    let mut module = Module::new();
    pads(&mut module);
    splits(&mut module);
    replaces(&mut module);
    sorts(&mut module);
    super::sifting::add(&mut module);
    super::shown::add(&mut module);
    super::texts::add(&mut module);
    super::casing::add(&mut module);
    super::json::add(&mut module);
    module.build_index();
    module
}

pub(super) fn gate(name: &str) -> FuncRegistration {
    FuncRegistration::new(name).in_global_namespace()
}

/// For functions that change their first argument.
pub(super) fn changing(name: &str) -> FuncRegistration {
    gate(name).with_purity(false)
}

pub(super) fn too_large(what: &str) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorDataTooLarge(what.into(), Position::NONE))
}

/// Counts the work of a native function on `bytes`.
pub(super) fn charge(bytes: usize) -> Checked<()> {
    if meter::charge_bytes(bytes).is_some() { Err(over()) } else { Ok(()) }
}

/// Whether a crowded heap could hold so many bytes; where all of the memory is there the caps have said so.
fn has_room(bytes: usize) -> Checked<()> {
    if meter::refuses(bytes) { Err(over()) } else { Ok(()) }
}

/// The crate's own size checks overflow for arrays, and it pads with an empty string for ever.
fn pads(module: &mut Module) {
    changing("pad").set_into_module(
        module,
        |context: NativeCallContext, array: &mut Array, length: i64, item: Dynamic| -> Checked<()> {
            let length = usize::try_from(length).unwrap_or(0);
            if length <= array.len() {
                return Ok(());
            }
            // A compound item is copied as a whole, once for each place.
            let size = (length - array.len()).saturating_mul(weight(&item));
            if length.max(size) > context.engine().max_array_size() {
                return Err(too_large("Size of array/BLOB"));
            }
            charge(size * size_of::<Dynamic>())?;
            has_room(size * size_of::<Dynamic>())?;
            array.resize(length, item);
            Ok(())
        },
    );
    changing("pad").set_into_module(
        module,
        |context: NativeCallContext, text: &mut ImmutableString, length: i64, letter: char| -> Checked<()> {
            pad_text(&context, text, length, letter.encode_utf8(&mut [0; 4]))
        },
    );
    changing("pad").set_into_module(
        module,
        |context: NativeCallContext, text: &mut ImmutableString, length: i64, padding: &str| -> Checked<()> {
            pad_text(&context, text, length, padding)
        },
    );
}

/// How many values a value consists of; texts are shared by their copies.
fn weight(value: &Dynamic) -> usize {
    if let Ok(array) = value.as_array_ref() {
        return array.iter().fold(1, |sum, item| sum + weight(item));
    }
    if let Ok(map) = value.as_map_ref() {
        return map.values().fold(1, |sum, item| sum + 4 + weight(item));
    }
    value.as_blob_ref().map_or(1, |blob| 1 + blob.len() / size_of::<Dynamic>())
}

fn pad_text(context: &NativeCallContext, text: &mut ImmutableString, length: i64, padding: &str) -> Checked<()> {
    let length = usize::try_from(length).unwrap_or(0);
    let max = context.engine().max_string_size();
    charge(text.len())?;
    let missing = length.saturating_sub(text.chars().count());
    let letters = padding.chars().count();
    if missing == 0 || letters == 0 {
        return Ok(());
    }
    // At least a byte a letter; at most what the last, incomplete padding adds too much.
    let size =
        text.len().saturating_add((missing / letters).saturating_mul(padding.len())).saturating_add(missing % letters);
    if size > max {
        return Err(too_large("Length of string"));
    }
    charge(size)?;
    has_room(size)?;
    let mut padded = String::with_capacity(size);
    padded.push_str(text);
    padded.push_str(&padding.repeat(missing / letters));
    padded.extend(padding.chars().take(missing % letters));
    *text = padded.into();
    Ok(())
}

/// Pieces take many times what they hold.
fn splits(module: &mut Module) {
    gate("to_chars").set_into_module(module, |context: NativeCallContext, text: &str| -> Checked<Array> {
        collect(&context, text, text.chars())
    });
    gate("split").set_into_module(module, |context: NativeCallContext, text: &str| -> Checked<Array> {
        if text.is_empty() { Ok(vec![text.into()]) } else { collect(&context, text, text.split_whitespace()) }
    });
    splits_by(module, |delimiter: &ImmutableString| delimiter.as_str().to_owned());
    splits_by(module, |delimiter: &char| delimiter.to_string());
}

fn splits_by<T: Clone + Send + Sync + 'static>(module: &mut Module, text_of: fn(&T) -> String) {
    for (name, reverse) in [("split", false), ("split_rev", true)] {
        gate(name).set_into_module(module, move |context: NativeCallContext, text: &str, by: T| -> Checked<Array> {
            pieces(&context, text, &text_of(&by), usize::MAX, reverse)
        });
        gate(name).set_into_module(
            module,
            move |context: NativeCallContext, text: &str, by: T, most: i64| -> Checked<Array> {
                let most = usize::try_from(most).unwrap_or(0).max(1);
                pieces(&context, text, &text_of(&by), most, reverse)
            },
        );
    }
}

fn pieces(context: &NativeCallContext, text: &str, by: &str, most: usize, reverse: bool) -> Checked<Array> {
    if text.is_empty() {
        Ok(vec![text.into()])
    } else if reverse {
        collect(context, text, text.rsplitn(most, by))
    } else {
        collect(context, text, text.splitn(most, by))
    }
}

fn collect<P: Into<Dynamic>>(
    context: &NativeCallContext,
    text: &str,
    pieces: impl Iterator<Item = P>,
) -> Checked<Array> {
    charge(text.len())?;
    let max = context.engine().max_array_size();
    let mut array = Array::new();
    for piece in pieces {
        if array.len() == max {
            return Err(too_large("Size of array/BLOB"));
        }
        if array.len() % 64 == 63 {
            charge(64 * 64)?;
            if super::heap::look().is_some() {
                return Err(over());
            }
        }
        array.push(piece.into());
    }
    Ok(array)
}

/// A replacement of each letter by a megabyte.
fn replaces(module: &mut Module) {
    changing("replace").set_into_module(
        module,
        |context: NativeCallContext, text: &mut ImmutableString, find: &str, put: &str| -> Checked<()> {
            replace(&context, text, find, put)
        },
    );
    changing("replace").set_into_module(
        module,
        |context: NativeCallContext, text: &mut ImmutableString, find: &str, put: char| -> Checked<()> {
            replace(&context, text, find, put.encode_utf8(&mut [0; 4]))
        },
    );
    changing("replace").set_into_module(
        module,
        |context: NativeCallContext, text: &mut ImmutableString, find: char, put: &str| -> Checked<()> {
            replace(&context, text, find.encode_utf8(&mut [0; 4]), put)
        },
    );
    changing("replace").set_into_module(
        module,
        |context: NativeCallContext, text: &mut ImmutableString, find: char, put: char| -> Checked<()> {
            replace(&context, text, find.encode_utf8(&mut [0; 4]), put.encode_utf8(&mut [0; 4]))
        },
    );
}

fn replace(context: &NativeCallContext, text: &mut ImmutableString, find: &str, put: &str) -> Checked<()> {
    charge(text.len())?;
    if text.is_empty() || !text.contains(find) {
        return Ok(());
    }
    let found = text.matches(find).count();
    let length = (text.len() - found * find.len()).saturating_add(found.saturating_mul(put.len()));
    if length > context.engine().max_string_size() {
        return Err(too_large("Length of string"));
    }
    charge(length)?;
    *text = text.replace(find, put).into();
    Ok(())
}

/// The crate's sorts go on when the comparer fails, as it does at every limit.
fn sorts(module: &mut Module) {
    for name in ["sort", "sort_by"] {
        changing(name).set_into_module(
            module,
            |context: NativeCallContext, array: &mut Array, by: FnPtr| -> Checked<()> {
                *array = sorting::sort_by(&context, array, &by)?;
                Ok(())
            },
        );
        changing(name).set_into_module(
            module,
            |context: NativeCallContext, array: &mut Array, by: &str| -> Checked<()> {
                *array = sorting::sort_by(&context, array, &FnPtr::new(by)?)?;
                Ok(())
            },
        );
    }
    for name in ["order", "order_by"] {
        gate(name).set_into_module(
            module,
            |context: NativeCallContext, array: &mut Array, by: FnPtr| -> Checked<Array> {
                sorting::sort_by(&context, array, &by)
            },
        );
    }
    for (name, ordered, descending) in [("sort", "order", false), ("sort_desc", "order_desc", true)] {
        changing(name).set_into_module(module, move |array: &mut Array| -> Checked<()> {
            sorting::charge(array)?;
            sorting::sort(array, descending)
        });
        gate(ordered).set_into_module(module, move |array: &mut Array| -> Checked<Array> {
            sorting::charge(array)?;
            let mut array = array.clone();
            sorting::sort(&mut array, descending)?;
            Ok(array)
        });
    }
    changing("dedup").set_into_module(module, |context: NativeCallContext, array: &mut Array| -> Checked<()> {
        sorting::dedup(array, |a, b| context.call_native_fn_raw("==", true, &mut [a, &mut b.clone()]))
    });
    changing("dedup").set_into_module(
        module,
        |context: NativeCallContext, array: &mut Array, by: FnPtr| -> Checked<()> {
            sorting::dedup(array, |a, b| by.call_raw(&context, None, [b.clone(), a.clone()]))
        },
    );
    changing("dedup").set_into_module(
        module,
        |context: NativeCallContext, array: &mut Array, by: &str| -> Checked<()> {
            let by = FnPtr::new(by)?;
            sorting::dedup(array, |a, b| by.call_raw(&context, None, [b.clone(), a.clone()]))
        },
    );
}
