//! Requests as RFC 9112 has them, and nothing that it merely lets a recipient put up with: what a gateway may write to a
//! service. Shares no code with the product or with hyper.

/// A request in HTTP/1.1 that has one meaning, whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strict {
    /// A token.
    pub method: String,
    /// In origin form, without segments that somebody would resolve.
    pub target: String,
    /// In their order; the names as they were written.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// What came behind its chunks.
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// Raw characters in a target that RFC 3986 wants encoded, and that every browser sends: `WHATWG URL` keeps them in a query, and
/// the ones that are told apart here in a path as well.
const LENIENT_IN_PATHS: &[u8] = b"\"[]^{|}";
const LENIENT_IN_QUERIES: &[u8] = b"\"[]^{|}\\`";
/// What a `connection` field of a gateway may say.
const CONNECTION: [&str; 4] = ["close", "keep-alive", "te", "upgrade"];

type Read<T> = Result<Option<T>, String>;

/// The request at the start of these bytes, and what is left of them; none: it is not whole yet.
///
/// # Errors
/// It is no request, or one that somebody could read in another way.
pub fn read(bytes: &[u8]) -> Read<(Strict, &[u8])> {
    let Some((line, rest)) = line(bytes)? else { return Ok(None) };
    let (method, target) = request_line(line)?;
    let Some((fields, rest)) = fields(rest)? else { return Ok(None) };
    let strict = Strict { method, target, fields, body: Vec::new(), trailers: Vec::new() };
    strict.check()?;
    strict.body(rest)
}

impl Strict {
    /// The values of a field; its name in lower case.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// What the fields say together.
    fn check(&self) -> Result<(), String> {
        let one = |name: &str| match self.values(name)[..] {
            [] | [_] => Ok(()),
            _ => Err(format!("several {name}")),
        };
        for name in ["host", "content-length", "transfer-encoding", "authorization", "content-type", "te", "upgrade"] {
            one(name)?;
        }
        let [host] = self.values("host")[..] else { return Err("no host".into()) };
        let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
        if host.is_empty() || !host.iter().all(is_host) {
            return Err(format!("host {}", host.escape_ascii()));
        }
        for list in self.values("connection") {
            let mut options = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let known = |option: &[u8]| CONNECTION.iter().any(|known| option.eq_ignore_ascii_case(known.as_bytes()));
            if !options.all(known) {
                return Err(format!("connection {}", list.escape_ascii()));
            }
        }
        for gone in ["keep-alive", "proxy-connection", "proxy-authorization", "http2-settings", "proxy", "expect"] {
            if !self.values(gone).is_empty() {
                return Err(format!("{gone} is for one connection, or for the gateway"));
            }
        }
        Ok(())
    }

    /// The body at the start of these bytes.
    fn body(mut self, bytes: &[u8]) -> Read<(Self, &[u8])> {
        match (&self.values("content-length")[..], &self.values("transfer-encoding")[..]) {
            ([], []) => Ok(Some((self, bytes))),
            ([length], []) => {
                let length = number(length, 10)?;
                let Some((body, rest)) = bytes.split_at_checked(length) else { return Ok(None) };
                self.body = body.to_vec();
                Ok(Some((self, rest)))
            }
            ([], [b"chunked"]) => self.chunks(bytes),
            (lengths, codings) => Err(format!("{} lengths and the codings {codings:?}", lengths.len())),
        }
    }

    fn chunks(mut self, mut bytes: &[u8]) -> Read<(Self, &[u8])> {
        loop {
            let Some((size, rest)) = line(bytes)? else { return Ok(None) };
            // No extensions: they are for one connection.
            let size = number(size, 16)?;
            if size == 0 {
                let Some((trailers, rest)) = fields(rest)? else { return Ok(None) };
                self.trailers = trailers;
                return Ok(Some((self, rest)));
            }
            let Some((chunk, rest)) = rest.split_at_checked(size) else { return Ok(None) };
            self.body.extend_from_slice(chunk);
            bytes = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [] | [b'\r'] => return Ok(None),
                _ => return Err("a chunk that does not end where it should".into()),
            };
        }
    }
}

/// A line that ends with CR LF and has neither within it.
fn line(bytes: &[u8]) -> Read<(&[u8], &[u8])> {
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) else { return Ok(None) };
    match bytes.split_at(end) {
        (line, [b'\r', b'\n', rest @ ..]) => Ok(Some((line, rest))),
        (_, [b'\r']) => Ok(None),
        (line, _) => Err(format!("a bare CR, LF or NUL after {}", line.escape_ascii())),
    }
}

fn request_line(line: &[u8]) -> Result<(String, String), String> {
    let fault = || format!("request line {}", line.escape_ascii());
    let [method, target, b"HTTP/1.1"] = line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] else {
        return Err(fault());
    };
    if !is_token(method) || !is_target(target) {
        return Err(fault());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(method), text(target)))
}

