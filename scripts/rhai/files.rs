//! A module's files: compiled once, shared by its VMs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rhai::{AST, Dynamic, Engine, FnAccess, Module, ParseError, Scope, Shared};

use super::qualify::{prepare, qualify, tokens};
use super::{engine, leads};
use crate::contract;
use crate::error::SourceFault;
use crate::host::{Around, Sources};
use crate::message::lower;

/// Parsing recurses over what may nest; this is far more than the depth allowed takes.
const COMPILER_STACK: usize = 32 << 20;

/// Tokens that a file may have, about; at the worst known shape of them the compiler takes some three seconds.
const MAX_TOKENS: usize = 100_000;

/// Tokens that all files of a module may have.
const MAX_ALL_TOKENS: usize = 200_000;

/// Everything that is compiled.
pub(super) struct Files {
    /// The entry's path.
    pub(super) entry: String,
    /// The entry's tree.
    pub(super) ast: AST,
    /// How many parameters the entry's functions of a name declare.
    arities: HashMap<String, Vec<usize>>,
    /// Whether there is a closure in any file: only those make variables into shared cells.
    pub(super) closures: bool,
    /// The functions of the other files, by namespace.
    modules: Modules,
    /// The same as they are registered: by the first part of the namespace.
    roots: Vec<(String, Shared<Module>)>,
    /// The other files that have a top level, in the order in which it runs.
    tops: Vec<Top>,
}

/// Modules by namespace, such as `lib::util`.
pub(super) type Modules = BTreeMap<String, Shared<Module>>;

/// A file whose top level makes constants.
pub(super) struct Top {
    pub(super) namespace: String,
    pub(super) ast: AST,
}

impl Files {
    /// How many parameters the entry's function `name` declares, where it has several forms the most that `given`
    /// arguments fill, otherwise the fewest.
    pub(super) fn parameters(&self, name: &str, given: usize) -> Option<usize> {
        let arities = self.arities.get(name)?;
        let filled = arities.iter().filter(|arity| **arity <= given).max();
        filled.or_else(|| arities.iter().min()).copied()
    }

    /// Makes the other files visible to `engine`, and runs their top levels in it.
    ///
    /// # Errors
    /// What a top level threw, with the path of its file.
    pub(super) fn register(&self, engine: &mut Engine) -> Result<(), (String, Box<rhai::EvalAltResult>)> {
        show(engine, &self.roots);
        if self.tops.is_empty() {
            return Ok(());
        }
        let mut modules = self.modules.clone();
        for top in &self.tops {
            let module = Module::eval_ast_as_new(Scope::new(), &top.ast, engine)
                .map_err(|error| (top.ast.source().unwrap_or_default().to_owned(), error))?;
            modules.insert(top.namespace.clone(), module.into());
            show(engine, &roots(&modules));
        }
        Ok(())
    }
}

/// Compiles every file, on a thread of its own, on which `around` surrounds that.
///
/// # Errors
/// The first fault of each file.
pub(super) fn compile(sources: &Sources, around: &Around<'_>) -> Result<Files, Vec<SourceFault>> {
    std::thread::scope(|scope| {
        let fault = |message: String| vec![SourceFault { file: sources.entry.clone(), line: 0, column: 0, message }];
        let thread = std::thread::Builder::new().name("rhai-compiler".into()).stack_size(COMPILER_STACK);
        let surrounded = || {
            let mut compiled = None;
            around(&mut || compiled = Some(compile_all(sources)));
            compiled
        };
        match thread.spawn_scoped(scope, surrounded) {
            Ok(compiler) => {
                let compiled = compiler.join().ok().flatten();
                compiled.unwrap_or_else(|| Err(fault("the Rhai compiler failed".into())))
            }
            Err(error) => Err(fault(format!("the compiler's thread: {error}"))),
        }
    })
}

