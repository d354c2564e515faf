//! Which header fields a plugin may change.

use http::header::{self, HeaderName};

use super::{Connection, REQUEST_ID, Stripped};

/// Which message a field goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A request to a service.
    ToService,
    /// A response to a client.
    ToClient,
}

/// Whether a plugin may set or remove a field that no auth plugin declared. With [`Stripped::default`] it says which
/// fields an auth plugin may declare.
///
/// Out of reach are connection fields, `content-length`, `trailer` and `via`; in requests also `host` and all that
/// `stripped` holds; in responses `x-request-id`.
pub fn may_edit(way: Way, name: &HeaderName, stripped: &Stripped) -> bool {
    if Connection::of(name) != 0 || matches!(*name, header::CONTENT_LENGTH | header::VIA | header::TRAILER) {
        return false;
    }
    match way {
        Way::ToService => *name != header::HOST && !stripped.holds(name.as_str()),
        Way::ToClient => *name != REQUEST_ID,
    }
}
