//! `map.to_json()`. The crate's own follows what closures captured: a circle overflows the stack, a nest takes for ever.

use rhai::{Dynamic, EvalAltResult, FnPtr, FuncRegistration, Map, Module, NativeCallContext, Position};
use serde_json::json;

use super::calls::over;
use crate::meter;
use crate::value::MAX_DEPTH;

type Checked<T> = Result<T, Box<EvalAltResult>>;

/// Registers it.
pub(super) fn add(module: &mut Module) {
    FuncRegistration::new("to_json").in_global_namespace().set_into_module(
        module,
        |context: NativeCallContext, map: &mut Map| -> Checked<String> {
            let mut writer = Writer { out: String::new(), max: context.engine().max_string_size() };
            writer.map(map, 0)?;
            Ok(writer.out)
        },
    );
}

/// Bytes of a text that are escaped at once.
const PIECE: usize = 16 << 10;

struct Writer {
    out: String,
    /// Bytes that a text may have.
    max: usize,
}

impl Writer {
    /// A function is its name; what JSON has no word for is what it prints as.
    fn value(&mut self, value: &Dynamic, depth: usize) -> Checked<()> {
        if value.is_shared() {
            let content = value.read_lock::<Dynamic>().filter(|content| !content.is_shared());
            let content = content.ok_or_else(|| fault("a value in use cannot be written as JSON"))?;
            return self.value(&content, depth);
        }
        if let Ok(array) = value.as_array_ref() {
            return self.list(array.iter(), depth, |writer, item| writer.value(item, depth + 1));
        }
        if let Ok(blob) = value.as_blob_ref() {
            return self.list(blob.iter(), depth, |writer, byte| writer.push(&byte.to_string()));
        }
        if let Ok(map) = value.as_map_ref() {
            return self.map(&map, depth);
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return self.text(&text);
        }
        if let Ok(number) = value.as_float() {
            return self.push(&json!(number).to_string());
        }
        if let Some(function) = value.read_lock::<FnPtr>() {
            return self.text(function.fn_name());
        }
        match value {
            value if value.is_unit() => self.push("null"),
            value if value.is_int() || value.is_bool() => self.push(&value.to_string()),
            value => self.text(&value.to_string()),
        }
    }

    fn map(&mut self, map: &Map, depth: usize) -> Checked<()> {
        nest(depth)?;
        self.push("{")?;
        for (index, (key, item)) in map.iter().enumerate() {
            if index > 0 {
                self.push(",")?;
            }
            self.text(key)?;
            self.push(":")?;
            self.value(item, depth + 1)?;
        }
        self.push("}")
    }

    fn list<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        depth: usize,
        mut write: impl FnMut(&mut Self, T) -> Checked<()>,
    ) -> Checked<()> {
        nest(depth)?;
        self.push("[")?;
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.push(",")?;
            }
            write(self, item)?;
        }
        self.push("]")
    }

    /// Text is charged before it is escaped, a piece at a time.
    fn text(&mut self, text: &str) -> Checked<()> {
        self.push("\"")?;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE));
            if meter::charge_bytes(piece.len()).is_some() {
                return Err(over());
            }
            let quoted = json!(piece).to_string();
            self.push(&quoted[1..quoted.len() - 1])?;
            rest = more;
        }
        self.push("\"")
    }

    fn push(&mut self, part: &str) -> Checked<()> {
        if meter::tick(1).is_some() {
            return Err(over());
        }
        if self.out.len().saturating_add(part.len()) > self.max {
            return Err(Box::new(EvalAltResult::ErrorDataTooLarge("Length of string".into(), Position::NONE)));
        }
        self.out.push_str(part);
        Ok(())
    }
}

fn nest(depth: usize) -> Checked<()> {
    if depth == MAX_DEPTH {
        return Err(fault(&format!("the value nests deeper than {MAX_DEPTH} levels, or contains itself")));
    }
    Ok(())
}

fn fault(what: &str) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(what.into(), Position::NONE))
}
