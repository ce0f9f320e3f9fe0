//! Resource indicators: [RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2). One resource for each grant.

use std::sync::Arc;

use crate::{
    domain::{
        refusal::{OAuthError, RESOURCE_MISSING, RESOURCE_REPEATED, RESOURCE_UNKNOWN, RESOURCE_WIDENED},
        resource::{Resource, ResourceIdentifier},
        scope::{self, Scopes},
    },
    protocol::parameters::Parameters,
    world::World,
};

/// The resource that a request names. One that names none means the only resource there is, or, if it asks for nothing but
/// scopes about the person, our own userinfo endpoint (`None`).
pub async fn requested(world: &World, parameters: &Parameters<'_>, scopes: &Scopes) -> Result<Option<Arc<Resource>>, OAuthError> {
    let resources = world.storage.resources().await?;
    if let Some(text) = named(parameters)? {
        // Most clients spell it as the resource does, and then there is nothing to parse.
        if let Some(resource) = resources.find_spelled(text) {
            return Ok(Some(Arc::clone(resource)));
        }
        let identifier = ResourceIdentifier::parse(text)?;
        return resources.find(&identifier).cloned().map(Some).ok_or(RESOURCE_UNKNOWN);
    }
    if !scopes.is_empty() && scopes.is_subset(&Scopes::of(scope::BUILT_IN)) {
        return Ok(None);
    }
    match resources.all() {
        [only] => Ok(Some(Arc::clone(only))),
        _ => Err(RESOURCE_MISSING),
    }
}

/// Refuses a request that names another resource than the one that was granted. Asked before a code or a refresh token is used
/// up, so that the request can be made again.
pub fn check_granted(granted: Option<&ResourceIdentifier>, parameters: &Parameters<'_>) -> Result<(), OAuthError> {
    let Some(text) = named(parameters)? else { return Ok(()) };
    let requested = ResourceIdentifier::parse(text)?;
    match granted {
        Some(granted) if granted.canonical() == requested.canonical() => Ok(()),
        _ => Err(RESOURCE_WIDENED),
    }
}

/// The one resource that a request names, if it names any.
pub fn named<'p>(parameters: &'p Parameters<'_>) -> Result<Option<&'p str>, OAuthError> {
    let mut values = parameters.all("resource");
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(RESOURCE_REPEATED),
        (only, _) => Ok(only),
    }
}
