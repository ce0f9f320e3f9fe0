//! Client authentication: [RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3),
//! [OpenID Connect Core §9](https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication).
//!
//! Methods: none, client_secret_basic, client_secret_post, private_key_jwt. One request uses one. The method that a client is
//! registered with is enforced; one that never chose may use Basic or the form.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    domain::{
        client::{AuthMethod, Client, ClientId},
        refusal::{
            CLIENT_AUTHENTICATION_METHOD, CLIENT_AUTHENTICATION_MISSING, CLIENT_AUTHENTICATION_REPEATED,
            CLIENT_CREDENTIALS_MALFORMED, CLIENT_DISABLED, CLIENT_SECRET_WRONG, CLIENT_UNKNOWN, OAuthError,
        },
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::{client_assertion, client_metadata_document, parameters::Parameters},
    world::World,
};

/// Who the request says it is from, and how it proves that.
struct Presented<'r> {
    client_id: String,
    proof: Proof<'r>,
}

enum Proof<'r> {
    None,
    /// The secret, and in which way it came.
    Secret {
        candidates: Vec<(String, String)>,
        method: AuthMethod,
    },
    Assertion(&'r str),
}

/// The client that a request is from. Disabled clients are refused here, so every endpoint that authenticates refuses them.
pub async fn authenticate(
    world: &World,
    parameters: &Parameters<'_>,
    authorization: Option<&[u8]>,
    now: Timestamp,
) -> Result<Arc<Client>, OAuthError> {
    let presented = read(parameters, authorization)?;
    let (client, knows_secret) = match &presented.proof {
        Proof::Secret { candidates, .. } => pick(world, candidates).await?.ok_or(CLIENT_UNKNOWN)?,
        Proof::None | Proof::Assertion(_) => (find(world, &presented.client_id, now).await?, false),
    };
    if let Some(named) = parameters.get("client_id")
        && named != client.id.as_str()
    {
        return Err(CLIENT_AUTHENTICATION_REPEATED.because("client_id differs from the client that authenticated."));
    }
    check_method(&client, &presented.proof)?;
    match &presented.proof {
        Proof::None => {}
        Proof::Secret { .. } if !knows_secret => return Err(CLIENT_SECRET_WRONG),
        Proof::Secret { .. } => {}
        Proof::Assertion(assertion) => client_assertion::verify(world, &client, assertion, now).await?,
    }
    if client.is_disabled() { Err(CLIENT_DISABLED) } else { Ok(client) }
}

fn read<'r>(parameters: &'r Parameters<'_>, authorization: Option<&[u8]>) -> Result<Presented<'r>, OAuthError> {
    let assertion = client_assertion::presented(parameters)?;
    let ways = [authorization.is_some(), parameters.get("client_secret").is_some(), assertion.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(CLIENT_AUTHENTICATION_REPEATED);
    }
    if let Some(header) = authorization {
        let candidates = basic(header)?;
        return Ok(Presented {
            client_id: String::new(),
            proof: Proof::Secret { candidates, method: AuthMethod::ClientSecretBasic },
        });
    }
    if let Some(assertion) = assertion {
        let client_id = parameters.get("client_id").map_or_else(|| client_assertion::subject(assertion), |id| Ok(id.to_owned()))?;
        return Ok(Presented { client_id, proof: Proof::Assertion(assertion) });
    }
    let client_id = parameters.get("client_id").ok_or(CLIENT_AUTHENTICATION_MISSING)?.to_owned();
    Ok(match parameters.get("client_secret") {
        Some(secret) => {
            let candidates = vec![(client_id.clone(), secret.to_owned())];
            Presented { client_id, proof: Proof::Secret { candidates, method: AuthMethod::ClientSecretPost } }
        }
        None => Presented { client_id, proof: Proof::None },
    })
}

/// The pairs that Basic credentials may mean: form-decoded as the specification has it, then raw as some clients send them.
pub fn basic(header: &[u8]) -> Result<Vec<(String, String)>, OAuthError> {
    let encoded = match header.split_at_checked(6) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"basic ") => rest.trim_ascii(),
        _ => return Err(CLIENT_CREDENTIALS_MALFORMED.because("The Authorization header must use the scheme Basic here.")),
    };
    let decoded =
        STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(CLIENT_CREDENTIALS_MALFORMED)?;
    let (id, secret) = decoded.split_once(':').ok_or(CLIENT_CREDENTIALS_MALFORMED)?;
    if id.is_empty() || decoded.chars().any(char::is_control) {
        return Err(CLIENT_CREDENTIALS_MALFORMED);
    }
    let raw = (id.to_owned(), secret.to_owned());
    if !decoded.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(vec![raw]);
    }
    Ok(vec![(form_decode(id), form_decode(secret)), raw])
}

fn form_decode(text: &str) -> String {
    // A text without `=` and `&` is one name; those two are escaped in anything that was form-encoded.
    form_urlencoded::parse(text.replace('=', "%3D").replace('&', "%26").as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

/// The client that one of the pairs names, and whether the pair has its secret; the pair that has, if one does.
async fn pick(world: &World, candidates: &[(String, String)]) -> Result<Option<(Arc<Client>, bool)>, OAuthError> {
    let mut named = None;
    for (id, secret) in candidates {
        let Some(id) = ClientId::parse(id) else { continue };
        let Some(client) = world.storage.client(&id).await? else { continue };
        if client.secret_digest == Some(world.secrets.digest(Purpose::ClientSecret, secret)) {
            return Ok(Some((client, true)));
        }
        named.get_or_insert((client, false));
    }
    Ok(named)
}

async fn find(world: &World, client_id: &str, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let id = ClientId::parse(client_id).ok_or(CLIENT_UNKNOWN)?;
    if id.is_url() {
        return client_metadata_document::resolve_known(world, &id, now).await;
    }
    world.storage.client(&id).await?.ok_or(CLIENT_UNKNOWN)
}

fn check_method(client: &Client, proof: &Proof<'_>) -> Result<(), OAuthError> {
    let registered = client.metadata.token_endpoint_auth_method;
    match (proof, registered) {
        (Proof::None, AuthMethod::None) | (Proof::Assertion(_), AuthMethod::PrivateKeyJwt) => Ok(()),
        (Proof::None, _) => Err(CLIENT_AUTHENTICATION_MISSING),
        (Proof::Secret { method, .. }, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost) => {
            if client.metadata.auth_method_chosen && *method != registered { Err(CLIENT_AUTHENTICATION_METHOD) } else { Ok(()) }
        }
        _ => Err(CLIENT_AUTHENTICATION_METHOD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    #[test]
    fn decoded_first_then_raw() {
        assert_eq!(basic(&encoded("id:secret")), Ok(vec![("id".into(), "secret".into())]));
        assert_eq!(basic(&encoded("a%3Ab:p+q")), Ok(vec![("a:b".into(), "p q".into()), ("a%3Ab".into(), "p+q".into())]));
        for malformed in [&b"Bearer x"[..], b"Basic", b"Basic !!!", b"Basic aWQ=", &encoded(":secret")] {
            assert_eq!(basic(malformed).map_err(|refusal| refusal.reason), Err("client.credentials_malformed"));
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(header: Vec<u8>) {
            let _ = basic(&header);
            let _ = basic(&[b"Basic ", &header[..]].concat());
        }
    }
}
