//! Values between Lua and the host.
//!
//! A table whose keys are 1 to n is a list, one with string keys a map; an empty table is a map, unless the host made it
//! as an empty list. Lua has no null: a null in a map is a missing key, a null in a list leaves a hole. Numbers are
//! doubles: whole ones below 2^53 in size become [`Value::Int`]; larger integers of the host lose precision on their way
//! in. Metamethods are never called.

use std::collections::BTreeMap;

use bytes::Bytes;
use mlua::{Lua, Table};

use crate::crossing::{self, Room, Unfit, check_depth};
use crate::message::clip;
use crate::meter;
use crate::value::Value;

/// 2^53: from here on not every whole number is a double.
const EXACT: i64 = 1 << 53;

/// Converts between a VM's values and the host's, both ways bounded by the depth and by the memory limit of the call.
#[derive(Clone)]
pub(super) struct Converter {
    /// The metatable of empty lists that the host made.
    empty_list: Table,
}

impl Converter {
    /// For the values of one VM.
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        let empty_list = lua.create_table()?;
        empty_list.set_readonly(true);
        Ok(Self { empty_list })
    }

    /// A copy of a script's value. Every node is a tick.
    pub(super) fn to_host(&self, value: &mlua::Value) -> Result<Value, Unfit> {
        self.to_host_within(value, &mut Room::of_call())
    }

    /// The same for one of several values that share a room.
    pub(super) fn to_host_within(&self, value: &mlua::Value, room: &mut Room) -> Result<Value, Unfit> {
        self.copy_out(value, 0, room)
    }

    /// A script's copy of the host's value.
    ///
    /// # Errors
    /// [`Unfit`] as the outer error; what Luau said as the inner one.
    pub(super) fn to_script(&self, lua: &Lua, value: &Value) -> Result<mlua::Result<mlua::Value>, Unfit> {
        crossing::check(value)?;
        let made = self.copy_in(lua, value);
        if made.is_err() && meter::verdict().is_some() { Err(Unfit::Over) } else { Ok(made) }
    }

    fn copy_out(&self, value: &mlua::Value, depth: usize, room: &mut Room) -> Result<Value, Unfit> {
        room.take_node()?;
        Ok(match value {
            mlua::Value::Nil => Value::Null,
            mlua::Value::Boolean(truth) => Value::Bool(*truth),
            mlua::Value::Integer(number) => whole(*number),
            mlua::Value::Number(number) => Value::Float(*number),
            mlua::Value::String(text) => text_out(&text.as_bytes(), room)?,
            mlua::Value::Buffer(buffer) => {
                room.take_bytes(buffer.len())?;
                Value::Bytes(Bytes::from(buffer.to_vec()))
            }
            mlua::Value::Table(table) => self.table_out(table, depth, room)?,
            other => return Err(Unfit::Kind(kind(other))),
        })
    }

    fn table_out(&self, table: &Table, depth: usize, room: &mut Room) -> Result<Value, Unfit> {
        check_depth(depth)?;
        let mut parts = Parts::default();
        let mut fault = None;
        let walked = table.for_each(|key: mlua::Value, item: mlua::Value| {
            let added = self.copy_out(&item, depth + 1, room).and_then(|item| parts.add(&key, item, room));
            added.map_err(|unfit| {
                fault = Some(unfit);
                mlua::Error::StackError
            })
        });
        match (fault, walked) {
            (Some(unfit), _) => Err(unfit),
            (None, Err(error)) => Err(Unfit::Key(error.to_string())),
            (None, Ok(())) => parts.finish(|| self.is_empty_list(table)),
        }
    }

    fn is_empty_list(&self, table: &Table) -> bool {
        table.metatable().is_some_and(|metatable| metatable.to_pointer() == self.empty_list.to_pointer())
    }

    fn copy_in(&self, lua: &Lua, value: &Value) -> mlua::Result<mlua::Value> {
        if matches!(value, Value::List(_) | Value::Map(_)) && meter::tick(1).is_some() {
            return Err(mlua::Error::StackError);
        }
        Ok(match value {
            Value::Null => mlua::Value::Nil,
            Value::Bool(truth) => mlua::Value::Boolean(*truth),
            #[allow(clippy::cast_precision_loss, reason = "numbers are doubles there, as documented")]
            Value::Int(number) => mlua::Value::Number(*number as f64),
            Value::Float(number) => mlua::Value::Number(*number),
            Value::Text(text) => mlua::Value::String(lua.create_string(text)?),
            Value::Bytes(bytes) => mlua::Value::String(lua.create_string(bytes)?),
            Value::List(items) => {
                let table = lua.create_table_with_capacity(items.len(), 0)?;
                for (index, item) in items.iter().enumerate() {
                    if *item != Value::Null {
                        self.set(lua, &table, index + 1, item)?;
                    }
                }
                if items.is_empty() {
                    table.set_metatable(Some(self.empty_list.clone()))?;
                }
                mlua::Value::Table(table)
            }
            Value::Map(map) => {
                let table = lua.create_table_with_capacity(0, map.len())?;
                for (key, item) in map {
                    if *item != Value::Null {
                        self.set(lua, &table, key.as_str(), item)?;
                    }
                }
                mlua::Value::Table(table)
            }
        })
    }

    /// Text goes into the table directly, without a handle on it in between.
    fn set(&self, lua: &Lua, table: &Table, key: impl mlua::IntoLua, item: &Value) -> mlua::Result<()> {
        match item {
            Value::Text(text) => table.raw_set(key, text.as_str()),
            item => table.raw_set(key, self.copy_in(lua, item)?),
        }
    }
}

