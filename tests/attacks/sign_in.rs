//! Attacks on sign-in, forms, sessions and consent.

use futures_util::future::join_all;
use serde_json::json;

use super::altered;
use crate::support::{
    Agent, Answer, Installation, Person,
    agent::claims,
    each_engine, each_engine_with,
    person::{field, fields},
};

/// Whether nobody is signed in in this browser.
async fn is_nobody(browser: &Person<'_>) -> bool {
    browser.open("/account").await.page().body.contains("name=\"password\"")
}

async fn invitation(deputy: &Installation, login: &str) -> String {
    let answer = deputy.operate("POST", "/invitations", json!({"login": login})).await.ok();
    answer.text("url").strip_prefix(&deputy.issuer).expect("the link begins with the issuer").to_owned()
}

#[tokio::test]
async fn cve_2022_23527_nothing_in_an_address_says_where_to_go_after_signing_in() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        for target in ["/\t/evil.example", "/\\evil.example", "//evil.example", "\\\\evil.example", "https://evil.example/"] {
            let target: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
            for name in ["next", "return_to", "redirect_uri", "continue", "resume"] {
                let browser = ada.at_another_browser();
                let page = browser.open(&format!("/sign-in?{name}={target}")).await.page().ok();
                let account = browser.sign_in_on(&page).await.page().ok();
                assert!(account.body.contains("Connected apps"), "{name}={target}: {}", account.body);
            }
            ada.open(&format!("/authorize?resume={target}")).await.page().refused_on_page(400, "form.expired");
        }
        assert_eq!(deputy.last_reason().await, "form.expired");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_114607_a_value_of_one_purpose_is_nothing_for_another() {
    each_engine_with("sign_up = true", async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let code = agent.code(&ada, "notes:read").await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let link = invitation(&deputy, "grace").await;
        let token = link.rsplit('/').next().expect("a token").to_owned();
        let session = ada.cookie("deputy_session").expect("a session");
        let browser = ada.cookie("deputy_browser").expect("a browser");

        for value in [&code, tokens.refresh_token(), &session, &browser, "the state"] {
            let path = format!("/invitation/{}", value.replace(' ', "%20"));
            deputy.get(&path).await.refused_on_page(410, "invitation.invalid");
        }
        for value in [&code, &token, &browser] {
            let thief = Person::new(&deputy, "", "");
            thief.set_cookie("deputy_session", value);
            assert!(is_nobody(&thief).await, "{value}");
        }
        for value in [&token, &session, &browser] {
            agent.redeem(value, &[]).await.refused(400, "invalid_grant");
            assert_eq!(deputy.last_reason().await, "code.invalid");
        }
        // The controls: each is good for its own purpose.
        deputy.get(&link).await.ok();
        agent.redeem(&code, &[]).await.ok();
        assert!(!is_nobody(&ada).await);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_7571_what_a_form_carries_cannot_be_altered() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let seal = field(&page, "seal");
        for place in (0..seal.len()).step_by(seal.len() / 12) {
            let form = [("seal", &*altered(&seal, place)), ("login", &ada.login), ("password", &ada.password)];
            ada.submit("/sign-in", &form).await.page().refused_on_page(400, "form.expired");
        }
        assert!(is_nobody(&ada).await);
        let consent = ada.sign_in_on(&page).await.page();
        let seal = field(&consent, "seal");
        for place in (0..seal.len()).step_by(seal.len() / 12) {
            let form = [("seal", &*altered(&seal, place)), ("scope", "notes:read"), ("decision", "allow")];
            ada.submit("/consent", &form).await.page().refused_on_page(400, "form.expired");
        }
        assert_eq!(deputy.last_reason().await, "form.expired");
        assert!(deputy.facts_of("consent.given.v1").await.is_empty());
        // Fields beside the seal change nothing of what it holds; the control is that the rest works.
        let form = [
            ("seal", &*seal),
            ("scope", "notes:read"),
            ("scope", "notes:admin"),
            ("client_id", "another"),
            ("redirect_uri", "https://evil.example/cb"),
            ("response_type", "token"),
            ("decision", "allow"),
        ];
        let code = ada.submit("/consent", &form).await.parameter("code").expect("a code at the registered address");
        assert_eq!(agent.redeem(&code, &[]).await.ok().text("scope"), "notes:read");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_7571_a_request_that_changed_since_it_was_shown_is_asked_anew() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let metadata = json!({"client_name": "Trusty", "redirect_uris": ["https://agent.example/callback"],
            "grant_types": ["authorization_code"], "token_endpoint_auth_method": "none"});
        let (ada, agent) = (deputy.person("ada").await, Agent::made_by_operator(&deputy, metadata).await);
        ada.sign_in().await.ok();
        let shown = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let renamed = json!({"client_name": "Something else"});
        deputy.operate("PATCH", &format!("/clients/{}", agent.client_id), renamed).await.ok();
        ada.allow_on(&shown).await.page().refused_on_page(400, "form.expired");
        assert!(deputy.facts_of("consent.given.v1").await.is_empty());
        let shown = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        assert!(shown.body.contains("Something else"));
        ada.allow_on(&shown).await.parameter("code").expect("a code");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_4325_an_invitation_is_used_once() {
    each_engine(async |mut deputy| {
        let link = invitation(&deputy, "ada").await;
        {
            let browsers: Vec<_> = (0..12).map(|_| Person::new(&deputy, "ada", "correct horse battery")).collect();
            let pages = join_all(browsers.iter().map(|browser| browser.open(&link))).await;
            let seals: Vec<_> = pages.into_iter().map(|page| field(&page.page(), "seal")).collect();
            let tries = browsers.iter().zip(&seals).map(async |(browser, seal)| {
                browser.submit(&link, &[("seal", &**seal), ("password", &browser.password)]).await.page()
            });
            let (joined, refused): (Vec<_>, Vec<_>) = join_all(tries).await.into_iter().partition(|page| page.status == 200);
            assert_eq!(joined.len(), 1);
            for page in refused {
                page.refused_on_page(410, "invitation.invalid");
            }
        }
        deputy.restart().await;
        deputy.get(&link).await.refused_on_page(410, "invitation.invalid");
        assert_eq!(deputy.facts_of("person.created.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn cve_2022_3916_another_user_in_the_same_browser_has_nothing_of_the_first() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let grace = deputy.person("grace").await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let account = ada.open("/account").await.page();
        let [seal, client, resource] = ["seal", "client", "resource"].map(|name| field(&account, name));
        ada.submit("/sign-out", &[("seal", &seal)]).await.page().ok();
        let page = ada.open("/sign-in").await.page();
        let form = [("seal", &*field(&page, "seal")), ("login", "grace"), ("password", &grace.password)];
        let account = ada.submit("/sign-in", &form).await.page().ok();
        assert!(account.body.contains("Nothing acts for you"), "{}", account.body);

        let own_seal = field(&account, "seal");
        let form = |seal| [("seal", seal), ("client", &*client), ("resource", &*resource)];
        ada.submit("/account/apps/end", &form(&seal)).await.page().refused_on_page(400, "form.foreign");
        ada.submit("/account/apps/end", &form(&own_seal)).await.page().ok();
        assert!(deputy.facts_of("grant.ended.v1").await.is_empty(), "it is not hers to end");
        let refreshed = agent.refresh(tokens.refresh_token()).await.ok();
        assert_eq!(claims(&refreshed.text("access_token"))["sub"], tokens.claims()["sub"]);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_18963_a_proof_counts_only_for_its_own_step() {
    each_engine_with("sign_up = true", async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let url = agent.authorization_url("notes:read", &[]);
        let sign_in = ada.open(&url).await.page();
        let link = sign_in.body.split('"').find(|text| text.starts_with("/sign-up?resume=")).expect("a link").to_owned();
        let resume = link.split_once('=').expect("a parameter").1.to_owned();
        let sign_up = field(&ada.open(&link).await.page(), "seal");
        let invitation = invitation(&deputy, "grace").await;
        let invited = field(&ada.open(&invitation).await.page(), "seal");
        let sign_in = field(&sign_in, "seal");
        // Every step's form, sent to every other step of whoever is nobody yet.
        let right = [("login", "mallory"), ("display_name", "M"), ("password", "correct horse battery")];
        for (path, own) in [("/sign-in", &sign_in), ("/sign-up", &sign_up), (invitation.as_str(), &invited)] {
            for seal in [&sign_in, &sign_up, &invited, &resume].into_iter().filter(|seal| *seal != own) {
                let form = [[("seal", seal.as_str())].as_slice(), &right].concat();
                ada.submit(path, &form).await.page().refused_on_page(400, "form.expired");
            }
        }
        assert_eq!(deputy.last_reason().await, "form.expired");
        for seal in [&sign_in, &sign_up, &invited] {
            ada.open(&format!("/authorize?resume={seal}")).await.page().refused_on_page(400, "form.expired");
        }
        // Going on without the step that was to come first only asks for it again.
        assert!(ada.open(&format!("/authorize?resume={resume}")).await.page().body.contains("name=\"password\""));
        assert!(is_nobody(&ada).await);
        assert_eq!(deputy.facts_of("person.created.v1").await.len(), 1, "only ada's");
        // The control: the steps in their order.
        let form = [("seal", sign_in.as_str()), ("login", "ada"), ("password", &ada.password)];
        let consent = ada.submit("/sign-in", &form).await.page();
        ada.allow_on(&consent).await.parameter("code").expect("a code");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_94218_restarting_and_cancelling_signs_nobody_in() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let url = agent.authorization_url("notes:read", &[]);
        let nobody = ada.at_another_browser();
        for _ in 0..3 {
            let page = nobody.open(&url).await.page();
            let form = [("seal", &*field(&page, "seal")), ("login", "ada"), ("password", "wrong")];
            nobody.submit("/sign-in", &form).await.page().refused_on_page(403, "sign_in.wrong");
            assert!(nobody.open(&url).await.page().body.contains("name=\"password\"") && is_nobody(&nobody).await);
        }
        // CVE-2023-6787: whoever is signed in and cancels `prompt=login` proved nothing by that.
        ada.sign_in().await.ok();
        deputy.later(5);
        let again = agent.authorization_url("notes:read", &[("prompt", "login")]);
        for _ in 0..3 {
            let page = ada.open(&again).await.page();
            assert!(page.body.contains("name=\"password\""), "{}", page.body);
            let form = [("seal", &*field(&page, "seal")), ("login", "grace"), ("password", "wrong")];
            ada.submit("/sign-in", &form).await.page().refused_on_page(403, "sign_in.wrong");
        }
        assert!(ada.open("/account").await.page().body.contains("<bdi>ada</bdi>"), "who she was before");
        assert_eq!(deputy.facts_of("session.started.v1").await.len(), 1);
        assert_eq!(deputy.last_reason().await, "sign_in.wrong");
        // The control: signing in once is enough.
        let page = ada.open(&again).await.page();
        let consent = ada.sign_in_on(&page).await.page();
        ada.allow_on(&consent).await.parameter("code").expect("a code");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_109373_a_session_cookie_cannot_be_made_or_kept() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        ada.sign_in().await.ok();
        let cookie = ada.cookie("deputy_session").expect("a session");
        let thief = Person::new(&deputy, "", "");
        for place in 0..cookie.len() {
            thief.set_cookie("deputy_session", &altered(&cookie, place));
            assert!(is_nobody(&thief).await, "{place}");
        }
        let started = deputy.facts_of("session.started.v1").await;
        for member in ["session", "person"] {
            thief.set_cookie("deputy_session", started[0][member].as_str().expect("an identifier"));
            assert!(is_nobody(&thief).await, "{member}");
        }
        thief.set_cookie("deputy_session", &cookie);
        assert!(!is_nobody(&thief).await, "the control: the whole cookie is what counts");
        let seal = field(&ada.open("/account").await.page(), "seal");
        ada.submit("/sign-out", &[("seal", &seal)]).await.page().ok();
        thief.set_cookie("deputy_session", &cookie);
        assert!(is_nobody(&thief).await, "it ended with the session");
        thief.submit("/account/sessions/end-others", &[("seal", &seal)]).await.page().refused_on_page(403, "session.missing");
        assert_eq!(deputy.last_reason().await, "session.missing");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_109373_a_locked_person_is_signed_out_and_stays_out() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        ada.sign_in().await.ok();
        let id = deputy.facts_of("person.created.v1").await[0]["person"].as_str().expect("an identifier").to_owned();
        deputy.operate("PATCH", &format!("/people/{id}"), json!({"locked": true})).await.ok();
        assert!(is_nobody(&ada).await);
        ada.sign_in().await.refused_on_page(403, "sign_in.wrong");
        assert_eq!(deputy.last_reason().await, "sign_in.wrong");
        deputy.operate("PATCH", &format!("/people/{id}"), json!({"locked": false})).await.ok();
        assert!(is_nobody(&ada).await, "unlocking revives no session");
        ada.sign_in().await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_27124_consent_belongs_to_the_browser_that_was_asked() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let (grace, elsewhere) = (deputy.person("grace").await, ada.at_another_browser());
        for browser in [&ada, &grace, &elsewhere] {
            browser.sign_in().await.ok();
        }
        let asked = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        for browser in [&grace, &elsewhere] {
            browser.allow_on(&asked).await.page().refused_on_page(400, "form.foreign");
        }
        Person::new(&deputy, "", "").allow_on(&asked).await.page().refused_on_page(403, "session.missing");
        assert!(deputy.facts_of("consent.given.v1").await.is_empty());
        ada.allow_on(&asked).await.parameter("code").expect("a code");
        // Nor does a request go on in another browser than it began in.
        deputy.later(1);
        let page = elsewhere.open(&agent.authorization_url("notes:write", &[("prompt", "login")])).await.page();
        let form = [("seal", &*field(&page, "seal")), ("login", "ada"), ("password", &ada.password)];
        ada.submit("/sign-in", &form).await.page().refused_on_page(400, "form.foreign");
        assert_eq!(deputy.last_reason().await, "form.foreign");
    })
    .await;
}

#[tokio::test]
async fn cve_2026_27124_consent_expires() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        ada.sign_in().await.ok();
        let asked = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        deputy.later(30 * 60);
        ada.allow_on(&asked).await.page().refused_on_page(400, "form.expired");
        let asked = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        deputy.later(30 * 60 - 1);
        ada.allow_on(&asked).await.parameter("code").expect("a code");
    })
    .await;
}

#[tokio::test]
async fn cve_2023_34246_a_public_client_on_loopback_is_never_allowed_silently() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada").await;
        for (callback, is_silent) in
            [("http://127.0.0.1/cb", false), ("com.example.app:/cb", false), ("https://app.example/cb", true)]
        {
            let metadata = json!({"client_name": "App", "redirect_uris": [callback], "token_endpoint_auth_method": "none"});
            let agent = Agent::register(&deputy, metadata).await;
            let url = agent.authorization_url("notes:read", &[("redirect_uri", callback)]);
            ada.authorize(&url).await;
            match (ada.open(&url).await, is_silent) {
                (crate::support::person::Arrived::Away(url), true) => assert!(url.as_str().contains("code="), "{url}"),
                (arrived, false) => assert!(arrived.page().body.contains("name=\"decision\""), "{callback}"),
                (arrived, true) => panic!("{callback} was asked: {arrived:?}"),
            }
            let silent = agent.authorization_url("notes:read", &[("redirect_uri", callback), ("prompt", "none")]);
            let error = ada.open(&silent).await.parameter("error");
            assert_eq!(error.as_deref(), (!is_silent).then_some("consent_required"), "{callback}");
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2024_7341_signing_in_keeps_nothing_that_was_known_before() {
    each_engine(async |deputy| {
        let (ada, mallory) = (deputy.person("ada").await, Person::new(&deputy, "mallory", "x"));
        // Mallory plants cookies that she knows, one of them from a page of ours.
        let page = mallory.open("/sign-in").await.page();
        let planted = mallory.cookie("deputy_browser").expect("a browser");
        ada.set_cookie("deputy_browser", &planted);
        ada.set_cookie("deputy_session", &planted);
        ada.sign_in_on(&page).await.page().ok();
        for name in ["deputy_browser", "deputy_session"] {
            assert_ne!(ada.cookie(name).as_ref(), Some(&planted), "{name}");
        }
        mallory.set_cookie("deputy_session", &planted);
        assert!(is_nobody(&mallory).await && !is_nobody(&ada).await);
        // A second sign-in, as for a step-up, is a new session too, and ends the first.
        let first = ada.cookie("deputy_session").expect("a session");
        deputy.resource().await;
        let url = deputy.agent().await.authorization_url("notes:read", &[("prompt", "login")]);
        deputy.later(1);
        let page = ada.open(&url).await.page();
        ada.sign_in_on(&page).await.page().ok();
        assert_ne!(ada.cookie("deputy_session").as_ref(), Some(&first));
        mallory.set_cookie("deputy_session", &first);
        assert!(is_nobody(&mallory).await);
    })
    .await;
}

#[tokio::test]
async fn cve_2024_7341_no_other_site_signs_anybody_in() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        let page = ada.open("/sign-in").await.page();
        let (seal, browser) = (field(&page, "seal"), ada.cookie("deputy_browser").expect("a browser"));
        let send = async |seal: &str, headers: &[(&str, &str)]| {
            let form = [("seal", seal), ("login", &ada.login), ("password", &ada.password)];
            let request = deputy.http.post(format!("{}/sign-in", deputy.issuer)).form(&form);
            let request = request.header("cookie", format!("deputy_browser={browser}"));
            Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
        };
        for headers in [
            [("sec-fetch-site", "cross-site"), ("origin", "null")],
            [("sec-fetch-site", "same-site"), ("origin", "null")],
            [("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        ] {
            send(&seal, &headers).await.refused_on_page(400, "form.foreign");
        }
        let of_mallory = field(&Person::new(&deputy, "", "").open("/sign-in").await.page(), "seal");
        send(&of_mallory, &[]).await.refused_on_page(400, "form.foreign");
        assert_eq!(deputy.last_reason().await, "form.foreign");
        assert!(deputy.facts_of("session.started.v1").await.is_empty());
        let answer = send(&seal, &[("sec-fetch-site", "same-origin"), ("origin", "null")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some("/account")));
    })
    .await;
}

#[tokio::test]
async fn cve_2026_23511_a_login_that_nobody_has_is_answered_like_one_that_somebody_has() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        let locked = deputy.person("kit").await;
        let people = deputy.operate("GET", "/people", json!(null)).await.ok().json();
        let kit = people["items"].as_array().and_then(|items| items.iter().find(|item| item["login"] == "kit")).expect("kit");
        let path = format!("/people/{}", kit["person_id"].as_str().expect("an identifier"));
        deputy.operate("PATCH", &path, json!({"locked": true})).await.ok();
        let mut seen = Vec::new();
        for (login, password) in [("ada", "a wrong password"), ("bob", "a wrong password"), ("kit", locked.password.as_str())] {
            let browser = Person::new(&deputy, login, password);
            let form = browser.open("/sign-in").await.page();
            let answer = browser.sign_in_on(&form).await.page().refused_on_page(403, "sign_in.wrong");
            seen.push(answer.body.replace(&field(&answer, "seal"), "").replace(login, ""));
            // Where none can be hashed there is no answer, so none goes without the time that it takes.
            let _places = deputy.all_password_places();
            browser.sign_in_on(&form).await.page().refused_on_page(503, "server.busy");
        }
        assert!(seen.iter().all(|page| *page == seen[0]), "the same words");
        let refused = deputy.facts_of("sign_in.refused.v1").await;
        assert_eq!(refused.iter().filter(|fact| fact["person"].is_string()).count(), 2, "only the record knows who was meant");
        ada.sign_in().await.ok();
        assert!(fields(&ada.open("/account/sessions").await.page(), "session").is_empty(), "and no attempt began a session");
    })
    .await;
}
