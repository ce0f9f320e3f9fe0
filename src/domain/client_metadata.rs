//! What a client may say of itself, however it says it: by registration, by a document, or through an operator.
//! [RFC 7591 §2](https://www.rfc-editor.org/rfc/rfc7591#section-2)
//!
//! Each rule that is broken is told as a clause without its full stop.

use url::Url;

use super::{client::ApplicationType, redirect_uri::RedirectUri};

/// How many redirect URIs a client may have.
pub const REDIRECT_URIS_MAX: usize = 32;
/// The longest text of a client that people read.
pub const NAME_CHARS_MAX: usize = 200;
const CLIENT_URI_BYTES_MAX: usize = 2_000;
const KEYS_MAX: usize = 16;

/// What people read on the consent page.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control);
    if is_plain { Ok(()) } else { Err("client_name must have 1 to 200 characters and no control characters") }
}

/// Where people learn about it.
pub fn check_client_uri(client_uri: Option<&String>) -> Result<(), &'static str> {
    let is_web = |text: &String| {
        text.len() <= CLIENT_URI_BYTES_MAX && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
    };
    if client_uri.is_none_or(is_web) { Ok(()) } else { Err("client_uri must be an http or https URL of at most 2,000 bytes") }
}

/// All of them, or the first one that is refused.
pub fn parse_redirect_uris(texts: &[String]) -> Result<Vec<RedirectUri>, String> {
    if texts.len() > REDIRECT_URIS_MAX {
        return Err(format!("at most {REDIRECT_URIS_MAX} redirect_uris can be registered"));
    }
    let parse = |text: &String| RedirectUri::parse(text).map_err(|what| format!("the redirect URI {text} is refused: {what}"));
    texts.iter().map(parse).collect()
}

/// Whether there are public keys, and nothing but public keys.
pub fn check_keys(jwks: Option<&serde_json::Value>, jwks_uri: Option<&Url>) -> Result<(), &'static str> {
    match (jwks, jwks_uri) {
        (Some(jwks), None) => {
            let keys = jwks.get("keys").and_then(serde_json::Value::as_array);
            let keys = keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len())).ok_or("jwks must have 1 to 16 keys")?;
            let is_private = |key: &serde_json::Value| ["d", "k", "p", "q"].iter().any(|member| key.get(member).is_some());
            if keys.iter().any(is_private) { Err("jwks must hold public keys only") } else { Ok(()) }
        }
        (None, Some(uri)) if uri.scheme() == "https" => Ok(()),
        (None, Some(_)) => Err("jwks_uri must be https"),
        (Some(_), Some(_)) => Err("send jwks or jwks_uri, not both"),
        (None, None) => Err("private_key_jwt needs jwks or jwks_uri"),
    }
}

/// What a client is that does not say: one whose every redirect URI is a loopback address runs on somebody's machine.
pub fn usual_application_type(redirect_uris: &[RedirectUri]) -> ApplicationType {
    let is_native = !redirect_uris.is_empty() && redirect_uris.iter().all(RedirectUri::is_loopback);
    if is_native { ApplicationType::Native } else { ApplicationType::Web }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_read_is_plain() {
        for (name, is_good) in
            [("Notes", true), (" ", false), ("a\u{7}b", false), (&"ä".repeat(200), true), (&"ä".repeat(201), false)]
        {
            assert_eq!(check_name(name).is_ok(), is_good, "{name}");
        }
        let of_length = |bytes: usize| format!("https://a.example/{}", "x".repeat(bytes - 18));
        for (uri, is_good) in [
            ("https://a.example", true),
            ("http://a.example/x", true),
            ("javascript:alert(1)", false),
            ("a", false),
            (&of_length(2_000), true),
            (&of_length(2_001), false),
        ] {
            assert_eq!(check_client_uri(Some(&uri.to_owned())).is_ok(), is_good, "{uri}");
        }
    }

    #[test]
    fn keys_are_public_and_at_one_place() {
        let (public, uri) = (json!({"keys": [{"kty": "EC", "x": "AA"}]}), Url::parse("https://a.example/jwks").expect("a URL"));
        assert_eq!(check_keys(Some(&public), None), Ok(()));
        assert_eq!(check_keys(None, Some(&uri)), Ok(()));
        let many = json!({"keys": vec![json!({}); 17]});
        for wrong in [json!({}), json!({"keys": []}), many, json!({"keys": [{"d": "AA"}]}), json!({"keys": [{"k": "AA"}]})] {
            assert!(check_keys(Some(&wrong), None).is_err(), "{wrong}");
        }
        let plain = Url::parse("http://a.example/jwks").expect("a URL");
        for (jwks, jwks_uri) in [(Some(&public), Some(&uri)), (None, None), (None, Some(&plain))] {
            assert!(check_keys(jwks, jwks_uri).is_err());
        }
    }

    #[test]
    fn a_client_on_loopback_alone_is_native() {
        for (texts, expected) in [
            (&["http://127.0.0.1/cb", "http://localhost:3000/cb"][..], ApplicationType::Native),
            (&["http://127.0.0.1/cb", "https://a.example/cb"], ApplicationType::Web),
            (&[], ApplicationType::Web),
        ] {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(parse_redirect_uris(&texts).map(|uris| usual_application_type(&uris)), Ok(expected));
        }
        assert!(parse_redirect_uris(&vec!["https://a.example/cb".to_owned(); 33]).is_err());
    }
}
