//! Forms that our own pages sent: anything that another site made the browser send is refused before it is looked at
//! ([Fetch Metadata](https://www.w3.org/TR/fetch-metadata/), [RFC 6454 §7](https://www.rfc-editor.org/rfc/rfc6454#section-7)).

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};

use super::TurnedAway;
use crate::{
    domain::refusal::{FORM_FOREIGN, OAuthError, REQUEST_MALFORMED},
    http::body,
    world::World,
};

/// More fields than any form of ours has.
const FIELDS_MAX: usize = 200;

/// The fields of a form, in the order of the page.
pub(super) struct SentForm(Vec<(String, String)>);

impl FromRequest<Arc<World>> for SentForm {
    type Rejection = TurnedAway;

    async fn from_request(request: Request, world: &Arc<World>) -> Result<SentForm, TurnedAway> {
        let (parts, body) = request.into_parts();
        check_origin(&parts.headers, &world.settings.issuer.origin())?;
        let encoded = body::form(&parts.headers, body).await?;
        let fields: Vec<(String, String)> = form_urlencoded::parse(&encoded).into_owned().take(FIELDS_MAX + 1).collect();
        if fields.len() > FIELDS_MAX || fields.iter().any(|(_, value)| value.contains('\u{fffd}')) {
            return Err(REQUEST_MALFORMED.into());
        }
        Ok(SentForm(fields))
    }
}

impl SentForm {
    /// The value of a field, empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The values of a field that may be there more than once.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Our pages forbid referrers, so browsers send their forms with `Origin: null`, or with none.
fn check_origin(headers: &HeaderMap, own: &str) -> Result<(), OAuthError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_foreign_site = text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let is_foreign_origin = text(header::ORIGIN.as_str()).is_some_and(|origin| origin != "null" && origin != own);
    if is_foreign_site || is_foreign_origin { Err(FORM_FOREIGN) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_site_may_send_no_form() {
        for (site, origin, allowed) in [
            (None, None, true),
            (Some("same-origin"), Some("null"), true),
            (Some("none"), None, true),
            (None, Some("http://127.0.0.1:9400"), true),
            (Some("cross-site"), Some("null"), false),
            (Some("same-site"), None, false),
            (None, Some("https://evil.example"), false),
            (None, Some("http://127.0.0.1:9401"), false),
            (Some("same-origin"), Some("https://evil.example"), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().expect("a header value"));
                }
            }
            assert_eq!(check_origin(&headers, "http://127.0.0.1:9400").is_ok(), allowed, "{site:?} {origin:?}");
        }
    }
}
