//! The question whether a client may act for a person, and the answer
//! ([RFC 9700 §2.3](https://www.rfc-editor.org/rfc/rfc9700#section-2.3), [OAuth 2.1 §7.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-7.3)).
//!
//! The form holds what was shown. When it comes back the request is read anew, and if anything of it changed meanwhile nothing
//! is allowed: what was shown is what is authorised.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::forms::{self, Continuing, Step};
use crate::{
    domain::{
        id::{Id, PersonKind},
        person::{Person, Session},
        refusal::{FORM_EXPIRED, FORM_FOREIGN},
        scope::Scopes,
        time::Timestamp,
    },
    protocol::authorize::{self, AuthorizationRequest, Refused},
    world::World,
};

/// What the person was shown.
#[derive(Serialize, Deserialize)]
pub struct Shown {
    pub continuing: Continuing,
    person: Id<PersonKind>,
    offered: Scopes,
    client_hash: String,
    resource_hash: String,
}

/// What the person decided.
pub enum Decision {
    /// These of the offered scopes.
    Allow(Scopes),
    Refuse,
}

/// The seal of a consent page: for this session, person and request alone.
pub fn seal(
    world: &World,
    request: &AuthorizationRequest,
    continuing: &Continuing,
    (session, person): &(Session, Person),
    now: Timestamp,
) -> String {
    let shown = Shown {
        continuing: continuing.clone(),
        person: person.id,
        offered: request.scopes.clone(),
        client_hash: authorize::client_hash(&request.client),
        resource_hash: resource_hash(request),
    };
    forms::seal(world, Step::Consent, &session.id.to_string(), &shown, now)
}

/// Acts on the decision, which comes from `address`. Answers where to send the person.
///
/// # Errors
/// `form.expired`, `form.foreign`, and whatever the request is refused for by now.
pub async fn decide(
    world: &World,
    (session, person): &(Session, Person),
    seal: &str,
    decision: Decision,
    address: IpAddr,
    now: Timestamp,
) -> Result<String, Refused> {
    let shown: Shown = forms::open(world, Step::Consent, &session.id.to_string(), seal, now)?;
    if shown.person != person.id {
        return Err(FORM_FOREIGN.into());
    }
    let request = authorize::read(world, &shown.continuing, now).await?;
    let is_as_shown = request.scopes == shown.offered
        && authorize::client_hash(&request.client) == shown.client_hash
        && resource_hash(&request) == shown.resource_hash;
    if !is_as_shown {
        return Err(FORM_EXPIRED.into());
    }
    match decision {
        Decision::Allow(chosen) => {
            let network = world.network(address);
            authorize::allow(world, &request, (session, person), &chosen, network, now).await
        }
        Decision::Refuse => authorize::refuse(world, &request, person, now).await,
    }
}

/// Where the client wants to act, by name and address, and what each scope that is asked for there means: in words, and in what it
/// includes.
fn resource_hash(request: &AuthorizationRequest) -> String {
    let meaning = request.resource.as_deref().map(|resource| {
        let reached = resource.closure(&request.scopes);
        let scopes: Vec<_> = reached.iter().filter_map(|word| resource.definition(word)).collect();
        (resource.identifier.as_str(), resource.name.as_str(), scopes)
    });
    let text = serde_json::to_string(&meaning).expect("our own types serialise to JSON");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}
