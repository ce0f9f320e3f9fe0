//! Resources as operators register and change them.
//!
//! The identifier never changes: tokens and secrets are good for the server that it names. One that moves is a new resource.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    clients::present,
    paging::{Page, PageRequest, Window},
    plain_text,
};
use crate::{
    domain::{
        event::{Actor, Fact},
        id::{Id, OperatorKind, ResourceKind},
        refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
        resource::{Resource, ResourceIdentifier, ScopeDefinition},
        scope::{self, SCOPES_MAX},
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::{tracking_api, witness::Witness},
    storage::{StorageError, resources},
    world::World,
};

const DESCRIPTION_CHARS_MAX: usize = 300;
/// As for the installation's own `access_token_ttl_s`.
const ACCESS_TOKEN_TTL_S: std::ops::RangeInclusive<u32> = 60..=3600;

/// A resource to be registered.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewResource {
    /// The URL that clients use, spelled as the resource's own metadata spells it.
    identifier: String,
    /// What people read on the consent page.
    name: String,
    scopes: Vec<ScopeDefinition>,
    /// How long its access tokens live: 60 to 3600 seconds; the installation's default if absent.
    access_token_ttl_s: Option<u32>,
}

/// What is to become different. What is absent stays; a lifetime of `null` is the installation's default.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceChange {
    name: Option<String>,
    scopes: Option<Vec<ScopeDefinition>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    access_token_ttl_s: Option<Option<u32>>,
}

/// A resource as operators see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ResourceRecord {
    #[schema(value_type = String)]
    resource_id: Id<ResourceKind>,
    #[schema(value_type = String)]
    identifier: ResourceIdentifier,
    name: String,
    scopes: Vec<ScopeDefinition>,
    access_token_ttl_s: Option<u32>,
    /// RFC 3339.
    created_at: String,
}

/// A resource with the secret that is told only now.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ResourceWithSecret {
    #[serde(flatten)]
    resource: ResourceRecord,
    /// With `resource_id`, what the resource authenticates with at the introspection endpoint.
    secret: String,
}

/// A page of all resources.
pub async fn list(world: &World, request: PageRequest, now: Timestamp) -> Result<Page<ResourceRecord>, OAuthError> {
    let window = Window::read(world, "resources".to_owned(), &request, now)?;
    let all = world.storage.resources().await?;
    let rows = all.all().iter().filter(|resource| resource.id.to_string() > window.after);
    let rows = rows.map(|resource| Resource::clone(resource)).collect();
    Ok(window.page(world, rows, |resource: &Resource| resource.id.to_string(), record, now))
}

/// Registers a resource.
pub async fn create(
    world: &World,
    operator: Id<OperatorKind>,
    new: NewResource,
    now: Timestamp,
) -> Result<ResourceWithSecret, OAuthError> {
    let secret = world.secret();
    let resource = Resource {
        id: world.id(now),
        identifier: identifier(world, &new.identifier)?,
        name: plain_text("name", new.name)?,
        scopes: new.scopes,
        access_token_ttl_s: new.access_token_ttl_s,
        secret_digest: world.secrets.digest(Purpose::ResourceSecret, secret.reveal()),
        created_at: now,
    };
    check(&resource)?;
    let fact = Fact::ResourceRegistered { resource: resource.id, identifier: resource.identifier.clone() };
    let (witness, written) = (Witness::new(world, Actor::Operator(operator), now), resource.clone());
    let insert = world.storage.write(move |tx| {
        Box::pin(async move {
            resources::insert(tx, &written).await?;
            witness.record(tx, fact).await
        })
    });
    match insert.await {
        Ok(()) => Ok(ResourceWithSecret { resource: record(resource), secret: secret.reveal().clone() }),
        Err(StorageError::Unique(_)) => {
            Err(ADMIN_CONFLICT.because("This resource is registered already, perhaps in another spelling."))
        }
        Err(error) => Err(error.into()),
    }
}

/// Changes name, scopes or token lifetime. Tokens that were issued stay as they are.
pub async fn change(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<ResourceKind>,
    change: ResourceChange,
    now: Timestamp,
) -> Result<ResourceRecord, OAuthError> {
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let mut resource = resources::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)?;
            if let Some(name) = change.name {
                resource.name = plain_text("name", name)?;
            }
            resource.scopes = change.scopes.unwrap_or(resource.scopes);
            resource.access_token_ttl_s = change.access_token_ttl_s.unwrap_or(resource.access_token_ttl_s);
            check(&resource)?;
            resources::update(tx, &resource).await?;
            witness.record(tx, Fact::ResourceChanged { resource: id }).await?;
            Ok::<_, OAuthError>(resource)
        })
    });
    write.await.map(record)
}

/// Gives a resource a new secret; the one before is dead at once.
pub async fn renew_secret(
    world: &World,
    operator: Id<OperatorKind>,
    id: Id<ResourceKind>,
    now: Timestamp,
) -> Result<ResourceWithSecret, OAuthError> {
    let secret = world.secret();
    let digest = world.secrets.digest(Purpose::ResourceSecret, secret.reveal());
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            let resource = Resource { secret_digest: digest, ..resources::hold(tx, id).await?.ok_or(ADMIN_NOT_FOUND)? };
            resources::update(tx, &resource).await?;
            witness.record(tx, Fact::ResourceChanged { resource: id }).await?;
            Ok::<_, OAuthError>(resource)
        })
    });
    Ok(ResourceWithSecret { resource: record(write.await?), secret: secret.reveal().clone() })
}

