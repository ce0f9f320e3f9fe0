//! Proof key for code exchange, S256 only: [RFC 7636 §4](https://www.rfc-editor.org/rfc/rfc7636#section-4).

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::refusal::{CODE_VERIFIER_MISSING, CODE_VERIFIER_WRONG, OAuthError, PKCE_CHALLENGE, PKCE_METHOD, PKCE_MISSING},
    keys::secrets::are_equal,
    protocol::parameters::Parameters,
};

/// The challenge of an authorization request. `plain`, and a method left out (which means `plain`), are refused.
pub fn challenge(parameters: &Parameters<'_>) -> Result<String, OAuthError> {
    let challenge = parameters.get("code_challenge").ok_or(PKCE_MISSING)?;
    if parameters.get("code_challenge_method") != Some("S256") {
        return Err(PKCE_METHOD);
    }
    let is_digest =
        challenge.len() == 43 && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_digest { Ok(challenge.to_owned()) } else { Err(PKCE_CHALLENGE) }
}

/// Whether the verifier of a token request fits. Its grammar is that of §4.1.
pub fn verify(code_verifier: Option<&str>, code_challenge: &str) -> Result<(), OAuthError> {
    let verifier = code_verifier.ok_or(CODE_VERIFIER_MISSING)?;
    let is_well_formed = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
    let fits = are_equal(&URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())), code_challenge);
    if is_well_formed && fits { Ok(()) } else { Err(CODE_VERIFIER_WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let (verifier, challenge) = ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(verify(Some(verifier), challenge), Ok(()));
        assert_eq!(verify(Some(&verifier.replace('d', "e")), challenge), Err(CODE_VERIFIER_WRONG));
        assert_eq!(verify(None, challenge), Err(CODE_VERIFIER_MISSING));
    }

    #[test]
    fn a_verifier_outside_the_grammar_is_refused_even_if_it_fits() {
        for verifier in ["x".repeat(42), "x".repeat(129), format!("{} ", "x".repeat(43)), format!("{}+", "x".repeat(43))] {
            let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            assert_eq!(verify(Some(&verifier), &challenge), Err(CODE_VERIFIER_WRONG), "{verifier}");
        }
        let longest = format!("{}-._~", "x".repeat(124));
        assert_eq!(verify(Some(&longest), &URL_SAFE_NO_PAD.encode(digest(&SHA256, longest.as_bytes()))), Ok(()));
    }
}
