//! The authorization endpoint and the consent page: [OAuth 2.1 §4.1.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.1.1).

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use url::Url;

use super::{TurnedAway, entry, see_other, sent_form::SentForm, visit::Visit};
use crate::{
    domain::{
        client::{Client, GrantType, Origin},
        person::{Person, Session},
        redirect_uri::RedirectUri,
        refusal::{OAuthError, REQUEST_PARAMETER_MISSING, REQUEST_TOO_LARGE},
        resource::Resource,
        risk::{Doubt, SignalKind},
        scope::{self, Scopes},
        time::Timestamp,
    },
    http::{
        body,
        pages::{
            self, Agent, Leads, Moment, Site, Vouching,
            consent::{Consent, ReturnsTo, ScopeLine, Standing, Stay},
        },
    },
    protocol::{
        authorize::{self, AuthorizationRequest, Next},
        people::{
            consent::{self, Decision, Shown},
            forms::{self, Continuing, Step},
        },
        token::access_token_ttl_s,
    },
    world::World,
};

/// The longest query that is read. It travels through the browser, sealed, and browsers and proxies bound addresses too.
const QUERY_BYTES_MAX: usize = 12 * 1024;

pub(super) fn router() -> Router<Arc<World>> {
    Router::new().route("/authorize", get(authorize).post(authorize_by_form)).route("/consent", post(decide))
}

async fn authorize(State(world): State<Arc<World>>, visit: Visit, RawQuery(query): RawQuery) -> Result<Response, TurnedAway> {
    let query = query.unwrap_or_default();
    let continuing = match resume(&query) {
        Some(seal) => forms::open(&world, Step::Resume, &visit.browser, &seal, visit.now)?,
        None if query.len() > QUERY_BYTES_MAX => return Err(REQUEST_TOO_LARGE.into()),
        None => Continuing { query, asked_at: visit.now, asked_from: visit.address },
    };
    let refused = |refused| TurnedAway::from_authorize(refused, &continuing.query);
    let signed_in = visit.signed_in(&world).await?;
    let request = authorize::read(&world, &continuing, visit.now).await.map_err(|refusal| {
        let may_send_on = signed_in.is_some() || authorize::is_silent(&continuing.query);
        refused(if may_send_on { refusal } else { refusal.on_a_page() })
    })?;
    match authorize::advance(&world, &request, signed_in.as_ref(), continuing.asked_at, visit.now).await.map_err(refused)? {
        Next::Redirect { location } => Ok(visit.answer(see_other(&location))),
        Next::AskConsent { consented, doubt, is_each_time } if let Some(signed_in) = &signed_in => {
            let because = doubt.iter().flat_map(unusual).collect();
            Ok(ask(&world, visit, &request, &continuing, signed_in, Asked { consented, unusual: because, is_each_time }))
        }
        Next::AskConsent { .. } | Next::SignIn => {
            let login = request.login_hint.clone().unwrap_or_default();
            Ok(entry::show_sign_in(&world, visit, Some(&(request, continuing)), login, None))
        }
    }
}

/// The request by POST ([OpenID Connect Core §3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)). Browsers
/// send no cookies with a form of another site, so it goes on as a GET, with which they do.
async fn authorize_by_form(State(world): State<Arc<World>>, headers: HeaderMap, body: Body) -> Result<Response, TurnedAway> {
    let encoded = body::form(&headers, body).await?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(form_urlencoded::parse(&encoded));
    let query = query.finish();
    if query.len() > QUERY_BYTES_MAX {
        return Err(REQUEST_TOO_LARGE.into());
    }
    Ok(see_other(&format!("{}/authorize?{query}", world.settings.issuer.path())))
}

/// The seal of a request that goes on, if that is all that the query has. No client's parameter is called so.
pub(super) fn resume(query: &str) -> Option<String> {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    match (parameters.next(), parameters.next()) {
        (Some((name, seal)), None) if name == "resume" => Some(seal.into_owned()),
        _ => None,
    }
}

async fn decide(State(world): State<Arc<World>>, visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let signed_in = visit.require_signed_in(&world).await?;
    let decision = match form.get("decision") {
        "allow" => Decision::Allow(Scopes::of(form.all("scope"))),
        "refuse" => Decision::Refuse,
        _ => return Err(REQUEST_PARAMETER_MISSING.into()),
    };
    let location = consent::decide(&world, &signed_in, form.get("seal"), decision, visit.address, visit.now).await?;
    Ok(visit.answer(see_other(&location)))
}

/// What a consent page of this session was about.
pub(super) fn shown(world: &World, session: &Session, seal: &str, now: Timestamp) -> Result<Shown, OAuthError> {
    forms::open(world, Step::Consent, &session.id.to_string(), seal, now)
}

/// What the person allowed before, and why they are asked all the same.
struct Asked {
    consented: Scopes,
    unusual: Vec<&'static str>,
    is_each_time: bool,
}

fn ask(
    world: &World,
    visit: Visit,
    request: &AuthorizationRequest,
    continuing: &Continuing,
    signed_in: &(Session, Person),
    asked: Asked,
) -> Response {
    let resource = request.resource.as_deref();
    let may_renew = request.client.may_use(GrantType::RefreshToken);
    let until = visit.now.plus(World::seconds(world.settings.grant_ttl_s));
    let page = Consent {
        site: Site::of(&world.settings),
        seal: consent::seal(world, request, continuing, signed_in, visit.now),
        person: signed_in.1.login.clone(),
        agent: agent(&request.client),
        returns_to: returns_to(&request.redirect_uri),
        resource: resource.map(pages::Resource::of),
        unusual: asked.unusual,
        is_each_time: asked.is_each_time,
        scopes: scope_lines(request, &asked.consented),
        access_lasts: in_words(access_token_ttl_s(world, resource)),
        stay: if may_renew { Stay::Until(Moment::to_the_day(until)) } else { Stay::OneAccess },
    };
    visit.answer(pages::respond(StatusCode::OK, &page, Leads::OnToAnApp))
}

