//! Who is it: everybody who is seen has a kind, with what led to it; a rogue gets nothing; and an operator's word beats all of it.

use deputy::{
    domain::refusal::{ADMIN_CURSOR, ADMIN_NOT_FOUND, ADMIN_VALUE, CLIENT_ROGUE, CONSENT_BOT},
    storage::{StorageError, consumers},
};
use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Agent, Answer, CALLBACK, Installation, each_engine};

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const HEADLESS: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36";

/// The path of an actor, percent-encoded as one segment.
fn path_of(actor: &str) -> String {
    format!("/actors/{}", actor.replace('%', "%25").replace('/', "%2F").replace('?', "%3F"))
}

pub(super) async fn actor(deputy: &Installation, actor: &str) -> Value {
    deputy.settle().await;
    deputy.operate("GET", &path_of(actor), Value::Null).await.ok().json()
}

/// What was found of an actor, in order.
pub(super) async fn evidence(deputy: &Installation, id: &str) -> Vec<String> {
    let history = actor(deputy, id).await["history"].clone();
    let word = |finding: &Value| finding["evidence"].as_str().expect("text").to_owned();
    history.as_array().expect("a list").iter().map(word).collect()
}

/// The actors of a kind.
async fn all_of(deputy: &Installation, kind: &str) -> Vec<String> {
    deputy.settle().await;
    let page = deputy.operate("GET", &format!("/actors?kind={kind}"), Value::Null).await.ok().json();
    let id = |actor: &Value| actor["actor_id"].as_str().expect("text").to_owned();
    page["items"].as_array().expect("a list").iter().map(id).collect()
}

async fn say(deputy: &Installation, actor: &str, kind: &str) -> Answer {
    deputy.operate("PUT", &format!("{}/kind", path_of(actor)), json!({"kind": kind, "note": "Seen at work"})).await
}

fn page_view(anonymous_id: &str, user_agent: &str) -> Value {
    let context = json!({"library": {"name": "analytics.js", "version": "next-1.70"}, "userAgent": user_agent});
    json!({"type": "page", "anonymousId": anonymous_id, "context": context})
}

#[tokio::test]
async fn a_client_that_sends_events_with_its_token_is_seen_doing_so() {
    each_engine(async |deputy| {
        let service = deputy.service("tracking_api:write").await;
        let source = deputy.source(json!({"client_id": service.client_id, "requires_token": true})).await;
        let form = [("grant_type", "client_credentials"), ("scope", "tracking_api:write")];
        let token = service.token(&form, &[]).await.ok().text("access_token");
        for event in ["Ordered", "Paid"] {
            let body = json!({"writeKey": source["write_key"], "userId": "ada", "event": event}).to_string();
            Answer::of(deputy.http.post(format!("{}/v1/track", deputy.issuer)).bearer_auth(&token).body(body)).await.ok();
        }
        let mut of_service = evidence(&deputy, &format!("client_id:{}", service.client_id)).await;
        of_service.sort();
        assert_eq!(of_service, ["got_token", "made_by_operator", "sent_events"]);
        assert_eq!(actor(&deputy, "user_id:ada").await["kind"], "person");
    })
    .await;
}