/// Whether a target is in origin form and its path in its one spelling.
fn is_target(target: &[u8]) -> bool {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let [b'/', segments @ ..] = path else { return false };
    let mut segments: Vec<&[u8]> = segments.split(|byte| *byte == b'/').collect();
    let last = segments.pop().unwrap_or_default();
    let resolved = |segment: &&[u8]| matches!(*segment, b"." | b"..");
    characters(path, b"/:@", LENIENT_IN_PATHS, true)
        && characters(query.strip_prefix(b"?").unwrap_or_default(), b"/:@?", LENIENT_IN_QUERIES, false)
        && !segments.iter().any(|segment| segment.is_empty() || resolved(segment))
        && !resolved(&last)
}

/// Whether these are the unreserved characters, the sub-delimiters, `more`, `lenient` and escapes; escapes of a path in upper
/// case, and none of them a byte that need not or must not be there.
fn characters(mut bytes: &[u8], more: &[u8], lenient: &[u8], path: bool) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    while let [byte, rest @ ..] = bytes {
        bytes = match (byte, rest) {
            (b'%', [high, low, rest @ ..]) => {
                let Ok(escaped) = number(&[*high, *low], 16) else { return false };
                let escaped = u8::try_from(escaped).unwrap_or(0);
                let upper = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
                if path && (!upper || unreserved(escaped) || matches!(escaped, 0 | b'/' | b'\\')) {
                    return false;
                }
                rest
            }
            (b'%', _) => return false,
            (byte, rest) => {
                let fits = unreserved(*byte) || [b"!$&'()*+,;=", more, lenient].iter().any(|set| set.contains(byte));
                if !fits {
                    return false;
                }
                rest
            }
        };
    }
    true
}

/// Fields up to the empty line behind them.
#[allow(clippy::type_complexity, reason = "fields, and what is left")]
fn fields(mut bytes: &[u8]) -> Read<(Vec<(String, Vec<u8>)>, &[u8])> {
    let mut fields = Vec::new();
    loop {
        let Some((line, rest)) = line(bytes)? else { return Ok(None) };
        bytes = rest;
        if line.is_empty() {
            return Ok(Some((fields, rest)));
        }
        let fault = || format!("field {}", line.escape_ascii());
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(fault)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_value = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if !is_token(name) || !value.iter().all(is_value) {
            return Err(fault());
        }
        fields.push((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()));
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_part)
}

/// A number of digits alone.
fn number(digits: &[u8], radix: u32) -> Result<usize, String> {
    let fault = || format!("number {}", digits.escape_ascii());
    if digits.is_empty() || !digits.iter().all(|digit| char::from(*digit).is_digit(radix)) {
        return Err(fault());
    }
    usize::from_str_radix(&String::from_utf8_lossy(digits), radix).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST /a/b?c=%2e HTTP/1.1\r\nhost: a.example\r\n";

    #[test]
    fn a_request_ends_where_its_framing_says() {
        let ends: [(&str, &[u8]); 3] = [
            ("\r\nGET", b""),
            ("content-length: 3\r\n\r\nabcGET", b"abc"),
            ("transfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nx: y\r\n\r\nGET", b"abc"),
        ];
        for (rest, body) in ends {
            let text = format!("{HEAD}{rest}");
            let (request, left) = read(text.as_bytes()).unwrap().unwrap();
            assert_eq!((request.body.as_slice(), left), (body, &b"GET"[..]));
            for cut in 0..text.len() - 3 {
                assert_eq!(read(&text.as_bytes()[..cut]), Ok(None), "{:?}", &text[..cut]);
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_fault() {
        for rest in [
            "content-length: +1\r\n\r\na",
            "content-length: 1, 1\r\n\r\na",
            "content-length: 1\r\ncontent-length: 1\r\n\r\na",
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: Chunked\r\n\r\n",
            "transfer-encoding: gzip, chunked\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            "x : y\r\n\r\n",
            "x: y\r\n z\r\n\r\n",
            "x: y\nz: a\r\n\r\n",
            "x: y\rz: a\r\n\r\n",
            "x: y\0\r\n\r\n",
            "x\r\n\r\n",
            ": y\r\n\r\n",
            "host: b.example\r\n\r\n",
            "connection: host\r\n\r\n",
        ] {
            let text = format!("{HEAD}{rest}");
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        for line in ["GET  / HTTP/1.1", "GET / HTTP/1.0", "GET /a b HTTP/1.1", "G(T / HTTP/1.1", "GET / HTTP/1.1 "] {
            assert!(read(format!("{line}\r\nhost: a\r\n\r\n").as_bytes()).is_err(), "{line:?}");
        }
        for target in ["a", "*", "/a//b", "/./a", "/a/..", "/%2e", "/%2F", "/%5C", "/%0", "/%e9", "/a#b", "/?a#", "/<"]
        {
            assert!(read(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).is_err(), "{target:?}");
        }
    }
}
