//! The token endpoint: [OAuth 2.1 §3.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-3.2).
//!
//! Each grant yields an `Authorization`; one function turns that into tokens. The event of an issuance is durable before the
//! token leaves (promise 1).

pub mod authorization_code;
pub mod refresh_token;
pub mod client_credentials;

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{
        client::GrantType,
        event::Fact,
        grant::Authorization,
        id::{Id, TokenKind},
        network::Network,
        policy,
        refusal::{CLIENT_GRANT_TYPE, GRANT_TYPE_UNKNOWN, OAuthError},
        resource::Resource,
        scope,
        time::Timestamp,
        token::{AccessTokenClaims, IdTokenClaims, SigningAlgorithm, TokenResponse},
    },
    keys::signing::TokenType,
    protocol::{
        client_authentication::{self, Authenticated, SpentProof},
        parameters::Parameters,
    },
    world::World,
};

/// What a transaction decided. A refusal that must leave a trace is decided, not failed: it commits.
#[derive(Debug)]
pub enum Verdict<T> {
    Granted(T),
    Refused(OAuthError),
}

/// An authorization with the access token's claims, whose event is on its way with the same commit.
pub struct Issuance {
    pub authorization: Authorization,
    pub claims: AccessTokenClaims,
}

/// Answers a token request that comes from `address`.
pub async fn respond(
    world: &World,
    authorization: Option<&[u8]>,
    body: &[u8],
    address: IpAddr,
    now: Timestamp,
) -> Result<TokenResponse, OAuthError> {
    let parameters = Parameters::parse(body)?;
    let grant_type = GrantType::parse(parameters.require("grant_type")?).ok_or(GRANT_TYPE_UNKNOWN)?;
    let Authenticated { client, proof } = client_authentication::authenticate(world, &parameters, authorization, now).await?;
    policy::check_kind(&client)?;
    if !client.may_use(grant_type) {
        return Err(CLIENT_GRANT_TYPE);
    }
    let network = world.network(address);
    let (issuance, spent) = match grant_type {
        GrantType::AuthorizationCode => authorization_code::redeem(world, &client, proof, &parameters, network, now).await?,
        GrantType::RefreshToken => refresh_token::redeem(world, &client, proof, &parameters, network, now).await?,
        GrantType::ClientCredentials => client_credentials::redeem(world, &client, proof, &parameters, network, now).await?,
    };
    Ok(sign(world, &issuance, spent, now))
}

/// The claims that an authorization gets now, and the fact that goes with them.
pub fn prepare(world: &World, authorization: Authorization, network: Option<Network>, now: Timestamp) -> (Issuance, Fact) {
    prepare_as(world.settings.issuer.as_str(), world.id(now), authorization, network, now)
}

/// The same where the world is out of reach, as inside a transaction.
fn prepare_as(
    issuer: &str,
    jti: Id<TokenKind>,
    authorization: Authorization,
    network: Option<Network>,
    now: Timestamp,
) -> (Issuance, Fact) {
    let claims = AccessTokenClaims::new(&authorization, issuer, jti, now);
    let fact = Fact::TokenIssued {
        grant: authorization.grant,
        grant_type: authorization.grant_type,
        client: authorization.client.clone(),
        person: authorization.person,
        resource: authorization.resource.clone(),
        scope: authorization.scopes.clone(),
        jti: claims.jti,
        expires_at: Timestamp::from_seconds(claims.exp),
        network,
    };
    (Issuance { authorization, claims }, fact)
}

/// How long an access token for this resource lives.
pub fn access_token_ttl_s(world: &World, resource: Option<&Resource>) -> u32 {
    resource.and_then(|resource| resource.access_token_ttl_s).unwrap_or(world.settings.access_token_ttl_s)
}

fn sign(world: &World, issuance: &Issuance, _: SpentProof, now: Timestamp) -> TokenResponse {
    let Issuance { authorization, claims } = issuance;
    let access_token = world.keys.sign(TokenType::AccessToken, claims);
    metrics::counter!("deputy_tokens_issued_total", "grant_type" => authorization.grant_type.as_str()).increment(1);
    TokenResponse {
        id_token: id_token(world, issuance, &access_token, now),
        refresh_token: authorization
            .refresh_generation
            .map(|generation| world.secrets.refresh_token(authorization.grant, generation)),
        expires_in: claims.exp - claims.iat,
        scope: claims.scope.clone(),
        token_type: "Bearer",
        access_token,
    }
}

/// The ID token, where `openid` was granted and a person is behind it.
fn id_token(world: &World, issuance: &Issuance, access_token: &str, now: Timestamp) -> Option<String> {
    let Issuance { authorization, claims } = issuance;
    let (identity, person) = (authorization.identity.as_ref()?, authorization.person?);
    if !authorization.scopes.contains(scope::OPENID) {
        return None;
    }
    let id_claims = |algorithm| IdTokenClaims {
        iss: claims.iss.clone(),
        sub: person,
        aud: authorization.client.clone(),
        exp: claims.exp,
        iat: now.seconds(),
        auth_time: identity.authenticated_at.seconds(),
        nonce: identity.nonce.clone(),
        at_hash: Some(at_hash(algorithm, access_token)),
    };
    Some(world.keys.sign_by(TokenType::IdToken, id_claims))
}

/// Half of the access token's hash, by the hash that the ID token's signature uses
/// ([OpenID Connect Core §3.1.3.6](https://openid.net/specs/openid-connect-core-1_0.html#CodeIDToken)): for Ed25519, SHA-512.
fn at_hash(algorithm: SigningAlgorithm, access_token: &str) -> String {
    let hash = match algorithm {
        SigningAlgorithm::Es256 | SigningAlgorithm::Rs256 => &SHA256,
        SigningAlgorithm::EdDsa => &SHA512,
    };
    let digest = digest(hash, access_token.as_bytes());
    let (half, _) = digest.as_ref().split_at(digest.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(half)
}
