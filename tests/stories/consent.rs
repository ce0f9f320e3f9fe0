//! A person is asked by an app, decides, and ends what it may do.

use serde_json::json;

use crate::support::{
    Agent, Answer, Installation, RESOURCE, each_engine,
    person::{field, fields},
    state::authorize_again,
};

#[tokio::test]
async fn a_person_sees_who_asks_narrows_and_ends_it() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let url = agent.authorization_url("notes:read notes:write", &[]);
        let sign_in = ada.open(&url).await.page().ok();
        assert!(sign_in.body.contains("Notes agent") && sign_in.body.contains("agent.example"), "{}", sign_in.body);
        let page = ada.sign_in_on(&sign_in).await.page().ok();
        for told in [
            "Nobody vouches for its name.",
            "Read your notes",
            "Write and change your notes",
            RESOURCE,
            "agent.example",
            "10 minutes",
            "until <time",
        ] {
            assert!(page.body.contains(told), "{told}: {}", page.body);
        }
        // Chromium holds every redirect behind a form to `form-action`, and where the agent redirects to is its own affair.
        assert!(page.header("content-security-policy").is_some_and(|policy| !policy.contains("form-action")));

        let form = [("seal", &*field(&page, "seal")), ("scope", "notes:read"), ("decision", "allow")];
        let code = ada.submit("/consent", &form).await.parameter("code").expect("a code");
        let tokens = agent.redeem(&code, &[]).await.ok();
        assert_eq!(tokens.text("scope"), "notes:read");

        let account = ada.open("/account").await.page();
        assert!(account.body.contains("Notes agent") && account.body.contains("Read your notes"), "{}", account.body);
        assert!(!account.body.contains("Write and change"), "{}", account.body);
        // Allowed before, so not asked again; until it is ended.
        let silent = agent.authorization_url("notes:read", &[]);
        ada.open(&silent).await.parameter("code").expect("a code");
        let form = ["seal", "client", "resource"].map(|name| (name, field(&account, name)));
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let page = ada.submit("/account/apps/end", &form).await.page().ok();
        assert!(page.body.contains("Nothing acts for you"), "{}", page.body);
        agent.refresh(&tokens.text("refresh_token")).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "refresh.ended");
        assert!(ada.open(&silent).await.page().body.contains("name=\"decision\""), "it has to ask again");
        let ended = deputy.facts_of("grant.ended.v1").await;
        assert_eq!((ended.len(), &ended[0]["cause"]), (1, &json!("person")));
    })
    .await;
}

#[tokio::test]
async fn an_app_is_one_card_and_ended_as_a_whole_while_others_stay() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, one) = (deputy.person("ada").await, deputy.agent().await);
        let two = Agent::register(
            &deputy,
            json!({"client_name": "Another agent", "grant_types": ["authorization_code", "refresh_token"]}),
        );
        let (two, service) = (two.await, deputy.service("notes:read").await);
        let first = one.authorize(&ada, "notes:read").await;
        deputy.later(60);
        let kept = two.authorize(&ada, "notes:read").await;
        deputy.later(60);
        let second = one.authorize(&ada, "notes:write").await;
        service.client_credentials(&[]).await.ok();
        let account = ada.open("/account").await.page();
        let cards = fields(&account, "client");
        assert_eq!(cards, [one.client_id.clone(), two.client_id.clone()], "the last used first: {}", account.body);
        let card = account.body.split("<li class=\"card\">").nth(1).expect("a card");
        for told in ["Read your notes", "Write and change your notes", "today at 08:00 UTC", "today at 08:02 UTC"] {
            assert!(card.contains(told), "what it may do in all, since when, and when it last did: {card}");
        }
        let form = [("seal", &*field(&account, "seal")), ("client", &cards[0]), ("resource", RESOURCE)];
        let page = ada.submit("/account/apps/end", &form).await.page().ok();
        assert_eq!(fields(&page, "client"), cards[1..], "{}", page.body);
        for ended in [&first, &second] {
            one.refresh(ended.refresh_token()).await.refused(400, "invalid_grant");
        }
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len(), 2);
        two.refresh(kept.refresh_token()).await.ok();
        let asked = ada.open(&one.authorization_url("notes:read", &[])).await.page();
        assert!(asked.body.contains("name=\"decision\""), "it has to ask again");
    })
    .await;
}

