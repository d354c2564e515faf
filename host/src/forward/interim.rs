//! Interim responses (1xx) of a service on their way to a client.

use http::header::{self, HeaderName};
use http::{StatusCode, Version};

use super::headers;
use crate::request::{Body, Request};
use crate::route::Route;
use crate::server::{Busy, Early};

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

    /// Passes on those that come in answer to this request, which is sent over HTTP/1.1.
    pub(super) fn listen(&self, request: &mut http::Request<Body>) {
        let (voice, removed) = (self.early.voice(), self.removed.clone());
        hyper::ext::on_informational(request, move |response| {
            // hyper says a 100 itself when it begins to read a body that waits for it.
            if response.status() == StatusCode::CONTINUE || !voice.may_speak() {
                return;
            }
            let mut fields = response.headers().clone();
            headers::to_client(&mut fields, response.version(), false);
            removed.iter().for_each(|name| drop(fields.remove(name)));
            fields.remove(header::CONTENT_LENGTH);
            fields.remove(&headers::REQUEST_ID);
            // What browsers are told of other origins is the answer's to say.
            let told = fields.iter().filter(|(name, _)| !name.as_str().starts_with("access-control-"));
            voice.say(response.status(), told.map(|(name, value)| (name.clone(), value.clone())).collect());
        });
    }
}
