//! Request parameters: [RFC 6749 §3.1, §3.2 and Appendix B](https://www.rfc-editor.org/rfc/rfc6749#section-3.1).
//!
//! Unknown parameters are ignored, an empty one counts as absent, a repeated one is refused. Only `resource` may be repeated as far as
//! the form is concerned ([RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)): what that asks for is judged elsewhere.

use std::borrow::Cow;

use crate::domain::refusal::{
    OAuthError, REQUEST_MALFORMED, REQUEST_PARAMETER_MISSING, REQUEST_PARAMETER_REPEATED, REQUEST_PARAMETER_TOO_LONG,
};

/// The longest parameter that is read, in bytes; nothing legitimate comes near it.
const VALUE_BYTES_MAX: usize = 16 * 1024;
const COUNT_MAX: usize = 64;
const REPEATABLE: &str = "resource";

/// The parameters of one request.
#[derive(Debug)]
pub struct Parameters<'r>(Vec<(Cow<'r, str>, Cow<'r, str>)>);

impl<'r> Parameters<'r> {
    /// Reads a form body or a query.
    pub fn parse(encoded: &'r [u8]) -> Result<Parameters<'r>, OAuthError> {
        let text = std::str::from_utf8(encoded).map_err(|_| REQUEST_MALFORMED)?;
        let mut parameters: Vec<(Cow<'r, str>, Cow<'r, str>)> = Vec::with_capacity(8);
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = decode(pair)?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(REQUEST_PARAMETER_TOO_LONG);
            }
            if value.contains('\u{fffd}') || name.contains('\u{fffd}') {
                return Err(REQUEST_MALFORMED);
            }
            if name != REPEATABLE && parameters.iter().any(|(known, _)| *known == name) {
                return Err(
                    REQUEST_PARAMETER_REPEATED.because(format!("The parameter {name} was sent more than once; send it once."))
                );
            }
            parameters.push((name, value));
            if parameters.len() > COUNT_MAX {
                return Err(REQUEST_PARAMETER_TOO_LONG.because("The request has too many parameters."));
            }
        }
        Ok(Parameters(parameters))
    }

    /// The value of a parameter that is there and not empty; of one that is repeated, the first.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that are not empty.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_ref()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub fn require(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| REQUEST_PARAMETER_MISSING.because(format!("The parameter {name} is missing.")))
    }
}

/// A name and its value. Most have nothing to decode, tokens least of all; those are neither copied nor looked at byte by byte.
fn decode(pair: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), OAuthError> {
    if !pair.contains('%') && !pair.contains('+') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        return Ok((name.into(), value.into()));
    }
    if !has_whole_escapes(pair.as_bytes()) {
        return Err(REQUEST_MALFORMED.because("The request has a % that is not followed by two hexadecimal digits."));
    }
    form_urlencoded::parse(pair.as_bytes()).next().ok_or(REQUEST_MALFORMED)
}

/// The URL standard lets a stray `%` stand for itself; what a client meant by it we do not guess.
fn has_whole_escapes(text: &[u8]) -> bool {
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    text.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| is_digit(at + 1) && is_digit(at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(text: &str) -> Result<(), &'static str> {
        Parameters::parse(text.as_bytes()).map(|_| ()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn repeated_is_refused_empty_is_absent_unknown_is_ignored() {
        assert_eq!(reason("a=1&a=1"), Err("request.parameter_repeated"));
        assert_eq!(reason("a=1&%61=2"), Err("request.parameter_repeated"));
        assert_eq!(reason("a=%zz"), Err("request.malformed"));
        assert_eq!(reason("a=%ff"), Err("request.malformed"));
        assert_eq!(reason(&format!("a={}", "x".repeat(16 * 1024 + 1))), Err("request.parameter_too_long"));
        let parameters = Parameters::parse(b"a=&b=1+2%2B3&zzz=9").expect("well-formed");
        assert_eq!((parameters.get("a"), parameters.get("b"), parameters.get("c")), (None, Some("1 2+3"), None));
        assert_eq!(parameters.require("a").map_err(|refusal| refusal.reason), Err("request.parameter_missing"));
        let parameters = Parameters::parse(b"resource=&resource=1&resource=2").expect("that one may be repeated");
        assert_eq!((parameters.get("resource"), parameters.all("resource").count()), (Some("1"), 2));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Parameters::parse(&bytes);
        }

        #[test]
        fn what_is_read_is_what_the_url_standard_reads(text in "[ab=&+ä]{0,12}(%[0-7][0-9a-f])?[ab=&]{0,6}") {
            if let Ok(Parameters(read)) = Parameters::parse(text.as_bytes()) {
                prop_assert_eq!(read, form_urlencoded::parse(text.as_bytes()).collect::<Vec<_>>());
            }
        }
    }
}