#[tokio::test]
async fn the_rule_reads_who_asks_and_who_allows() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let (agent, ada) = (deputy.agent().await, deputy.person("ada@example.com").await);
        agent.authorize(&ada, "notes:read").await;
        let silently = async || ada.open(&agent.authorization_url("notes:read", &[("prompt", "none")])).await;
        assert!(silently().await.parameter("code").is_some(), "they allowed it, and are not asked again");

        let rule = json!({"suspend_at": null, "revoke_at": null, "require_approval_at": null, "ask_for_unknown_agents": true,
            "refuse_bots": true});
        assert_eq!(deputy.operate("PUT", "/risk/rule", rule.clone()).await.ok().json(), rule);
        assert_eq!(silently().await.parameter("error").as_deref(), Some("consent_required"));
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        assert!(page.body.contains("Little is known of this app."), "they are told why: {}", page.body);
        let of_agent = format!("client_id:{}", agent.client_id);
        deputy.settle().await;
        say(&deputy, &of_agent, "trusted_agent").await.ok();
        assert!(silently().await.parameter("code").is_some(), "a trusted agent is as before");

        // Who reads the page, and is taken for a program before they answer.
        let person = all_of(&deputy, "person").await.remove(0);
        say(&deputy, &of_agent, "unknown_agent").await.ok();
        let page = ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        say(&deputy, &person, "bot_posing_as_person").await.ok();
        let answer = ada.allow_on(&page).await;
        assert_eq!(answer.parameter("error").as_deref(), Some("access_denied"));
        assert_eq!(deputy.last_reason().await, CONSENT_BOT.reason);
        assert_eq!(CONSENT_BOT.reason, "authorize.bot");
        let answer = ada.open(&agent.authorization_url("notes:read", &[])).await;
        assert_eq!(answer.parameter("error").as_deref(), Some("access_denied"), "nor are they asked");
        deputy.operate("DELETE", &format!("{}/kind", path_of(&person)), Value::Null).await.ok();
        ada.open(&agent.authorization_url("notes:read", &[])).await.page();
        let told = deputy.facts_of("risk.rule_changed.v1").await;
        assert_eq!(told, [json!({"by_kind": ["ask_for_unknown_agents", "refuse_bots"]})]);
    })
    .await;
}

/// Reads everything again from the first offset on.
async fn rewind(deputy: &Installation) {
    let rewind = deputy.world().storage.write(|tx| {
        Box::pin(async move {
            let next = consumers::next(tx, "who", "events/0").await?;
            Ok::<_, StorageError>(next > 0 && consumers::advance(tx, "who", "events/0", next, 0).await?)
        })
    });
    assert!(rewind.await.expect("storage answers"));
    deputy.settle().await;
}

#[tokio::test]
async fn whoever_is_seen_has_a_kind_and_what_led_to_it() {
    each_engine(async |deputy| {
        deputy.resource().await;
        let space = Space::of(&deputy).await;
        let (service, agent) = (deputy.service("notes:read").await, deputy.agent().await);
        let ada = deputy.person("ada@example.com").await;
        service.client_credentials(&[]).await.ok();
        agent.authorize(&ada, "notes:read").await;
        let track =
            json!({"type": "track", "userId": "grace", "event": "Bought", "context": {"library": {"name": "analytics-python"}}});
        space
            .send(json!([
                page_view("own", CHROME),
                page_view("driven", HEADLESS),
                page_view("script", "python-requests/2.32"),
                track
            ]))
            .await;

        let (service, agent) = (format!("client_id:{}", service.client_id), format!("client_id:{}", agent.client_id));
        assert_eq!(all_of(&deputy, "trusted_agent").await, [service.as_str()]);
        assert_eq!(all_of(&deputy, "unknown_agent").await, [agent.as_str()]);
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, ["anonymous_id:driven", "anonymous_id:script"]);
        assert!(all_of(&deputy, "rogue").await.is_empty());
        let people = all_of(&deputy, "person").await;
        assert_eq!(people[..1], ["anonymous_id:own"]);
        assert!(people[1] == "user_id:grace" && people[2].starts_with("user_id:per_") && people.len() == 3, "{people:?}");

        let mut of_service = evidence(&deputy, &service).await;
        of_service.sort_unstable();
        assert_eq!(of_service, ["got_token", "made_by_operator"], "a token may be on record first");
        assert_eq!(evidence(&deputy, &agent).await, ["registered_itself", "consented", "got_token"]);
        assert_eq!(evidence(&deputy, &people[2]).await, ["signed_in", "consented_unread", "acted_for"]);
        assert_eq!(evidence(&deputy, "anonymous_id:script").await, ["visited", "scripted_device"]);
        let told = actor(&deputy, "anonymous_id:driven").await;
        assert_eq!(
            (&told["kind"], &told["history"][0]["kind"], &told["history"][1]["kind"]),
            (&json!("bot_posing_as_person"), &json!("person"), &json!("bot_posing_as_person"))
        );
        let events = deputy.topic("events").await;
        let seen = events.iter().find(|event| event["data"]["message"]["anonymousId"] == "driven").expect("it is on record");
        assert_eq!(told["history"][1]["event_id"], seen["id"], "the evidence names its event");
        let changed = deputy.facts_of("actor.kind_changed.v1").await;
        assert_eq!(changed.len(), 2, "the usual is no news: {changed:?}");
        assert_eq!(
            (&changed[0]["was"], &changed[0]["evidence"], &changed[0]["event"]),
            (&json!("person"), &json!("automated_device"), &seen["id"])
        );

        // What was seen before is no news, and neither is a log that is read again.
        space.send(json!([page_view("own", CHROME), page_view("driven", HEADLESS)])).await;
        rewind(&deputy).await;
        assert_eq!(actor(&deputy, "anonymous_id:driven").await, told);
        assert_eq!(all_of(&deputy, "person").await, people);
        assert_eq!(deputy.facts_of("actor.kind_changed.v1").await, changed);
    })
    .await;
}

