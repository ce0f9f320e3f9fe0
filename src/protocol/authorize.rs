//! The authorization endpoint: [OAuth 2.1 §4.1.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.1),
//! [OpenID Connect Core §3.1.2](https://openid.net/specs/openid-connect-core-1_0.html#AuthorizationEndpoint), with `iss` in every
//! response ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
//!
//! Nothing is stored before the person decides: a request is read anew from its query at each step. Where client or redirect
//! URI is not certain, the person sees a page and is redirected nowhere.

use std::{net::IpAddr, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        actor::{ActorId, ActorKind},
        client::{Client, ClientId, GrantType},
        event::{Actor, Fact},
        grant::Consent,
        id::{GrantKind, Id, PersonKind},
        network::Network,
        person::{Person, Session},
        policy,
        redirect_uri::RedirectUri,
        refusal::{
            AUTHORIZE_CLIENT_DISABLED, CLIENT_GRANT_TYPE, CLIENT_UNKNOWN, CONSENT_BOT, CONSENT_REFUSED, CONSENT_REQUIRED,
            LOGIN_REQUIRED, MAX_AGE_INVALID, OAuthError, PROMPT_INVALID, REDIRECT_URI_MISSING, REDIRECT_URI_UNREGISTERED,
            REQUEST_OBJECT, REQUEST_URI, RESPONSE_MODE, RESPONSE_TYPE, SCOPE_EMPTY,
        },
        resource::{Resource, ResourceIdentifier},
        risk::Doubt,
        scope::{self, Scopes},
        secret::Digest,
        time::Timestamp,
    },
    keys::secrets::Purpose,
    protocol::{
        client_metadata_document, parameters::Parameters, people::forms::Continuing, pkce, resource_indicators, witness::Witness,
    },
    storage::{StorageError, Tx, actors, grants, one_time, risk},
    world::World,
};

/// [FAPI 2.0](https://openid.net/specs/fapi-security-profile-2_0-final.html) has 60 s as the most.
const CODE_TTL: Duration = Duration::from_secs(60);

/// An authorization request that was judged and found good.
pub struct AuthorizationRequest {
    pub client: Arc<Client>,
    /// As it was asked for; admitted by a registered one.
    pub redirect_uri: RedirectUri,
    pub state: Option<String>,
    pub resource: Option<Arc<Resource>>,
    pub scopes: Scopes,
    pub prompt: Prompt,
    pub max_age: Option<Duration>,
    pub login_hint: Option<String>,
    code_challenge: String,
    nonce: Option<String>,
}

/// What the client wants the person to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// Whatever is needed.
    AsNeeded,
    /// Nothing: answer at once or refuse.
    None,
    /// Something, even if it is not needed.
    Again(Again),
}

/// What the person is to do again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Login,
    Consent,
    LoginAndConsent,
}

impl Prompt {
    fn demands_login(self) -> bool {
        matches!(self, Prompt::Again(Again::Login | Again::LoginAndConsent))
    }

    fn demands_consent(self) -> bool {
        matches!(self, Prompt::Again(Again::Consent | Again::LoginAndConsent))
    }
}

/// A refused request: told on a page of ours, or to the client by redirect.
#[derive(Debug)]
pub enum Refused {
    Page(OAuthError),
    Redirect { refusal: OAuthError, location: String },
}

impl Refused {
    /// The same, where nobody is to be sent on: a client may register any address, and whoever follows a link to us must not end up
    /// there before they have signed in ([OAuth 2.1 §7.12.2](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-7.12.2)).
    pub fn on_a_page(self) -> Refused {
        match self {
            Refused::Page(refusal) | Refused::Redirect { refusal, .. } => Refused::Page(refusal),
        }
    }
}

impl From<OAuthError> for Refused {
    fn from(refusal: OAuthError) -> Refused {
        Refused::Page(refusal)
    }
}
impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Refused {
        Refused::Page(error.into())
    }
}

/// What comes next for a good request.
pub enum Next {
    SignIn,
    /// The person decides; with what they allowed this client before, and why that does not count.
    AskConsent {
        consented: Scopes,
        /// What happened since.
        doubt: Option<Doubt>,
        /// They are asked each time, being asked by this client.
        is_each_time: bool,
    },
    /// Back to the client.
    Redirect {
        location: String,
    },
}

/// What an authorization code stands for, until it is used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Code {
    pub client: ClientId,
    pub person: Id<PersonKind>,
    pub resource: Option<ResourceIdentifier>,
    pub scopes: Scopes,
    pub redirect_uri: RedirectUri,
    pub code_challenge: String,
    pub nonce: Option<String>,
    pub authenticated_at: Timestamp,
    /// The grant that using it began, so that a replay can end it.
    pub grant: Option<Id<GrantKind>>,
}