#[tokio::test]
async fn however_often_an_app_authorizes_it_hides_no_other() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, quiet) = (deputy.person("ada").await, deputy.agent().await);
        quiet.authorize(&ada, "notes:read").await;
        deputy.later(60);
        let busy = Agent::register(&deputy, json!({"client_name": "Busy", "grant_types": ["authorization_code"]})).await;
        let tokens = busy.authorize(&ada, "notes:read").await;
        authorize_again(&deputy.world().storage, tokens.claims()["gid"].as_str().expect("a grant"), 500).await;
        let account = ada.open("/account").await.page();
        assert_eq!(fields(&account, "client"), [busy.client_id.clone(), quiet.client_id.clone()], "{}", account.body);
    })
    .await;
}

#[tokio::test]
async fn an_app_that_may_come_back_unasked_is_listed_until_it_is_ended() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read notes:write").await;
        agent.post("/revoke", &[("token", tokens.refresh_token())], &[]).await.ok();
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len(), 1);

        let account = ada.open("/account").await.page();
        assert_eq!(fields(&account, "client"), std::slice::from_ref(&agent.client_id), "{}", account.body);
        for told in ["Write and change your notes", "may come back without asking you"] {
            assert!(account.body.contains(told), "{told}: {}", account.body);
        }
        let silent = agent.authorization_url("notes:read", &[("prompt", "none")]);
        ada.open(&silent).await.parameter("code").expect("a code");

        let form = ["seal", "client", "resource"].map(|name| (name, field(&account, name)));
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let page = ada.submit("/account/apps/end", &form).await.page().ok();
        assert!(page.body.contains("Nothing acts for you"), "{}", page.body);
        assert_eq!(ada.open(&silent).await.parameter("error").as_deref(), Some("consent_required"));
    })
    .await;
}

#[tokio::test]
async fn another_account_can_be_used_on_the_consent_page() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let grace = deputy.person("grace").await;
        ada.sign_in().await.ok();
        let consent = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let page = ada.submit("/sign-out", &[("seal", &field(&consent, "seal"))]).await.page().ok();
        assert!(page.body.contains("Notes agent") && page.body.contains("name=\"password\""), "{}", page.body);
        let form = [("seal", &*field(&page, "seal")), ("login", "grace"), ("password", &grace.password)];
        let consent = ada.submit("/sign-in", &form).await.page();
        assert!(consent.body.contains("<bdi>grace</bdi>"), "{}", consent.body);
        let code = ada.allow_on(&consent).await.parameter("code").expect("a code");
        agent.redeem(&code, &[]).await.ok();
        let consents = deputy.facts_of("consent.given.v1").await;
        let people = deputy.facts_of("person.created.v1").await;
        assert_eq!(consents[0]["person"], people[1]["person"], "it is grace who allowed it");
    })
    .await;
}

#[tokio::test]
async fn a_request_sent_as_a_form_goes_on_as_a_link() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let request = agent.authorization_request("notes:read");
        let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = ada.submit("/authorize", &form).await.page().ok();
        let consent = ada.sign_in_on(&page).await.page();
        assert_eq!(ada.allow_on(&consent).await.parameter("state").as_deref(), Some("the state"));
        let twice = [form.as_slice(), &[("client_id", "x")]].concat();
        ada.submit("/authorize", &twice).await.page().refused_on_page(400, "request.parameter_repeated");
        let long = "x".repeat(13 * 1024);
        ada.submit("/authorize", &[("state", &*long)]).await.page().refused_on_page(413, "request.too_large");
        deputy.get(&format!("/authorize?state={long}")).await.refused_on_page(413, "request.too_large");
    })
    .await;
}

