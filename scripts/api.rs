//! What scripts see of the world: requests, responses and the table of host functions.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::value::Value;

/// An HTTP request on its way to an `apis` or `pages` handler. Scripts see
/// `{id, method, path, params, query, headers, body, principal}`: header names in lower case, repeats joined by `, `;
/// `body` a string, `""` when empty (a blob in Rhai when it is not UTF-8); `principal` `{subject, permissions}` or nil.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request's id, also in logs and in the `x-request-id` header.
    pub id: Arc<str>,
    /// The method in upper case.
    pub method: http::Method,
    /// The path, percent-encoded as it came.
    pub path: String,
    /// Path parameters by name, decoded.
    pub params: Vec<(String, String)>,
    /// Query parameters in order, decoded; of repeated names scripts see the last.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Who signed in, if anyone did.
    pub principal: Option<Arc<Principal>>,
}

/// Somebody who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Their stable name.
    pub subject: String,
    /// What they may do; `*` is everything.
    pub permissions: Vec<String>,
}

impl Principal {
    /// Whether they hold `permission`: by its name, by `*`, or by a prefix such as `analytics.*`.
    #[must_use]
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|held| match held.strip_suffix('*') {
            Some("") => true,
            Some(prefix) if prefix.ends_with('.') => permission.starts_with(prefix),
            _ => held == permission,
        })
    }
}

/// What a handler answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// 100 to 599 is refused before it comes here where HTTP does not allow it.
    pub status: StatusCode,
    /// The headers, `content-type` among them.
    pub headers: HeaderMap,
    /// The body; empty where there is a stream.
    pub body: Bytes,
    /// What makes the body piece by piece once the head is sent; boxed, since few answers have it.
    pub stream: Option<Box<Stream>>,
}

/// A body that is made by one call after the other of `streams[name](state, ctx)`; see [`crate::streamed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Which; the script that answered with it has it.
    pub name: Arc<str>,
    /// What its first call gets.
    pub state: Value,
}

/// One row of the table of host functions.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Which it is.
    pub id: HostFn,
    /// The global it hangs on, the same in both languages: `kv` in `kv.get`.
    pub group: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Parameters as `name: type` separated by commas; a `?` after the name marks one that may be left out.
    pub params: &'static str,
    /// The type of what it returns; empty for nothing.
    pub returns: &'static str,
    /// One sentence for manuals and editors.
    pub doc: &'static str,
    /// Whether its CPU time and allocations are charged to a quota of its own rather than to the call's budget.
    pub own_quota: bool,
    /// Whether it may take long, so that a script which can wait lets others run meanwhile.
    pub waits: bool,
}

