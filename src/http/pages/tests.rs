//! Every page with the most awkward text that a client or a person could have sent.

use super::account::{ConnectedApp, ConnectedApps, Password, SessionLine, SessionStanding, Sessions};
use super::consent::{Consent, ReturnsTo, ScopeLine, Standing, Stay};
use super::entry::{AskingApp, Home, Invitation, PasswordReset, SignIn, SignUp, SignUpDoor, SignedOut};
use super::refusal::{Obstacle, Refusal};
use super::*;
use crate::http::assets;

/// Markup, quotes of both kinds, a direction override and an entity.
const HOSTILE: &str = concat!(r#""><script>alert('x')</script><img src=x onerror=alert(1)> ' &amp; عميل "#, "\u{202e}txet");

fn hostile() -> String {
    HOSTILE.into()
}

fn hostile_agent(vouching: Vouching) -> Agent {
    Agent { name: hostile(), vouching }
}

fn hostile_resource() -> Resource {
    Resource { name: hostile(), identifier: hostile() }
}

fn site() -> Site {
    Site { path: String::new(), run_by: Some(hostile()) }
}

fn moment() -> Moment {
    Moment { iso: "2026-03-12T14:05:00Z".into(), text: "12 March 2026, 14:05".into() }
}

fn problems(fields: &[&'static str]) -> Problems {
    let about_fields = fields.iter().map(|field| Problem { field: Some(field), text: hostile(), reason: "password.weak" });
    Problems(about_fields.chain([Problem { field: None, text: hostile(), reason: "password.weak" }]).collect())
}

fn hostile_consent(returns_to: ReturnsTo, vouching: Vouching, stay: Stay) -> Consent {
    let standings = [Standing::Required, Standing::AlreadyAllowed, Standing::New];
    let many = (0..40).map(|_| ScopeLine { value: "x".repeat(120), words: "many ".repeat(80), standing: Standing::New });
    let awkward = standings.map(|standing| ScopeLine { value: hostile(), words: hostile(), standing });
    Consent {
        site: site(),
        seal: hostile(),
        person: hostile(),
        agent: hostile_agent(vouching),
        returns_to,
        resource: Some(hostile_resource()),
        unusual: vec!["Something happened."; 2],
        is_each_time: true,
        scopes: awkward.into_iter().chain(many).collect(),
        access_lasts: "10 minutes".into(),
        stay,
    }
}

type Rendered = (&'static str, String);

fn rendered(name: &'static str, page: &impl Template) -> Rendered {
    (name, page.render().expect("the pages of these tests render"))
}

/// Every page in every shape, rendered.
fn every_page() -> Vec<Rendered> {
    let discovery = vec!["http://127.0.0.1:9400/.well-known/oauth-authorization-server".into()];
    let of_all = [
        rendered("home", &Home { site: site(), discovery }),
        rendered("refusal", &Refusal::for_obstacle(site(), Obstacle::UnknownClient, hostile(), hostile())),
    ];
    [of_all.into(), ways_in(), consents(), account_pages()].concat()
}

/// The pages of somebody who is not signed in.
fn ways_in() -> Vec<Rendered> {
    let sign_in = |asking, problem, sign_up| SignIn { site: site(), seal: hostile(), login: hostile(), asking, problem, sign_up };
    let asking = AskingApp { name: hostile(), host: hostile() };
    let (login, display_name) = (hostile(), hostile());
    vec![
        rendered("sign-in", &sign_in(None, None, SignUpDoor::ByInvitation)),
        rendered("sign-in for an app", &sign_in(Some(asking), problems(&[]).0.pop(), SignUpDoor::Open { resume: Some(hostile()) })),
        rendered(
            "invitation",
            &Invitation {
                site: site(),
                seal: hostile(),
                token: hostile(),
                login: hostile(),
                display_name: hostile(),
                problems: problems(&["display_name", "password"]),
            },
        ),
        rendered(
            "password reset",
            &PasswordReset { site: site(), seal: hostile(), token: hostile(), login: hostile(), problems: problems(&["password"]) },
        ),
        rendered(
            "sign-up",
            &SignUp {
                site: site(),
                seal: hostile(),
                login,
                display_name,
                problems: problems(&["login", "display_name", "password"]),
                resume: Some(hostile()),
            },
        ),
        rendered("signed out", &SignedOut { site: site() }),
    ]
}

/// The agent's question, from whomever and wherever the answer goes.
fn consents() -> Vec<Rendered> {
    let document = Vouching::MetadataDocument { url: hostile(), host: hostile() };
    vec![
        rendered("consent, web", &hostile_consent(ReturnsTo::Web { host: hostile() }, document, Stay::Until(moment()))),
        rendered(
            "consent, loopback",
            &hostile_consent(ReturnsTo::ThisComputer { host: hostile() }, Vouching::Dynamic, Stay::OneAccess),
        ),
        rendered(
            "consent, own scheme",
            &hostile_consent(ReturnsTo::InstalledApp { scheme: hostile() }, Vouching::Operator, Stay::Until(moment())),
        ),
        rendered(
            "consent, nothing asked",
            &Consent {
                scopes: Vec::new(),
                resource: None,
                ..hostile_consent(ReturnsTo::Web { host: hostile() }, Vouching::Operator, Stay::OneAccess)
            },
        ),
    ]
}

/// The pages of somebody's account.
fn account_pages() -> Vec<Rendered> {
    let document = Vouching::MetadataDocument { url: hostile(), host: hostile() };
    let apps = [Vouching::Operator, document, Vouching::Dynamic].map(|vouching| ConnectedApp {
        client: hostile(),
        at: hostile(),
        agent: hostile_agent(vouching),
        resource: Some(hostile_resource()),
        scopes: vec![hostile(); 30],
        connected: moment(),
        last_used: Some(moment()),
        ends: Some(moment()),
    });
    let sessions = [SessionStanding::This, SessionStanding::Other].map(|standing| SessionLine {
        id: hostile(),
        device: hostile(),
        started: moment(),
        last_seen: moment(),
        standing,
    });
    vec![
        rendered(
            "apps",
            &ConnectedApps { site: site(), person: hostile(), seal: hostile(), notice: Some(hostile()), apps: apps.into() },
        ),
        rendered("no apps", &ConnectedApps { site: site(), person: hostile(), seal: hostile(), notice: None, apps: Vec::new() }),
        rendered(
            "sessions",
            &Sessions { site: site(), person: hostile(), seal: hostile(), notice: Some(hostile()), sessions: sessions.into() },
        ),
        rendered(
            "password",
            &Password {
                site: site(),
                person: hostile(),
                seal: hostile(),
                notice: None,
                login: hostile(),
                problems: problems(&["current_password", "new_password"]),
            },
        ),
    ]
}

/// The start tags of a name, without their brackets.
fn tags<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split('<')
        .filter_map(|piece| piece.split_once('>').map(|(tag, _)| tag))
        .filter(|tag| tag.split_ascii_whitespace().next() == Some(name))
        .collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

#[test]
fn nothing_untrusted_becomes_markup() {
    for (name, html) in every_page() {
        assert_eq!(tags(&html, "script").len(), 1, "{name}: only our own script");
        assert!(tags(&html, "img").iter().all(|tag| attribute(tag, "src") == Some(&assets::mark())), "{name}: only our own image");
        assert!(!html.contains("'x'") && !html.contains("&amp;"), "{name}: quotes and ampersands are escaped");
    }
}

#[test]
fn nothing_untrusted_becomes_a_link() {
    for (name, html) in every_page() {
        for tag in tags(&html, "a").iter().chain(&tags(&html, "form")).chain(&tags(&html, "link")) {
            let leads_to = attribute(tag, "href").or_else(|| attribute(tag, "action")).unwrap_or_default();
            let is_ours = leads_to.starts_with(['/', '#']) || leads_to.starts_with("http://127.0.0.1:9400/");
            assert!(is_ours && !leads_to.contains(char::is_whitespace), "{name}: {tag}");
        }
    }
}

#[test]
fn no_page_needs_what_its_policy_forbids() {
    for (name, html) in every_page() {
        assert!(tags(&html, "style").is_empty() && tags(&html, "base").is_empty() && tags(&html, "iframe").is_empty(), "{name}");
        for tag in html.split('<').filter_map(|piece| piece.split_once('>').map(|(tag, _)| tag)) {
            assert!(attribute(tag, "style").is_none() && attribute(tag, "http-equiv").is_none(), "{name}: {tag}");
            let outside_quotes: String = tag.split('"').step_by(2).collect();
            assert!(!outside_quotes.split_ascii_whitespace().skip(1).any(|word| word.starts_with("on")), "{name}: {tag}");
        }
        assert!(tags(&html, "script").iter().all(|tag| attribute(tag, "src") == Some(&assets::script())), "{name}");
    }
}

#[test]
fn every_page_has_its_landmarks_a_title_and_headings_in_order() {
    for (name, html) in every_page() {
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert_eq!(attribute(tags(&html, "html")[0], "lang"), Some("en"), "{name}");
        for tag in ["title", "header", "main", "footer", "h1"] {
            assert_eq!(tags(&html, tag).len(), 1, "{name}: one {tag}");
        }
        let title = html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
        assert!(title.ends_with(" · Deputy") && title.len() > " · Deputy".len(), "{name}: {title}");
        let levels: Vec<u8> = html.split("<h").filter_map(|rest| rest.bytes().next()).filter(u8::is_ascii_digit).collect();
        assert_eq!(levels.first(), Some(&b'1'), "{name}");
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{name}: no level is skipped");
    }
}

#[test]
fn every_control_has_a_label_and_every_description_exists() {
    for (name, html) in every_page() {
        let labelled: Vec<_> = tags(&html, "label").into_iter().filter_map(|tag| attribute(tag, "for")).collect();
        let mut ids: Vec<_> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for tag in tags(&html, "input").into_iter().filter(|tag| attribute(tag, "type") != Some("hidden")) {
            assert!(attribute(tag, "id").is_some_and(|id| labelled.contains(&id)), "{name}: {tag}");
        }
        for described in html.split(" aria-describedby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            for id in described.split_ascii_whitespace() {
                assert!(ids.contains(&id), "{name}: nothing has the id {id}");
            }
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}: ids are unique");
    }
}

#[test]
fn every_form_is_a_sealed_post() {
    for (name, html) in every_page() {
        for form in html.split("<form").skip(1).filter_map(|rest| rest.split("</form>").next()) {
            assert!(form.starts_with(' ') && form.contains(r#"method="post""#), "{name}");
            assert_eq!(form.matches(r#"<input type="hidden" name="seal""#).count(), 1, "{name}");
        }
    }
}

#[test]
fn a_stray_enter_refuses() {
    let page = hostile_consent(ReturnsTo::Web { host: hostile() }, Vouching::Operator, Stay::Until(moment()));
    let html = page.render().expect("the consent page renders");
    let form = html.split(r#"action="/consent""#).nth(1).expect("the page has the form");
    assert_eq!(tags(form, "button").first().and_then(|tag| attribute(tag, "value")), Some("refuse"));
}

#[test]
fn headers_forbid_what_no_page_needs() {
    let answer = respond(StatusCode::OK, &SignedOut { site: site() }, Leads::Here);
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(
        header("content-security-policy"),
        "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("cross-origin-opener-policy"), "same-origin");
}

#[test]
fn a_form_may_lead_anywhere_only_where_an_app_redirects_on() {
    let policy = |leads| {
        let answer = respond(StatusCode::OK, &SignedOut { site: site() }, leads);
        answer.headers()["content-security-policy"].to_str().expect("it is text").to_owned()
    };
    let (here, onward) = (policy(Leads::Here), policy(Leads::OnToAnApp));
    assert!(here.contains("form-action 'self';"), "{here}");
    assert_eq!(onward, here.replace(" form-action 'self';", ""), "all else stays forbidden");
}

#[test]
fn moments_read_as_people_say_them() {
    let now = Timestamp::from_seconds(1_795_449_900);
    let day = std::time::Duration::from_secs(86_400);
    assert_eq!(Moment::to_the_minute(now, now).text, "today at 16:05 UTC");
    assert_eq!(Moment::to_the_minute(now.minus(day), now).text, "22 November 2026 at 16:05 UTC");
    assert_eq!(Moment::to_the_day(now.plus(9 * day)).text, "2 December 2026");
    assert_eq!(Moment::to_the_day(now).iso, "2026-11-23T16:05:00Z");
}

#[test]
fn below_a_path_every_link_begins_with_it() {
    let site = Site { path: "/tenant".into(), run_by: None };
    let door = SignUpDoor::Open { resume: None };
    let page = SignIn { site, seal: hostile(), login: String::new(), asking: None, problem: None, sign_up: door };
    let html = page.render().expect("the page renders");
    let links = html.split(['"', '\'']).filter(|text| text.starts_with('/'));
    let strays: Vec<_> = links.filter(|link| !link.starts_with("/tenant/")).collect();
    assert!(strays.is_empty() && html.contains("/tenant/assets/"), "{strays:?}");
}
