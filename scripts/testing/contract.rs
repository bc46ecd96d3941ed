//! What the contract says of entry scripts, requests, answers and errors.

use std::sync::Arc;

use bytes::Bytes;

use super::{Notes, Running, api, context, generous, request, sources, text};
use crate::api::{Principal, Response};
use crate::error::ScriptError;
use crate::host::{Handler, Program, compile};
use crate::streamed;
use crate::value::Value;

/// The error is one of the contract and says `part`.
#[track_caller]
pub(crate) fn assert_contract_error(error: &ScriptError, part: &str, script: &str) {
    assert!(matches!(error, ScriptError::Contract(text) if text.contains(part)), "{script}: {error:?}");
}

/// A file of this text has a fault with a message, and the compiler does not crash over it.
#[track_caller]
pub(crate) fn assert_faulty(path: &str, text: &str) {
    let start = &text[..20];
    let Err(faults) = compile(&sources(&[(path, text)])) else { panic!("{start} compiles") };
    assert!(!faults[0].message.is_empty(), "{start}");
}

/// The VM has handlers of most kinds: `init`, `health`, two apis, a page, a service, a cleanup, an event and two actors; and no others.
pub(crate) fn assert_exports((vm, _): Running) {
    let expected = [
        Handler::Init,
        Handler::Health,
        Handler::Api("GET /a".into()),
        Handler::Api("POST /a".into()),
        Handler::Page("Home".into()),
        Handler::Service("x.y".into()),
        Handler::Cleanup("things".into()),
        Handler::Event("x.made".into()),
        Handler::ActorInit("count".into()),
        Handler::ActorHandle("count".into()),
        Handler::ActorHandle("bare".into()),
    ];
    assert_eq!(vm.exports().handlers, expected.into_iter().collect());
}

/// The handler checks a request that has everything, and answers with 201, headers of several kinds and the body.
pub(crate) fn assert_whole_request_arrives((mut vm, _): Running) {
    let mut request = request();
    request.params = vec![("id".into(), "7".into())];
    request.query = vec![("q".into(), "old".into()), ("q".into(), "new".into())];
    request.headers.append("accept", "a".parse().unwrap());
    request.headers.append("accept", "b".parse().unwrap());
    request.headers.append("x-one", http::HeaderValue::from_bytes(b"\xe4").unwrap());
    request.body = Bytes::from_static(b"\x00\xff!");
    request.principal = Some(Arc::new(Principal { subject: "ann".into(), permissions: vec!["p".into(), "q".into()] }));
    let response = vm.respond(&api(), &request, &context()).unwrap();
    assert_eq!(response.status, 201);
    assert_eq!(response.body, request.body);
    assert_eq!(response.headers["x-a"], "1");
    assert_eq!(response.headers["x-n"], "5");
    assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(response.headers["content-type"], "application/octet-stream");
}

/// `health` answers with the context's module, `on_config` with its arguments and whether there are no more.
pub(crate) fn assert_context_where_the_contract_has_it((mut vm, _): Running) {
    assert_eq!(vm.call(&Handler::Health, &[], &context()).unwrap(), Value::from("sample"));
    let config = vm.call(&Handler::OnConfig, &[Value::Int(1), Value::Int(2)], &context()).unwrap();
    assert_eq!(config, Value::List(vec![Value::Int(1), Value::Int(2), Value::Bool(true)]));
}

/// The answer is a 200 with this body and content type.
#[track_caller]
pub(crate) fn assert_answer(answer: Result<Response, ScriptError>, body: &str, content_type: Option<&str>) {
    let response = answer.unwrap();
    assert_eq!((text(&response), response.status.as_u16()), (body, 200));
    assert_eq!(response.headers.get("content-type").map(|value| value.to_str().unwrap()), content_type);
}

/// The VM has no page, and says so.
pub(crate) fn assert_missing_page_is_named((mut vm, _): Running) {
    let error = vm.respond(&Handler::Page("Home".into()), &request(), &context()).unwrap_err();
    assert!(error.to_string().contains("pages[\"Home\"]"), "{error}");
}

/// The script threw this message.
#[track_caller]
pub(crate) fn assert_thrown(error: &ScriptError, expected: &str, script: &str) {
    assert!(matches!(error, ScriptError::Thrown { message, .. } if message == expected), "{script}: {error:?}");
}

/// The script threw a status of 404 with this title and detail.
#[track_caller]
pub(crate) fn assert_not_found(error: &ScriptError, said: (&str, &str)) {
    let ScriptError::Problem { status: 404, title, detail } = error else { panic!("{error:?}") };
    assert_eq!((title.as_str(), detail.as_str()), said);
}

/// The handler throws at its first call and answers the second with its number.
pub(crate) fn assert_serves_on_after_an_error((mut vm, _): Running) {
    assert!(!vm.respond(&api(), &request(), &context()).unwrap_err().retires_vm());
    assert_eq!(text(&vm.respond(&api(), &request(), &context()).unwrap()), "2");
}

/// `health` answers with how often it was called: in each VM by itself.
pub(crate) fn assert_vms_share_nothing(program: &dyn Program) {
    let make = || program.instantiate(Arc::new(Notes::default()), &generous(), &context()).unwrap();
    let (mut first, mut second) = (make(), make());
    first.call(&Handler::Health, &[], &context()).unwrap();
    assert_eq!(first.call(&Handler::Health, &[], &context()).unwrap(), Value::Int(2));
    assert_eq!(second.call(&Handler::Health, &[], &context()).unwrap(), Value::Int(1));
}

/// `GET /x` answers with the stream `ticks` from 2 on, which gives its number and counts down to its end; `POST /a` names one
/// that is missing.
pub(crate) fn assert_streams((mut vm, _): Running) {
    let handler = Handler::Stream("ticks".into());
    let response = vm.respond(&api(), &request(), &context()).unwrap();
    let stream = response.stream.expect("a stream");
    assert_eq!((&*stream.name, &stream.state, response.status.as_u16()), ("ticks", &Value::Int(2), 206));
    assert_eq!(response.headers["content-type"], "text/event-stream");
    assert!(response.body.is_empty());
    let (mut state, mut pieces) = (stream.state, Vec::new());
    while let Some(piece) = streamed::read(vm.call(&handler, &[state.clone()], &context()).unwrap()).unwrap() {
        state = piece.state.unwrap_or(state);
        pieces.push((piece.body, piece.after.as_millis()));
    }
    let expected = [Bytes::from_static(b"2\n"), Bytes::from_static(b"1\n\xff")];
    assert_eq!(pieces, expected.map(|body| (body, 5)));
    let error = vm.respond(&Handler::Api("POST /a".into()), &request(), &context()).unwrap_err();
    assert_contract_error(&error, "has no streams[\"tocks\"]", "POST /a");
}