/// Whether a request says that the person is to see nothing of it.
pub fn is_silent(query: &str) -> bool {
    Parameters::parse(query.as_bytes()).is_ok_and(|parameters| parameters.get("prompt") == Some("none"))
}

/// Reads and judges a request that waits for the person.
pub async fn read(world: &World, continuing: &Continuing, now: Timestamp) -> Result<AuthorizationRequest, Refused> {
    let parameters = Parameters::parse(continuing.query.as_bytes())?;
    let client = find_client(world, parameters.require("client_id")?, continuing.asked_from, now).await?;
    let redirect_uri = redirect_uri(&client, &parameters)?;
    let state = parameters.get("state").map(str::to_owned);
    let tell = |refusal: OAuthError| {
        let location = refusal_location(world, &redirect_uri, state.as_deref(), &refusal);
        Refused::Redirect { refusal, location }
    };
    check_response(&client, &parameters).map_err(&tell)?;
    let code_challenge = pkce::challenge(&parameters).map_err(&tell)?;
    let requested = Scopes::parse(parameters.get("scope").unwrap_or_default()).map_err(&tell)?;
    let resource = resource_indicators::requested(world, &parameters, &requested).await.map_err(&tell)?;
    let scopes = policy::requested_scopes(&client, resource.as_deref(), &requested).map_err(&tell)?;
    if scopes.is_empty() {
        return Err(tell(SCOPE_EMPTY));
    }
    let prompt = prompt(parameters.get("prompt")).map_err(&tell)?;
    let max_age = parameters.get("max_age").map(|text| text.parse().map(Duration::from_secs).map_err(|_| MAX_AGE_INVALID));
    let max_age = max_age.transpose().map_err(&tell)?;
    let (nonce, login_hint) = (parameters.get("nonce").map(str::to_owned), parameters.get("login_hint").map(str::to_owned));
    Ok(AuthorizationRequest { client, redirect_uri, state, resource, scopes, prompt, max_age, login_hint, code_challenge, nonce })
}

async fn find_client(world: &World, client_id: &str, address: IpAddr, now: Timestamp) -> Result<Arc<Client>, OAuthError> {
    let id = ClientId::parse(client_id).ok_or(CLIENT_UNKNOWN)?;
    let client = if id.is_url() {
        client_metadata_document::resolve(world, &id, address, now).await?
    } else {
        world.storage.client(&id).await?.ok_or(CLIENT_UNKNOWN)?
    };
    if client.is_disabled() {
        return Err(AUTHORIZE_CLIENT_DISABLED);
    }
    policy::check_kind(&client)?;
    Ok(client)
}

fn redirect_uri(client: &Client, parameters: &Parameters<'_>) -> Result<RedirectUri, OAuthError> {
    let Some(requested) = parameters.get("redirect_uri") else {
        return match client.metadata.redirect_uris.as_slice() {
            [only] => RedirectUri::parse(only.as_str()).map_err(|_| REDIRECT_URI_UNREGISTERED),
            _ => Err(REDIRECT_URI_MISSING),
        };
    };
    client.redirect_uri(requested).ok_or(REDIRECT_URI_UNREGISTERED)?;
    RedirectUri::parse(requested).map_err(|_| REDIRECT_URI_UNREGISTERED)
}

fn check_response(client: &Client, parameters: &Parameters<'_>) -> Result<(), OAuthError> {
    if parameters.get("request").is_some() {
        return Err(REQUEST_OBJECT);
    }
    if parameters.get("request_uri").is_some() {
        return Err(REQUEST_URI);
    }
    if parameters.require("response_type")? != "code" {
        return Err(RESPONSE_TYPE);
    }
    if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(RESPONSE_MODE);
    }
    if client.may_use(GrantType::AuthorizationCode) { Ok(()) } else { Err(CLIENT_GRANT_TYPE) }
}

fn prompt(text: Option<&str>) -> Result<Prompt, OAuthError> {
    let Some(text) = text else { return Ok(Prompt::AsNeeded) };
    let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
    if words == ["none"] {
        return Ok(Prompt::None);
    }
    if !words.iter().all(|word| matches!(*word, "login" | "consent" | "select_account")) {
        return Err(PROMPT_INVALID);
    }
    // Where the account is chosen is the consent page: it says who is signed in, and lets another person sign in.
    let (login, consent) = (words.contains(&"login"), words.iter().any(|word| *word != "login"));
    Ok(match (login, consent) {
        (true, true) => Prompt::Again(Again::LoginAndConsent),
        (true, false) => Prompt::Again(Again::Login),
        (false, true) => Prompt::Again(Again::Consent),
        (false, false) => Prompt::AsNeeded,
    })
}

