//! A person arrives, gets an account, signs in, and looks after it.

use deputy::{domain::event::Actor, protocol::people};
use serde_json::{Value, json};

use crate::support::{
    Answer, CALLBACK, Installation, Person, each_engine, each_engine_with,
    person::{field, fields},
    state::counted_attempts,
};

const DAY_S: u64 = 86_400;

/// The path of an invitation that an operator made.
async fn invitation(deputy: &Installation, login: &str) -> String {
    let answer = deputy.operate("POST", "/invitations", json!({"login": login})).await.ok();
    answer.text("url").strip_prefix(&deputy.issuer).expect("the link begins with the issuer").to_owned()
}

#[tokio::test]
async fn an_invited_person_makes_their_account_once() {
    each_engine(async |deputy| {
        let link = invitation(&deputy, "Ada@Example.com").await;
        let ada = Person::new(&deputy, "ada@example.com", "correct horse battery");
        // Mail programs look at links; so does she, twice.
        deputy.get(&link).await.ok();
        ada.open(&link).await.page();
        let page = ada.open(&link).await.page();
        assert!(page.body.contains("value=\"ada@example.com\""), "{}", page.body);

        let weak = ada.submit(&link, &[("seal", &field(&page, "seal")), ("display_name", "Ada"), ("password", "short")]).await;
        let page = weak.page().refused_on_page(400, "password.weak");
        let join = [("seal", &*field(&page, "seal")), ("display_name", "Ada"), ("password", &ada.password)];
        let account = ada.submit(&link, &join).await.page().ok();
        assert!(account.body.contains("Signed in as"), "{}", account.body);
        ada.at_another_browser().sign_in().await.ok();

        ada.open(&link).await.page().refused_on_page(410, "invitation.invalid");
        ada.submit(&link, &join).await.page().refused_on_page(400, "form.foreign");
        assert_eq!(deputy.facts_of("person.created.v1").await.len(), 1);
        assert_eq!(deputy.facts_of("person.invited.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_invitation_ends_after_a_week_and_is_for_a_login_that_is_free() {
    each_engine(async |deputy| {
        let link = invitation(&deputy, "ada").await;
        deputy.later(7 * DAY_S - 1);
        let page = deputy.get(&link).await.ok();
        deputy.later(1);
        deputy.get(&link).await.refused_on_page(410, "invitation.invalid");
        deputy.post(&link, &[("seal", &field(&page, "seal"))]).await.refused_on_page(400, "form.foreign");
        deputy.person("grace").await;
        deputy.operate("POST", "/invitations", json!({"login": "GRACE"})).await.refused(409, "conflict");
        assert_eq!(deputy.last_reason().await, "person.login_taken");
    })
    .await;
}

#[tokio::test]
async fn two_invitations_for_one_login_make_one_account() {
    each_engine(async |deputy| {
        let links = [invitation(&deputy, "ada").await, invitation(&deputy, "ada").await];
        for (place, link) in links.iter().enumerate() {
            let browser = Person::new(&deputy, "ada", "correct horse battery");
            let seal = field(&browser.open(link).await.page(), "seal");
            let answer = browser.submit(link, &[("seal", &seal), ("password", &browser.password)]).await.page();
            match place {
                0 => answer.ok(),
                _ => answer.refused_on_page(409, "person.login_taken"),
            };
        }
    })
    .await;
}

#[tokio::test]
async fn an_account_without_a_password_gets_one_by_invitation() {
    each_engine(async |deputy| {
        let made = deputy.operate("POST", "/people", json!({"login": "ada"})).await.ok();
        for password in ["", "correct horse battery"] {
            let page = Person::new(&deputy, "ada", password).sign_in().await;
            page.refused_on_page(403, "sign_in.wrong");
        }
        let link = invitation(&deputy, "ada").await;
        let ada = Person::new(&deputy, "ada", "correct horse battery");
        let seal = field(&ada.open(&link).await.page(), "seal");
        ada.submit(&link, &[("seal", &seal), ("password", &ada.password)]).await.page().ok();
        ada.at_another_browser().sign_in().await.ok();
        let changed = deputy.facts_of("person.password_changed.v1").await;
        assert_eq!(changed, [json!({"person": made.text("person_id")})]);
    })
    .await;
}

#[tokio::test]
async fn a_person_who_lost_their_password_chooses_another_by_a_link() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        ada.sign_in().await.ok();
        let people = deputy.operate("GET", "/people", Value::Null).await.ok().json();
        let id = people["items"][0]["person_id"].as_str().expect("text").to_owned();
        let reset = async || {
            let made = deputy.operate("POST", &format!("/people/{id}/password-reset"), Value::Null).await.ok();
            made.text("url").strip_prefix(&deputy.issuer).expect("the link begins with the issuer").to_owned()
        };
        let (link, other) = (reset().await, reset().await);
        assert!(link.starts_with("/password-reset/"));
        deputy.get(&link).await.ok();
        let browser = Person::new(&deputy, "ada", "a password that is new");
        let page = browser.open(&link).await.page();
        assert!(page.body.contains("value=\"ada\""), "{}", page.body);
        let weak = browser.submit(&link, &[("seal", &field(&page, "seal")), ("password", "short")]).await;
        let page = weak.page().refused_on_page(400, "password.weak");
        let sent = [("seal", &*field(&page, "seal")), ("password", &browser.password)];
        ada.submit(&link, &sent).await.page().refused_on_page(400, "form.foreign");
        assert!(browser.submit(&link, &sent).await.page().ok().body.contains("Signed in as"));

        assert!(ada.open("/account").await.page().body.contains("name=\"password\""), "sessions are ended");
        ada.at_another_browser().sign_in().await.refused_on_page(403, "sign_in.wrong");
        browser.at_another_browser().sign_in().await.ok();
        for used in [&link, &other, "/password-reset/none"] {
            deputy.get(used).await.refused_on_page(410, "password_reset.invalid");
        }
        assert_eq!(deputy.facts_of("person.password_reset_issued.v1").await.len(), 2);
        assert_eq!(deputy.facts_of("person.password_changed.v1").await, [json!({"person": id})]);
        assert_eq!(deputy.facts_of("session.ended.v1").await.len(), 1);
        let secret = link.rsplit('/').next().expect("the link ends in it");
        assert!(deputy.facts().await.iter().all(|fact| !fact.to_string().contains(secret)), "no fact holds the link");
    })
    .await;
}

#[tokio::test]
async fn a_link_for_a_password_ends_after_a_day_and_opens_no_locked_account() {
    let deputy = Installation::start().await;
    deputy.person("ada").await;
    let people = deputy.operate("GET", "/people", Value::Null).await.ok().json();
    let path = format!("/people/{}", people["items"][0]["person_id"].as_str().expect("text"));
    let reset = async || {
        let made = deputy.operate("POST", &format!("{path}/password-reset"), Value::Null).await.ok();
        made.text("url").strip_prefix(&deputy.issuer).expect("the link begins with the issuer").to_owned()
    };
    let link = reset().await;
    deputy.later(DAY_S - 1);
    deputy.get(&link).await.ok();
    deputy.later(1);
    deputy.get(&link).await.refused_on_page(410, "password_reset.invalid");
    let link = reset().await;
    deputy.operate("PATCH", &path, json!({"locked": true})).await.ok();
    deputy.get(&link).await.refused_on_page(410, "password_reset.invalid");
    let answer = deputy.operate("POST", &format!("{path}/password-reset"), Value::Null).await.refused(409, "conflict");
    assert!(answer.text("error_description").contains("locked"));
    assert_eq!(deputy.last_reason().await, "admin.conflict");
    deputy.operate("POST", "/people/per_unknown/password-reset", Value::Null).await.refused(404, "not_found");
}

#[tokio::test]
async fn somebody_makes_an_account_where_that_is_allowed_and_goes_on_to_the_app() {
    each_engine_with("sign_up = true", async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        deputy.person("taken").await;
        let ada = Person::new(&deputy, "ada@example.com", "correct horse battery");
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let link = page.body.split('"').find(|text| text.starts_with("/sign-up?resume=")).expect("a link to sign up");
        let mut page = ada.open(link).await.page();
        for (login, password, status, reason) in [
            ("taken", "correct horse battery", 409, "person.login_taken"),
            ("a b", "correct horse battery", 400, "person.login_invalid"),
            ("ada@example.com", "password1234", 400, "password.weak"),
        ] {
            let form = [("seal", &*field(&page, "seal")), ("login", login), ("display_name", "Ada"), ("password", password)];
            page = ada.submit("/sign-up", &form).await.page().refused_on_page(status, reason);
            assert_eq!(field(&page, "login"), login, "what was typed is kept");
            assert_eq!(deputy.last_reason().await, reason);
        }
        let seal = field(&page, "seal");
        let form = [("seal", &*seal), ("login", &ada.login), ("display_name", "Ada"), ("password", &ada.password)];
        let consent = ada.submit("/sign-up", &form).await.page().ok();
        let url = ada.allow_on(&consent).await.away();
        assert!(url.as_str().starts_with(CALLBACK) && url.query_pairs().any(|(name, _)| name == "code"), "{url}");
    })
    .await;
}

