//! Signing in and out, signing up, accepting an invitation.
//!
//! Where somebody goes after signing in is never read from the request: it is their account page, or the authorization request
//! that is sealed in the form.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};

use super::{Linked, TurnedAway, consent, on_record, see_other, sent_form::SentForm, tell_when_to_return, visit::Visit};
use crate::{
    domain::refusal::{LOGIN_INVALID, LOGIN_TAKEN, OAuthError, PASSWORD_WEAK, SIGN_IN_SLOWED, SIGN_IN_WRONG},
    http::{
        error,
        pages::{
            self, Leads, Problem, Problems, Site,
            entry::{AskingApp, Invitation, SignIn, SignUp, SignUpDoor, SignedOut},
        },
    },
    protocol::{
        authorize::{self, AuthorizationRequest},
        people::{
            forms::{self, Continuing, Step},
            invitations,
            sessions::{self, Started},
            sign_in,
            sign_up::{self, NewAccount},
        },
    },
    world::World,
};

pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/sign-in", get(sign_in_page).post(sign_in_form))
        .route("/sign-up", get(sign_up_page).post(sign_up_form))
        .route("/invitation/{token}", get(invitation_page).post(invitation_form))
        .route("/sign-out", post(sign_out))
}

/// What a form of this file is about: the request that goes on afterwards, if an app sent the person here.
pub(super) type Afterwards = Option<Continuing>;

async fn sign_in_page(State(world): State<Arc<World>>, visit: Visit) -> Result<Response, TurnedAway> {
    if visit.signed_in(&world).await?.is_some() {
        return Ok(see_other(&format!("{}/account", world.settings.issuer.path())));
    }
    Ok(show_sign_in(&world, visit, None, String::new(), None))
}

