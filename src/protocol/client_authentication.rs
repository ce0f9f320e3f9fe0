//! Client authentication: [RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3),
//! [OpenID Connect Core §9](https://openid.net/specs/openid-connect-core-1_0.html#ClientAuthentication).
//!
//! Methods: none, client_secret_basic, client_secret_post, private_key_jwt. One request uses one. The method that a client is
//! registered with is enforced; one that never chose may use Basic or the form.
//!
//! An assertion is good once, and it is used up by the commit of what it was presented for: a commit that fails costs the client
//! nothing (promise 12). What is refused without a commit leaves it unused, as nobody had anything from it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    domain::{
        client::{AuthMethod, Client, ClientId},
        refusal::{
            CLIENT_ASSERTION_REPLAYED, CLIENT_AUTHENTICATION_METHOD, CLIENT_AUTHENTICATION_MISSING, CLIENT_AUTHENTICATION_REPEATED,
            CLIENT_CREDENTIALS_MALFORMED, CLIENT_DISABLED, CLIENT_SECRET_WRONG, CLIENT_UNKNOWN, OAuthError,
        },
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::{
        client_assertion::{self, AssertionId},
        client_metadata_document,
        parameters::Parameters,
    },
    storage::Tx,
    world::World,
};

/// A client that is itself, and what it proved that with.
pub struct Authenticated {
    pub client: Arc<Client>,
    pub proof: UnspentProof,
}

/// A proof that still has to be used up, by what it was presented for. Only that makes a `SpentProof`.
#[must_use = "an assertion that is not used up could be used again"]
pub struct UnspentProof(Option<AssertionId>);

/// That a proof was used up. What answers a client asks for it, so that no path forgets.
pub struct SpentProof(());

impl UnspentProof {
    /// A secret, or nothing: good any number of times.
    pub fn reusable() -> UnspentProof {
        UnspentProof(None)
    }

    /// Whether using it up changes nothing.
    pub fn is_reusable(&self) -> bool {
        self.0.is_none()
    }

    /// Uses it up with the commit of what it is for.
    ///
    /// # Errors
    /// `client_assertion.replayed` if it was used before, and trouble that passes.
    pub async fn spend(self, tx: &mut Tx, now: Timestamp) -> Result<SpentProof, OAuthError> {
        match self.0 {
            Some(assertion) if !assertion.note(tx, now).await? => Err(CLIENT_ASSERTION_REPLAYED),
            _ => Ok(SpentProof(())),
        }
    }

    /// As `spend`, in a commit of its own, for what commits nothing else: the last thing that may fail before the answer.
    /// If its outcome is never heard of (a connection lost in the middle of a commit), the client must sign another one.
    pub async fn spend_alone(self, world: &World, now: Timestamp) -> Result<SpentProof, OAuthError> {
        if self.is_reusable() {
            return Ok(SpentProof(()));
        }
        world.storage.write(move |tx| Box::pin(async move { self.spend(tx, now).await })).await
    }
}

/// Who the request says it is from, and how it proves that.
struct Presented<'r> {
    client_id: String,
    credentials: Credentials<'r>,
}

enum Credentials<'r> {
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
) -> Result<Authenticated, OAuthError> {
    let presented = read(parameters, authorization)?;
    let (client, knows_secret) = match &presented.credentials {
        Credentials::Secret { candidates, .. } => pick(world, candidates).await?.ok_or(CLIENT_UNKNOWN)?,
        Credentials::None | Credentials::Assertion(_) => (find(world, &presented.client_id, now).await?, false),
    };
    if let Some(named) = parameters.get("client_id")
        && named != client.id.as_str()
    {
        return Err(CLIENT_AUTHENTICATION_REPEATED.because("client_id differs from the client that authenticated."));
    }
    check_method(&client, &presented.credentials)?;
    let assertion = match &presented.credentials {
        Credentials::Secret { .. } if !knows_secret => return Err(CLIENT_SECRET_WRONG),
        Credentials::None | Credentials::Secret { .. } => None,
        Credentials::Assertion(assertion) => Some(client_assertion::verify(world, &client, assertion, now).await?),
    };
    if client.is_disabled() { Err(CLIENT_DISABLED) } else { Ok(Authenticated { client, proof: UnspentProof(assertion) }) }
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
            credentials: Credentials::Secret { candidates, method: AuthMethod::ClientSecretBasic },
        });
    }
    if let Some(assertion) = assertion {
        let client_id = parameters.get("client_id").map_or_else(|| client_assertion::subject(assertion), |id| Ok(id.to_owned()))?;
        return Ok(Presented { client_id, credentials: Credentials::Assertion(assertion) });
    }
    let client_id = parameters.get("client_id").ok_or(CLIENT_AUTHENTICATION_MISSING)?.to_owned();
    Ok(match parameters.get("client_secret") {
        Some(secret) => {
            let candidates = vec![(client_id.clone(), secret.to_owned())];
            Presented { client_id, credentials: Credentials::Secret { candidates, method: AuthMethod::ClientSecretPost } }
        }
        None => Presented { client_id, credentials: Credentials::None },
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

fn check_method(client: &Client, credentials: &Credentials<'_>) -> Result<(), OAuthError> {
    let registered = client.metadata.token_endpoint_auth_method;
    match (credentials, registered) {
        (Credentials::None, AuthMethod::None) | (Credentials::Assertion(_), AuthMethod::PrivateKeyJwt) => Ok(()),
        (Credentials::None, _) => Err(CLIENT_AUTHENTICATION_MISSING),
        (Credentials::Secret { method, .. }, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost) => {
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
