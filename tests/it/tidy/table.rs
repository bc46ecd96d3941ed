//! What the layout allows, as data. DESIGN's import table and rule 2 in the book's architecture chapter say the same.

/// A folder of `runtime/` and what it may name besides itself and `manifest`'s plain types: another folder, one module of it
/// (`engine::ports`), or one name at the root of the scripts crate (`scripts::Value`).
pub(crate) struct Folder {
    /// The folder's name.
    pub(crate) name: &'static str,
    /// What its code may name; `*` is everything.
    pub(crate) may: &'static [&'static str],
}

const ANYTHING: &[&str] = &["*"];

/// The import table. Commands go down, events go up, reads use snapshots.
pub(crate) const FOLDERS: &[Folder] = &[
    Folder { name: "manifest", may: &[] },
    Folder { name: "store", may: &[] },
    Folder { name: "monitor", may: &[] },
    Folder { name: "registry", may: &["store"] },
    Folder { name: "sandbox", may: &["scripts", "store", "monitor"] },
    Folder { name: "actors", may: &["scripts", "sandbox", "monitor"] },
    Folder { name: "engine", may: &["registry", "store", "actors", "sandbox", "scripts", "monitor"] },
    Folder {
        name: "integration",
        may: &[
            "engine::ports",
            "actors::router",
            "scripts::api",
            "scripts::HostFn",
            "scripts::Principal",
            "scripts::Request",
            "scripts::Response",
            // The plain data and the errors that the functions of the api take and give.
            "scripts::value",
            "scripts::Value",
            "scripts::HostError",
            "scripts::HostErrorKind",
            // What a call of an instance takes and gives.
            "scripts::CallContext",
            "scripts::Mirrored",
            "scripts::Handler",
            "scripts::Exports",
            "scripts::ScriptError",
            // Whether what works for a script may go on.
            "scripts::may_go_on",
            "sandbox::guard",
            "sandbox::ports",
            "store",
            "monitor",
        ],
    },
    Folder {
        name: "admin",
        may: &[
            "engine",
            "registry",
            "scripts",
            "sandbox::audit",
            "sandbox::permissions",
            "sandbox::tracker",
            "integration::config",
            // What a check without a runtime asks: do script and manifest fit.
            "integration::contract",
            "kit",
            "actors::snapshot",
            "monitor",
            // A log that is read and checked where no runtime runs, too.
            "store::audit",
            // A client looks a backup through before it keeps it.
            "store::archive",
            "error",
        ],
    },
    // What runs a module's tests: the module's own world without a runtime, so without actors and engine.
    Folder {
        name: "kit",
        may: &[
            "engine::validate",
            "registry",
            "sandbox",
            "scripts",
            "store",
            "monitor",
            "integration::database",
            "integration::migrations",
        ],
    },
    Folder { name: "error", may: ANYTHING },
    Folder { name: "app", may: ANYTHING },
    Folder { name: "lib", may: ANYTHING },
    Folder { name: "main", may: ANYTHING },
];

/// A vendor's crates and the only places that may name them. A place is a file stem or a folder.
pub(crate) struct Vendor {
    /// The crates.
    pub(crate) crates: &'static [&'static str],
    /// Where they live.
    pub(crate) home: &'static [&'static str],
}

/// Vendors stay home.
pub(crate) const VENDORS: &[Vendor] = &[
    Vendor { crates: &["sled"], home: &["runtime/store"] },
    Vendor { crates: &["ractor"], home: &["runtime/actors", "runtime/engine", "runtime/registry", "runtime/app"] },
    Vendor { crates: &["mlua"], home: &["scripts/lua"] },
    Vendor { crates: &["rhai"], home: &["scripts/rhai"] },
    Vendor {
        crates: &["axum"],
        home: &[
            "runtime/integration/api",
            "runtime/integration/middleware",
            "runtime/integration/auth",
            "runtime/integration/ratelimit",
            "runtime/admin",
            "runtime/app",
        ],
    },
    Vendor { crates: &["tokio_rustls", "rustls_native_certs"], home: &["runtime/sandbox/net"] },
    Vendor { crates: &["cap_std", "cap_fs_ext"], home: &["runtime/sandbox/fs"] },
    Vendor { crates: &["rusqlite", "tokio_postgres", "deadpool_postgres"], home: &["runtime/integration/database"] },
];

/// Where HTTP status may be named.
pub(crate) const STATUS: &[&str] = &[
    "runtime/admin/http",
    "runtime/integration/api",
    "runtime/integration/middleware",
    "runtime/integration/auth",
    "runtime/integration/ratelimit",
    "runtime/integration/ui",
    // the client of scripts follows redirects
    "runtime/sandbox/net",
    "scripts/api",
    "scripts/response",
];

/// Pure files: their result depends on their arguments alone.
pub(crate) const PURE: &[&str] = &[
    "runtime/engine/plan",
    "runtime/engine/analysis",
    "runtime/engine/traffic",
    "runtime/registry/resolver",
    "runtime/registry/versions",
    "runtime/actors/intensity",
    "runtime/actors/health/schedule",
];

/// Paths that a pure file may not name, as beginnings.
pub(crate) const IMPURE: &[&str] = &[
    "tokio",
    "ractor",
    "futures",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::SystemTime",
];

/// Names that read a clock or suspend, wherever they stand.
pub(crate) const IMPURE_NAMES: &[&str] =
    &["async", "await", "SystemTime", "now", "now_utc", "now_local", "elapsed", "getrandom", "File"];

/// The only files that may hold `unsafe`, each with its argument written in it.
pub(crate) const UNSAFE: &[&str] =
    &["scripts/lua/interrupt.rs", "scripts/lua/protected.rs", "runtime/monitor/aborts/signal.rs"];

/// Lines a source file may have.
pub(crate) const MAX_LINES: usize = 400;