/// Decides what comes next. `asked_at` is when the request first arrived: signing in after it satisfies `prompt=login`.
pub async fn advance(
    world: &World,
    request: &AuthorizationRequest,
    signed_in: Option<&(Session, Person)>,
    asked_at: Timestamp,
    now: Timestamp,
) -> Result<Next, Refused> {
    let tell = |refusal: OAuthError| {
        let location = refusal_location(world, &request.redirect_uri, request.state.as_deref(), &refusal);
        Refused::Redirect { refusal, location }
    };
    let Some((session, person)) = signed_in.filter(|(session, _)| is_recent_enough(request, session, asked_at, now)) else {
        return if request.prompt == Prompt::None { Err(tell(LOGIN_REQUIRED)) } else { Ok(Next::SignIn) };
    };
    let (person_id, client, resource) =
        (person.id, request.client.id.clone(), request.resource.as_ref().map(|resource| resource.identifier.clone()));
    let actor = digest_of(world, person);
    let load = world.storage.read(move |tx| {
        Box::pin(async move {
            let consent = grants::find_consent(tx, person_id, &client, resource.as_ref()).await?;
            Ok::<_, StorageError>((consent, risk::rule(tx).await?, kind_of_person(tx, &actor).await?))
        })
    });
    let (consent, rule, kind) = load.await?;
    policy::check_person(&rule, kind).map_err(&tell)?;
    let is_each_time = policy::asks_each_time(&rule, &request.client);
    // A consent holds as long as a grant of it would; what the client says of itself may have changed since.
    let (given_after, hash) = (now.minus(World::seconds(world.settings.grant_ttl_s)), client_hash(&request.client));
    let is_covered = policy::is_covered(consent.as_ref(), given_after, &hash, request.resource.as_deref(), &request.scopes);
    if is_covered && !is_each_time && may_be_silent(request) && !request.prompt.demands_consent() {
        let location = issue_code(world, request, session, person, request.scopes.clone(), None, now).await?;
        return Ok(Next::Redirect { location });
    }
    if request.prompt == Prompt::None {
        return Err(tell(CONSENT_REQUIRED));
    }
    let doubt = consent.as_ref().and_then(|consent| consent.doubt.clone());
    let consented = consent.filter(|consent| consent.client_hash == hash).map(|consent| consent.scopes);
    Ok(Next::AskConsent { consented: consented.unwrap_or_default(), doubt, is_each_time })
}

/// By what the person is known among actors.
fn digest_of(world: &World, person: &Person) -> Digest {
    world.secrets.digest_of_id(ActorId::account(person.id).external_id())
}

/// Who the person is taken for; nobody of whom nothing was seen is taken for anything else.
async fn kind_of_person(tx: &mut Tx, actor: &Digest) -> Result<ActorKind, StorageError> {
    Ok(actors::find(tx, actor).await?.map_or(ActorKind::Person, |known| known.kind))
}

fn is_recent_enough(request: &AuthorizationRequest, session: &Session, asked_at: Timestamp, now: Timestamp) -> bool {
    let is_new = !request.prompt.demands_login() || session.authenticated_at >= asked_at;
    let is_young = request
        .max_age
        .is_none_or(|max_age| now.since(session.authenticated_at) <= max_age || session.authenticated_at >= asked_at);
    is_new && is_young
}

/// Whoever listens on a loopback port, or claims an app's own scheme, may call itself by any client's name, so a public client
/// there is vouched for by the person alone, each time ([OAuth 2.1 §7.3.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-7.3.1)).
fn may_be_silent(request: &AuthorizationRequest) -> bool {
    request.client.is_confidential() || (request.redirect_uri.is_web() && !request.redirect_uri.is_loopback())
}

/// The person allowed some of what was asked for. Answers where to send them.
pub async fn allow(
    world: &World,
    request: &AuthorizationRequest,
    (session, person): (&Session, &Person),
    chosen: &Scopes,
    network: Option<Network>,
    now: Timestamp,
) -> Result<String, Refused> {
    // `openid` is about who they are, which they told us by being here; everything else they could untick.
    let allowed = request.scopes.intersection(&chosen.union(&Scopes::of([scope::OPENID])));
    // A grant for a resource that may do nothing there is a refusal.
    let asked_there = request.scopes.difference(&Scopes::of(scope::BUILT_IN));
    let is_nothing_left = allowed.is_empty() || (!asked_there.is_empty() && allowed.intersection(&asked_there).is_empty());
    if is_nothing_left {
        return refuse(world, request, person, now).await;
    }
    issue_code(world, request, session, person, allowed.clone(), Some((&allowed, network)), now).await
}

