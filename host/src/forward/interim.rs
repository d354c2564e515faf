//! Interim responses (1xx) of a service on their way to a client.

use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode, Version};

use super::headers;
use crate::request::{Body, Request};
use crate::route::Route;
use crate::server::{Busy, Early, Voice};

/// Passes a request's interim responses on until this is dropped.
pub(super) struct Interim {
    early: Early,
    /// What a routing plugin takes off responses.
    removed: Box<[HeaderName]>,
}

impl Interim {
    /// None where the service's are not passed on, or its client knows none. In a box, as nearly all requests have none.
    pub(super) fn of(request: &Request, route: &Route, busy: &Busy) -> Option<Box<Self>> {
        let wanted = route.service.settings().interim_responses && request.head.version >= Version::HTTP_11;
        wanted.then(|| Box::new(Self { early: busy.early(), removed: route.removed_of_response().cloned().collect() }))
    }

    /// What hears those that come in answer to one try.
    pub(super) fn ear(&self) -> Ear {
        Ear { voice: self.early.voice(), removed: self.removed.clone() }
    }
}

/// Passes on what it hears, as long as there is no answer.
pub(super) struct Ear {
    voice: Voice,
    removed: Box<[HeaderName]>,
}

impl Ear {
    /// Listens to what comes in answer to this request, which is sent over HTTP/1.1.
    pub(super) fn listen(self, request: &mut http::Request<Body>) {
        hyper::ext::on_informational(request, move |response| {
            self.hear(response.status(), response.version(), response.headers());
        });
    }

    /// An interim response has come. That one is to go on with a body, or with another protocol, is between two connections.
    pub(super) fn hear(&self, status: StatusCode, version: Version, fields: &HeaderMap) {
        let between = matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS);
        if between || !self.voice.may_speak() {
            return;
        }
        let mut fields = fields.clone();
        headers::to_client(&mut fields, version, false);
        self.removed.iter().for_each(|name| drop(fields.remove(name)));
        fields.remove(header::CONTENT_LENGTH);
        fields.remove(&headers::REQUEST_ID);
        // What browsers are told of other origins is the answer's to say.
        let told = fields.iter().filter(|(name, _)| !name.as_str().starts_with("access-control-"));
        self.voice.say(status, told.map(|(name, value)| (name.clone(), value.clone())).collect());
    }
}
