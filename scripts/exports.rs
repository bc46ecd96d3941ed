//! What an entry script may return, as tables: both languages read it by these keys, and what editors read is written from them.

use std::sync::Arc;

use crate::host::Handler;

/// A function that an entry script may return. All are optional, and may declare fewer parameters.
#[derive(Clone, Copy, Debug)]
pub struct Export<H> {
    /// Its key, or that of the table in which it stands by a name of the module's own.
    pub key: &'static str,
    /// Which handler it is, or what makes one of a name.
    pub handler: H,
    /// Its parameters as those of a [`crate::api::Function`]; there are also the types `request` and `context`.
    pub params: &'static str,
    /// The type of what it returns; empty for nothing. There is also the type `answer`.
    pub returns: &'static str,
    /// One line for editors.
    pub doc: &'static str,
}

/// What makes a handler of a name.
pub type Named = fn(Arc<str>) -> Handler;

const fn row<H>(
    key: &'static str,
    handler: H,
    (params, returns): (&'static str, &'static str),
    doc: &'static str,
) -> Export<H> {
    Export { key, handler, params, returns, doc }
}

impl Handler {
    /// The handlers that stand at the top of the table.
    pub const TOP: [Export<Self>; 6] = [
        row("init", Self::Init, ("ctx: context", ""), "In every new virtual machine before its first other call."),
        row("warmup", Self::Warmup, ("ctx: context", ""), "Once an instance, before it takes traffic."),
        row("shutdown", Self::Shutdown, ("ctx: context", ""), "Once an instance, after its last request."),
        row("health", Self::Health, ("ctx: context", "any"), "For health checks: a status, or {status, detail}."),
        row("on_config", Self::OnConfig, ("next: map, previous: map", ""), "When settings change."),
        row(
            "upgrade",
            Self::Upgrade,
            ("state: any, from_version: string, actor: string", "any"),
            "Makes the state of an actor of the one that another version left.",
        ),
    ];

    /// The tables of named handlers.
    pub const NAMED: [Export<Named>; 6] = [
        row("apis", Self::Api, ("req: request, ctx: context", "answer"), "By `METHOD /path`, as the manifest says it."),
        row("pages", Self::Page, ("req: request, ctx: context", "answer"), "By the component of a route."),
        row("services", Self::Service, ("args: any, ctx: context", "any"), "By `capability.method`."),
        row("cleanup", Self::Cleanup, ("ctx: context", ""), "By the name in the manifest, at deactivation."),
        row(
            "events",
            Self::Event,
            ("message: map, ctx: context", ""),
            "By topic; the message is {topic, publisher, payload}.",
        ),
        row(
            "streams",
            Self::Stream,
            ("state: any, ctx: context", "map?"),
            "By the name in an api's answer {status, headers, stream, state}; gives {body, state, after}, or nothing at the end.",
        ),
    ];

    /// The key of the table of actors, each a table of its own.
    pub const ACTORS: &'static str = "actors";

    /// Every key that the contract knows in the table that an entry script returns.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        let top = Self::TOP.map(|row| row.key);
        top.into_iter().chain(Self::NAMED.map(|row| row.key)).chain([Self::ACTORS])
    }

    /// The handlers of one actor, each by its key in the actor's table.
    pub const OF_ACTOR: [Export<Named>; 2] = [
        row("init", Self::ActorInit, ("ctx: context", "any"), "Makes the state before the first message."),
        row(
            "handle",
            Self::ActorHandle,
            ("state: any, message: any, ctx: context", "map?"),
            "Takes a message and returns {state, reply, stop} or nothing.",
        ),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_with_the_context_where_the_contract_passes_it() {
        let named = |rows: &[Export<Named>]| -> Vec<_> {
            rows.iter().map(|row| ((row.handler)("x".into()), row.params)).collect()
        };
        let top = Handler::TOP.map(|row| (row.handler, row.params));
        let rows = top.into_iter().chain(named(&Handler::NAMED)).chain(named(&Handler::OF_ACTOR));
        for (handler, params) in rows {
            assert_eq!(handler.takes_context(), params.ends_with("ctx: context"), "{handler}: {params}");
        }
    }
}