/// The entries of a table, sorted into list and map as they come.
#[derive(Default)]
struct Parts {
    /// Items 1 to its length.
    list: Vec<Value>,
    /// Items whose number did not come next.
    loose: BTreeMap<i64, Value>,
    map: BTreeMap<String, Value>,
}

impl Parts {
    fn add(&mut self, key: &mlua::Value, item: Value, room: &mut Room) -> Result<(), Unfit> {
        match key {
            mlua::Value::Integer(number) => {
                if usize::try_from(*number).is_ok_and(|number| number == self.list.len() + 1) {
                    self.list.push(item);
                } else {
                    room.take_entry(self.loose.len())?;
                    self.loose.insert(*number, item);
                }
            }
            mlua::Value::String(text) => match text_out(&text.as_bytes(), room)? {
                Value::Text(key) => {
                    room.take_entry(self.map.len())?;
                    self.map.insert(key, item);
                }
                _ => return Err(Unfit::Key("a table key that is not UTF-8 text".into())),
            },
            mlua::Value::Number(number) => {
                return Err(Unfit::Key(format!("a table key that is no whole number: {number}")));
            }
            other => return Err(Unfit::Key(format!("a {} as a table key; use strings, or 1 to n", kind(other)))),
        }
        Ok(())
    }

    fn finish(mut self, is_empty_list: impl FnOnce() -> bool) -> Result<Value, Unfit> {
        for (number, item) in self.loose {
            if usize::try_from(number).is_ok_and(|number| number == self.list.len() + 1) {
                self.list.push(item);
            } else {
                let next = self.list.len() + 1;
                return Err(Unfit::Key(format!("the table has the key {number} but not {next}; lists have no holes")));
            }
        }
        match (self.list.is_empty(), self.map.first_key_value()) {
            (false, Some((key, _))) => {
                Err(Unfit::Key(format!("the table has the key {:?} beside numbered ones", clip(key))))
            }
            (false, None) => Ok(Value::List(self.list)),
            (true, None) if is_empty_list() => Ok(Value::List(Vec::new())),
            (true, _) => Ok(Value::Map(self.map)),
        }
    }
}

/// Whole numbers below 2^53 in size; larger ones are not exact and stay floats.
fn whole(number: i64) -> Value {
    if -EXACT < number && number < EXACT {
        Value::Int(number)
    } else {
        #[allow(clippy::cast_precision_loss, reason = "it came from a double")]
        Value::Float(number as f64)
    }
}

fn text_out(bytes: &[u8], room: &mut Room) -> Result<Value, Unfit> {
    room.take_bytes(bytes.len())?;
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(Bytes::copy_from_slice(bytes)),
    })
}

/// What scripts call the kind of a value.
pub(super) fn kind(value: &mlua::Value) -> &'static str {
    match value {
        mlua::Value::Error(_) | mlua::Value::UserData(_) | mlua::Value::LightUserData(_) => "host object",
        mlua::Value::Integer(_) => "number",
        other => other.type_name(),
    }
}
