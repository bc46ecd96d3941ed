//! What an instance answers requests with.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use replug_scripts::{CallContext, Handler, Request, Response};
use tokio::sync::oneshot;

use super::Instance;
use super::streams::Streaming;
use crate::actors::error::CallError;
use crate::actors::job::{Answered, Work};

impl Instance {
    /// Runs a request in one of the workers; what streams is opened, but for `HEAD`, which gets the head alone.
    ///
    /// # Errors
    /// As [`Instance::respond`], and [`CallError::Crowded`] where as many streams are open as may be.
    pub async fn answer(
        self: &Arc<Self>,
        handler: Handler,
        request: Box<Request>,
        call: CallContext,
    ) -> Result<(Response, Option<Streaming>), CallError> {
        let (request_id, opens) = (Arc::clone(&call.request_id), request.method != Method::HEAD);
        let Answered { mut response, stay } = self.answered(handler, request, call).await?;
        let stream = if opens { response.stream.take() } else { None };
        let streaming = match (stream, stay) {
            (Some(stream), Some(stay)) => {
                let told = CallContext { request_id, ..self.context("stream", Duration::ZERO) };
                Some(Streaming::open(stay.shared(), *stream, &told)?)
            }
            _ => None,
        };
        Ok((response, streaming))
    }

    /// Runs a request in one of the workers; of what streams, only the head is had.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Closed`] means: look the slot up again.
    pub async fn respond(
        self: &Arc<Self>,
        handler: Handler,
        request: Box<Request>,
        call: CallContext,
    ) -> Result<Response, CallError> {
        Ok(self.answered(handler, request, call).await?.response)
    }

    async fn answered(
        self: &Arc<Self>,
        handler: Handler,
        request: Box<Request>,
        call: CallContext,
    ) -> Result<Answered, CallError> {
        let (reply, answer) = oneshot::channel();
        self.run(Work::Respond { handler, request, reply }, call, answer).await
    }

    /// The same for the runtime itself, which asks also when the module has used up its share of the processor.
    pub(in crate::actors) async fn probe(
        self: &Arc<Self>,
        handler: Handler,
        request: Box<Request>,
        call: CallContext,
    ) -> Result<Response, CallError> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Respond { handler, request, reply };
        let answered: Answered = self.enter(&self.pool, (work, true), call, answer).await?;
        Ok(answered.response)
    }
}