/// The person refused, which the client is told.
pub async fn refuse(world: &World, request: &AuthorizationRequest, person: &Person, now: Timestamp) -> Result<String, Refused> {
    let witness = Witness::new(world, Actor::Person(person.id), now);
    let fact = Fact::ConsentRefused { client: request.client.id.clone(), person: person.id };
    world.storage.write(move |tx| Box::pin(async move { witness.record(tx, fact).await })).await?;
    let location = refusal_location(world, &request.redirect_uri, request.state.as_deref(), &CONSENT_REFUSED);
    Err(Refused::Redirect { refusal: CONSENT_REFUSED, location })
}

/// Makes a code, with the new consent and its event in the same commit if there is one; with from where it was given.
async fn issue_code(
    world: &World,
    request: &AuthorizationRequest,
    session: &Session,
    person: &Person,
    scopes: Scopes,
    consented: Option<(&Scopes, Option<Network>)>,
    now: Timestamp,
) -> Result<String, Refused> {
    let code = world.secret();
    let digest = world.secrets.digest(Purpose::AuthorizationCode, code.reveal());
    let resource = request.resource.as_ref().map(|resource| resource.identifier.clone());
    let payload = Code {
        client: request.client.id.clone(),
        person: person.id,
        resource: resource.clone(),
        scopes,
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        nonce: request.nonce.clone(),
        authenticated_at: session.authenticated_at,
        grant: None,
    };
    let consent = consented.map(|(allowed, network)| {
        let fact = Fact::ConsentGiven {
            client: request.client.id.clone(),
            person: person.id,
            resource: resource.clone(),
            scope: allowed.clone(),
            network,
        };
        (allowed.clone(), client_hash(&request.client), fact)
    });
    let (offered, at) = (request.scopes.clone(), request.resource.clone());
    let (witness, actor) = (Witness::new(world, Actor::Person(person.id), now), digest_of(world, person));
    let issued: Result<(), OAuthError> = world
        .storage
        .write(move |tx| {
            Box::pin(async move {
                policy::check_person(&risk::rule(tx).await?, kind_of_person(tx, &actor).await?)?;
                if let Some((allowed, client_hash, fact)) = consent {
                    let earlier = grants::find_consent(tx, payload.person, &payload.client, resource.as_ref()).await?;
                    let earlier = earlier
                        .filter(|consent| consent.client_hash == client_hash)
                        .map(|consent| consent.scopes)
                        .unwrap_or_default();
                    let scopes = policy::consented_scopes(at.as_deref(), &earlier, &offered, &allowed);
                    let consent = Consent { scopes, given_at: now, client_hash, doubt: None };
                    grants::put_consent(tx, payload.person, &payload.client, resource.as_ref(), &consent).await?;
                    witness.record(tx, fact).await?;
                }
                Ok(one_time::put(tx, &digest, Purpose::AuthorizationCode.as_str(), &payload, now.plus(CODE_TTL)).await?)
            })
        })
        .await;
    issued.map_err(|refusal| match refusal == CONSENT_BOT {
        true => {
            let location = refusal_location(world, &request.redirect_uri, request.state.as_deref(), &refusal);
            Refused::Redirect { refusal, location }
        }
        false => Refused::Page(refusal),
    })?;
    Ok(location(world, &request.redirect_uri, request.state.as_deref(), &[("code", code.reveal())]))
}

/// What the person's consent depends on: everything that the client says of itself.
pub fn client_hash(client: &Client) -> String {
    let text = serde_json::to_string(&client.metadata).expect("our own types serialise to JSON");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

fn refusal_location(world: &World, redirect_uri: &RedirectUri, state: Option<&str>, refusal: &OAuthError) -> String {
    location(world, redirect_uri, state, &[("error", refusal.code.as_str()), ("error_description", &refusal.description)])
}

/// The redirect URI, byte by byte as it was compared, with our answer appended to its query.
fn location(world: &World, redirect_uri: &RedirectUri, state: Option<&str>, answer: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(answer);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", world.settings.issuer.as_str());
    let joint = if redirect_uri.as_str().contains('?') { '&' } else { '?' };
    format!("{}{joint}{}", redirect_uri.as_str(), query.finish())
}