#[tokio::test]
async fn nobody_makes_an_account_where_that_is_off() {
    each_engine(async |deputy| {
        deputy.get("/sign-up").await.refused_on_page(403, "sign_up.off");
        let ada = Person::new(&deputy, "ada", "correct horse battery");
        let page = ada.open("/sign-in").await.page();
        assert!(!page.body.contains("/sign-up"), "{}", page.body);
        let form = [("seal", &*field(&page, "seal")), ("login", "ada"), ("password", &ada.password)];
        ada.submit("/sign-up", &form).await.page().refused_on_page(400, "form.expired");
    })
    .await;
}

#[tokio::test]
async fn a_person_ends_sessions() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        ada.sign_in().await.ok();
        let [other, third] = [ada.at_another_browser(), ada.at_another_browser()];
        other.sign_in().await.ok();
        third.sign_in().await.ok();

        let page = ada.open("/account/sessions").await.page().ok();
        let others = fields(&page, "session");
        assert_eq!((others.len(), page.body.matches("this one").count()), (2, 1), "{}", page.body);
        let form = [("seal", &*field(&page, "seal")), ("session", &*others[0])];
        let page = ada.submit("/account/sessions/end", &form).await.page().ok();
        assert!(page.body.contains("That session has ended."), "{}", page.body);
        assert_eq!(fields(&page, "session"), [others[1].clone()]);
        let seal = field(&page, "seal");
        let page = ada.submit("/account/sessions/end-others", &[("seal", &seal)]).await.page().ok();
        assert!(fields(&page, "session").is_empty(), "{}", page.body);
        for browser in [&other, &third] {
            assert!(browser.open("/account").await.page().body.contains("name=\"password\""), "signed out");
        }

        let out = ada.submit("/sign-out", &[("seal", &seal)]).await.page().ok();
        assert!(out.body.contains("You are signed out") && ada.cookie("deputy_session").is_none());
        assert!(ada.open("/account").await.page().body.contains("name=\"password\""));
        assert_eq!(deputy.facts_of("session.started.v1").await.len(), 3);
        assert_eq!(deputy.facts_of("session.ended.v1").await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_by_itself_when_its_browser_is_not_used() {
    each_engine_with("session_idle_ttl_s = 3600", async |deputy| {
        let ada = deputy.person("ada").await;
        ada.sign_in().await.ok();
        for _ in 0..3 {
            deputy.later(3500);
            assert!(ada.open("/account").await.page().body.contains("Signed in as"), "used within the hour");
        }
        deputy.later(3600);
        assert!(ada.open("/account").await.page().body.contains("name=\"password\""), "signed out");
    })
    .await;
}

#[tokio::test]
async fn a_session_that_has_lasted_long_enough_is_not_shown() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        let old = ada.at_another_browser();
        old.sign_in().await.ok();
        for _ in 0..9 {
            deputy.later(10 * DAY_S - 1);
            assert!(old.open("/account").await.page().body.contains("Signed in as"));
        }
        deputy.later(9);
        ada.sign_in().await.ok();
        let page = ada.open("/account/sessions").await.page().ok();
        assert!(fields(&page, "session").is_empty(), "{}", page.body);
        assert!(old.open("/account").await.page().body.contains("name=\"password\""), "signed out");
    })
    .await;
}