macro_rules! host_functions {
    ($($(#[$($mark:ident),+])? $id:ident = $group:literal . $name:literal ($params:literal) -> $returns:literal, $doc:literal;)*) => {
        /// The host functions, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum HostFn {
            $(#[doc = $doc] $id,)*
        }

        /// Every host function, grouped.
        pub const FUNCTIONS: &[Function] = &[$(Function {
            id: HostFn::$id,
            group: $group,
            name: $name,
            params: $params,
            returns: $returns,
            doc: $doc,
            own_quota: false $($(|| host_functions!(@quota $mark))+)?,
            waits: false $($(|| host_functions!(@waits $mark))+)?,
        },)*];
    };
    (@quota own_quota) => { true };
    (@quota waits) => { false };
    (@waits waits) => { true };
    (@waits own_quota) => { false };
}

host_functions! {
    LogTrace = "log"."trace"("message: any, fields?: map") -> "", "Logs at level trace.";
    LogVerbose = "log"."verbose"("message: any, fields?: map") -> "", "Logs at level debug.";
    LogInfo = "log"."info"("message: any, fields?: map") -> "", "Logs at level info; `print` does the same.";
    LogWarn = "log"."warn"("message: any, fields?: map") -> "", "Logs at level warn.";
    LogError = "log"."error"("message: any, fields?: map") -> "", "Logs at level error.";
    JsonEncode = "json"."encode"("value: any") -> "string", "Writes a value as JSON.";
    JsonDecode = "json"."decode"("text: string") -> "any", "Reads JSON; fails with the place of the first fault.";
    TimeNow = "time"."now"("") -> "number", "The wall clock in milliseconds since 1970-01-01 UTC.";
    TimeFormat = "time"."format"("millis: number") -> "string", "A moment as RFC 3339 text in UTC.";
    TimeParse = "time"."parse"("text: string") -> "number", "RFC 3339 text as milliseconds since 1970-01-01 UTC.";
    CryptoRandom = "crypto"."random"("bytes: number") -> "string", "Random bytes from the system's generator in lower-case hex; 1 to 1024 of them.";
    CryptoUuid = "crypto"."uuid"("") -> "string", "A random UUID (version 4).";
    CryptoHash = "crypto"."hash"("algorithm: string, data: string") -> "string", "Hash in lower-case hex by `sha256`, `sha512` or `blake3`.";
    CryptoSha256 = "crypto"."sha256"("data: string") -> "string", "SHA-256 in lower-case hex.";
    CryptoHmac = "crypto"."hmac"("key: string, data: string") -> "string", "HMAC-SHA-256 in lower-case hex.";
    CryptoEncode = "crypto"."encode"("format: string, data: string") -> "string", "Writes bytes as text in `base64`, `base64url` (without padding) or `hex`.";
    CryptoDecode = "crypto"."decode"("format: string, text: string") -> "string", "The bytes of what `crypto.encode` writes; padding may be there or not.";
    CryptoEqual = "crypto"."equal"("a: string, b: string") -> "boolean", "Compares in time that does not depend on the contents.";
    #[own_quota, waits]
    CryptoPasswordHash = "crypto"."password_hash"("password: string") -> "string", "Argon2id hash with its salt and parameters, in PHC form.";
    #[own_quota, waits]
    CryptoPasswordVerify = "crypto"."password_verify"("password: string, hash: string") -> "boolean", "Whether a password fits a hash of `crypto.password_hash`.";
    CryptoJwtSign = "crypto"."jwt_sign"("claims: map, secret: string, key_id: string") -> "string", "Signs claims as a JWT (HS256, RFC 7519) of 64 KiB at most, with `kid`, of 256 bytes at most, in its header.";
    CryptoJwtVerify = "crypto"."jwt_verify"("token: string, secret: string") -> "map?", "The claims of a JWT that this secret signed and whose `exp` is not past; otherwise nothing.";
    CryptoJwtKeyId = "crypto"."jwt_key_id"("token: string") -> "string?", "The `kid` in a JWT's header, unverified; nothing where there is none.";
    ConfigGet = "config"."get"("key?: string") -> "any", "One value of the module's configuration, or all of it as a map; nothing for a key without a value.";
    ConfigOf = "config"."of"("module: string, key: string") -> "any", "One setting of another module that serves, if this module is granted it (`permissions.application.configurations`); nothing for a key without a value.";
    KvGet = "kv"."get"("key: string") -> "any", "The value under a key of the module's own store; nothing where there is none.";
    #[waits]
    KvPut = "kv"."put"("key: string, value: any, options?: map") -> "", "Stores a value; `ttl` in milliseconds lets it expire, `cache = true` lets `clearCache` drop it.";
    #[waits]
    KvDelete = "kv"."delete"("key: string") -> "boolean", "Removes a key; whether there was one.";
    KvList = "kv"."list"("prefix?: string, limit?: number") -> "list", "Keys with a prefix, in order, at most `limit` (1000) of them.";
    #[waits]
    KvCas = "kv"."cas"("key: string, expected: any, value: any") -> "boolean", "Stores a value if the present one equals `expected` (nothing: no such key); whether it did.";
    #[waits]
    DbQuery = "db"."query"("sql: string, params?: list") -> "list", "Rows of the module's own database, each a map by column; at most 10,000.";
    #[waits]
    DbExecute = "db"."execute"("sql: string, params?: list") -> "map", "Runs one statement: `{changes, last_insert_id}`.";
    #[waits]
    DbTransaction = "db"."transaction"("statements: list") -> "list", "Runs `{sql, params}` statements as one transaction; the result of each: rows or `{changes, last_insert_id}`.";
    #[waits]
    DbForCaller = "db"."for_caller"("sql: string, params?: list") -> "any", "In a service: runs one statement on the database of the module that called, if this manifest asks for it (`permissions.system.database: [{ module: caller }]`).";
    #[waits]
    DbOf = "db"."of"("module: string, sql: string, params?: list") -> "any", "Runs one statement on the database of another module, if this module is granted it (`permissions.system.database`): rows or `{changes, last_insert_id}`.";
    #[waits]
    HttpRequest = "http"."request"("request: map") -> "map", "Sends `{method, url, headers, body, timeout, redirects}` to a host that is granted: `{status, headers, body}`.";
    #[waits]
    HttpGet = "http"."get"("url: string, options?: map") -> "map", "As `http.request` with method GET.";
    #[waits]
    HttpPost = "http"."post"("url: string, body?: any, options?: map") -> "map", "As `http.request` with method POST.";
    #[waits]
    FsRead = "fs"."read"("path: string") -> "string", "The contents of a file.";
    #[waits]
    FsWrite = "fs"."write"("path: string, data: string") -> "", "Writes a file as a whole, or replaces it; missing folders are made.";
    #[waits]
    FsAppend = "fs"."append"("path: string, data: string") -> "", "Writes at the end of a file, which is made where it is missing.";
    #[waits]
    FsList = "fs"."list"("path: string") -> "list", "What is in a folder, by name: `{name, kind, size}` with the kind `file`, `folder` or `other`.";
    FsStat = "fs"."stat"("path: string") -> "map?", "`{kind, size, modified}`, the last in milliseconds since 1970-01-01 UTC; nothing where there is nothing.";
    #[waits]
    FsRemove = "fs"."remove"("path: string") -> "boolean", "Removes a file or an empty folder; whether there was one.";
    #[waits]
    FsMkdir = "fs"."mkdir"("path: string") -> "boolean", "Makes a folder and those on the way; whether it was missing.";
    FsExists = "fs"."exists"("path: string") -> "boolean", "Whether there is a file or folder.";
    EnvGet = "env"."get"("name: string") -> "string?", "An environment variable as it is now; nothing where it is not set.";
    MetricsCount = "metrics"."count"("name: string, n?: number, labels?: map") -> "", "Adds `n` (1) to a counter of the module, shown at `/metrics`.";
    MetricsGauge = "metrics"."gauge"("name: string, value: number, labels?: map") -> "", "Sets a gauge of the module.";
    MetricsObserve = "metrics"."observe"("name: string, value: number, labels?: map") -> "", "Adds a value to a histogram of the module.";
    EventsPublish = "events"."publish"("topic: string, payload?: any") -> "", "Hands a payload to the handlers `events[topic]` of this module and of those that depend on it; a topic begins with the module's id, as `shop.order-placed`.";
    ActorsSend = "actors"."send"("name: string, message?: any") -> "", "Puts a message into the mailbox of one of the module's actors; fails with `overloaded` when it is full, or the module's memory is.";
    #[waits]
    ActorsCall = "actors"."call"("name: string, message?: any, timeout?: number") -> "any", "The same, and waits for the reply, at most `timeout` milliseconds.";
    TimersAfter = "timers"."after"("ms: number, topic: string, payload?: any, options?: map") -> "string", "Calls the module's own `events[topic]` once, after so many milliseconds; the timer's id. A timer of the same `id` in `options` is replaced.";
    TimersEvery = "timers"."every"("ms: number, topic: string, payload?: any, options?: map") -> "string", "Calls the module's own `events[topic]` every so many milliseconds; the timer's id. The same timer under the same `id` in `options` goes on as it is.";
    TimersCancel = "timers"."cancel"("id: string") -> "boolean", "Ends a timer; whether there was one.";
    #[waits]
    ServicesCall = "services"."call"("service: string, args?: any") -> "any", "Calls `capability.method` of a module this one depends on, or of the host application.";
    ServicesInvalidate = "services"."invalidate"("capability: string") -> "", "Makes the runtime forget cached answers of a capability this module provides.";
    #[waits]
    ServicesRequest = "services"."request"("method: string, path: string, options?: map") -> "map", "Asks an api or a page of another module inside the process, if this module is granted its path (`permissions.application`): `{status, headers, body}`; options are `query`, `headers` and `body`.";
    #[waits]
    ServicesRender = "services"."render"("component: string, request?: map") -> "map", "Has a component of another module drawn, if this module is granted it (`permissions.application.components`): `{status, headers, body}`; `request` has `path`, `params`, `query`, `headers` and `body`.";
}

impl HostFn {
    /// Its row in the table.
    #[must_use]
    pub fn function(self) -> &'static Function {
        &FUNCTIONS[self as usize]
    }

    /// `group.name`, as scripts write it.
    #[must_use]
    pub fn path(self) -> String {
        let function = self.function();
        format!("{}.{}", function.group, function.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(permissions: &[&str]) -> Principal {
        Principal { subject: "x".into(), permissions: permissions.iter().map(|p| (*p).into()).collect() }
    }

    #[test]
    fn a_permission_is_held_by_name_by_star_or_by_prefix() {
        assert!(principal(&["a.view"]).may("a.view"));
        assert!(!principal(&["a.view"]).may("a.viewer"));
        assert!(principal(&["*"]).may("anything"));
        assert!(principal(&["a.*"]).may("a.view"));
        assert!(!principal(&["a.*"]).may("ab.view"));
        assert!(!principal(&["a*"]).may("a.view"), "a star stands alone or after a dot");
        assert!(!principal(&[]).may("a.view"));
    }

    #[test]
    fn the_table_is_indexed_by_the_enum() {
        for (index, function) in FUNCTIONS.iter().enumerate() {
            assert_eq!(function.id as usize, index);
        }
    }
}
