//! `http`: requests of scripts.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use replug_scripts::{CallContext, HostError, HostErrorKind, HostFn, Pending, Value};

use super::{Args, Guard, mirrored};
use crate::sandbox::net::{Answer, Client, Refused, Request};
use crate::sandbox::permissions::At;

impl Guard {
    /// The answer to a request, to come.
    pub(super) fn http(&self, args: &mut Args, call: &CallContext) -> Result<Pending, HostError> {
        let function = args.function.path();
        let request = request(args)?;
        // a denial needs no client
        self.live.grants().talk(&function, &request.target)?;
        // whoever is asked may do anything, also for a GET
        mirrored::permit(args.function, call)?;
        let (live, call) = (Arc::clone(&self.live), call.clone());
        let answer = self.client().send(function.clone(), request, call.deadline);
        Ok(Box::pin(async move {
            answer.await.map(Answer::into_value).map_err(|Refused { error, quota }| {
                if let Some(quota) = quota {
                    live.exceed(quota, At::Call(&function), Some(&call));
                }
                error
            })
        }))
    }

    /// The client of the rules that hold now. One of other rules ends with the requests that it still has.
    fn client(&self) -> Arc<Client> {
        let grants = self.live.grants();
        let rules = grants.reach();
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref().filter(|client| client.keeps(rules)) {
            return Arc::clone(client);
        }
        let (network, metrics) = (self.supplies.outside.network.clone(), self.supplies.metrics.http(&self.key));
        Arc::clone(client.insert(Arc::new(Client::new(network, Arc::clone(rules), metrics, self.most))))
    }
}

/// The request of the arguments: a map, or a URL and options.
fn request(args: &mut Args) -> Result<Request, HostError> {
    let invalid = |args: &Args, what: String| args.failed(HostErrorKind::InvalidArgument, what);
    if args.function == HostFn::HttpRequest {
        let Value::Map(given) = args.take(0) else { return Err(args.wrong(0, "a map")) };
        return Request::read(given).map_err(|what| invalid(args, what));
    }
    let url = args.text(0)?.to_owned();
    let (method, options) = if args.function == HostFn::HttpGet { ("GET", 1) } else { ("POST", 2) };
    let mut given = match args.take(options) {
        Value::Null => BTreeMap::new(),
        Value::Map(given) => given,
        other => return Err(HostError::argument(&args.function.path(), options + 1, "a map", other.kind())),
    };
    if method == "POST" && given.insert("body".to_owned(), args.take(1)).is_some() {
        return Err(invalid(args, "`body`: the body is an argument of its own".to_owned()));
    }
    if let Some(key) = given.keys().find(|key| matches!(key.as_str(), "url" | "method")) {
        return Err(invalid(args, format!("`{key}` is no option here; use http.request")));
    }
    given.insert("url".to_owned(), Value::Text(url));
    given.insert("method".to_owned(), Value::from(method));
    Request::read(given).map_err(|what| invalid(args, what))
}
