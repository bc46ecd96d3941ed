//! Scripts from bytes: every choice of a grammar takes a byte, so whoever makes bytes makes scripts. Knows only std: the fuzz
//! targets include this file too.

/// How deep statements and expressions nest.
const DEPTH: u32 = 6;
/// Parts that a script has at most.
const PARTS: u32 = 400;

/// The words of a language. In texts `$e` stands for an expression, `$b` for a block, `$v` for a variable, `$f` for the name
/// of a function.
pub struct Words {
    statements: Vec<&'static str>,
    expressions: Vec<&'static str>,
    functions: Vec<&'static str>,
}

impl Words {
    /// From lines below the heads `# statements`, `# expressions` and `# functions`.
    fn of(text: &'static str) -> Self {
        let mut parts = text.split("# ").skip(1).map(|part| part.lines().skip(1).collect());
        let mut next = || parts.next().unwrap_or_default();
        Self { statements: next(), expressions: next(), functions: next() }
    }
}

/// A body of a handler in the language of `words`.
pub fn body(words: &Words, bytes: &[u8]) -> String {
    let mut maker = Maker { words, bytes: bytes.iter(), left: PARTS, out: String::new() };
    for _ in 0..6 {
        maker.one(&words.statements, DEPTH);
    }
    maker.out
}

struct Maker<'a> {
    words: &'a Words,
    bytes: std::slice::Iter<'a, u8>,
    left: u32,
    out: String,
}

impl Maker<'_> {
    fn choose(&mut self, from: &[&'static str]) -> &'static str {
        // Two bytes: there are more words than one can say.
        let mut next = || usize::from(*self.bytes.next().unwrap_or(&0));
        from[(next() << 8 | next()) % from.len()]
    }

    /// At the end of depth or parts the first choice, which is the simplest, ends it.
    fn one(&mut self, from: &[&'static str], depth: u32) {
        let words = self.words;
        self.left = self.left.saturating_sub(1);
        let chosen = if depth == 0 || self.left == 0 { from[0] } else { self.choose(from) };
        let mut parts = chosen.split('$');
        self.out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (kind, rest) = part.split_at(1);
            let below = depth.saturating_sub(1);
            match kind {
                "e" => self.one(&words.expressions, below),
                "v" => {
                    let name = self.choose(&["a", "b", "c", "d"]);
                    self.out.push_str(name);
                }
                "f" => {
                    let name = self.choose(&words.functions);
                    self.out.push_str(name);
                }
                _ => {
                    for _ in 0..3 {
                        self.one(&words.statements, below);
                    }
                }
            }
            self.out.push_str(rest);
        }
        self.out.push(' ');
    }
}

/// Lua. Bodies may use the variables `a` to `d`.
pub fn lua() -> Words {
    Words::of(include_str!("grammar/lua.txt"))
}

/// Rhai. Bodies may use the variables `a` to `d`.
pub fn rhai() -> Words {
    Words::of(include_str!("grammar/rhai.txt"))
}

/// What stands at the top of a file whose handler's body is in Rhai.
pub const RHAI_TOP: &str = "fn try_it(f) { try { return f.call(); } catch (e) { return e; } }";
/// What stands before a body in Lua.
pub const LUA_VARIABLES: &str = "local a, b, c, d = {}, 'b', function() return 1 end, 2";
/// What stands before a body in Rhai.
pub const RHAI_VARIABLES: &str = "let a = [1, 2, 3]; let b = \"b\"; let c = || 1; let d = #{ x: 2 };";