/// The client, and how far we can vouch for it.
pub(super) fn agent(client: &Client) -> Agent {
    let vouching = match (client.origin, client.id.host()) {
        (Origin::Operator, _) => Vouching::Operator,
        (Origin::MetadataDocument, Some(host)) => Vouching::MetadataDocument { url: client.id.to_string(), host },
        (Origin::MetadataDocument, None) | (Origin::Dynamic, _) => Vouching::Dynamic,
    };
    Agent { name: client.metadata.client_name.clone(), vouching }
}

fn returns_to(redirect_uri: &RedirectUri) -> ReturnsTo {
    let host = redirect_uri.host();
    let port = Url::parse(redirect_uri.as_str()).ok().and_then(|url| url.port());
    if redirect_uri.is_loopback() {
        return ReturnsTo::ThisComputer { host: port.map_or(host.clone(), |port| format!("{host}:{port}")) };
    }
    if redirect_uri.is_web() { ReturnsTo::Web { host } } else { ReturnsTo::InstalledApp { scheme: host } }
}

/// What is asked for: the resource's own scopes in its own order, then those about the person.
fn scope_lines(request: &AuthorizationRequest, consented: &Scopes) -> Vec<ScopeLine> {
    let resource = request.resource.as_deref();
    let own = resource.into_iter().flat_map(|resource| &resource.scopes).map(|definition| definition.name.as_str());
    let asked = own.chain(scope::BUILT_IN).filter(|word| request.scopes.contains(word));
    let consented = resource.map_or_else(|| consented.clone(), |resource| resource.closure(consented));
    let line =
        |word: &str| ScopeLine { value: word.to_owned(), words: words(resource, word), standing: standing(word, &consented) };
    asked.map(line).collect()
}

fn standing(word: &str, consented: &Scopes) -> Standing {
    match word {
        // That they are here at all tells who they are; and whether a client may renew its access is a matter of the client.
        scope::OPENID | scope::OFFLINE_ACCESS => Standing::Required,
        _ if consented.contains(word) => Standing::AlreadyAllowed,
        _ => Standing::New,
    }
}

/// A scope as people read it.
pub(super) fn words(resource: Option<&Resource>, word: &str) -> String {
    let own = resource.and_then(|resource| resource.definition(word)).map(|definition| definition.description.as_str());
    own.unwrap_or(match word {
        scope::OPENID => "Know that it is you",
        scope::PROFILE => "See your name",
        scope::EMAIL => "See your e-mail address",
        scope::OFFLINE_ACCESS => "Stay connected while you are away",
        other => other,
    })
    .to_owned()
}

/// Why the person is asked again, each thing once.
fn unusual(doubt: &Doubt) -> Vec<&'static str> {
    let kinds: BTreeSet<SignalKind> = doubt.signals.iter().copied().collect();
    let words = |kind| match kind {
        SignalKind::RefreshReplayed => "A key that this app had given back was used a second time: somebody else may have a copy.",
        SignalKind::RateJumped => "This app was far busier than usual.",
        SignalKind::NewNetwork => "There was activity from a network that you did not use before.",
        SignalKind::OffHours => "This app was active at an unusual hour.",
        // Nobody proved these, so nothing is in doubt for them.
        SignalKind::ConsentRefused | SignalKind::RequestRefused | SignalKind::SignInRefused => "Somebody was refused something.",
    };
    kinds.into_iter().map(words).collect()
}

/// A lifetime as people say it: "10 minutes".
fn in_words(seconds: u32) -> String {
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7199 => (seconds / 60, "minute"),
        _ => (seconds / 3600, "hour"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_in_words() {
        for (seconds, words) in [(60, "60 seconds"), (600, "10 minutes"), (3600, "60 minutes"), (7200, "2 hours"), (1, "1 second")]
        {
            assert_eq!(in_words(seconds), words);
        }
    }

    #[test]
    fn a_query_goes_on_only_if_the_seal_is_all_of_it() {
        assert_eq!(resume("resume=abc").as_deref(), Some("abc"));
        for query in ["", "resume=abc&client_id=x", "client_id=x&resume=abc", "resumed=abc", "resume=a&resume=b"] {
            assert_eq!(resume(query), None, "{query}");
        }
    }

    #[test]
    fn where_the_answer_goes_is_told_by_its_kind() {
        let told = |text: &str| match returns_to(&RedirectUri::parse(text).expect("a redirect URI")) {
            ReturnsTo::Web { host } => format!("web {host}"),
            ReturnsTo::ThisComputer { host } => format!("computer {host}"),
            ReturnsTo::InstalledApp { scheme } => format!("app {scheme}"),
        };
        assert_eq!(told("https://app.example/cb"), "web app.example");
        assert_eq!(told("http://127.0.0.1:3033/cb"), "computer 127.0.0.1:3033");
        assert_eq!(told("http://localhost/cb"), "computer localhost");
        assert_eq!(told("com.example.app:/cb"), "app com.example.app");
        assert_eq!(told("evil://claude.ai/cb"), "app evil");
        assert_eq!(told("evil://localhost/cb"), "app evil");
    }
}
