//! What a signed-in person looks after: the apps that act for them, their sessions, their password.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};

use super::{TurnedAway, consent, entry, on_record, see_other, sent_form::SentForm, tell_when_to_return, visit::Visit};
use crate::{
    domain::{
        client::ClientId,
        id::{Id, SessionKind},
        person::{Person, Session},
        refusal::{OAuthError, PASSWORD_WEAK, PASSWORD_WRONG, REQUEST_PARAMETER_MISSING, SIGN_IN_SLOWED},
        resource::ResourceIdentifier,
        time::Timestamp,
    },
    http::{
        error,
        pages::{
            self, Agent, Leads, Moment, Problems, Site, Vouching,
            account::{ConnectedApp, ConnectedApps, Password, SessionLine, SessionStanding, Sessions},
        },
    },
    protocol::people::{
        connected_apps,
        forms::{self, Step},
        passwords, sessions,
    },
    world::World,
};

pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/account", get(apps_page))
        .route("/account/apps/end", post(end_app))
        .route("/account/sessions", get(sessions_page))
        .route("/account/sessions/end", post(end_session))
        .route("/account/sessions/end-others", post(end_other_sessions))
        .route("/account/password", get(password_page).post(change_password))
}

/// What just happened, as it stands in the address after a form was sent: a word of ours, never text to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    AccessEnded,
    SessionEnded,
    OtherSessionsEnded,
    PasswordChanged,
}

impl Notice {
    const ALL: [Notice; 4] = [Notice::AccessEnded, Notice::SessionEnded, Notice::OtherSessionsEnded, Notice::PasswordChanged];

    fn word(self) -> &'static str {
        match self {
            Notice::AccessEnded => "access-ended",
            Notice::SessionEnded => "session-ended",
            Notice::OtherSessionsEnded => "other-sessions-ended",
            Notice::PasswordChanged => "password-changed",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Notice::AccessEnded => "Ended. What it held stopped working at once.",
            Notice::SessionEnded => "That session has ended.",
            Notice::OtherSessionsEnded => "You are signed out everywhere else.",
            Notice::PasswordChanged => "Your password is changed, and your other sessions have ended.",
        }
    }

    fn read(query: Option<String>) -> Option<String> {
        let query = query.unwrap_or_default();
        let word = query.strip_prefix("notice=")?;
        Notice::ALL.into_iter().find(|notice| notice.word() == word).map(|notice| notice.sentence().to_owned())
    }
}

async fn apps_page(State(world): State<Arc<World>>, visit: Visit, RawQuery(query): RawQuery) -> Result<Response, TurnedAway> {
    let (session, person) = visit.signed_in(&world).await?.ok_or(TurnedAway::ToSignIn)?;
    let connected = connected_apps::list(&world, &person, visit.now).await?;
    let page = ConnectedApps {
        site: Site::of(&world.settings),
        person: person.login,
        seal: seal(&world, &session, visit.now),
        notice: Notice::read(query),
        apps: connected.into_iter().map(|app| connected_app(app, visit.now)).collect(),
    };
    Ok(visit.answer(pages::respond(StatusCode::OK, &page, Leads::Here)))
}

fn connected_app(app: connected_apps::ConnectedApp, now: Timestamp) -> ConnectedApp {
    let nobody = || Agent { name: app.client_id.to_string(), vouching: Vouching::Dynamic };
    let resource = app.resource.as_deref();
    ConnectedApp {
        agent: app.client.as_deref().map_or_else(nobody, consent::agent),
        scopes: app.scopes.iter().map(|word| consent::words(resource, word)).collect(),
        resource: resource.map(pages::Resource::of),
        connected: Moment::to_the_minute(app.connected_at, now),
        last_used: app.used_at.map(|at| Moment::to_the_minute(at, now)),
        ends: app.ends_at.map(Moment::to_the_day),
        at: app.resource_identifier.map_or_else(String::new, |identifier| identifier.as_str().to_owned()),
        client: app.client_id.to_string(),
    }
}

async fn end_app(State(world): State<Arc<World>>, visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let (_, person) = sent_by(&world, &visit, &form).await?;
    let client = ClientId::parse(form.get("client")).ok_or(REQUEST_PARAMETER_MISSING)?;
    let resource = match form.get("resource") {
        "" => None,
        text => Some(ResourceIdentifier::parse(text).map_err(|_| REQUEST_PARAMETER_MISSING)?),
    };
    connected_apps::end(&world, &person, client, resource, visit.now).await?;
    Ok(done(&world, "/account", Notice::AccessEnded))
}

async fn sessions_page(State(world): State<Arc<World>>, visit: Visit, RawQuery(query): RawQuery) -> Result<Response, TurnedAway> {
    let (own, person) = visit.signed_in(&world).await?.ok_or(TurnedAway::ToSignIn)?;
    let all = sessions::list(&world, &person, visit.now).await?;
    let page = Sessions {
        site: Site::of(&world.settings),
        person: person.login,
        seal: seal(&world, &own, visit.now),
        notice: Notice::read(query),
        sessions: all.iter().map(|session| session_line(session, &own, visit.now)).collect(),
    };
    Ok(visit.answer(pages::respond(StatusCode::OK, &page, Leads::Here)))
}