async fn sign_in_form(State(world): State<Arc<World>>, mut visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let afterwards: Afterwards = forms::open(&world, Step::SignIn, &visit.browser, form.get("seal"), visit.now)?;
    let visitor = visit.visitor(&world).await?;
    match sign_in::sign_in(&world, &visitor, form.get("login"), form.get("password"), visit.now).await {
        Ok(started) => Ok(enter(&world, visit, started, afterwards)),
        Err(refusal) if [SIGN_IN_WRONG.reason, SIGN_IN_SLOWED.reason].contains(&refusal.reason) => {
            let login = form.get("login").to_owned();
            let asking = reread(&world, &mut visit, afterwards).await?;
            Ok(show_sign_in(&world, visit, asking.as_ref(), login, Some(refusal)))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// The request that waits behind a form, judged anew, so that its page can say who asks.
async fn reread(
    world: &World,
    visit: &mut Visit,
    afterwards: Afterwards,
) -> Result<Option<(AuthorizationRequest, Continuing)>, TurnedAway> {
    let Some(continuing) = afterwards else { return Ok(None) };
    let request = authorize::read(world, &continuing, visit.now)
        .await
        .map_err(|refused| TurnedAway::from_authorize(refused, &continuing.query))?;
    Ok(Some((request, continuing)))
}

/// The sign-in page, for the app that asks or for the person alone.
pub(super) fn show_sign_in(
    world: &World,
    visit: Visit,
    asking: Option<&(AuthorizationRequest, Continuing)>,
    login: String,
    refusal: Option<OAuthError>,
) -> Response {
    let afterwards = asking.map(|(_, continuing)| continuing);
    let door = match world.settings.sign_up {
        true => SignUpDoor::Open { resume: afterwards.map(|continuing| resume_seal(world, &visit, continuing)) },
        false => SignUpDoor::ByInvitation,
    };
    let page = SignIn {
        site: Site::of(&world.settings),
        seal: forms::seal(world, Step::SignIn, &visit.browser, &afterwards, visit.now),
        login,
        asking: asking.map(|(request, _)| AskingApp {
            name: request.client.metadata.client_name.clone(),
            host: request.client.id.host().unwrap_or_else(|| request.redirect_uri.host()),
        }),
        problem: refusal.as_ref().map(|refusal| problem(None, refusal)),
        sign_up: door,
    };
    show(visit, &page, asking, refusal.as_ref())
}

async fn sign_up_page(
    State(world): State<Arc<World>>,
    mut visit: Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, TurnedAway> {
    sign_up::check_open(&world)?;
    let afterwards = match consent::resume(&query.unwrap_or_default()) {
        Some(seal) => Some(forms::open(&world, Step::Resume, &visit.browser, &seal, visit.now)?),
        None => None,
    };
    let asking = reread(&world, &mut visit, afterwards).await?;
    Ok(show_sign_up(&world, visit, asking.as_ref(), [String::new(), String::new()], None))
}

async fn sign_up_form(State(world): State<Arc<World>>, mut visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let afterwards: Afterwards = forms::open(&world, Step::SignUp, &visit.browser, form.get("seal"), visit.now)?;
    let visitor = visit.visitor(&world).await?;
    let account = NewAccount { login: form.get("login"), display_name: form.get("display_name"), password: form.get("password") };
    match sign_up::sign_up(&world, &visitor, account, visit.now).await {
        Ok(started) => Ok(enter(&world, visit, started, afterwards)),
        Err(refusal) if field_of(&refusal).is_some() || refusal.reason == SIGN_IN_SLOWED.reason => {
            let typed = ["login", "display_name"].map(|name| form.get(name).to_owned());
            let asking = reread(&world, &mut visit, afterwards).await?;
            Ok(show_sign_up(&world, visit, asking.as_ref(), typed, Some(refusal)))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn show_sign_up(
    world: &World,
    visit: Visit,
    asking: Option<&(AuthorizationRequest, Continuing)>,
    [login, display_name]: [String; 2],
    refusal: Option<OAuthError>,
) -> Response {
    let afterwards = asking.map(|(_, continuing)| continuing);
    let page = SignUp {
        site: Site::of(&world.settings),
        seal: forms::seal(world, Step::SignUp, &visit.browser, &afterwards, visit.now),
        login,
        display_name,
        problems: problems(refusal.as_ref(), "password"),
        resume: afterwards.map(|continuing| resume_seal(world, &visit, continuing)),
    };
    show(visit, &page, asking, refusal.as_ref())
}

async fn invitation_page(State(world): State<Arc<World>>, visit: Visit, Linked(token): Linked) -> Result<Response, TurnedAway> {
    let invited = invitations::find(&world, &token, visit.now).await?;
    let display_name = if invited.display_name == invited.login { String::new() } else { invited.display_name };
    Ok(show_invitation(&world, visit, token, [invited.login, display_name], None))
}

async fn invitation_form(
    State(world): State<Arc<World>>,
    visit: Visit,
    Linked(token): Linked,
    form: SentForm,
) -> Result<Response, TurnedAway> {
    // The seal holds the login only to show it again; whom the link is for is asked of the link.
    let login: String = forms::open(&world, Step::Invitation, &bound_to(&visit, &token), form.get("seal"), visit.now)?;
    let visitor = visit.visitor(&world).await?;
    let display_name = form.get("display_name");
    match invitations::accept(&world, &visitor, &token, display_name, form.get("password"), visit.now).await {
        Ok(started) => Ok(enter(&world, visit, started, None)),
        Err(refusal) if field_of(&refusal).is_some() => {
            Ok(show_invitation(&world, visit, token, [login, display_name.to_owned()], Some(refusal)))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn show_invitation(
    world: &World,
    visit: Visit,
    token: String,
    [login, display_name]: [String; 2],
    refusal: Option<OAuthError>,
) -> Response {
    let page = Invitation {
        site: Site::of(&world.settings),
        seal: forms::seal(world, Step::Invitation, &bound_to(&visit, &token), &login, visit.now),
        token,
        login,
        display_name,
        problems: problems(refusal.as_ref(), "password"),
    };
    show(visit, &page, None, refusal.as_ref())
}

/// The form of a link is for that link in one browser.
pub(super) fn bound_to(visit: &Visit, token: &str) -> String {
    format!("{} {token}", visit.browser)
}

/// Ends the session, and lets the request of a consent page go on with another account.
async fn sign_out(State(world): State<Arc<World>>, mut visit: Visit, form: SentForm) -> Result<Response, TurnedAway> {
    let Some((session, person)) = visit.signed_in(&world).await? else {
        visit.leave(&world);
        return Ok(signed_out(&world, visit));
    };
    let (seal, bound_to) = (form.get("seal"), session.id.to_string());
    let continuing = match consent::shown(&world, &session, seal, visit.now) {
        Ok(shown) => Some(shown.continuing),
        Err(_) => {
            forms::open::<()>(&world, Step::Account, &bound_to, seal, visit.now)?;
            None
        }
    };
    sessions::end(&world, &person, session.id, visit.now).await?;
    visit.leave(&world);
    match continuing {
        Some(continuing) => Ok(go_on(&world, visit, &continuing)),
        None => Ok(signed_out(&world, visit)),
    }
}

fn signed_out(world: &World, visit: Visit) -> Response {
    visit.answer(pages::respond(StatusCode::OK, &SignedOut { site: Site::of(&world.settings) }, Leads::Here))
}

/// Gives the browser its new session, and sends it to where its person was going.
pub(super) fn enter(world: &World, mut visit: Visit, started: Started, afterwards: Afterwards) -> Response {
    visit.enter(world, &started.cookie);
    match afterwards {
        Some(continuing) => go_on(world, visit, &continuing),
        None => visit.answer(see_other(&format!("{}/account", world.settings.issuer.path()))),
    }
}

/// Back to the authorization request, sealed to the browser as it is known from now on.
fn go_on(world: &World, visit: Visit, continuing: &Continuing) -> Response {
    let location = format!("{}/authorize?resume={}", world.settings.issuer.path(), resume_seal(world, &visit, continuing));
    visit.answer(see_other(&location))
}

fn resume_seal(world: &World, visit: &Visit, continuing: &Continuing) -> String {
    forms::seal(world, Step::Resume, &visit.browser, continuing, visit.now)
}

/// Sends a page with a form that may lead on to the app that asks, and puts what it says of the last try on record.
pub(super) fn show(
    visit: Visit,
    page: &impl askama::Template,
    asking: Option<&(AuthorizationRequest, Continuing)>,
    refusal: Option<&OAuthError>,
) -> Response {
    let status = refusal.map_or(StatusCode::OK, |refusal| error::status(refusal.code));
    let mut response = pages::respond(status, page, if asking.is_some() { Leads::OnToAnApp } else { Leads::Here });
    if let Some(refusal) = refusal {
        tell_when_to_return(&mut response, refusal);
        // A wrong password is on record already, as what it is.
        if refusal.reason != SIGN_IN_WRONG.reason {
            response = on_record(response, refusal, None);
        }
    }
    visit.answer(response)
}

/// The field that a refusal is about, if it is about one.
fn field_of(refusal: &OAuthError) -> Option<&'static str> {
    [(LOGIN_INVALID, "login"), (LOGIN_TAKEN, "login"), (PASSWORD_WEAK, "password")]
        .into_iter()
        .find_map(|(known, field)| (known.reason == refusal.reason).then_some(field))
}

/// What a form that comes back says is wrong with it.
pub(super) fn problems(refusal: Option<&OAuthError>, password_field: &'static str) -> Problems {
    let field = |refusal| field_of(refusal).map(|field| if field == "password" { password_field } else { field });
    Problems(refusal.into_iter().map(|refusal| problem(field(refusal), refusal)).collect())
}

pub(super) fn problem(field: Option<&'static str>, refusal: &OAuthError) -> Problem {
    Problem { field, text: refusal.description.to_string(), reason: refusal.reason }
}