fn compile_all(sources: &Sources) -> Result<Files, Vec<SourceFault>> {
    bounded(sources)?;
    let engine = engine::compiler();
    let mut trees = BTreeMap::new();
    let mut faults = Vec::new();
    for (path, source) in &sources.files {
        match compile_file(&engine, path, source) {
            Ok(ast) => {
                trees.insert(path.as_str(), ast);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        faults = ambiguous(&trees, &sources.entry);
        faults.extend(leads::nowhere(sources, &trees));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let closures = trees.values().flat_map(AST::iter_functions).any(|function| is_closure(function.name));
    let ast = trees.remove(sources.entry.as_str()).unwrap_or_default();
    let mut arities: HashMap<String, Vec<usize>> = HashMap::new();
    for function in ast.iter_functions().filter(|function| function.this_type.is_none()) {
        arities.entry(function.name.to_owned()).or_default().push(function.params.len());
    }
    let mut modules = Modules::new();
    let mut tops = Vec::new();
    for (path, ast) in trees {
        let namespace = namespace(path);
        let ast = qualified(&engine, path, &namespace, &sources.files[path], ast)
            .map_err(|error| vec![fault_of(path, &error)])?;
        let mut functions = ast.clone_functions_only();
        functions.set_source(path);
        let module = Module::eval_ast_as_new(Scope::new(), &functions, &engine)
            .map_err(|error| vec![SourceFault { file: path.into(), line: 0, column: 0, message: error.to_string() }])?;
        modules.insert(namespace.clone(), module.into());
        if has_top(&ast) {
            tops.push((Top { namespace, ast }, &*sources.files[path]));
        }
    }
    let roots = roots(&modules);
    Ok(Files { entry: sources.entry.clone(), ast, arities, closures, modules, roots, tops: in_order(tops) })
}

/// Whether the files are small enough for a compiler whose time grows with the square of what some tokens stand in: the arms of
/// a `switch`, the keys of a map, references to many variables.
fn bounded(sources: &Sources) -> Result<(), Vec<SourceFault>> {
    let counts: Vec<_> = sources.files.iter().map(|(path, source)| (path, tokens(source))).collect();
    let fault = |path: &String, message: String| SourceFault { file: path.clone(), line: 0, column: 0, message };
    let large = counts.iter().filter(|(_, count)| *count > MAX_TOKENS);
    let mut faults: Vec<_> = large
        .map(|(path, count)| {
            fault(path, format!("the file has about {count} tokens; at most {MAX_TOKENS} are allowed"))
        })
        .collect();
    let all = counts.iter().fold(0_usize, |sum, (_, count)| sum.saturating_add(*count));
    if faults.is_empty() && all > MAX_ALL_TOKENS {
        let message = format!("the module's files have about {all} tokens; at most {MAX_ALL_TOKENS} are allowed");
        faults.push(fault(&sources.entry, message));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn compile_file(engine: &Engine, path: &str, source: &str) -> Result<AST, SourceFault> {
    contract::check_size(source).map_err(|message| SourceFault { file: path.into(), line: 0, column: 0, message })?;
    let source = prepare(source);
    let mut ast = engine.compile(&source.text).map_err(|error| {
        let fault = fault_of(path, &error);
        SourceFault { column: if fault.column > 0 { source.column(fault.line, fault.column) } else { 0 }, ..fault }
    })?;
    ast.set_source(path);
    Ok(ast)
}

fn fault_of(path: &str, error: &ParseError) -> SourceFault {
    let place = error.position();
    SourceFault {
        file: path.into(),
        line: place.line().unwrap_or(0),
        column: place.position().unwrap_or(0),
        message: lower(&error.err_type().to_string()),
    }
}

/// The tree of a file again, its calls of its own functions qualified.
fn qualified(engine: &Engine, path: &str, namespace: &str, source: &str, ast: AST) -> Result<AST, ParseError> {
    let own: BTreeSet<String> = ast
        .iter_functions()
        .filter(|function| function.access == FnAccess::Public && function.this_type.is_none())
        .map(|function| function.name.to_owned())
        .collect();
    let text = qualify(source, namespace, &own);
    if text == source {
        return Ok(ast);
    }
    let mut ast = engine.compile(prepare(&text).text)?;
    ast.set_source(path);
    Ok(ast)
}

/// `lib::util` of `lib/util.rhai`.
pub(super) fn namespace(path: &str) -> String {
    path.strip_suffix(".rhai").unwrap_or(path).replace('/', "::")
}

/// Private functions cannot be qualified, so those of a name may exist in one file only: see [`super::qualify`].
fn ambiguous(trees: &BTreeMap<&str, AST>, entry: &str) -> Vec<SourceFault> {
    let mut owners: BTreeMap<(&str, usize), &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for (path, ast) in trees {
        for function in ast.iter_functions() {
            let unqualified = *path == entry || function.access == FnAccess::Private;
            if !unqualified || function.this_type.is_some() || is_closure(function.name) {
                continue;
            }
            let other = owners.insert((function.name, function.params.len()), path);
            if let Some(other) = other.filter(|other| other != path) {
                let name = function.name;
                faults.push(SourceFault {
                    file: (*path).into(),
                    line: 0,
                    column: 0,
                    message: format!(
                        "the function {name} stands in {other} too; rename one of them, or make those outside the \
                         entry script public"
                    ),
                });
            }
        }
    }
    faults
}

/// Closures are functions whose name no source can write.
pub(super) fn is_closure(name: &str) -> bool {
    name.starts_with("anon$")
}

/// Whether a tree has statements beside its functions. Nothing is run: the first step ends it.
fn has_top(ast: &AST) -> bool {
    let mut probe = Engine::new_raw();
    probe.on_progress(|_| Some(Dynamic::UNIT));
    probe.run_ast(ast).is_err()
}

/// Files that another's top level mentions come before it; otherwise by path.
fn in_order(tops: Vec<(Top, &str)>) -> Vec<Top> {
    fn visit(index: usize, tops: &[(Top, &str)], seen: &mut [bool], order: &mut Vec<usize>) {
        if std::mem::replace(&mut seen[index], true) {
            return;
        }
        for (other, (top, _)) in tops.iter().enumerate() {
            if tops[index].1.contains(&format!("{}::", top.namespace)) {
                visit(other, tops, seen, order);
            }
        }
        order.push(index);
    }
    let (mut seen, mut order) = (vec![false; tops.len()], Vec::new());
    for index in 0..tops.len() {
        visit(index, &tops, &mut seen, &mut order);
    }
    let mut tops: Vec<_> = tops.into_iter().map(|(top, _)| Some(top)).collect();
    order.into_iter().filter_map(|index| tops[index].take()).collect()
}

fn show(engine: &mut Engine, roots: &[(String, Shared<Module>)]) {
    for (root, module) in roots {
        engine.register_static_module(root, module.clone());
    }
}

/// Modules put below each other as their namespaces say.
fn roots(modules: &Modules) -> Vec<(String, Shared<Module>)> {
    let mut roots: BTreeMap<&str, Vec<(&str, &Shared<Module>)>> = BTreeMap::new();
    for (namespace, module) in modules {
        let (root, rest) = namespace.split_once("::").unwrap_or((namespace, ""));
        roots.entry(root).or_default().push((rest, module));
    }
    roots.into_iter().map(|(root, parts)| (root.to_owned(), tree(root, &parts))).collect()
}

/// One module with the others below it as sub-modules.
fn tree(name: &str, parts: &[(&str, &Shared<Module>)]) -> Shared<Module> {
    let own = parts.iter().find(|(rest, _)| rest.is_empty()).map(|(_, module)| *module);
    if let (Some(own), 1) = (own, parts.len()) {
        return own.clone();
    }
    let mut module = own.map_or_else(Module::new, |own| Module::clone(own));
    if own.is_none() {
        module.set_id(name);
    }
    let mut below: BTreeMap<&str, Vec<(&str, &Shared<Module>)>> = BTreeMap::new();
    for (rest, part) in parts.iter().filter(|(rest, _)| !rest.is_empty()) {
        let (first, rest) = rest.split_once("::").unwrap_or((rest, ""));
        below.entry(first).or_default().push((rest, part));
    }
    for (first, parts) in below {
        module.set_sub_module(first, tree(first, &parts));
    }
    module.build_index();
    module.into()
}
