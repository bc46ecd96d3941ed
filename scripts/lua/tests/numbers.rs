//! Texts in place of numbers: read where they are short, refused where they are long.

use super::*;

/// Each native function that takes a number, with a long text in its place.
const LONG: &str = r#"
local long, b = string.rep("9", 70000), buffer.create(8)
local refused, others = {}, {}
local function try(name, f, ...)
  local ok, said = pcall(f, ...)
  if ok or not tostring(said):find("too long for numbers", 1, true) then table.insert(others, name .. ": " .. tostring(said)) end
end
-- each argument alone, the others short
local function each(name, f, count, ...)
  for at = 1, count do
    local arguments = table.pack(...)
    if type(arguments[at]) == "number" then
      arguments[at] = long
      try(name .. " " .. at, f, unpack(arguments, 1, count))
    end
  end
end
local numbers = {
  atan2 = 2, fmod = 2, ldexp = 2, log = 2, pow = 2, random = 2, noise = 3, clamp = 3, lerp = 3, max = 3, min = 3, map = 5,
  arshift = 2, lrotate = 2, lshift = 2, rrotate = 2, rshift = 2, extract = 3, replace = 4, band = 3, bor = 3, bxor = 3, btest = 3,
}
for _, library in { "math", "bit32" } do
  for name, f in _G[library] do
    if type(f) == "function" then each(library .. "." .. name, f, numbers[name] or 1, 1, 1, 1, 1, 1) end
  end
end
for name, f in buffer do
  local is_write = name:find("^write") ~= nil
  if (is_write or name:find("^read")) and not name:find("string") then
    each("buffer." .. name, f, (name:find("bits$") and 3 or 2) + (is_write and 1 or 0), b, 0, 1, 1)
  end
end
each("buffer.readstring", buffer.readstring, 3, b, 0, 1)
each("buffer.writestring", buffer.writestring, 4, b, 0, "x", 1)
each("vector.create", vector.create, 4, 1, 2, 3, 4)
each("vector.lerp", vector.lerp, 3, vector.create(1, 2, 3), vector.create(1, 2, 3), 0.5)
each("os.difftime", os.difftime, 2, 1, 1)
local walked = setmetatable({}, { __index = (ipairs({})) })
try("ipairs", function(key) return walked[key] end, long)
try("buffer.create", buffer.create, long)
try("buffer.fill", buffer.fill, b, 0, long)
try("buffer.copy", buffer.copy, b, 0, b, long)
try("string.rep", string.rep, "x", long)
try("string.sub", string.sub, "x", long)
try("string.byte", string.byte, "x", 1, long)
try("string.find", string.find, "x", "x", long)
try("string.match", string.match, "x", "x", long)
try("string.gmatch", string.gmatch, "x", "x", long)
try("string.gsub", string.gsub, "x", "x", "x", long)
try("string.char", string.char, long)
try("string.format", string.format, "%s%%%5.1f", "x", long)
try("string.pack", string.pack, "<zXd!4d", "x", long)
try("string.unpack", string.unpack, "d", "x", long)
try("utf8.char", utf8.char, long)
try("utf8.len", utf8.len, "x", long)
try("utf8.offset", utf8.offset, "x", long)
try("utf8.codepoint", utf8.codepoint, "x", 1, long)
try("table.insert", table.insert, {}, long, 1)
try("table.remove", table.remove, {}, long)
try("table.move", table.move, {}, 1, 1, long)
try("table.concat", table.concat, {}, "", 1, long)
try("table.unpack", table.unpack, {}, 1, long)
try("unpack", unpack, {}, 1, long)
try("table.create", table.create, long)
try("table.find", table.find, {}, 1, long)
try("os.date", os.date, "%Y", long)
try("os.time", os.time, { year = long, month = 1, day = 1 })
try("select", select, long, 1)
try("error", error, "x", long)
try("debug.traceback", debug.traceback, "x", long)
return { body = others }
"#;

#[test]
fn no_native_function_reads_a_long_text_as_a_number() {
    assert_eq!(text(&respond(LONG).unwrap()), "{}");
}

#[test]
fn texts_where_no_number_is_may_be_long() {
    let body = r#"
local long = string.rep("9", 70000)
local t = {}
table.insert(t, long)
assert(string.format("%s %q %*", long, "x", long):sub(1, 70000) == long)
assert(string.unpack("z", string.pack("z", long)) == long)
assert(string.rep(long, 2) == long .. long and long:find("9", 1, true) == 1 and select(-1, long) == long)
assert(math.floor("2", long) == 2 and bit32.bnot("0", long) == 4294967295)
assert(debug.traceback(coroutine.create(function() end), long):sub(1, 70000) == long)
local b = buffer.create(70000)
buffer.writestring(b, 0, long)
assert(buffer.readstring(b, 0, 70000) == long and tonumber(long) == nil and tostring(long) == long)
return "well"
"#;
    assert_eq!(text(&respond(body).unwrap()), "well");
}

#[test]
fn short_texts_are_numbers_as_ever() {
    let body = r#"
assert(math.floor("2.5") == 2 and bit32.band("3", "6") == 2 and ("x"):rep("3") == "xxx" and ("abc"):sub("2", "2") == "b")
assert(string.format("%d %5.1f", "7", "2.25") == "7   2.2" and "1" + "2" == 3 and select("2", "a", "b") == "b")
assert(buffer.len(buffer.create("8")) == 8 and table.concat({ "a", "b" }, "", "2", "2") == "b")
local ok, said = pcall(math.floor, {})
assert(said:find("invalid argument #1 to 'floor' (number expected, got table)", 1, true), said)
return "well"
"#;
    assert_eq!(text(&respond(body).unwrap()), "well");
}
