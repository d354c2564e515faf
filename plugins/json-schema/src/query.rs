//! A raw query to decoded parameters.

/// One parameter, as far as it can be decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    /// `None`: a broken percent-escape, or no UTF-8.
    pub name: Option<String>,
    /// The same.
    pub value: Option<String>,
}

/// Reads a query as forms are written (`+` is a space, `%XX` a byte); empty pieces between `&` are skipped.
pub fn read(query: &str) -> impl Iterator<Item = Parameter> {
    query.split('&').filter(|piece| !piece.is_empty()).map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        Parameter { name: decode(name), value: decode(value) }
    })
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(left.next()?)? << 4 | hex(left.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(query: &str) -> Vec<(Option<String>, Option<String>)> {
        read(query).map(|parameter| (parameter.name, parameter.value)).collect()
    }

    fn pair(name: &str, value: &str) -> (Option<String>, Option<String>) {
        (Some(name.into()), Some(value.into()))
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(pairs("a=1&b=x+y%2Bz&&c&d="), [pair("a", "1"), pair("b", "x y+z"), pair("c", ""), pair("d", "")]);
        assert_eq!(pairs("a=b=c"), [pair("a", "b=c")]);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_cannot_be_decoded_is_told_apart_from_what_is_empty() {
        for broken in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(pairs(broken), [(None, Some(String::new()))], "{broken}");
            assert_eq!(pairs(&format!("a={broken}")), [(Some("a".into()), None)], "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read(query in ".{0,60}") {
            let _ = pairs(&query);
        }

        #[test]
        fn escaped_bytes_come_back(value in ".{0,20}") {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(pairs(&format!("n={escaped}")), [(Some("n".to_string()), Some(value))]);
        }
    }
}