#[tokio::test]
async fn a_person_changes_their_password() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        let other = ada.at_another_browser();
        ada.sign_in().await.ok();
        other.sign_in().await.ok();
        let change = async |seal: &str, current: &str, new: &str| {
            let form = [("seal", seal), ("current_password", current), ("new_password", new)];
            ada.submit("/account/password", &form).await.page()
        };
        let seal = field(&ada.open("/account/password").await.page(), "seal");
        let new = "entirely different words";
        change(&seal, "not my password", new).await.refused_on_page(403, "password.wrong");
        assert_eq!(deputy.last_reason().await, "password.wrong");
        change(&seal, &ada.password, "short").await.refused_on_page(400, "password.weak");
        assert!(other.open("/account").await.page().body.contains("Signed in as"), "nothing has changed yet");

        let page = change(&seal, &ada.password, new).await.ok();
        assert!(page.body.contains("Your password is changed"), "{}", page.body);
        assert!(other.open("/account").await.page().body.contains("name=\"password\""), "other sessions have ended");
        other.sign_in().await.refused_on_page(403, "sign_in.wrong");
        Person::new(&deputy, "ada", new).sign_in().await.ok();
        assert_eq!(deputy.facts_of("person.password_changed.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn guessing_is_slowed_for_the_account_and_a_success_forgives() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        let guess = Person::new(&deputy, " ADA ", "a wrong password");
        for _ in 0..5 {
            guess.sign_in().await.refused_on_page(403, "sign_in.wrong");
        }
        let slowed = ada.sign_in().await.refused_on_page(429, "sign_in.slowed");
        assert_eq!(slowed.header("retry-after"), Some("1"), "also with the right password");
        deputy.later(1);
        guess.sign_in().await.refused_on_page(403, "sign_in.wrong");
        deputy.later(1);
        let slowed = guess.sign_in().await.refused_on_page(429, "sign_in.slowed");
        assert_eq!(slowed.header("retry-after"), Some("1"), "two seconds, of which one has passed");
        deputy.later(1);
        ada.sign_in().await.ok();
        for _ in 0..5 {
            guess.sign_in().await.refused_on_page(403, "sign_in.wrong");
        }
        guess.sign_in().await.refused_on_page(429, "sign_in.slowed");
    })
    .await;
}

