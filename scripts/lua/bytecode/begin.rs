//! One more instruction at the beginning of functions.
//!
//! Jumps are by distances, so nothing within a function changes when all of it moves; what stands by the number of an instruction is
//! the lines, which are written anew.

use super::{Function, Unknown, stretches};

/// `PREPVARARGS`, which has to be the first one.
const PREPARES: u8 = 65;

/// The file with `instruction` at the beginning of these functions, which are some of those that [`super::functions`] found.
pub(in crate::lua) fn begin_with(
    instruction: [u8; 4],
    bytecode: &[u8],
    functions: &[&Function],
) -> Result<Vec<u8>, Unknown> {
    let (mut out, mut done) = (Vec::with_capacity(bytecode.len() + functions.len() * 16), 0);
    for function in functions {
        if function.has_names {
            return Err(Unknown);
        }
        let code = &bytecode[function.code.clone()];
        let size = code.len() / 4;
        out.extend_from_slice(&bytecode[done..function.size.start]);
        put_count(&mut out, size + 1);
        let (first, rest) = code.split_at(if code.first() == Some(&PREPARES) { 4 } else { 0 });
        out.extend_from_slice(first);
        out.extend_from_slice(&instruction);
        out.extend_from_slice(rest);
        done = function.code.end;
        if let Some(lines) = &function.lines {
            out.extend_from_slice(&bytecode[done..lines.bytes.start]);
            let mut each = read_lines(&bytecode[lines.bytes.clone()], size)?;
            each.insert(0, *each.first().ok_or(Unknown)?);
            put_lines(&mut out, &each, lines.gap)?;
            done = lines.bytes.end;
        }
    }
    out.extend_from_slice(&bytecode[done..]);
    Ok(out)
}

fn put_count(out: &mut Vec<u8>, mut count: usize) {
    while count >= 128 {
        out.push((count & 127) as u8 | 128);
        count >>= 7;
    }
    out.push((count & 127) as u8);
}

/// The line of each instruction.
fn read_lines(bytes: &[u8], size: usize) -> Result<Vec<i32>, Unknown> {
    let (gap, rest) = bytes.split_first().ok_or(Unknown)?;
    let (near, far) = rest.split_at_checked(size).ok_or(Unknown)?;
    let (mut line, mut starts) = (0_i32, Vec::new());
    for word in far.chunks_exact(4) {
        line = line.wrapping_add(i32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        starts.push(line);
    }
    let mut distance = 0_u8;
    let each = near.iter().enumerate().map(|(at, step)| {
        distance = distance.wrapping_add(*step);
        starts.get(at >> gap).map(|start| start.wrapping_add(i32::from(distance))).ok_or(Unknown)
    });
    each.collect()
}

/// Writes lines with stretches of `1 << gap` instructions, or of fewer where lines of one stretch are too far apart.
fn put_lines(out: &mut Vec<u8>, each: &[i32], gap: u8) -> Result<(), Unknown> {
    let stretch = |gap: u8| 1_usize.checked_shl(u32::from(gap)).ok_or(Unknown);
    let mut gap = gap;
    let starts = loop {
        let least: Vec<i32> = each.chunks(stretch(gap)?).filter_map(|lines| lines.iter().min().copied()).collect();
        let is_near =
            |(at, line): (usize, &i32)| least.get(at >> gap).is_some_and(|least| line.wrapping_sub(*least) <= 255);
        if each.iter().enumerate().all(is_near) {
            break least;
        }
        gap = gap.checked_sub(1).ok_or(Unknown)?;
    };
    debug_assert_eq!(Ok(starts.len()), stretches(each.len(), gap));
    out.push(gap);
    let mut before = 0_u8;
    for (at, line) in each.iter().enumerate() {
        let distance = u8::try_from(line.wrapping_sub(starts[at >> gap])).map_err(|_| Unknown)?;
        out.push(distance.wrapping_sub(before));
        before = distance;
    }
    let mut before = 0_i32;
    for start in starts {
        out.extend_from_slice(&start.wrapping_sub(before).to_le_bytes());
        before = start;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::functions;
    use super::*;

    /// `NOP`.
    const NOTHING: [u8; 4] = [0; 4];

    #[test]
    fn a_file_with_one_more_instruction_in_each_function_means_the_same_and_has_the_same_lines() {
        let gap = "\n".repeat(700);
        let source = format!(
            "local function f(a, ...) if a then for i = 1, 3 do a = a + i end end return a, ... end{gap}\
             local t = {{ g = function(x){gap} return x.y end }}\nlocal s = 0\nwhile s < 4 do s = s + 1 end\n{}\n\
             local ok, said = pcall(t.g, nil)\nreturn f(s, 7), select(2, f(1, 8)), said",
            "s = s + 0\n".repeat(400)
        );
        let code = super::super::super::compiler().compile(&source).unwrap();
        let lua = mlua::Lua::new();
        let run = |code: &[u8]| {
            let chunk = super::super::super::load(&lua, "x", code).unwrap();
            chunk.call::<(i64, i64, String)>(()).unwrap()
        };
        let before = run(&code);
        assert_eq!((before.0, before.1), (10, 8));
        assert!(before.2.contains(":1402:") || before.2.contains(":1401:"), "{}", before.2);
        let mut longer = code.clone();
        for _ in 0..5 {
            let found = functions(&longer).unwrap();
            assert_eq!(found.len(), 3);
            longer = begin_with(NOTHING, &longer, &found.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(run(&longer), before);
        }
        let one = functions(&code).unwrap();
        let only = begin_with(NOTHING, &code, &[&one[1]]).unwrap();
        let sizes = |code: &[u8]| functions(code).unwrap().iter().map(|it| it.code.len()).collect::<Vec<_>>();
        let mut expected = sizes(&code);
        expected[1] += 4;
        assert_eq!((sizes(&only), run(&only)), (expected, before));
    }
}