#[tokio::test]
async fn nobody_does_anything_without_signing_in_and_a_form_of_ours() {
    each_engine(async |deputy| {
        let ada = deputy.person("ada").await;
        let paths = ["/consent", "/account/apps/end", "/account/sessions/end", "/account/sessions/end-others", "/account/password"];
        for path in paths {
            deputy.post(path, &[("seal", "x"), ("decision", "allow")]).await.refused_on_page(403, "session.missing");
        }
        ada.sign_in().await.ok();
        for path in paths.into_iter().chain(["/sign-out", "/sign-in"]) {
            let nothing = [("seal", ""), ("decision", "allow"), ("client", "cli_x"), ("session", "ses_x")];
            ada.submit(path, &nothing).await.page().refused_on_page(400, "form.expired");
            assert_eq!(deputy.last_reason().await, "form.expired");
        }
        assert!(ada.open("/account").await.page().body.contains("Signed in as"), "nothing has changed");
        for path in ["/", "/account", "/account/sessions", "/invitation/none"] {
            let request = deputy.http.delete(format!("{}{path}", deputy.issuer));
            Answer::of(request).await.refused(405, "method_not_allowed");
            assert_eq!(deputy.last_reason().await, "request.method");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_choice_on_the_page_is_refused() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        ada.sign_in().await.ok();
        let consent = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let seal = field(&consent, "seal");
        ada.submit("/consent", &[("seal", &seal)]).await.page().refused_on_page(400, "request.parameter_missing");
        let account = field(&ada.open("/account").await.page(), "seal");
        for (path, name) in [("/account/apps/end", "resource"), ("/account/sessions/end", "session")] {
            let answer = ada.submit(path, &[("seal", &*account), (name, "nonsense")]).await.page();
            answer.refused_on_page(400, "request.parameter_missing");
        }
        let url = ada.submit("/consent", &[("seal", &*seal), ("decision", "refuse")]).await;
        assert_eq!(url.parameter("error").as_deref(), Some("access_denied"));
        assert_eq!(deputy.facts_of("consent.refused.v1").await.len(), 1);
    })
    .await;
}

/// What somebody looks for who comes by the address bar: the pages answer forms only.
#[tokio::test]
async fn an_address_that_takes_forms_only_shows_a_page_to_a_browser() {
    let deputy = Installation::start().await;
    let browse =
        |path: &str| Answer::of(deputy.http.get(format!("{}{path}", deputy.issuer)).header("accept", "text/html,*/*;q=0.8"));
    for path in ["/consent", "/sign-out", "/account/apps/end", "/account/sessions/end", "/account/sessions/end-others"] {
        let page = browse(path).await.refused_on_page(405, "request.method");
        assert!(page.header("allow").is_some_and(|methods| methods.contains("POST")), "{path}: {page:?}");
        assert!(page.body.contains("There is nothing here"), "{}", page.body);
        deputy.get(path).await.refused(405, "method_not_allowed");
    }
    assert_eq!(deputy.last_reason().await, "request.method");
    for (path, reason) in [("/invitation/%ff", "invitation.invalid"), ("/password-reset/%ff", "password_reset.invalid")] {
        browse(path).await.refused_on_page(410, reason);
        assert_eq!(deputy.last_reason().await, reason);
        deputy.post(path, &[("seal", "x")]).await.refused_on_page(400, "form.expired");
    }
}

#[tokio::test]
async fn what_is_unticked_is_not_kept_by_what_includes_it() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        let everything = agent.authorize(&ada, "notes:admin").await;
        // What includes something was allowed, and so was that.
        let asked = ada.open(&agent.authorization_url("notes:read notes:write", &[("prompt", "consent")])).await.page();
        assert_eq!(asked.body.matches("already allowed").count(), 2, "{}", asked.body);
        let form = [("seal", &*field(&asked, "seal")), ("scope", "notes:read"), ("decision", "allow")];
        ada.submit("/consent", &form).await.parameter("code").expect("a code");
        ada.open(&agent.authorization_url("notes:read", &[])).await.parameter("code").expect("that was allowed");
        for gone in ["notes:write", "notes:admin"] {
            let page = ada.open(&agent.authorization_url(gone, &[])).await.page();
            assert!(page.body.contains("name=\"decision\""), "{gone} is asked for again");
        }
        agent.refresh(everything.refresh_token()).await.refused(400, "invalid_grant");
        assert_eq!(deputy.last_reason().await, "grant.consent");
    })
    .await;
}

#[tokio::test]
async fn what_changes_while_the_page_lies_open_is_not_allowed_by_it() {
    each_engine(async |deputy| {
        let (ada, agent) = (deputy.person("ada").await, deputy.agent().await);
        ada.sign_in().await.ok();
        let scopes = |words: &str| json!([{"name": "do", "description": words}]);
        let mut resource = json!({"identifier": "https://notes.example/mcp", "name": "Notes", "scopes": scopes("Read your notes")});
        let mut made = deputy.operate("POST", "/resources", resource.clone()).await.ok();
        for (member, value) in [
            ("identifier", json!("https://bank.example/mcp")),
            ("name", json!("The bank")),
            ("scopes", scopes("Send your money away")),
            ("scopes", json!([{"name": "do", "description": "Send your money away", "implies": ["more"]}, {"name": "more", "description": "More"}])),
        ] {
            // The only resource needs no mention.
            let url = agent.authorization_url("do", &[("resource", "")]);
            let page = ada.open(&url).await.page();
            deputy.operate("DELETE", &format!("/resources/{}", made.text("resource_id")), serde_json::Value::Null).await.ok();
            resource[member] = value;
            made = deputy.operate("POST", "/resources", resource.clone()).await.ok();
            ada.allow_on(&page).await.page().refused_on_page(400, "form.expired");
            ada.open(&url).await.page().ok();
        }
        assert!(deputy.facts_of("consent.given.v1").await.is_empty());
        let page = ada.open(&agent.authorization_url("do", &[("resource", "")])).await.page();
        ada.allow_on(&page).await.parameter("code").expect("what was shown");
    })
    .await;
}
