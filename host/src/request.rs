//! A request on its way: its head, its body, who sent it and who is calling.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use http::request::Parts;
use http_body::Body as _;

use crate::coming::Coming;
use crate::cors::Sharing;
use crate::forward::headers::{Client, Peer};
use crate::place::boxed;
use crate::plugin::verdict::{Grant, Identified};
use crate::plugin::{BodyInput, Verdict, View, Witness};
use crate::refusal::{Refusal, grpc_media_type};

mod body;
mod budget;
mod pace;
mod text;

pub use body::{Body, BodyFault, Broken, Held, Streaming};
pub use budget::Budget;
pub use pace::Pause;
pub use text::{RequestText, TextFault};

/// What the stages depend on beside the request.
pub struct Scene<'a> {
    /// Room for bodies that a plugin declared.
    pub budget: &'a Budget,
    /// The request's id.
    pub id: &'a HeaderValue,
    /// When the request's head had been read.
    pub now: Instant,
    /// The same moment as limits count it.
    pub nanoseconds: u64,
    /// Who looks on, where the request is only explained: then it leaves no trace.
    pub witness: Option<&'a Witness>,
}

/// A request on its way.
pub struct Request {
    /// Cleaned; `host` is the authority, the target is in origin form.
    pub head: Parts,
    /// What is left of its body.
    pub body: Body,
    /// The other end of its connection.
    pub peer: Rc<Peer>,
    /// Who is asking, as far as trusted peers can tell.
    pub client: Client,
    /// The client's address as text.
    pub address: Rc<str>,
    /// Whether it asks for another protocol on its connection.
    pub upgrade: bool,
    /// Whether its API says that it may be sent twice, whatever its method.
    pub repeatable: bool,
    /// Who is calling; none: an anonymous caller.
    pub caller: Option<Granted>,
    /// What browsers are told of its answer; none: what the service says.
    pub sharing: Option<Sharing>,
    /// The content type, where the request is one of gRPC.
    pub grpc: Option<HeaderValue>,
}

/// A caller and the plugin that says so.
#[derive(Clone)]
pub struct Granted {
    /// The plugin: a subject means nothing without it.
    pub plugin: Arc<str>,
    verdict: Verdict<Identified>,
}

impl Granted {
    /// None where the verdict is no grant.
    #[must_use]
    pub fn new(plugin: Arc<str>, verdict: Verdict<Identified>) -> Option<Self> {
        matches!(*verdict, Ok(Identified::Granted(_))).then_some(Self { plugin, verdict })
    }

    /// What the plugin granted.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &*self.verdict {
            Ok(Identified::Granted(grant)) => Some(grant),
            _ => None,
        }
    }
}

impl Request {
    /// As it came: not cleaned, nothing of it bounded, from whoever has the connection.
    #[must_use]
    pub fn new(request: http::Request<impl Into<Coming>>, peer: Rc<Peer>) -> Self {
        let (head, body) = request.into_parts();
        let coming = body.into();
        let body = match coming.is_end_stream() {
            true => Body::Empty,
            false => Body::Streaming(boxed(|| Streaming::new(coming))),
        };
        let (client, address) = (peer.itself(), Rc::clone(&peer.name));
        let grpc = grpc_media_type(&head).cloned();
        Self { head, body, peer, client, address, upgrade: false, repeatable: false, caller: None, sharing: None, grpc }
    }

    /// Who is calling.
    #[must_use]
    pub fn caller(&self) -> Option<&Grant> {
        self.caller.as_ref()?.grant()
    }

    /// What plugins may see of it. Its id is for the log only.
    #[must_use]
    pub fn view<'a>(&'a self, scene: &Scene<'a>) -> View<'a> {
        View {
            id: scene.id,
            head: &self.head,
            scheme: self.client.scheme.as_str(),
            client: &self.address,
            certificate: self.peer.certificate.as_deref(),
            caller: self.caller(),
            body: match &self.body {
                Body::Held(held) => Some(&held.bytes),
                Body::Empty | Body::Streaming(_) => None,
            },
            witness: scene.witness,
        }
    }

    /// Reads the whole body into memory, so that it can be sent twice.
    ///
    /// # Errors
    /// It is longer, stalls or breaks off. Where there is no room it is left as it is.
    pub async fn keep(&mut self, most: usize, budget: &Budget) -> Result<(), Refusal> {
        match self.body.hold(most, budget).await {
            Err(Refusal::NoRoom) => Ok(()),
            held => held,
        }
    }

    /// Reads the whole body into memory where a plugin declared it.
    ///
    /// # Errors
    /// It is longer than the plugin or the API takes, not of a declared type, stalls, breaks off, or there is no room.
    pub async fn hold(&mut self, declared: &BodyInput, budget: &Budget) -> Result<(), Refusal> {
        if matches!(self.body, Body::Empty) {
            return Ok(());
        }
        if !declared.takes(&self.head.headers) {
            return if declared.pass_others { Ok(()) } else { Err(Refusal::MediaType) };
        }
        self.body.hold(declared.most_bytes, budget).await
    }
}