/// Forgets a resource: nothing is issued for it any more, and its secret is unknown.
pub async fn delete(world: &World, operator: Id<OperatorKind>, id: Id<ResourceKind>, now: Timestamp) -> Result<(), OAuthError> {
    let known = world.storage.resources().await?;
    let identifier = known.find_by_id(id).map(|resource| resource.identifier.clone()).ok_or(ADMIN_NOT_FOUND)?;
    let witness = Witness::new(world, Actor::Operator(operator), now);
    let write = world.storage.write(move |tx| {
        Box::pin(async move {
            if !resources::delete(tx, id).await? {
                return Err(ADMIN_NOT_FOUND);
            }
            Ok::<_, OAuthError>(witness.record(tx, Fact::ResourceDeleted { resource: id, identifier }).await?)
        })
    });
    write.await
}

fn identifier(world: &World, text: &str) -> Result<ResourceIdentifier, OAuthError> {
    let is_web = |identifier: &ResourceIdentifier| {
        let canonical = identifier.canonical();
        canonical.starts_with("https://") || canonical.starts_with("http://")
    };
    let identifier = ResourceIdentifier::parse(text)
        .ok()
        .filter(is_web)
        .ok_or_else(|| ADMIN_VALUE.because("identifier must be an http or https URL without userinfo and fragment."))?;
    // Tokens that name no resource have the issuer as their audience: they are for our own userinfo endpoint.
    if identifier.canonical() == world.settings.issuer.as_str() {
        return Err(ADMIN_VALUE.because("identifier must not be the issuer: this server is no resource of its own."));
    }
    if identifier.canonical() == tracking_api::identifier(world).canonical() {
        return Err(ADMIN_VALUE.because("identifier must not be this server's tracking API: it is there without registration."));
    }
    Ok(identifier)
}

fn check(resource: &Resource) -> Result<(), OAuthError> {
    let refuse = |sentence: String| Err(ADMIN_VALUE.because(sentence));
    if resource.access_token_ttl_s.is_some_and(|ttl_s| !ACCESS_TOKEN_TTL_S.contains(&ttl_s)) {
        return refuse("access_token_ttl_s must be 60 to 3600 seconds.".to_owned());
    }
    if resource.scopes.is_empty() || resource.scopes.len() > SCOPES_MAX {
        return refuse(format!("scopes must be 1 to {SCOPES_MAX}."));
    }
    let mut names = HashSet::new();
    for ScopeDefinition { name, description, implies } in &resource.scopes {
        if !scope::is_scope(name) {
            return refuse(format!("The scope {name} must be printable ASCII without spaces, quotes and backslashes."));
        }
        if scope::BUILT_IN.contains(&name.as_str()) {
            return refuse(format!("The scope {name} is about the person, not about a resource; choose another name."));
        }
        if name == scope::TRACKING_WRITE {
            return refuse(format!("The scope {name} belongs to this server's tracking API; choose another name."));
        }
        if !names.insert(name) {
            return refuse(format!("The scope {name} is defined more than once."));
        }
        let is_readable = !description.trim().is_empty() && !description.chars().any(char::is_control);
        if !is_readable || description.chars().count() > DESCRIPTION_CHARS_MAX {
            return refuse(format!("The scope {name} needs a description of 1 to {DESCRIPTION_CHARS_MAX} characters."));
        }
        if let Some(unknown) = implies.iter().find(|implied| resource.definition(implied).is_none()) {
            return refuse(format!("The scope {name} implies {unknown}, which this resource does not define."));
        }
    }
    Ok(())
}

fn record(resource: Resource) -> ResourceRecord {
    ResourceRecord {
        resource_id: resource.id,
        identifier: resource.identifier,
        name: resource.name,
        scopes: resource.scopes,
        access_token_ttl_s: resource.access_token_ttl_s,
        created_at: resource.created_at.to_rfc3339(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Digest;

    fn resource(scopes: &[(&str, &str, &[&str])]) -> Resource {
        let define = |(name, description, implies): &(&str, &str, &[&str])| ScopeDefinition {
            name: (*name).to_owned(),
            description: (*description).to_owned(),
            implies: implies.iter().map(|word| (*word).to_owned()).collect(),
        };
        Resource {
            id: Id::new(Timestamp(1), [1; 10]),
            identifier: ResourceIdentifier::parse("https://mcp.example/mcp").expect("it is an identifier"),
            name: "Notes".to_owned(),
            scopes: scopes.iter().map(define).collect(),
            access_token_ttl_s: None,
            secret_digest: Digest([0; 32]),
            created_at: Timestamp(1),
        }
    }

    #[test]
    fn scopes_that_nobody_could_understand_or_tell_apart_are_refused() {
        assert_eq!(check(&resource(&[("notes:read", "Read", &[]), ("notes:write", "Write", &["notes:read"])])), Ok(()));
        let bad: &[&[(&str, &str, &[&str])]] = &[
            &[],
            &[("a b", "Two words", &[])],
            &[("openid", "Built in", &[])],
            &[("a", "One", &[]), ("a", "Again", &[])],
            &[("a", "  ", &[])],
            &[("a", "Line\nbreak", &[])],
            &[("a", "One", &["b"])],
        ];
        for scopes in bad {
            assert_eq!(check(&resource(scopes)).map_err(|refusal| refusal.reason), Err("admin.value"), "{scopes:?}");
        }
        let lifetime = |ttl_s| check(&Resource { access_token_ttl_s: Some(ttl_s), ..resource(&[("a", "One", &[])]) });
        assert!(lifetime(60).is_ok() && lifetime(3600).is_ok() && lifetime(59).is_err() && lifetime(3601).is_err());
    }
}