#[tokio::test]
async fn a_pace_that_nobody_has_is_a_bots_across_batches_and_a_crash() {
    each_engine(async |mut deputy| {
        let write_key = {
            let space = Space::of(&deputy).await;
            let events = |who: &str, happened_at: &dyn Fn(usize) -> String| -> Vec<Value> {
                let event = |number| {
                    let mut event = page_view(who, CHROME);
                    event["timestamp"] = json!(happened_at(number));
                    event["messageId"] = json!(format!("{who}{number}"));
                    event
                };
                (0..80).map(event).collect()
            };
            let at_once = |_: usize| "2027-01-15T07:59:58.500Z".to_owned();
            space.send(json!(events("quick", &at_once))).await;
            // A telephone that was away tells of a whole day at once.
            space.send(json!(events("away", &|number| format!("2027-01-14T{:02}:{:02}:00Z", number / 60 + 3, number % 60)))).await;
            space.write_key
        };
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, [""; 0]);
        deputy.crash().await;
        let more: Vec<Value> = (0..80)
            .map(|number| {
                let mut event = page_view("quick", CHROME);
                event["timestamp"] = json!("2027-01-15T07:59:58.900Z");
                event["messageId"] = json!(format!("more{number}"));
                event
            })
            .collect();
        let body = json!({"batch": more, "writeKey": write_key}).to_string();
        Answer::of(deputy.http.post(format!("{}/v1/batch", deputy.issuer)).body(body)).await.ok();
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, ["anonymous_id:quick"], "what came before the crash counts");
        assert_eq!(evidence(&deputy, "anonymous_id:quick").await, ["visited", "impossible_pace"]);
    })
    .await;
}

#[tokio::test]
async fn a_rogue_gets_no_tokens_until_an_operator_takes_it_back() {
    each_engine(async |deputy| {
        let resource = deputy.resource().await;
        let agent = deputy.agent().await;
        let ada = deputy.person("ada@example.com").await;
        let tokens = agent.authorize(&ada, "notes:read").await;
        let id = format!("client_id:{}", agent.client_id);
        assert_eq!(actor(&deputy, &id).await["kind"], "unknown_agent");

        // From the answer on, whatever the stages do.
        let told = say(&deputy, &id, "rogue").await.ok().json();
        assert_eq!((&told["kind"], &told["word"]["note"]), (&json!("rogue"), &json!("Seen at work")));
        agent.refresh(tokens.refresh_token()).await.refused(400, CLIENT_ROGUE.code.as_str());
        assert_eq!(deputy.last_reason().await, "client.rogue");
        assert!(!deputy.is_active(&resource, &tokens.access_token).await);
        let url = agent.authorization_url("notes:read", &[]);
        ada.open(&url).await.page().refused_on_page(403, "client.rogue");
        assert_eq!(all_of(&deputy, "rogue").await, [id.as_str()]);
        assert_eq!(evidence(&deputy, &id).await.last().map(String::as_str), Some("request_refused"));
        let said = deputy.facts_of("actor.kind_set.v1").await;
        assert_eq!(said, [json!({"actor": id, "kind": "rogue", "note": "Seen at work"})]);
        rewind(&deputy).await;
        assert_eq!(all_of(&deputy, "rogue").await, [id.as_str()]);

        deputy.later(1);
        let told = deputy.operate("DELETE", &format!("{}/kind", path_of(&id)), Value::Null).await.ok().json();
        assert_eq!((&told["kind"], &told["word"]), (&json!("unknown_agent"), &Value::Null));
        let tokens = agent.authorize(&ada, "notes:read").await;
        assert!(deputy.is_active(&resource, &tokens.access_token).await);
        rewind(&deputy).await;
        assert!(deputy.is_active(&resource, &tokens.access_token).await, "the log read again revokes nothing");
        assert_eq!(all_of(&deputy, "rogue").await, [""; 0]);
        assert_eq!(deputy.facts_of("actor.kind_lifted.v1").await, [json!({"actor": id, "kind": "unknown_agent"})]);
    })
    .await;
}

