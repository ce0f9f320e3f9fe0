//! What people carry and somebody else has made: links, cookies, and text that a page says again.

use serde_json::json;

use super::altered;
use crate::support::{
    Answer, Installation, Person, each_engine,
    person::{Arrived, field},
    workload::{Signer, unsigned},
};

async fn invitation(deputy: &Installation, login: &str) -> String {
    let answer = deputy.operate("POST", "/invitations", json!({"login": login})).await.ok();
    answer.text("url").rsplit('/').next().expect("a token").to_owned()
}

#[tokio::test]
async fn cve_2026_1529_an_invitation_cannot_be_made() {
    each_engine(async |deputy| {
        let token = invitation(&deputy, "grace").await;
        let payload = json!({"login": "mallory", "iss": deputy.issuer, "exp": deputy.world().now().seconds() + 600}).to_string();
        let mut forged = vec![
            format!("{}.", unsigned(&json!({"alg": "none"}), &payload)),
            Signer::new().sign(&json!({"alg": "ES256", "typ": "JWT"}), &payload),
            "A".repeat(token.len()),
            token[1..].to_owned(),
            format!("{token}A"),
        ];
        forged.extend((0..token.len()).map(|place| altered(&token, place)));
        let seal = field(&deputy.get(&format!("/invitation/{token}")).await.ok(), "seal");
        let mallory = Person::new(&deputy, "mallory", "correct horse battery");
        for forged in forged {
            let path = format!("/invitation/{forged}");
            deputy.get(&path).await.refused_on_page(410, "invitation.invalid");
            // Nor does the form of a good one help.
            let page = mallory.submit(&path, &[("seal", &seal), ("password", &mallory.password)]).await.page();
            assert!(page.status.is_client_error(), "{page:?}");
        }
        assert!(deputy.facts_of("person.created.v1").await.is_empty());
        let grace = Person::new(&deputy, "grace", "correct horse battery");
        let path = format!("/invitation/{token}");
        let page = grace.open(&path).await.page();
        grace.submit(&path, &[("seal", &field(&page, "seal")), ("password", &grace.password)]).await.page().ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_119128_a_browser_cookie_cannot_be_made() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, grace, agent) = (deputy.person("ada").await, deputy.person("grace").await, deputy.agent().await);
        let url = agent.authorization_url("notes:read", &[]);
        let asked = ada.open(&url).await.page();
        grace.open(&url).await.page();
        let own = ada.cookie("deputy_browser").expect("a browser");
        let mut others: Vec<_> = (0..own.len()).step_by(5).map(|place| altered(&own, place)).collect();
        others.push(grace.cookie("deputy_browser").expect("a browser"));
        others.push(String::new());
        for other in others {
            ada.set_cookie("deputy_browser", &other);
            ada.sign_in_on(&asked).await.page().refused_on_page(400, "form.foreign");
        }
        assert_eq!(deputy.last_reason().await, "form.foreign");
        assert!(deputy.facts_of("session.started.v1").await.is_empty());
        ada.set_cookie("deputy_browser", &own);
        let consent = ada.sign_in_on(&asked).await.page();
        ada.allow_on(&consent).await.parameter("code").expect("a code");
    })
    .await;
}

#[tokio::test]
async fn go_2026_4861_and_4818_what_a_request_says_runs_on_no_page() {
    const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";
    each_engine(async |deputy| {
        deputy.resource().await;
        let agent = deputy.agent().await;
        let hostile: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
        let mut pages = Vec::new();
        for name in
            ["client_id", "redirect_uri", "scope", "state", "nonce", "login_hint", "error", "error_hint", "error_description"]
        {
            let visitor = Person::new(&deputy, "nobody", "");
            match visitor.open(&agent.authorization_url("notes:read", &[(name, HOSTILE)])).await {
                Arrived::Page(page) => pages.push(page),
                Arrived::Away(url) => assert!(!url.as_str().contains(['<', '"']), "{url}"),
            }
            for path in ["/sign-in", "/account", "/authorize", "/consent", "/"] {
                pages.push(deputy.get(&format!("{path}?{name}={hostile}")).await);
            }
        }
        for path in ["/invitation", "/password-reset", "/nothing"] {
            let request = deputy.http.get(format!("{}{path}/{}", deputy.issuer, hostile.replace('+', "%20")));
            pages.push(Answer::of(request.header("accept", "text/html")).await);
        }
        let page = Person::new(&deputy, HOSTILE, "wrong").sign_in().await.refused_on_page(403, "sign_in.wrong");
        assert!(page.body.contains("alert(1)"), "the control: what was typed is said again");
        pages.push(page);
        for page in pages.iter().filter(|page| page.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))) {
            assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{}", page.body);
            let policy = page.header("content-security-policy").expect("a page has a policy");
            assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe-inline"), "{policy}");
        }
        assert!(pages.iter().any(|page| page.body.contains("&#60;script&#62;") || page.body.contains("&lt;script&gt;")));
    })
    .await;
}
