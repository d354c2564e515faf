//! A client of HTTP/2 that hears what is said before its answer: hyper's does not.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest, handshake};
use http::{Request, Response};

use crate::connection::{Stream, connect};
use crate::time::runtime;
use crate::within;

/// A connection over HTTP/2.
pub struct Hearer(SendRequest<Bytes>);

/// The answer to one request, and what is said before.
pub struct Hearing(ResponseFuture);

impl Hearer {
    /// A connection with prior knowledge.
    ///
    /// # Panics
    /// There is none.
    pub async fn connect(to: SocketAddr) -> Self {
        Self::over(connect(to, None).await.unwrap()).await
    }

    /// A connection over bytes that are there.
    ///
    /// # Panics
    /// The other end speaks no HTTP/2.
    #[allow(private_bounds, reason = "everything that bytes can pass over is one")]
    pub async fn over(stream: impl Stream) -> Self {
        let (sender, connection) = within("HTTP/2", handshake(stream)).await.unwrap();
        runtime().spawn(async move { drop(connection.await) });
        Self(sender)
    }

    /// Asks for a target.
    ///
    /// # Panics
    /// The connection has ended.
    pub async fn get(&self, target: &str) -> Hearing {
        self.begin(Request::get(at(target)).body(()).unwrap(), true).await.0
    }

    /// Posts to a target what is sent into the stream, and expects that it is asked for it, or does not.
    ///
    /// # Panics
    /// The connection has ended.
    pub async fn post(&self, target: &str, expects: bool) -> (Hearing, SendStream<Bytes>) {
        let mut request = Request::post(at(target)).body(()).unwrap();
        if expects {
            request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        }
        self.begin(request, false).await
    }

    async fn begin(&self, request: Request<()>, whole: bool) -> (Hearing, SendStream<Bytes>) {
        let mut ready = within("room for a stream", self.0.clone().ready()).await.unwrap();
        let (answer, stream) = ready.send_request(request, whole).unwrap();
        (Hearing(answer), stream)
    }
}

fn at(target: &str) -> String {
    format!("http://shop.example{target}")
}

impl Hearing {
    /// The next interim response; none: the answer is there.
    ///
    /// # Panics
    /// The stream ends before.
    pub async fn interim(&mut self) -> Option<Response<()>> {
        within("an interim response", poll_fn(|cx| self.0.poll_informational(cx))).await.transpose().unwrap()
    }

    /// The answer with its whole body.
    ///
    /// # Panics
    /// The stream ends before.
    pub async fn answer(self) -> Response<String> {
        let (head, mut body) = within("an answer", self.0).await.unwrap().into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = within("a body", body.data()).await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        Response::from_parts(head, String::from_utf8(bytes).unwrap())
    }
}
