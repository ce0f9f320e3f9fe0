//! Refresh tokens: one line of descent, one client, one person; and everybody behind them is looked at each time.
//! [OAuth 2.1 §4.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1-13#section-4.3), [RFC 9700 §4.14](https://www.rfc-editor.org/rfc/rfc9700#section-4.14)

use std::collections::BTreeSet;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{is_refused, repels, samples};
use crate::support::{
    Agent, Answer, Installation, Person,
    agent::{Tokens, claims},
    each_engine, each_engine_with,
    person::field,
};

/// Sent at once, as agents with many threads do.
const RACERS: usize = 20;

#[tokio::test]
async fn cve_2026_1035_a_race_has_one_successor() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read").await;
        let answers = join_all((0..RACERS).map(|_| agent.refresh(first.refresh_token()))).await;
        let successors: BTreeSet<_> = answers.into_iter().filter_map(|answer| Tokens::of(answer).refresh_token).collect();
        assert_eq!(successors.len(), 1, "exactly one successor");
        // The same race after the grace window is a replay by all, and ends the family once.
        deputy.later(61);
        let answers = join_all((0..RACERS).map(|_| agent.refresh(first.refresh_token()))).await;
        for answer in answers {
            answer.refused(400, "invalid_grant");
        }
        assert_eq!(deputy.last_reason().await, "refresh.replayed");
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len(), 1);
        let successor = successors.first().expect("there is one");
        repels(&deputy, agent.refresh(successor), 400, "invalid_grant", "refresh.replayed").await;
    })
    .await;
}

