//! Choosing a new password by a link from an operator.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};

use super::{Linked, TurnedAway, entry, sent_form::SentForm, visit::Visit};
use crate::{
    domain::refusal::{OAuthError, PASSWORD_WEAK},
    http::pages::{Site, entry::PasswordReset},
    protocol::people::{
        forms::{self, Step},
        password_resets,
    },
    world::World,
};

pub(super) fn router() -> Router<Arc<World>> {
    Router::new().route("/password-reset/{token}", get(page).post(sent))
}

async fn page(State(world): State<Arc<World>>, visit: Visit, Linked(token): Linked) -> Result<Response, TurnedAway> {
    let person = password_resets::find(&world, &token, visit.now).await?;
    Ok(show(&world, visit, token, person.login, None))
}

async fn sent(
    State(world): State<Arc<World>>,
    visit: Visit,
    Linked(token): Linked,
    form: SentForm,
) -> Result<Response, TurnedAway> {
    // The seal holds the login only to show it again; whom the link is for is asked of the link.
    let bound_to = entry::bound_to(&visit, &token);
    let login: String = forms::open(&world, Step::PasswordReset, &bound_to, form.get("seal"), visit.now)?;
    let visitor = visit.visitor(&world).await?;
    match password_resets::accept(&world, &visitor, &token, form.get("password"), visit.now).await {
        Ok(started) => Ok(entry::enter(&world, visit, started, None)),
        Err(refusal) if refusal.reason == PASSWORD_WEAK.reason => Ok(show(&world, visit, token, login, Some(refusal))),
        Err(refusal) => Err(refusal.into()),
    }
}

fn show(world: &World, visit: Visit, token: String, login: String, refusal: Option<OAuthError>) -> Response {
    let page = PasswordReset {
        site: Site::of(&world.settings),
        seal: forms::seal(world, Step::PasswordReset, &entry::bound_to(&visit, &token), &login, visit.now),
        token,
        login,
        problems: entry::problems(refusal.as_ref(), "password"),
    };
    entry::show(visit, &page, None, refusal.as_ref())
}