#[tokio::test]
async fn guesses_side_by_side_are_all_counted() {
    each_engine(async |deputy| {
        deputy.person("ada").await;
        let browsers: Vec<_> = (0..20).map(|_| Person::new(&deputy, "ada", "a wrong password")).collect();
        let answers = futures_util::future::join_all(browsers.iter().map(Person::sign_in)).await;
        let tried = answers.iter().filter(|answer| answer.status == 403).count();
        assert_eq!(tried, 5, "{:?}", answers.iter().map(|answer| answer.status.as_u16()).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn guessing_is_slowed_for_the_address_whatever_the_account() {
    each_engine_with("trusted_proxies = [\"127.0.0.1\"]", async |deputy| {
        let ada = deputy.person("ada").await;
        let guess = async |address: &str, login: &str| sign_in_from(&deputy, address, login, "a wrong password").await;
        for place in 0..50 {
            guess("198.51.100.7", &format!("nobody{place}")).await.refused_on_page(403, "sign_in.wrong");
        }
        let counted = async || counted_attempts(&deputy.world().storage).await;
        let before = counted().await;
        guess("198.51.100.7", "nobody-else").await.refused_on_page(429, "sign_in.slowed");
        assert_eq!(counted().await, before, "whoever is told to wait leaves nothing behind");
        guess("198.51.100.8", "nobody-else").await.refused_on_page(403, "sign_in.wrong");

        deputy.later(600);
        for _ in 0..3 {
            let answer = sign_in_from(&deputy, "198.51.100.7", &ada.login, &ada.password).await;
            assert_eq!(answer.status, 303, "{answer:?}");
        }
        guess("198.51.100.7", "one").await.refused_on_page(403, "sign_in.wrong");
        guess("198.51.100.7", "two").await.refused_on_page(429, "sign_in.slowed");
    })
    .await;
}

#[tokio::test]
async fn whoever_guesses_keeps_the_owner_of_an_account_out_in_their_own_network_only() {
    each_engine_with("trusted_proxies = [\"127.0.0.1\"]", async |deputy| {
        let ada = deputy.person("ada").await;
        for place in 1..=5 {
            let guess = sign_in_from(&deputy, &format!("198.51.100.{place}"), "ada", "a wrong password").await;
            guess.refused_on_page(403, "sign_in.wrong");
        }
        sign_in_from(&deputy, "198.51.100.6", "ada", "a wrong password").await.refused_on_page(429, "sign_in.slowed");
        let answer = sign_in_from(&deputy, "192.0.2.9", "ada", &ada.password).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let guess = sign_in_from(&deputy, "198.51.100.7", "ada", "a wrong password").await;
        guess.refused_on_page(429, "sign_in.slowed");
    })
    .await;
}

/// Somebody at this address signs in, at a browser of their own.
async fn sign_in_from(deputy: &Installation, address: &str, login: &str, password: &str) -> Answer {
    let page = Person::new(deputy, "", "").open("/sign-in").await.page();
    let browser = page.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let form = [("seal", &*field(&page, "seal")), ("login", login), ("password", password)];
    let request = deputy.http.post(format!("{}/sign-in", deputy.issuer)).form(&form);
    // What stands left of the proxy's own entry is the guesser's invention.
    let forwarded = format!("{}, {address}", invented_address(login));
    Answer::of(request.header("cookie", browser).header("x-forwarded-for", forwarded)).await
}

/// Another address for each login.
fn invented_address(login: &str) -> String {
    let sum: u32 = login.bytes().map(u32::from).sum();
    format!("203.0.113.{}", sum % 250)
}

#[tokio::test]
async fn below_a_path_and_behind_tls_all_stays_below_that_path() {
    each_engine_with("issuer = \"https://id.example/tenant\"", async |deputy| {
        let (world, ada) = (deputy.world(), Person::new(&deputy, "ada", "correct horse battery"));
        people::create(world, Actor::Deputy, "ada", None, Some(&ada.password), world.now()).await.expect("an account");
        let server = format!("http://{}", deputy.world().settings.listen);
        let get = |path: &str| Answer::of(deputy.http.get(format!("{server}{path}")));
        assert_eq!(get("/tenant/account").await.header("location"), Some("/tenant/sign-in"));
        let page = get("/tenant/sign-in").await.ok();
        let cookie = page.header("set-cookie").expect("a cookie").to_owned();
        assert!(cookie.starts_with("__Host-deputy_browser=") && cookie.ends_with("; Secure"), "{cookie}");
        assert!(page.body.contains("action=\"/tenant/sign-in\"") && !page.body.contains("=\"/a"), "{}", page.body);
        let form = [("seal", &*field(&page, "seal")), ("login", &ada.login), ("password", &ada.password)];
        let sign_in = deputy.http.post(format!("{server}/tenant/sign-in")).form(&form);
        let answer = Answer::of(sign_in.header("cookie", cookie.split(';').next().unwrap_or_default())).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some("/tenant/account")), "{answer:?}");
        get("/sign-in").await.refused(404, "not_found");
    })
    .await;
}