#[tokio::test]
async fn cve_2026_53517_a_family_does_not_fork() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let first = agent.authorize(&ada, "notes:read").await;
        let mut live = BTreeSet::from([first.refresh_token().to_owned()]);
        for _ in 0..4 {
            let refreshes: Vec<_> = live.iter().flat_map(|token| (0..5).map(|_| agent.refresh(token))).collect();
            live = join_all(refreshes).await.into_iter().filter_map(|answer| Tokens::of(answer).refresh_token).collect();
            assert_eq!(live.len(), 1, "one live descendant after each race");
        }
        assert_eq!(deputy.state().await.iter().filter(|line| line.starts_with("grant ")).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn cve_2026_53512_a_confidential_client_authenticates_at_refresh() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let ada = deputy.person("ada@example.com").await;
        let metadata =
            json!({"token_endpoint_auth_method": "client_secret_basic", "grant_types": ["authorization_code", "refresh_token"]});
        let agent = Agent::register(&deputy, metadata).await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        let named = [&refresh[..], &[("client_id", &agent.client_id)]].concat();
        let guessed = [&named[..], &[("client_secret", "a guess")]].concat();
        repels(&deputy, deputy.post("/token", &refresh), 401, "invalid_client", "client.authentication_missing").await;
        repels(&deputy, deputy.post("/token", &named), 401, "invalid_client", "client.authentication_missing").await;
        repels(&deputy, deputy.post("/token", &guessed), 401, "invalid_client", "client.authentication_method").await;
        let mut impostor = agent.clone();
        impostor.client_secret = Some("a guess".to_owned());
        repels(&deputy, impostor.refresh(tokens.refresh_token()), 401, "invalid_client", "client.secret_wrong").await;
        agent.refresh(tokens.refresh_token()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_9802_revoked_stays_revoked_after_a_restart() {
    each_engine(async |mut deputy| {
        let resource = deputy.resource().await;
        let (client_id, kept, revoked) = {
            let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
            let (kept, revoked) = (agent.authorize(&ada, "notes:read").await, agent.authorize(&ada, "notes:read").await);
            agent.post("/revoke", &[("token", revoked.refresh_token())], &[]).await.ok();
            (agent.client_id, kept, revoked)
        };
        deputy.crash().await;
        let agent = Agent::known(&deputy, &client_id);
        repels(&deputy, agent.refresh(revoked.refresh_token()), 400, "invalid_grant", "refresh.ended").await;
        assert!(!deputy.is_active(&resource, &revoked.access_token).await);
        assert!(deputy.is_active(&resource, &kept.access_token).await);
        agent.refresh(kept.refresh_token()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2026_43983_a_refresh_asks_about_consent_and_person() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let unused = agent.code(&ada, "notes:read").await;
        Tokens::of(agent.refresh(tokens.refresh_token()).await);
        withdraw(&ada).await;
        repels(&deputy, agent.refresh(tokens.refresh_token()), 400, "invalid_grant", "refresh.ended").await;
        assert!(!deputy.is_active(&resource, &tokens.access_token).await);
        // Nor does a code that was on its way bring it back.
        is_refused(&deputy, agent.redeem(&unused, &[]), 400, "invalid_grant", "grant.consent").await;
        agent.authorize(&ada, "notes:read").await;
    })
    .await;
}

/// The same where the code is redeemed at the very moment at which the consent goes: whoever is first, no grant lives without one.
#[tokio::test]
async fn cve_2026_43983_a_redemption_beside_the_withdrawal() {
    for is_redeemed_first in [true, false] {
        let deputy = Installation::start_on_postgres("").await;
        deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        agent.authorize(&ada, "notes:read").await;
        let code = agent.code(&ada, "notes:read").await;
        let (redeemed, withdrawn) = if is_redeemed_first { (1, 2) } else { (2, 1) };
        // Both have decided, and wait to put it on record.
        let held = deputy.database().hold_rows("LOCK TABLE outbox IN SHARE MODE").await;
        let in_turn = async |turn: i64| {
            if turn > 1 {
                deputy.database().until_waiting(turn - 1).await;
            }
        };
        let redeem = async {
            in_turn(redeemed).await;
            agent.redeem(&code, &[]).await
        };
        let withdraw = async {
            in_turn(withdrawn).await;
            withdraw(&ada).await;
        };
        let release = async {
            deputy.database().until_waiting(2).await;
            held.release().await;
        };
        let (answer, (), ()) = tokio::join!(redeem, withdraw, release);
        if is_redeemed_first {
            let tokens = Tokens::of(answer);
            agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
        } else {
            answer.refused(400, "invalid_grant");
            assert_eq!(deputy.last_reason().await, "grant.consent");
        }
    }
}

#[tokio::test]
async fn cve_2023_22492_a_locked_person_refreshes_nothing() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let code = agent.code(&ada, "notes:read").await;
        let person = format!("/people/{}", tokens.claims()["sub"].as_str().expect("text"));
        deputy.operate("PATCH", &person, json!({"locked": true})).await.ok();
        repels(&deputy, agent.refresh(tokens.refresh_token()), 400, "invalid_grant", "grant.person").await;
        is_refused(&deputy, agent.redeem(&code, &[]), 400, "invalid_grant", "grant.person").await;
        assert!(!deputy.is_active(&resource, &tokens.access_token).await);
        deputy.operate("PATCH", &person, json!({"locked": false})).await.ok();
        agent.refresh(tokens.refresh_token()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn rauthy_0_36_1_neither_client_nor_scope_nor_person_changes() {
    each_engine(async |deputy| {
        let (resource, other) =
            (deputy.resource().await, json!({"client_name": "B", "grant_types": ["authorization_code", "refresh_token"]}));
        let (ada, bob) = (deputy.person("ada@example.com").await, deputy.person("bob@example.com").await);
        let (agent, other) = (deputy.agent().await, Agent::register(&deputy, other).await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let bobs = agent.authorize(&bob, "notes:read").await;
        let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        repels(&deputy, other.token(&form, &[]), 400, "invalid_grant", "refresh.invalid").await;
        for scope in ["notes:read notes:write", "notes:admin", "openid notes:read", "nothing:known"] {
            repels(&deputy, agent.token(&form, &[("scope", scope)]), 400, "invalid_scope", "scope.widened").await;
        }
        let sub = bobs.claims()["sub"].as_str().expect("text").to_owned();
        let more =
            [("sub", sub.as_str()), ("subject", &sub), ("user_id", &sub), ("username", "bob@example.com"), ("login_hint", &sub)];
        let refreshed = Tokens::of(agent.token(&form, &more).await);
        assert_eq!((&refreshed.claims()["sub"], &refreshed.claims()["scope"]), (&tokens.claims()["sub"], &"notes:read".into()));
        assert!(deputy.is_active(&resource, &refreshed.access_token).await);
    })
    .await;
}

#[tokio::test]
async fn rauthy_0_36_2_no_token_makes_it_panic() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let refresh_token = tokens.refresh_token().to_owned();
        let good = [refresh_token.clone(), tokens.access_token.clone(), refresh_token.replace('-', "+"), "a.b.c.d.e".to_owned()];
        let mutated =
            (prop::sample::select(good.to_vec()), any::<prop::sample::Index>(), "[\\PC]{0,3}").prop_map(|(token, at, put)| {
                let at = at.index(token.len());
                format!("{}{put}{}", &token[..at], &token[at..].chars().skip(1).collect::<String>())
            });
        let strange = prop_oneof!["\\PC{0,80}", "[A-Za-z0-9_-]{60,80}", "[A-Za-z0-9_.=-]{0,40}[.][A-Za-z0-9_-]{0,40}[.]", mutated];
        let before = deputy.state().await;
        for token in samples(&strange, 150) {
            let answers = [
                agent.refresh(&token).await,
                agent.redeem(&token, &[]).await,
                agent.post("/revoke", &[("token", &token)], &[]).await,
                deputy.introspect(&resource, &token).await,
            ];
            assert!(answers.iter().all(|answer| answer.status.as_u16() < 500), "{token:?}: {answers:?}");
        }
        assert_eq!(deputy.state().await, before);
        agent.refresh(tokens.refresh_token()).await.ok();
    })
    .await;
}

#[tokio::test]
async fn cve_2022_3916_another_person_at_the_same_browser() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (ada, bob) = (deputy.person("ada@example.com").await, deputy.person("bob@example.com").await);
        let agent = deputy.agent().await;
        let hers = agent.authorize(&ada, "notes:read").await;
        let bob = ada.takes_over(&bob);
        deputy.later(1);
        let away = bob.authorize(&agent.authorization_url("notes:read", &[("prompt", "login")])).await;
        let code = away.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let his = Tokens::of(agent.redeem(&code, &[]).await);
        assert_ne!(hers.claims()["sub"], his.claims()["sub"]);
        for tokens in [&hers, &his] {
            let refreshed = Tokens::of(agent.refresh(tokens.refresh_token()).await);
            assert_eq!(refreshed.claims()["sub"], tokens.claims()["sub"], "a grant keeps its person");
        }
        // He was asked himself: her consent was not his.
        assert_eq!(deputy.facts_of("consent.given.v1").await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn cve_2020_15223_a_revocation_that_failed_says_so() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let tokens = agent.authorize(&ada, "notes:read").await;
        let reason = if deputy.world().storage.is_exclusive() { "storage.full" } else { "storage.unavailable" };
        for token in [tokens.refresh_token(), &tokens.access_token] {
            let (form, counted) = ([("token", token)], deputy.refusals_counted(reason).await);
            let answer = deputy.without_storage(agent.post("/revoke", &form, &[])).await;
            let answer = answer.refused(503, "temporarily_unavailable");
            assert!(answer.header("retry-after").is_some());
            assert!(deputy.refusals_counted(reason).await > counted);
        }
        assert!(deputy.is_active(&resource, &tokens.access_token).await, "nothing was revoked, and nothing says it was");
        assert_eq!(deputy.facts_of("grant.ended.v1").await.len() + deputy.facts_of("token.revoked.v1").await.len(), 0);
        agent.post("/revoke", &[("token", tokens.refresh_token())], &[]).await.ok();
        assert!(!deputy.is_active(&resource, &tokens.access_token).await);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_dies_with_its_resource_and_of_old_age() {
    each_engine_with("refresh_token_idle_ttl_s = 3600\n", async |deputy| {
        let resource = deputy.resource().await;
        let (ada, agent) = (deputy.person("ada@example.com").await, deputy.agent().await);
        let (idle, tokens) = (agent.authorize(&ada, "notes:read").await, agent.authorize(&ada, "notes:read").await);
        deputy.later(3000);
        let tokens = Tokens::of(agent.refresh(tokens.refresh_token()).await);
        deputy.later(601);
        repels(&deputy, agent.refresh(idle.refresh_token()), 400, "invalid_grant", "refresh.expired").await;
        let code = agent.code(&ada, "notes:read").await;
        deputy
            .operate("DELETE", &format!("/resources/{}", resource["resource_id"].as_str().expect("text")), Value::Null)
            .await
            .ok();
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh_token())];
        repels(&deputy, agent.token(&refresh, &[]), 400, "invalid_grant", "grant.resource").await;
        repels(&deputy, agent.redeem(&code, &[]), 400, "invalid_grant", "grant.resource").await;
        let told = claims(&tokens.access_token);
        assert_eq!(told["aud"], crate::support::RESOURCE);
    })
    .await;
}

/// Ends the first of the person's connected apps, on their page.
async fn withdraw(person: &Person<'_>) {
    let page: Answer = person.open("/account").await.page();
    let form = ["seal", "client", "resource"].map(|name| (name, field(&page, name)));
    person.submit("/account/apps/end", &form.each_ref().map(|(name, value)| (*name, value.as_str()))).await.page();
}
