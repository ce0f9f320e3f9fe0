//! The authorization code grant: [OAuth 2.1 §4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.3).
//!
//! A try that does not fit burns the code; a second use ends what the first began. There is no grace as for refresh tokens, also
//! when the first use was ours to lose (a commit that nobody heard of): a second use has to be refused (OAuth 2.1 §4.1.3), what was
//! begun holds nothing that anybody has, and the next redirect brings another code without asking the person again (2026-11).

use std::sync::Arc;

use crate::{
    domain::{
        client::{Client, GrantType},
        event::{Actor, Fact},
        grant::{Authorization, Consent, EndCause, Grant, Identity, RefreshFamily},
        id::{GrantKind, Id, TokenKind},
        network::Network,
        policy,
        refusal::{
            CODE_EXPIRED, CODE_INVALID, CODE_REDIRECT_URI, CODE_REPLAYED, GRANT_CONSENT, GRANT_PERSON, GRANT_RESOURCE, OAuthError,
        },
        resource::Resource,
        scope::Scopes,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::{
        authorize::Code,
        client_authentication::{SpentProof, UnspentProof},
        parameters::Parameters,
        pkce, resource_indicators,
        witness::Witness,
    },
    storage::{
        StorageError, Tx, grants,
        one_time::{self, Consumed},
        people,
    },
    world::World,
};

use super::{Issuance, Verdict, access_token_ttl_s, prepare_as};

/// Redeems a code.
pub async fn redeem(
    world: &World,
    client: &Client,
    proof: UnspentProof,
    parameters: &Parameters<'_>,
    network: Option<Network>,
    now: Timestamp,
) -> Result<(Issuance, SpentProof), OAuthError> {
    let digest = world.secrets.digest(Purpose::AuthorizationCode, parameters.require("code")?);
    let peeked: Option<Code> =
        world.storage.read(move |tx| Box::pin(async move { one_time::peek(tx, &digest, now).await })).await?;
    let resource = match &peeked {
        // Refused before the code is used up, so that the client can ask again rightly.
        Some(code) => {
            resource_indicators::check_granted(code.resource.as_ref(), parameters)?;
            let resources = world.storage.resources().await?;
            code.resource.as_ref().map(|identifier| resources.find(identifier).cloned().ok_or(GRANT_RESOURCE)).transpose()?
        }
        None => None,
    };
    let beginning = peeked.is_some().then(|| Beginning::of(world, resource, network, now));
    let presented = Presented {
        client: client.clone(),
        redirect_uri: parameters.get("redirect_uri").map(str::to_owned),
        code_verifier: parameters.get("code_verifier").map(str::to_owned),
        client_witness: Witness::new(world, Actor::Client(client.id.clone()), now),
        own_witness: Witness::new(world, Actor::Deputy, now),
    };
    let decided = world.storage.write(move |tx| {
        Box::pin(async move {
            let spent = proof.spend(tx, now).await?;
            Ok::<_, OAuthError>((decide(tx, &digest, &presented, beginning, now).await?, spent))
        })
    });
    match decided.await? {
        (Verdict::Granted(issuance), spent) => Ok((issuance, spent)),
        (Verdict::Refused(refusal), _) => Err(refusal),
    }
}

struct Presented {
    client: Client,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    /// For what the client does.
    client_witness: Witness,
    /// For what we do about a replay.
    own_witness: Witness,
}

/// What a good code begins, but for its scopes: they depend on the consent, which is held inside the transaction only.
struct Beginning {
    grant: Id<GrantKind>,
    jti: Id<TokenKind>,
    issuer: String,
    resource: Option<Arc<Resource>>,
    access_token_ttl_s: u32,
    network: Option<Network>,
    expires_at: Timestamp,
    idle_until: Timestamp,
}

impl Beginning {
    fn of(world: &World, resource: Option<Arc<Resource>>, network: Option<Network>, now: Timestamp) -> Beginning {
        let expires_at = now.plus(World::seconds(world.settings.grant_ttl_s));
        Beginning {
            grant: world.id(now),
            jti: world.id(now),
            issuer: world.settings.issuer.as_str().to_owned(),
            access_token_ttl_s: access_token_ttl_s(world, resource.as_deref()),
            resource,
            network,
            expires_at,
            idle_until: now.plus(World::seconds(world.settings.refresh_token_idle_ttl_s)).min(expires_at),
        }
    }

    fn with(self, client: &Client, code: &Code, scopes: Scopes, now: Timestamp) -> (Grant, Issuance, [Fact; 2]) {
        let family = RefreshFamily { generation: 0, rotated_at: now, rotated_before_at: None, expires_at: self.idle_until };
        let grant = Grant {
            id: self.grant,
            client: client.id.clone(),
            person: Some(code.person),
            resource: code.resource.clone(),
            scopes,
            created_at: now,
            expires_at: self.expires_at,
            used_at: now,
            ended: None,
            authenticated_at: Some(code.authenticated_at),
            refresh: client.may_use(GrantType::RefreshToken).then_some(family),
        };
        let authorization = Authorization {
            grant: grant.id,
            grant_type: GrantType::AuthorizationCode,
            client: client.id.clone(),
            person: grant.person,
            resource: grant.resource.clone(),
            scopes: grant.scopes.clone(),
            expires_at: grant.expires_at,
            access_token_ttl_s: self.access_token_ttl_s,
            refresh_generation: grant.refresh.map(|family| family.generation),
            identity: Some(Identity { nonce: code.nonce.clone(), authenticated_at: code.authenticated_at }),
        };
        let started = Fact::GrantStarted {
            grant: grant.id,
            client: client.id.clone(),
            person: grant.person,
            resource: grant.resource.clone(),
            scope: grant.scopes.clone(),
            expires_at: grant.expires_at,
        };
        let (issuance, issued) = prepare_as(&self.issuer, self.jti, authorization, self.network, now);
        (grant, issuance, [started, issued])
    }
}

async fn decide(
    tx: &mut Tx,
    digest: &crate::domain::secret::Digest,
    presented: &Presented,
    beginning: Option<Beginning>,
    now: Timestamp,
) -> Result<Verdict<Issuance>, OAuthError> {
    let code: Code = match one_time::consume(tx, digest, now).await? {
        Consumed::First(code) => code,
        Consumed::Again(code) => return replayed(tx, code, presented, now).await,
        Consumed::Expired => return Ok(Verdict::Refused(CODE_EXPIRED)),
        Consumed::Unknown => return Ok(Verdict::Refused(CODE_INVALID)),
    };
    // From here on the code is used up, whatever is decided.
    let consent = match check(tx, &code, presented).await? {
        Ok(consent) => consent,
        Err(refusal) => return Ok(Verdict::Refused(refusal)),
    };
    // It was there to be consumed, so it was there to be peeked at.
    let Some(beginning) = beginning else { return Ok(Verdict::Refused(CODE_INVALID)) };
    // What the person allowed, or an operator, may be less by now than it was when the code was made.
    let resource = beginning.resource.as_deref();
    let scopes = match policy::minted_scopes(&presented.client, resource, &consent, &code.scopes, &Scopes::default()) {
        Ok(scopes) => scopes,
        Err(refusal) => return Ok(Verdict::Refused(refusal)),
    };
    let (grant, issuance, facts) = beginning.with(&presented.client, &code, scopes, now);
    grants::insert(tx, &grant).await?;
    one_time::set_payload(tx, digest, &Code { grant: Some(grant.id), ..code }).await?;
    for fact in facts {
        presented.client_witness.record(tx, fact).await?;
    }
    Ok(Verdict::Granted(issuance))
}

/// Whether the code may be redeemed as it is presented, and the consent behind it, which is held.
async fn check(tx: &mut Tx, code: &Code, presented: &Presented) -> Result<Result<Consent, OAuthError>, StorageError> {
    if code.client != presented.client.id {
        return Ok(Err(CODE_INVALID));
    }
    if presented.redirect_uri.as_ref().is_some_and(|uri| uri != code.redirect_uri.as_str()) {
        return Ok(Err(CODE_REDIRECT_URI));
    }
    if let Err(refusal) = pkce::verify(presented.code_verifier.as_deref(), &code.code_challenge) {
        return Ok(Err(refusal));
    }
    if people::find(tx, code.person).await?.is_none_or(|person| person.is_locked()) {
        return Ok(Err(GRANT_PERSON));
    }
    let consent = grants::hold_consent(tx, code.person, &code.client, code.resource.as_ref()).await?;
    Ok(consent.ok_or(GRANT_CONSENT).and_then(|consent| policy::check_doubt(&consent).map(|()| consent)))
}

async fn replayed(tx: &mut Tx, code: Code, presented: &Presented, now: Timestamp) -> Result<Verdict<Issuance>, OAuthError> {
    if let Some(grant) = code.grant
        && let Some((client, person)) = grants::end(tx, grant, EndCause::CodeReplayed, now).await?
    {
        presented.own_witness.record(tx, Fact::GrantEnded { grant, client, person, cause: EndCause::CodeReplayed }).await?;
    }
    Ok(Verdict::Refused(CODE_REPLAYED))
}
