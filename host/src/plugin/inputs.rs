//! Fills the slots that a plugin declared from one request, and hides what a grant conceals.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::verdict::Grant;
use super::{BodyInput, Declaration, Input, Witness};
use crate::tls::ClientCertificate;

/// What plugins may see of one request. Borrowed: nothing is copied for a part that nobody declared.
pub struct View<'a> {
    /// The request's id, which no plugin sees; what it logs is marked with it.
    pub id: &'a HeaderValue,
    /// The cleaned head; `host` holds the authority.
    pub head: &'a Parts,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The client's address as text.
    pub client: &'a str,
    /// The certificate that the client showed.
    pub certificate: Option<&'a ClientCertificate>,
    /// Who is calling, after auth.
    pub caller: Option<&'a Grant>,
    /// The whole body where it is held.
    pub body: Option<&'a Bytes>,
    /// Who looks on, where the request is only explained.
    pub witness: Option<&'a Witness>,
}

/// A declared input that is not one exact text: 400, and no plugin is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} {name:?} is not one exact text")]
pub struct Unclear {
    /// `header`, `cookie`, `query parameter`, …
    pub part: &'static str,
    /// Its name.
    pub name: String,
}

/// The value of one slot.
pub(super) type Text<'a> = Option<Cow<'a, str>>;
/// The values of all slots; few plugins declare more than fit without an allocation.
pub(super) type Texts<'a> = SmallVec<[Text<'a>; 8]>;

impl<'a> View<'a> {
    /// Of a request in clear with this head, of which nothing else is known yet.
    #[must_use]
    pub fn of(id: &'a HeaderValue, head: &'a Parts, client: &'a str) -> Self {
        Self { id, head, scheme: "http", client, certificate: None, caller: None, body: None, witness: None }
    }
}

impl View<'_> {
    /// The values of a declaration's slots, in their order.
    ///
    /// # Errors
    /// One of them is not one exact text.
    pub(super) fn texts<'a>(&'a self, declaration: &Declaration) -> Result<Texts<'a>, Unclear> {
        let mut texts = Texts::new();
        for input in &declaration.inputs {
            texts.push(self.text(input)?);
        }
        Ok(texts)
    }

    /// The body, where the plugin sees it: it may be held for another one.
    pub(super) fn body_for(&self, declaration: &Declaration) -> Option<&Bytes> {
        let body = self.body?;
        declaration.body.as_ref()?.takes(&self.head.headers).then_some(body)
    }

    fn text(&self, input: &Input) -> Result<Text<'_>, Unclear> {
        let head = self.head;
        Ok(match input {
            Input::Method => Some(Cow::Borrowed(head.method.as_str())),
            Input::Scheme => Some(Cow::Borrowed(self.scheme)),
            Input::Authority => header_text(&head.headers, &header::HOST)?.or(Some(Cow::Borrowed(""))),
            Input::Path => Some(Cow::Borrowed(head.uri.path())),
            Input::Query => head.uri.query().map(Cow::Borrowed),
            Input::QueryParameter(name) => query_parameter(head.uri.query().unwrap_or_default(), name)?,
            Input::Header(name) => header_text(&head.headers, name)?,
            Input::Cookie(name) => cookie(&head.headers, name)?,
            Input::ClientAddress => Some(Cow::Borrowed(self.client)),
            Input::ClientCertificateSubject => self.certificate.map(|shown| Cow::Borrowed(&*shown.subject)),
            Input::ClientCertificateFingerprint => self.certificate.map(|shown| Cow::Borrowed(&*shown.fingerprint)),
            Input::CallerSubject => self.caller.map(|caller| Cow::Borrowed(caller.subject())),
            Input::CallerPlan => self.caller.and_then(Grant::plan).map(Cow::Borrowed),
            Input::CallerScopes => self.caller.map(|caller| Cow::Borrowed(caller.scopes())),
            Input::CallerAttribute(name) => self.caller.and_then(|caller| caller.attribute(name)).map(Cow::Borrowed),
        })
    }
}

impl BodyInput {
    /// Whether a body with these fields is one that the plugin sees.
    pub(crate) fn takes(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return false;
        }
        let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
            return self.media_types.is_empty();
        };
        let kind = kind.split(';').next().unwrap_or_default().trim();
        self.media_types.is_empty() || self.media_types.iter().any(|known| matches_media_type(known, kind))
    }
}

/// Whether a media type is the known one, or fits the one star of it.
fn matches_media_type(known: &str, kind: &str) -> bool {
    match known.split_once('*') {
        None => known.eq_ignore_ascii_case(kind),
        Some((before, after)) => {
            let fits = |text: Option<&str>, part: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(part));
            kind.len() >= known.len()
                && fits(kind.get(..before.len()), before)
                && fits(kind.get(kind.len() - after.len()..), after)
        }
    }
}

fn unclear(part: &'static str, name: &str) -> Unclear {
    Unclear { part, name: name.to_owned() }
}

