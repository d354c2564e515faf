//! A client's connection, over HTTP/1.1 or HTTP/2 with prior knowledge.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;

use crate::call::{Call, Content};
use crate::time::runtime;
use crate::within;

/// A connection that is kept from one request to the next.
#[derive(Clone)]
pub struct Connection {
    sender: Sender,
    scheme: &'static str,
}

#[derive(Clone)]
enum Sender {
    Http1(Arc<Mutex<http1::SendRequest<Content>>>),
    Http2(http2::SendRequest<Content>),
}

/// What HTTP can be spoken over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Connects from an address of this machine, or from any.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let connect = async move {
        let socket = if to.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    within("a connection", runtime().spawn(connect)).await.unwrap()
}

impl Connection {
    pub(crate) async fn http1(to: SocketAddr, from: Option<IpAddr>) -> Self {
        Self::http1_over(connect(to, from).await.unwrap(), "http").await
    }

    pub(crate) async fn http2(to: SocketAddr) -> Self {
        Self::http2_over(connect(to, None).await.unwrap(), "http").await
    }

    pub(crate) async fn http1_over(stream: impl Stream, scheme: &'static str) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        runtime().spawn(async move { drop(connection.with_upgrades().await) });
        Self { sender: Sender::Http1(Arc::new(Mutex::new(sender))), scheme }
    }

    pub(crate) async fn http2_over(stream: impl Stream, scheme: &'static str) -> Self {
        let handshake = async move {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            sender
        };
        let sender = runtime().spawn(handshake).await.unwrap();
        Self { sender: Sender::Http2(sender), scheme }
    }

    /// A request on this connection.
    pub fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    /// A request with this method on this connection.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::on(self.clone(), method, target)
    }

    /// Whether the other end has closed it.
    pub async fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.lock().await.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    pub(crate) async fn send(&self, request: Request<Content>) -> Result<Response<Incoming>, hyper::Error> {
        match &self.sender {
            Sender::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                // Waiting for the response needs no sender: another request may be written behind this one.
                let response = sender.send_request(request);
                drop(sender);
                response.await
            }
            Sender::Http2(sender) => sender.clone().send_request(request).await,
        }
    }
}
