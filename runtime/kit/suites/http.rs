//! The world beyond: requests of the module are noted and answered by what the test gave.

use std::collections::BTreeMap;
use std::sync::Mutex;

use replug_scripts::{HostError, HostErrorKind, Value};

use super::bounds::Held;
use super::state::{ENTRY, locked};
use crate::manifest::Permissions;
use crate::sandbox::net::{NetworkRules, Target};

/// The answers and the requests of one test.
#[derive(Default)]
pub(super) struct HttpFake {
    answers: Mutex<BTreeMap<(String, String), Value>>,
    requests: Mutex<Vec<Value>>,
}

impl HttpFake {
    /// From now on requests to `url` are answered so.
    ///
    /// # Errors
    /// The test holds as much as it may.
    pub(super) fn respond(
        &self,
        path: &str,
        (method, url): (&str, &str),
        answer: Value,
        held: &Held,
    ) -> Result<(), HostError> {
        let mut answers = locked(&self.answers);
        let at = (method.to_ascii_uppercase(), url.to_owned());
        let size = |answer: &Value| ENTRY + method.len() + url.len() + answer.size();
        held.swap(path, answers.get(&at).map_or(0, size), size(&answer))?;
        answers.insert(at, answer);
        Ok(())
    }

    pub(super) fn requests(&self) -> Value {
        Value::List(locked(&self.requests).clone())
    }

    /// Carries out `http.NAME(…)` as far as a test can: checks that the manifest asks for the host, notes the request,
    /// answers it.
    ///
    /// # Errors
    /// What a script sees; also where the test holds as much as it may.
    pub(super) fn call(
        &self,
        name: &str,
        args: &[Value],
        asked: &Permissions,
        held: &Held,
    ) -> Result<Value, HostError> {
        let path = format!("http.{name}");
        let request = Sent::read(name, args).ok_or_else(|| {
            HostError::new(HostErrorKind::InvalidArgument, format!("{path}: the URL must be a string"))
        })?;
        check(&path, &request.url, asked)?;
        let Sent { method, url, headers, body } = request;
        let fields =
            [("method", method.as_str().into()), ("url", url.as_str().into()), ("headers", headers), ("body", body)];
        let request = Value::map(fields);
        held.swap(&path, 0, request.size())?;
        locked(&self.requests).push(request);
        let answer = locked(&self.answers).get(&(method.clone(), url.clone())).cloned();
        answer.and_then(response).ok_or_else(|| {
            let message = format!(
                "{path}: no answer was given for {method} {url}; \
                 test.http.respond(\"{method}\", \"{url}\", {{ status = 200, body = … }}) gives one"
            );
            HostError::new(HostErrorKind::NotFound, message)
        })
    }
}

/// What a test gave for an answer, with what it left out; nothing for what is no map.
pub(super) fn response(answer: Value) -> Option<Value> {
    let Value::Map(mut answer) = answer else { return None };
    answer.entry("status".into()).or_insert(Value::Int(200));
    answer.entry("headers".into()).or_insert_with(|| Value::map::<String>([]));
    let body = answer.entry("body".into()).or_insert_with(|| "".into());
    if matches!(body, Value::Map(_) | Value::List(_)) {
        *body = Value::Text(serde_json::to_string(body).unwrap_or_default());
    }
    Some(Value::Map(answer))
}

struct Sent {
    method: String,
    url: String,
    headers: Value,
    body: Value,
}

impl Sent {
    /// `http.request{method, url, …}`, `http.get(url, options?)`, `http.post(url, body, options?)` and the like.
    fn read(name: &str, args: &[Value]) -> Option<Self> {
        let get = |index: usize| args.get(index).cloned().unwrap_or_default();
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let (method, url, options, body) = match name {
            "request" => {
                let all = get(0);
                let method = text(&all, "method").unwrap_or_else(|| "GET".into());
                (method, text(&all, "url")?, all.clone(), all.get("body").cloned().unwrap_or_default())
            }
            "get" | "delete" | "head" => (name.to_owned(), get(0).as_str()?.to_owned(), get(1), Value::Null),
            _ => (name.to_owned(), get(0).as_str()?.to_owned(), get(2), get(1)),
        };
        let headers = options.get("headers").cloned().unwrap_or_else(|| Value::map::<String>([]));
        Some(Self { method: method.to_ascii_uppercase(), url, headers, body })
    }
}

/// Whether the manifest asks for what the URL leads to, by the rules of production.
fn check(path: &str, url: &str, asked: &Permissions) -> Result<(), HostError> {
    let target = Target::parse(url)
        .map_err(|why| HostError::new(HostErrorKind::InvalidArgument, format!("{path}: `{url}`: {why}")))?;
    NetworkRules::new(&asked.system.network, &asked.resources.network).check(path, &target)
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Bounds;
    use super::*;
    use crate::manifest::NetworkPermission;

    fn asked(host: &str) -> Permissions {
        let mut asked = Permissions::default();
        asked.system.network.push(NetworkPermission { host: host.into(), ports: vec![443] });
        asked
    }

    fn held() -> Held {
        Held::new(&Bounds::default())
    }

    fn get(fake: &HttpFake, url: &str, host: &str) -> Result<Value, HostError> {
        fake.call("get", &[url.into()], &asked(host), &held())
    }

    #[test]
    fn an_answer_is_given_and_the_request_is_noted() {
        let fake = HttpFake::default();
        let answer = Value::map([("body", Value::map([("rate", Value::Int(2))]))]);
        fake.respond("test.http.respond", ("get", "https://api.x.org/rate"), answer, &held()).unwrap();
        let got = get(&fake, "https://api.x.org/rate", "*.x.org").unwrap();
        assert_eq!((got.get("status"), got.get("body")), (Some(&Value::Int(200)), Some(&"{\"rate\":2}".into())));
        let post =
            Value::map([("method", "POST".into()), ("url", Value::from("https://api.x.org/a")), ("body", "b".into())]);
        let refused = fake.call("request", &[post], &asked("api.x.org"), &held()).unwrap_err();
        assert!(refused.message.contains("no answer was given for POST https://api.x.org/a"), "{refused}");
        let Value::List(requests) = fake.requests() else { panic!() };
        let seen: Vec<_> = requests.iter().map(|one| one.get("method").cloned().unwrap()).collect();
        assert_eq!(seen, ["GET".into(), Value::from("POST")]);
    }

    #[test]
    fn what_the_manifest_does_not_ask_for_is_denied_and_not_sent() {
        for (url, host) in [
            ("https://x.org/", "api.x.org"),
            ("https://x.org/", "*.x.org"),
            ("https://evilx.org/", "*.x.org"),
            ("http://x.org/", "x.org"),
            ("https://x.org:8443/", "x.org"),
        ] {
            let fake = HttpFake::default();
            let error = get(&fake, url, host).unwrap_err();
            assert_eq!(error.kind, HostErrorKind::PermissionDenied, "{url} {host}");
            assert!(error.message.contains("network: [{ host: ") && error.message.contains("would grant it"));
            assert_eq!(fake.requests(), Value::List(Vec::new()));
        }
        let wrong = get(&HttpFake::default(), "file:///etc/passwd", "x.org").unwrap_err();
        assert_eq!(wrong.kind, HostErrorKind::InvalidArgument);
    }
}
