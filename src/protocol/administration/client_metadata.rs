//! What an operator may say of a client, and what of it must fit together. Decides only; `clients` acts on it.

use super::clients::{ClientChange, NewClient};
use crate::{
    domain::{
        client::{AuthMethod, Client, ClientId, ClientMetadata, GrantType, Origin},
        client_metadata::{check_client_uri, check_keys, check_name, parse_redirect_uris, usual_application_type},
        redirect_uri::RedirectUri,
        refusal::{ADMIN_VALUE, OAuthError},
        resource::ResourceIdentifier,
        scope::{self, Scopes},
    },
    storage::Resources,
};

const RESOURCES_MAX: usize = 100;

/// A name that no identifier of ours, now or later, can be mistaken for: clients stand beside people and grants in the delegation
/// tree, and a client that acts for itself is the `sub` of its tokens.
pub(super) fn chosen_id(text: &str) -> Result<ClientId, OAuthError> {
    let is_plain = (3..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let is_like_ours = text.starts_with("cli_") || text.rsplit_once('_').is_some_and(|(_, rest)| rest.len() == 26);
    match ClientId::parse(text) {
        Some(id) if is_plain && !is_like_ours => Ok(id),
        _ => Err(ADMIN_VALUE.because(
            "client_id must be 3 to 64 letters, digits, hyphens and underscores, unlike the identifiers that this server makes.",
        )),
    }
}

/// What an operator says of a new client.
pub(super) fn metadata(resources: &Resources, new: NewClient) -> Result<ClientMetadata, OAuthError> {
    let redirect_uris = redirect_uris(&new.redirect_uris)?;
    let usual_type = usual_application_type(&redirect_uris);
    let metadata = ClientMetadata {
        client_name: new.client_name,
        redirect_uris,
        grant_types: new.grant_types.unwrap_or_else(|| vec![GrantType::AuthorizationCode]),
        auth_method_chosen: new.token_endpoint_auth_method.is_some(),
        token_endpoint_auth_method: new.token_endpoint_auth_method.unwrap_or(AuthMethod::ClientSecretBasic),
        application_type: new.application_type.unwrap_or(usual_type),
        client_uri: new.client_uri,
        scope: new.scope.as_deref().map(scopes).transpose()?,
        resources: new.resources.as_deref().map(|named| registered(resources, named)).transpose()?,
        jwks: new.jwks,
        jwks_uri: new.jwks_uri,
        software_id: None,
        software_version: None,
    };
    check(resources, &metadata)?;
    Ok(metadata)
}

/// What is said of a client once the change is made.
pub(super) fn edit(resources: &Resources, client: &Client, change: &ClientChange) -> Result<ClientMetadata, OAuthError> {
    let mut metadata = client.metadata.clone();
    if let Some(name) = &change.client_name {
        metadata.client_name = name.clone();
    }
    if let Some(uris) = &change.redirect_uris {
        metadata.redirect_uris = redirect_uris(uris)?;
    }
    if let Some(scope) = &change.scope {
        metadata.scope = scope.as_deref().map(scopes).transpose()?;
    }
    if let Some(named) = &change.resources {
        metadata.resources = named.as_deref().map(|named| registered(resources, named)).transpose()?;
    }
    if metadata == client.metadata {
        return Ok(metadata);
    }
    if client.origin != Origin::Operator {
        return Err(ADMIN_VALUE.because("This client came by itself: it can be disabled or deleted, not changed."));
    }
    check(resources, &metadata)?;
    Ok(metadata)
}

/// What must fit together.
fn check(resources: &Resources, metadata: &ClientMetadata) -> Result<(), OAuthError> {
    let refuse = |what: &str| Err(ADMIN_VALUE.because(format!("{what}.")));
    let has = |grant_type| metadata.grant_types.contains(&grant_type);
    if !has(GrantType::AuthorizationCode) && !has(GrantType::ClientCredentials) {
        return refuse("grant_types must hold authorization_code or client_credentials");
    }
    if has(GrantType::RefreshToken) && !has(GrantType::AuthorizationCode) {
        return refuse("refresh_token needs authorization_code");
    }
    if has(GrantType::AuthorizationCode) && metadata.redirect_uris.is_empty() {
        return refuse("authorization_code needs 1 to 32 redirect_uris");
    }
    if has(GrantType::ClientCredentials) && metadata.token_endpoint_auth_method == AuthMethod::None {
        return refuse("client_credentials needs a client that authenticates, so not the method none");
    }
    if has(GrantType::ClientCredentials) && metadata.scope.as_ref().is_none_or(Scopes::is_empty) {
        return refuse("client_credentials needs scope: the client gets for itself only what is registered for it");
    }
    if metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt {
        check_keys(metadata.jwks.as_ref(), metadata.jwks_uri.as_ref()).or_else(refuse)?;
    } else if metadata.jwks.is_some() || metadata.jwks_uri.is_some() {
        return refuse("jwks and jwks_uri are for token_endpoint_auth_method private_key_jwt");
    }
    check_name(&metadata.client_name).and(check_client_uri(metadata.client_uri.as_ref())).or_else(refuse)?;
    let may_ask = |identifier: &ResourceIdentifier| metadata.resources.as_ref().is_none_or(|named| named.contains(identifier));
    let exists = |word: &str| {
        let at_resource = resources.all().iter().filter(|resource| may_ask(&resource.identifier));
        // The tracking API is for clients that act for themselves.
        let is_tracking = word == scope::TRACKING_WRITE && has(GrantType::ClientCredentials) && metadata.resources.is_none();
        is_tracking
            || scope::BUILT_IN.contains(&word)
            || at_resource.into_iter().any(|resource| resource.definition(word).is_some())
    };
    match metadata.scope.iter().flat_map(Scopes::iter).find(|word| !exists(word)) {
        Some(word) => refuse(&format!("The scope {word} exists at no resource that this client may ask for; register that first")),
        None => Ok(()),
    }
}

fn redirect_uris(texts: &[String]) -> Result<Vec<RedirectUri>, OAuthError> {
    parse_redirect_uris(texts).map_err(|what| ADMIN_VALUE.because(format!("It cannot be registered: {what}.")))
}

fn scopes(text: &str) -> Result<Scopes, OAuthError> {
    Scopes::parse(text).map_err(|refusal| ADMIN_VALUE.because(refusal.description))
}

/// Spelled as they were registered: that is how they are compared.
fn registered(resources: &Resources, named: &[String]) -> Result<Vec<ResourceIdentifier>, OAuthError> {
    if named.is_empty() || named.len() > RESOURCES_MAX {
        return Err(ADMIN_VALUE.because(format!("resources must name 1 to {RESOURCES_MAX}, or be absent for any.")));
    }
    let find = |text: &String| {
        let found = ResourceIdentifier::parse(text).ok().and_then(|identifier| resources.find(&identifier));
        found.map(|resource| resource.identifier.clone())
    };
    let unknown = |text: &String| ADMIN_VALUE.because(format!("The resource {text} is not registered here."));
    named.iter().map(|text| find(text).ok_or_else(|| unknown(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{id::Id, time::Timestamp};

    #[test]
    fn a_chosen_name_is_never_mistaken_for_an_identifier_of_ours() {
        for good in ["abc", "nightly-report", "MY_app", "x_y_z"] {
            assert!(chosen_id(good).is_ok(), "{good}");
        }
        let person = Id::<crate::domain::id::PersonKind>::new(Timestamp(1), [3; 10]).to_string();
        for bad in ["ab", "cli_mine", "https://app.example/client", "a b c", "a/b", "ä-client", person.as_str(), &"x".repeat(65)] {
            assert!(chosen_id(bad).is_err(), "{bad}");
        }
    }
}
