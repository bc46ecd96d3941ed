//! Parting the items of an array by a function. The crate's moves all later items for each that goes.

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Module, NativeCallContext};

use super::gates::{Checked, changing, charge};

/// Adds `retain` and `drain`, by a function and by its name.
pub(super) fn add(module: &mut Module) {
    for (name, keeps) in [("retain", true), ("drain", false)] {
        changing(name).set_into_module(
            module,
            move |context: NativeCallContext, array: &mut Array, by: FnPtr| -> Checked<Array> {
                sift(&context, array, by, keeps)
            },
        );
        changing(name).set_into_module(
            module,
            move |context: NativeCallContext, array: &mut Array, by: &str| -> Checked<Array> {
                sift(&context, array, FnPtr::new(by)?, keeps)
            },
        );
    }
}

/// Takes out the items for which `by` does not answer `keeps`, and returns them. Where it fails, the array stays as it was.
fn sift(context: &NativeCallContext, array: &mut Array, by: FnPtr, keeps: bool) -> Checked<Array> {
    charge(array.len() * size_of::<Dynamic>())?;
    let mut all = Dynamic::from_array(std::mem::take(array));
    // the crate's way to pass an item and its place to any function
    let answers = context.call_native_fn_raw("map", true, &mut [&mut all, &mut by.into()]);
    let items = all.into_array().unwrap_or_default();
    let answers = answers.and_then(|answers| {
        answers.into_array().map_err(|found| {
            Box::new(EvalAltResult::ErrorMismatchDataType("array".into(), found.into(), context.call_position()))
        })
    });
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => {
            *array = items;
            return Err(error);
        }
    };
    let mut gone = Array::new();
    for (item, answer) in items.into_iter().zip(answers) {
        let place = if answer.as_bool().unwrap_or(false) == keeps { &mut *array } else { &mut gone };
        place.push(item);
    }
    Ok(gone)
}
