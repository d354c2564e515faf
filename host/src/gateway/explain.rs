//! One request explained, beside [`super::pass`] and by the same stages, without a trace: nothing is sent, no limit is spent,
//! nothing is counted, remembered or held against anybody.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};

use super::Worker;
use crate::clean::Scheme;
use crate::explain::{Answer, By, End, Explanation};
use crate::forward::headers::{Peer, REQUEST_ID};
use crate::log::Record;
use crate::request::{Request, RequestText, TextFault};

mod walk;

use walk::{Walk, Way};

/// What stands for the id of a request that has none, in what plugins log.
const ID: &str = "explain";
/// Requests that may wait to be explained: people ask, and one after the other.
const MOST_WAITING: usize = 4;
/// Longer than all stages of one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request to be explained.
pub struct Question {
    text: RequestText,
    client: IpAddr,
    answer: oneshot::Sender<Result<Explanation, TextFault>>,
}

/// Asks a worker.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    /// The text is no request.
    #[error(transparent)]
    Text(#[from] TextFault),
    /// The worker has others to explain, or something keeps it from answering.
    #[error("the worker is busy")]
    Busy,
    /// It is gone.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Asker {
    /// An asker, and what the worker that answers it needs.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(MOST_WAITING);
        (Self(questions), asked)
    }

    /// Has a request from this client explained.
    ///
    /// # Errors
    /// It is no request, or nobody answers.
    pub async fn ask(&self, text: RequestText, client: IpAddr) -> Result<Explanation, AskFault> {
        let (answer, coming) = oneshot::channel();
        self.0.try_send(Question { text, client, answer }).map_err(|fault| match fault {
            mpsc::error::TrySendError::Full(_) => AskFault::Busy,
            mpsc::error::TrySendError::Closed(_) => AskFault::Stopping,
        })?;
        let answered = tokio::time::timeout(PATIENCE, coming).await.map_err(|_| AskFault::Busy)?;
        Ok(answered.map_err(|_| AskFault::Stopping)??)
    }
}

/// Answers questions for as long as somebody may ask.
pub async fn answer_questions(worker: Rc<Worker>, mut questions: mpsc::Receiver<Question>) {
    while let Some(Question { text, client, answer }) = questions.recv().await {
        let explained = explain(&worker, By::Worker(worker.index), &text, client).await;
        // Whoever asked may have left.
        let _ = answer.send(explained);
    }
}

/// Explains a request from this client, which comes in without TLS.
///
/// # Errors
/// The text is no request.
pub async fn explain(worker: &Worker, by: By, text: &RequestText, client: IpAddr) -> Result<Explanation, TextFault> {
    let bounds = worker.gateway.borrow().bounds;
    text.send(&bounds, async |request| Box::pin(explained(worker, by, request, client)).await).await
}

async fn explained(worker: &Worker, by: By, request: http::Request<Incoming>, client: IpAddr) -> Explanation {
    let now = Instant::now();
    let gateway = Rc::clone(&worker.gateway.borrow());
    let mut request = Request::new(request, Rc::new(Peer::new(client, Scheme::Http, &gateway.trusted)));
    // It ends without [`Record::end`], which would count it and write its line.
    let id = HeaderValue::from_static(ID);
    let mut record = Record::new(&gateway.log, &gateway.nowhere, &request, id.clone(), now);
    let mut walk = Walk::default();
    let way = Way { worker, gateway: &gateway, id: &id, now };
    let (end, answer) = match walk.pass(&way, &mut request, &mut record).await {
        Ok(None) => (End::Forwarded, None),
        Ok(Some(response)) => (End::Answered, Some(response)),
        Err(refusal) => {
            walk.refused(&refusal);
            (End::Refused, Some(super::refuse(refusal, &request, &id)))
        }
    };
    let answer = answer.map(|mut response| {
        if let Some(sharing) = &request.sharing {
            sharing.write(response.headers_mut());
        }
        shown(&response)
    });
    Explanation {
        by,
        method: record.method.to_string(),
        path: record.target.path().to_owned(),
        client: request.address.to_string(),
        end,
        not_asked: walk.not_asked(end),
        steps: walk.steps,
        service: walk.service,
        answer,
    }
}

fn shown(response: &Response<Bytes>) -> Answer {
    let fields = response.headers().iter().filter(|(name, _)| *name != REQUEST_ID);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let body = response.body();
    Answer {
        status: response.status().as_u16(),
        fields: fields.map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: match serde_json::from_slice(body) {
            Ok(serde_json::Value::Object(mut problem)) => {
                problem.retain(|key, value| key != "request_id" || value != ID);
                problem.into()
            }
            Ok(json) => json,
            Err(_) if body.is_empty() => serde_json::Value::Null,
            Err(_) => String::from_utf8_lossy(body).into(),
        },
    }
}