#[tokio::test]
async fn a_rogue_that_is_found_out_late_has_no_tokens_either_but_those_that_an_operator_let_it_have() {
    for has_spoken in [false, true] {
        each_engine(async |deputy| {
            let resource = deputy.resource().await;
            let request = json!({"client_name": "An agent", "redirect_uris": [CALLBACK],
                "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["authorization_code", "refresh_token"]});
            let agent = Agent::made_by_operator(&deputy, request).await;
            let ada = deputy.person("ada@example.com").await;
            deputy.settle().await;
            deputy.operate("POST", "/consumers/who/pause", Value::Null).await;
            for _ in 0..5 {
                let tokens = agent.authorize(&ada, "notes:read").await;
                agent.refresh(tokens.refresh_token()).await.ok();
                deputy.later(61);
                agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
            }
            deputy.later(300);
            let id = format!("client_id:{}", agent.client_id);
            if has_spoken {
                say(&deputy, &id, "trusted_agent").await.ok();
                deputy.operate("DELETE", &format!("{}/kind", path_of(&id)), Value::Null).await.ok();
                deputy.later(5);
            }
            let tokens = agent.authorize(&ada, "notes:read").await;
            deputy.later(5);
            assert!(deputy.is_active(&resource, &tokens.access_token).await);
            deputy.operate("POST", "/consumers/who/resume", Value::Null).await;
            assert_eq!(all_of(&deputy, "rogue").await, [id.as_str()]);
            assert_eq!(deputy.is_active(&resource, &tokens.access_token).await, has_spoken);
            agent.refresh(tokens.refresh_token()).await.refused(400, CLIENT_ROGUE.code.as_str());
        })
        .await;
    }
}

#[tokio::test]
async fn replays_that_nobody_else_can_have_made_make_a_rogue() {
    each_engine(async |mut deputy| {
        deputy.resource().await;
        let request = json!({"client_name": "An agent", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic",
            "grant_types": ["authorization_code", "refresh_token"]});
        let (client_id, secret) = {
            let secretive = Agent::made_by_operator(&deputy, request).await;
            let public = deputy.agent().await;
            let ada = deputy.person("ada@example.com").await;
            for number in 0..5 {
                let (of_secretive, of_public) = (secretive.authorize(&ada, "notes:read").await, public.authorize(&ada, "notes:read").await);
                for (agent, tokens) in [(&secretive, &of_secretive), (&public, &of_public)] {
                    agent.refresh(tokens.refresh_token()).await.ok();
                    deputy.later(61);
                    agent.refresh(tokens.refresh_token()).await.refused(400, "invalid_grant");
                }
                let rogues = usize::from(number == 4);
                assert_eq!(all_of(&deputy, "rogue").await.len(), rogues, "after {number}");
            }
            let id = format!("client_id:{}", secretive.client_id);
            assert_eq!(all_of(&deputy, "rogue").await, [id.as_str()], "anybody may run a public client");
            let changed = deputy.facts_of("actor.kind_changed.v1").await;
            assert_eq!(changed.len(), 1);
            assert_eq!((&changed[0]["was"], &changed[0]["evidence"]), (&json!("trusted_agent"), &json!("replayed_often")));
            public.authorize(&ada, "notes:read").await;
            (secretive.client_id.clone(), secretive.client_secret.clone().expect("it has one"))
        };
        deputy.crash().await;
        let agent = Agent::with_secret(&deputy, &client_id, &secret);
        agent.refresh("any").await.refused(400, CLIENT_ROGUE.code.as_str());
        say(&deputy, &format!("client_id:{client_id}"), "trusted_agent").await.ok();
        agent.refresh("any").await.refused(400, "invalid_grant");
    })
    .await;
}

#[tokio::test]
async fn who_is_forgotten_is_nobody_and_no_replay_brings_them_back() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let mut signed_in = page_view("desk", HEADLESS);
        signed_in["type"] = json!("identify");
        signed_in["userId"] = json!("ada");
        space.send(json!([page_view("desk", HEADLESS), signed_in, page_view("other", HEADLESS)])).await;
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, ["anonymous_id:desk", "anonymous_id:other", "user_id:ada"]);
        let regulation = json!({"regulation": "SUPPRESS_WITH_DELETE", "user_ids": ["ada"]});
        deputy.operate("POST", "/regulations", regulation).await.ok();
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, ["anonymous_id:other"], "of a person all ids go");
        rewind(&deputy).await;
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, ["anonymous_id:other"]);
        let calls =
            json!([{"type": "track", "userId": "ada", "event": "Back"}, {"type": "track", "userId": "bob", "event": "Here"}]);
        space.send(calls.clone()).await;
        assert_eq!(all_of(&deputy, "person").await, ["user_id:bob"], "who is suppressed leaves no trace");
        deputy.operate("POST", "/regulations", json!({"regulation": "UNSUPPRESS", "user_ids": ["ada"]})).await.ok();
        space.send(calls).await;
        assert_eq!(all_of(&deputy, "person").await, ["user_id:ada", "user_id:bob"]);
        assert_eq!(evidence(&deputy, "user_id:ada").await, ["named"], "and is new");
    })
    .await;
}