fn session_line(session: &Session, own: &Session, now: Timestamp) -> SessionLine {
    SessionLine {
        id: session.id.to_string(),
        device: device(&session.user_agent),
        started: Moment::to_the_minute(session.started_at, now),
        last_seen: Moment::to_the_minute(session.seen_at, now),
        standing: if session.id == own.id { SessionStanding::This } else { SessionStanding::Other },
    }
}

async fn end_session(State(world): State<Arc<World>>, visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let (_, person) = sent_by(&world, &visit, &form).await?;
    let session: Id<SessionKind> = form.get("session").parse().map_err(|_| REQUEST_PARAMETER_MISSING)?;
    sessions::end(&world, &person, session, visit.now).await?;
    Ok(done(&world, "/account/sessions", Notice::SessionEnded))
}

async fn end_other_sessions(State(world): State<Arc<World>>, visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let (session, _) = sent_by(&world, &visit, &form).await?;
    sessions::end_others(&world, &session, visit.now).await?;
    Ok(done(&world, "/account/sessions", Notice::OtherSessionsEnded))
}

async fn password_page(State(world): State<Arc<World>>, visit: Visit, RawQuery(query): RawQuery) -> Result<Response, TurnedAway> {
    let signed_in = visit.signed_in(&world).await?.ok_or(TurnedAway::ToSignIn)?;
    let page = password(&world, &signed_in, Notice::read(query), Problems::default(), visit.now);
    Ok(visit.answer(pages::respond(StatusCode::OK, &page, Leads::Here)))
}

async fn change_password(State(world): State<Arc<World>>, visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let signed_in = sent_by(&world, &visit, &form).await?;
    let (current, new) = (form.get("current_password"), form.get("new_password"));
    let Err(refusal) = passwords::change(&world, &signed_in.0, &signed_in.1, current, new, visit.now).await else {
        return Ok(done(&world, "/account/password", Notice::PasswordChanged));
    };
    let is_wrong = refusal.reason == PASSWORD_WRONG.reason;
    if !is_wrong && ![PASSWORD_WEAK.reason, SIGN_IN_SLOWED.reason].contains(&refusal.reason) {
        return Err(refusal.into());
    }
    let problems = match is_wrong {
        true => Problems(vec![entry::problem(Some("current_password"), &refusal)]),
        false => entry::problems(Some(&refusal), "new_password"),
    };
    let page = password(&world, &signed_in, None, problems, visit.now);
    let mut response = pages::respond(error::status(refusal.code), &page, Leads::Here);
    tell_when_to_return(&mut response, &refusal);
    // A wrong password is on record already, as what it is.
    Ok(visit.answer(if is_wrong { response } else { on_record(response, &refusal, None) }))
}

fn password(
    world: &World,
    (session, person): &(Session, Person),
    notice: Option<String>,
    problems: Problems,
    now: Timestamp,
) -> Password {
    Password {
        site: Site::of(&world.settings),
        person: person.login.clone(),
        seal: seal(world, session, now),
        notice,
        login: person.login.clone(),
        problems,
    }
}

/// The seal of the account's pages: whoever sends it back had a page of this session before them.
fn seal(world: &World, session: &Session, now: Timestamp) -> String {
    forms::seal(world, Step::Account, &session.id.to_string(), &(), now)
}

/// Who sent a form of the account's pages.
async fn sent_by(world: &World, visit: &Visit, form: &SentForm) -> Result<(Session, Person), OAuthError> {
    let signed_in = visit.require_signed_in(world).await?;
    forms::open::<()>(world, Step::Account, &signed_in.0.id.to_string(), form.get("seal"), visit.now)?;
    Ok(signed_in)
}

/// Back to the page, as a GET that can be repeated.
fn done(world: &World, path: &str, notice: Notice) -> Response {
    see_other(&format!("{}{path}?notice={}", world.settings.issuer.path(), notice.word()))
}

/// What a browser says of itself, as people would: "Firefox on Linux". Each word is looked for before those that only claim it.
fn device(user_agent: &str) -> String {
    const BROWSERS: [(&str, &str); 8] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let find = |known: &[(&str, &'static str)]| known.iter().find(|(token, _)| user_agent.contains(token)).map(|(_, name)| *name);
    let browser = find(&BROWSERS).unwrap_or("A browser");
    find(&SYSTEMS).map_or_else(|| browser.to_owned(), |system| format!("{browser} on {system}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_as_people_name_them() {
        for (user_agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36 Edg/142.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1 Version/19.0 Safari/604.1",
                "Safari on iPhone",
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1 Version/19.0 Safari/605.1", "Safari on macOS"),
            ("curl/8.0", "A browser"),
            ("", "A browser"),
        ] {
            assert_eq!(device(user_agent), expected);
        }
    }

    #[test]
    fn a_notice_is_a_word_of_ours() {
        assert_eq!(Notice::read(Some("notice=access-ended".into())).as_deref(), Some(Notice::AccessEnded.sentence()));
        for query in ["notice=You+won", "notice=", "access-ended", ""] {
            assert_eq!(Notice::read(Some(query.into())), None, "{query}");
        }
    }
}
