//! Everything that a person sees: one plain struct for each page of `consent-ui/pages`, and how a page is sent.
//! [CSP Level 3](https://www.w3.org/TR/CSP3/), [WCAG 2.2](https://www.w3.org/TR/WCAG22/)
//!
//! A page decides nothing and knows nothing but its fields. All of them are untrusted text that the templates escape; what a client
//! says of itself is never a link. No page needs its script, and none holds a style or a script in itself, so the policy can forbid
//! both. A `seal` is opaque here: the value that binds a form to the browser, the person and the moment it was made for.

/// What a signed-in person looks after.
pub(crate) mod account;
/// The question itself: may this agent act for you?
pub(crate) mod consent;
/// Arriving and leaving: the home page, signing in and out, signing up, using a link from an operator.
pub(crate) mod entry;
/// Why there is no page to go on to.
pub(crate) mod refusal;

use crate::config::Settings;
use crate::domain::{self, time::Timestamp};
use askama::Template;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// This installation, as all its pages show it.
#[derive(Clone)]
pub(crate) struct Site {
    /// The issuer's path, which every link of ours begins with: empty, or `/tenant`.
    pub(crate) path: String,
    /// Who runs it, if they have said so.
    pub(crate) run_by: Option<String>,
}

impl Site {
    pub(crate) fn of(settings: &Settings) -> Site {
        let organization = settings.organization_name.as_str();
        Site {
            path: settings.issuer.path().to_owned(),
            // The default names the product, which the page names anyway.
            run_by: (organization != "Deputy").then(|| organization.to_owned()),
        }
    }
}

/// A time as it is shown, and as machines read it.
pub(crate) struct Moment {
    /// RFC 3339, in UTC.
    pub(crate) iso: String,
    /// For people: "today at 14:05", "12 March 2026".
    pub(crate) text: String,
}

impl Moment {
    /// A moment of the past to the minute: "today at 14:05 UTC". The server knows no other time zone than UTC.
    pub(crate) fn to_the_minute(at: Timestamp, now: Timestamp) -> Moment {
        let (iso, today) = (at.to_rfc3339(), now.to_rfc3339());
        let time = iso.get(11..16).unwrap_or_default().to_owned();
        let is_today = iso.get(..10) == today.get(..10);
        let text = if is_today { format!("today at {time} UTC") } else { format!("{} at {time} UTC", date(&iso)) };
        Moment { iso, text }
    }

    /// A moment that only its day matters of: "12 March 2027".
    pub(crate) fn to_the_day(at: Timestamp) -> Moment {
        let iso = at.to_rfc3339();
        let text = date(&iso);
        Moment { iso, text }
    }
}

/// `2027-03-12...` as "12 March 2027".
fn date(iso: &str) -> String {
    const MONTHS: [&str; 12] =
        ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
    let mut parts = iso.split(['-', 'T']);
    let (year, month, day) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let month = month.parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"");
    format!("{} {month} {year}", day.trim_start_matches('0'))
}

/// An agent or app, by the name it gave, and what that name is worth.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) vouching: Vouching,
}

/// How far we can vouch for an agent.
pub(crate) enum Vouching {
    /// An operator of this installation registered it.
    Operator,
    /// Its `client_id` is the URL of its metadata; whoever owns the host vouches for it.
    MetadataDocument { url: String, host: String },
    /// It registered itself; its name is only a claim.
    Dynamic,
}

/// A resource server.
pub(crate) struct Resource {
    pub(crate) name: String,
    /// The resource identifier of RFC 8707, as registered.
    pub(crate) identifier: String,
}

impl Resource {
    pub(crate) fn of(resource: &domain::resource::Resource) -> Resource {
        Resource { name: resource.name.clone(), identifier: resource.identifier.as_str().to_owned() }
    }
}

/// What is wrong with a form that was sent.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

/// One sentence to the person, and the field that it is about, by its name.
pub(crate) struct Problem {
    pub(crate) field: Option<&'static str>,
    pub(crate) text: String,
    /// The stable reason, for those who are asked for help.
    pub(crate) reason: &'static str,
}

impl Problems {
    /// What is wrong with the field, if something is.
    fn about(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|problem| problem.field == Some(field)).map(|problem| problem.text.as_str())
    }
}

/// Where the answers to a page's forms may lead the browser.
///
/// 2026-11: Chromium holds every redirect that follows a form to [`form-action`](https://www.w3.org/TR/CSP3/#directive-form-action),
/// also those that the app's own end makes, on to another of its hosts or into an installed app. Nobody can list these, so where a
/// form leads to an app the directive is left out. A page between us and the app would spare that, and would break every client and
/// every phone that waits for a redirect.
#[derive(Clone, Copy)]
pub(crate) enum Leads {
    /// Nowhere but here.
    Here,
    /// Here, and on to an app's registered redirect URI.
    OnToAnApp,
}

/// Sends a page with the headers that every page has.
pub(crate) fn respond(status: StatusCode, page: &impl Template, leads: Leads) -> Response {
    let html = page.render().expect("writing to a String cannot fail, and no template uses a filter that can");
    let form_action = match leads {
        Leads::Here => " form-action 'self';",
        Leads::OnToAnApp => "",
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self';{form_action} base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers: [(HeaderName, &str); 7] = [
        (header::CONTENT_SECURITY_POLICY, &policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (status, headers, Html(html)).into_response()
}

#[cfg(test)]
mod tests;