#[tokio::test]
async fn actors_are_asked_for_strictly() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(json!([page_view("a", CHROME), page_view("b", CHROME), page_view("c/d?", CHROME)])).await;
        for query in ["/actors", "/actors?kind=robot", "/actors?kind=person&limit=0", "/actors?kind=person&colour=1"] {
            deputy.operate("GET", query, Value::Null).await.refused(400, ADMIN_VALUE.code.as_str());
        }
        let page = deputy.operate("GET", "/actors?kind=person&limit=2", Value::Null).await.ok().json();
        let cursor = page["next_cursor"].as_str().expect("one is left");
        let next = deputy.operate("GET", &format!("/actors?kind=person&limit=2&cursor={cursor}"), Value::Null).await.ok().json();
        assert_eq!((&next["items"][0]["actor_id"], &next["next_cursor"]), (&json!("anonymous_id:c/d?"), &Value::Null));
        let foreign = deputy.operate("GET", &format!("/actors?kind=rogue&cursor={cursor}"), Value::Null).await;
        foreign.refused(400, ADMIN_CURSOR.code.as_str());

        for nobody in ["/actors/{actor_id}", "/actors/user_id:nobody"] {
            deputy.operate("GET", nobody, Value::Null).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
        }
        for body in [
            json!({"kind": "rogue", "note": "people are locked, not refused"}),
            json!({"kind": "person", "note": " "}),
            json!({"kind": "person", "note": "x".repeat(501)}),
            json!({"kind": "person"}),
        ] {
            deputy.operate("PUT", "/actors/anonymous_id:a/kind", body).await.refused(400, ADMIN_VALUE.code.as_str());
            deputy
                .operate("DELETE", "/actors/anonymous_id:nobody/kind", Value::Null)
                .await
                .refused(404, ADMIN_NOT_FOUND.code.as_str());
        }
        say(&deputy, "user_id:nobody", "person").await.refused(404, ADMIN_NOT_FOUND.code.as_str());
        say(&deputy, "anonymous_id:c/d?", "bot_posing_as_person").await.ok();
        assert_eq!(all_of(&deputy, "bot_posing_as_person").await, ["anonymous_id:c/d?"]);
        assert_eq!(evidence(&deputy, "anonymous_id:c/d?").await, ["visited", "operator_said"]);
        deputy.operate("DELETE", &format!("{}/kind", path_of("anonymous_id:c/d?")), Value::Null).await.ok();
        let twice = deputy.operate("DELETE", &format!("{}/kind", path_of("anonymous_id:c/d?")), Value::Null).await.ok().json();
        assert_eq!(twice["history"].as_array().map(Vec::len), Some(3), "there is nothing left to lift");
    })
    .await;
}
