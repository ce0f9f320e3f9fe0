//! Who is at the door: what their browser says of itself, the cookies that we gave it, and from where it comes.
//! [RFC 6265bis](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis)

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};

use crate::{
    config::Settings,
    domain::{
        person::{Person, Session},
        refusal::{NOT_SIGNED_IN, OAuthError},
        secret::Secret,
        time::Timestamp,
    },
    http::address::Address,
    protocol::people::{Visitor, sessions},
    world::World,
};

/// The longest that browsers keep a cookie. How long a session lives is for the server to say.
const COOKIE_MAX_AGE_S: u32 = 400 * 24 * 3600;
const SECRET_CHARS: usize = 43;

/// A cookie of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Recognises a browser in which nobody may be signed in; forms are sealed to it.
    Browser,
    Session,
}

impl Cookie {
    /// `__Host-` keeps other hosts from setting it, and needs TLS.
    fn name(self, settings: &Settings) -> &'static str {
        match (self, settings.issuer.url().scheme()) {
            (Cookie::Browser, "https") => "__Host-deputy_browser",
            (Cookie::Session, "https") => "__Host-deputy_session",
            (Cookie::Browser, _) => "deputy_browser",
            (Cookie::Session, _) => "deputy_session",
        }
    }

    fn set(self, settings: &Settings, value: &str, max_age_s: u32) -> HeaderValue {
        let secure = if settings.issuer.url().scheme() == "https" { "; Secure" } else { "" };
        let name = self.name(settings);
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_s}{secure}");
        HeaderValue::from_str(&text).expect("our secrets are base64url")
    }

    /// Its value, if it has the form that we gave it.
    fn find(self, settings: &Settings, headers: &HeaderMap) -> Option<String> {
        let name = self.name(settings);
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
        let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(known, _)| *known == name);
        let (_, value) = values.next()?;
        let is_ours = value.len() == SECRET_CHARS && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        is_ours.then(|| value.to_owned())
    }
}

/// One request of a browser.
pub(super) struct Visit {
    pub(super) now: Timestamp,
    /// The browser's cookie: the one it has, or the one that it gets with the answer.
    pub(super) browser: String,
    set_cookies: Vec<HeaderValue>,
    session: Option<String>,
    pub(super) address: IpAddr,
    user_agent: String,
}

impl FromRequestParts<Arc<World>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Visit, Infallible> {
        let settings = &world.settings;
        let known = Cookie::Browser.find(settings, &parts.headers);
        let fresh = known.is_none().then(|| world.secret());
        let set_cookies = fresh.iter().map(|secret| Cookie::Browser.set(settings, secret.reveal(), COOKIE_MAX_AGE_S)).collect();
        let Address(address) = Address::from_request_parts(parts, world).await?;
        let user_agent = parts.headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Visit {
            now: world.now(),
            browser: known.or_else(|| fresh.map(|secret| secret.reveal().clone())).unwrap_or_default(),
            set_cookies,
            session: Cookie::Session.find(settings, &parts.headers),
            address,
            user_agent: user_agent.unwrap_or_default(),
        })
    }
}

impl Visit {
    /// Who is signed in in this browser.
    pub(super) async fn signed_in(&self, world: &World) -> Result<Option<(Session, Person)>, OAuthError> {
        match &self.session {
            Some(cookie) => sessions::find(world, cookie, self.now).await,
            None => Ok(None),
        }
    }

    /// Who is signed in in this browser; somebody must be.
    pub(super) async fn require_signed_in(&self, world: &World) -> Result<(Session, Person), OAuthError> {
        self.signed_in(world).await?.ok_or(NOT_SIGNED_IN)
    }

    /// The visitor, as those who check passwords know them.
    pub(super) async fn visitor(&self, world: &World) -> Result<Visitor, OAuthError> {
        let signed_in = self.signed_in(world).await?;
        Ok(Visitor { address: self.address, user_agent: self.user_agent.clone(), signed_in })
    }

    /// Somebody proved who they are: new cookies, so that nothing that was known of this browser before counts any more.
    pub(super) fn enter(&mut self, world: &World, session: &Secret<String>) {
        self.renew_browser(world);
        self.set_cookies.push(Cookie::Session.set(&world.settings, session.reveal(), COOKIE_MAX_AGE_S));
    }

    /// Nobody is signed in here any more.
    pub(super) fn leave(&mut self, world: &World) {
        self.renew_browser(world);
        self.set_cookies.push(Cookie::Session.set(&world.settings, "", 0));
    }

    fn renew_browser(&mut self, world: &World) {
        self.browser = world.secret().reveal().clone();
        self.set_cookies = vec![Cookie::Browser.set(&world.settings, &self.browser, COOKIE_MAX_AGE_S)];
    }

    /// The answer, with the cookies that the browser is to keep.
    pub(super) fn answer(self, mut response: Response) -> Response {
        for cookie in self.set_cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_only_in_the_form_that_we_gave_it() {
        let (settings, secret) = (Settings::default(), "a".repeat(SECRET_CHARS));
        for (text, expected) in [
            (format!("deputy_session={secret}"), Some(&secret)),
            (format!("x=y; deputy_session={secret}; z"), Some(&secret)),
            (format!("Deputy_session={secret}"), None),
            (format!("deputy_session={secret}a"), None),
            (format!("deputy_session=\"{}\"", &secret[2..]), None),
            (format!("deputy_browser={secret}"), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().expect("a header value"));
            assert_eq!(Cookie::Session.find(&settings, &headers).as_ref(), expected, "{text}");
        }
    }

    #[test]
    fn under_tls_a_cookie_belongs_to_this_host_alone() {
        let tls = Settings::parse("test", "issuer = \"https://id.example/tenant\"").expect("allowed");
        let cookie = Cookie::Session.set(&tls, "x", 5);
        assert_eq!(cookie, "__Host-deputy_session=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=5; Secure");
        let cookie = Cookie::Browser.set(&Settings::default(), "x", 5);
        assert_eq!(cookie, "deputy_browser=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=5");
    }
}