/// All fields of a name as one, joined by `, ` (RFC 9110, section 5.3).
fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Text<'a>, Unclear> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let text =
        |value: &'a HeaderValue| std::str::from_utf8(value.as_bytes()).map_err(|_| unclear("header", name.as_str()));
    let first = text(first)?;
    let mut joined = Cow::Borrowed(first);
    for value in values {
        let separator = if *name == header::COOKIE { "; " } else { ", " };
        let joined = joined.to_mut();
        joined.push_str(separator);
        joined.push_str(text(value)?);
    }
    Ok(Some(joined))
}

fn query_parameter<'a>(query: &'a str, name: &str) -> Result<Text<'a>, Unclear> {
    let fault = || unclear("query parameter", name);
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !decodes_to(key, name) {
            continue;
        }
        if found.is_some() {
            return Err(fault());
        }
        found = Some(form_decode(value).ok_or_else(fault)?);
    }
    Ok(found)
}

fn decodes_to(key: &str, name: &str) -> bool {
    key == name || (key.contains(['%', '+']) && form_decode(key).is_some_and(|key| key == name))
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.1): `+` is a space; none where it is not UTF-8.
fn form_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            (b'%', _) => return None,
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The pairs of all `cookie` fields, in their order, as sent (RFC 6265, section 5.4).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

fn named<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Text<'a>, Unclear> {
    let fault = || unclear("cookie", name);
    let mut values = cookies(headers).filter_map(|pair| named(pair, name));
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(fault());
    }
    std::str::from_utf8(value).map(|text| Some(Cow::Borrowed(text))).map_err(|_| fault())
}

/// Removes a credential from a request, so that nobody sees it from here on.
pub(crate) fn conceal(head: &mut Parts, input: &Input) {
    match input {
        Input::Header(name) => {
            head.headers.remove(name);
        }
        Input::Cookie(name) => {
            let kept: Vec<&[u8]> = cookies(&head.headers).filter(|pair| named(pair, name).is_none()).collect();
            let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|value| !value.is_empty());
            head.headers.remove(header::COOKIE);
            if let Some(kept) = kept {
                head.headers.insert(header::COOKIE, kept);
            }
        }
        Input::QueryParameter(name) => conceal_parameter(head, name),
        _ => {}
    }
}

fn conceal_parameter(head: &mut Parts, name: &str) {
    let Some(query) = head.uri.query() else { return };
    let kept: Vec<&str> =
        query.split('&').filter(|pair| !decodes_to(pair.split('=').next().unwrap_or_default(), name)).collect();
    let path = head.uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    if let Ok(target) = PathAndQuery::from_maybe_shared(Bytes::from(target)) {
        head.uri = target.into();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(target: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    static ID: HeaderValue = HeaderValue::from_static("id");

    fn view(head: &Parts) -> View<'_> {
        View::of(&ID, head, "192.0.2.1")
    }

    #[test]
    fn a_parameter_is_decoded_and_must_be_one() {
        let head = parts("/?a=1+2%21&b=&%63=x&d=1&d=2&e=%ff&f", &[]);
        let get =
            |name: &str| view(&head).text(&Input::QueryParameter(name.into())).map(|text| text.map(Cow::into_owned));
        assert_eq!(get("a").unwrap().as_deref(), Some("1 2!"));
        assert_eq!(get("b").unwrap().as_deref(), Some(""));
        assert_eq!(get("c").unwrap().as_deref(), Some("x"));
        assert_eq!(get("f").unwrap().as_deref(), Some(""));
        assert_eq!(get("g").unwrap(), None);
        assert!(get("d").is_err());
        assert!(get("e").is_err());
    }

    #[test]
    fn fields_of_one_name_are_joined() {
        let head = parts("/", &[("accept", "a"), ("accept", "b")]);
        let text = view(&head).text(&Input::Header(header::ACCEPT)).unwrap().unwrap().into_owned();
        assert_eq!(text, "a, b");
    }

    #[test]
    fn a_concealed_cookie_leaves_the_others() {
        let mut head = parts("/", &[("cookie", "a=1; session=x; b=2"), ("cookie", "session=y")]);
        assert!(view(&head).text(&Input::Cookie("session".into())).is_err());
        conceal(&mut head, &Input::Cookie("session".into()));
        assert_eq!(head.headers[header::COOKIE], "a=1; b=2");
    }

    #[test]
    fn a_concealed_parameter_leaves_the_others() {
        let mut head = parts("/p?a=1&%6bey=x&b=2&key=y", &[]);
        conceal(&mut head, &Input::QueryParameter("key".into()));
        assert_eq!(head.uri, "/p?a=1&b=2");
        conceal(&mut head, &Input::QueryParameter("a".into()));
        conceal(&mut head, &Input::QueryParameter("b".into()));
        assert_eq!(head.uri, "/p");
    }

    #[test]
    fn a_star_stands_for_a_part_of_a_media_type() {
        assert!(matches_media_type("application/*+json", "application/problem+JSON"));
        assert!(!matches_media_type("application/*+json", "application/json"));
        assert!(matches_media_type("application/json", "Application/Json"));
        assert!(matches_media_type("text/*", "text/plain"));
        assert!(!matches_media_type("text/*", "texts"));
        assert!(!matches_media_type("a*a", "a"));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in ".*") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(form_decode(&encoded).unwrap(), text);
        }

        #[test]
        fn decoding_never_panics(text in "[%+a-f0-9é]*") {
            let _ = form_decode(&text);
        }
    }
}
