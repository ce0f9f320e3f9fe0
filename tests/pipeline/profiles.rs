//! Profiles: whose the events are, what they add up to, and how a mistake is taken back.

use deputy::{
    events::profiles,
    log::Record,
    server::stages::STAGES,
    storage::{StorageError, Tx, profile_states},
    world::EVENTS,
};
use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Installation, each_engine};

fn order(user: &str, total: i64) -> Value {
    json!({"type": "track", "userId": user, "event": "Order Completed", "properties": {"total": total}})
}

#[tokio::test]
async fn an_address_that_two_people_use_stays_with_the_first() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let identify = |user: &str| json!([{"type": "identify", "userId": user, "traits": {"email": "jane@example.com"}}]);
        space.send(identify("abc123")).await;
        space.send(identify("abc456")).await;
        assert_eq!(space.ids("users", "user_id:abc123").await, ["email:jane@example.com", "user_id:abc123"]);
        assert_eq!(space.ids("users", "user_id:abc456").await, ["user_id:abc456"]);
        assert_eq!(space.ids("users", "email:jane@example.com").await, ["email:jane@example.com", "user_id:abc123"]);
    })
    .await;
}

#[tokio::test]
async fn a_visitor_who_signs_in_is_one_person_from_the_first_page_on() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space
            .send(json!([
                {"type": "track", "anonymousId": "phone", "event": "Looked"},
                {"type": "track", "anonymousId": "desk", "event": "Searched"},
                {"type": "identify", "anonymousId": "phone", "userId": "ada", "traits": {"plan": "free", "city": "Oslo"}},
            ]))
            .await;
        space
            .send(json!([
                {"type": "identify", "anonymousId": "desk", "userId": "ada", "traits": {"plan": "pro"}},
                {"type": "track", "anonymousId": "desk", "event": "Bought"},
            ]))
            .await;
        let who = "user_id:ada";
        assert_eq!(space.ids("users", who).await, ["anonymous_id:desk", "anonymous_id:phone", "user_id:ada"]);
        assert_eq!(space.traits("users", who).await, json!({"plan": "pro", "city": "Oslo"}));
        assert_eq!(space.events("users", "anonymous_id:desk").await, ["Looked", "Searched", "identify", "identify", "Bought"]);
        let metadata = space.ask("users", who, "metadata").await.ok().json();
        assert!(metadata["first_message_id"] != metadata["last_message_id"] && metadata["expires_at"].is_null(), "{metadata}");
    })
    .await;
}

#[tokio::test]
async fn what_events_add_up_to_makes_people_enter_and_leave() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let spent = json!({"key": "spent", "over": {"event": "Order Completed"}, "function": "sum", "property": "total"});
        let made = deputy.operate("POST", "/computed-traits", spent).await.ok().json();
        assert_eq!(made["function"], "sum", "{made}");
        let big = json!({"key": "big", "collection": "users", "condition": {"key": "spent", "at_least": 10}});
        let audience = deputy.operate("POST", "/audiences", big).await.ok().json();
        space.send(json!([order("ada", 6)])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 6}));
        space.send(json!([order("ada", 6), order("bob", 9)])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 12, "big": true}));
        assert_eq!(space.traits("users", "user_id:bob").await, json!({"spent": 9}));
        space.send(json!([order("ada", -5)])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 7}));
        for fact in ["audience.entered.v1", "audience.left.v1"] {
            let moved = deputy.facts_of(fact).await;
            assert_eq!(moved.iter().map(|moved| &moved["audience"]).collect::<Vec<_>>(), [&audience["id"]], "{fact}");
        }
        let path = format!("/computed-traits/{}", made["id"].as_str().expect("text"));
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        assert_eq!(space.traits("users", "user_id:ada").await, json!({}));
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_linked_to_the_person_for_whom_it_acts_and_is_not_them() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        deputy.resource().await;
        let (person, agent) = (deputy.person("ada").await, deputy.agent().await);
        agent.authorize(&person, "notes:read").await;
        space.settle().await;
        let who = format!("client_id:{}", agent.client_id);
        assert_eq!(space.ids("agents", &who).await, std::slice::from_ref(&who));
        assert_eq!(space.traits("agents", &who).await["name"], "Notes agent");
        let events = space.events("agents", &who).await;
        assert!(events.contains(&"consent.given.v1".to_owned()) && events.contains(&"token.issued.v1".to_owned()), "{events:?}");
        let links = space.ask("agents", &who, "links").await.ok().json();
        assert_eq!((links["data"][0]["to_collection"].as_str(), links["data"].as_array().map(Vec::len)), (Some("users"), Some(1)));
        let person = format!("user_id:{}", links["data"][0]["external_ids"][0]["id"].as_str().expect("text"));
        let back = space.ask("users", &person, "links").await.ok().json();
        assert_eq!(back["data"][0]["external_ids"][0]["id"], agent.client_id.as_str(), "{back}");
    })
    .await;
}

#[tokio::test]
async fn a_merge_that_was_a_mistake_is_taken_back_and_stays_so() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let count = json!({"key": "visits", "over": {"event": "Visit"}, "function": "count"});
        deputy.operate("POST", "/computed-traits", count).await.ok();
        let often = json!({"key": "often", "collection": "users", "condition": {"key": "visits", "at_least": 3}});
        deputy.operate("POST", "/audiences", often).await.ok();
        let visit = |id: &str| json!({"type": "track", "anonymousId": id, "event": "Visit"});
        space.send(json!([visit("a"), visit("a"), visit("b")])).await;
        let joined = json!([{"type": "identify", "userId": "ada", "anonymousId": "a"}, {"type": "identify", "userId": "ada", "anonymousId": "b"}]);
        space.send(joined.clone()).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"visits": 3, "often": true}));

        let evidence = space.evidence("users", "user_id:ada").await;
        let (profile, merge) = (evidence["profile_id"].as_str().expect("text"), &evidence["merges"][0]);
        assert_eq!((evidence["parts"].as_array().map(Vec::len), merge["external_id"].as_str()), (Some(2), Some("anonymous_id:b")));
        let undo = json!({"edge_offset": merge["edge_offset"], "external_id": merge["external_id"]});
        let path = format!("/profiles/{profile}/unmerge");
        let asked = deputy.operate("POST", &path, undo.clone()).await.ok().json();
        assert_eq!(asked["status"], "INITIALIZED", "{asked}");
        space.settle().await;
        let state = format!("/regulations/{}", asked["intervention_id"].as_str().expect("text"));
        assert_eq!(deputy.operate("GET", &state, Value::Null).await.ok().json()["status"], "FINISHED");
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"visits": 2}), "nobody is in the audience any longer");
        assert_eq!(space.traits("users", "anonymous_id:b").await, json!({"visits": 1}));

        // The same evidence again does not join them again; and what is not there cannot be taken back.
        space.send(joined).await;
        assert_eq!(space.ids("users", "anonymous_id:b").await, ["anonymous_id:b"]);
        deputy.operate("POST", &path, undo).await.refused(409, "conflict");
        assert_eq!(deputy.last_reason().await, "admin.conflict");
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_taken_away_does_not_come_back() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let identify =
            json!([{"type": "identify", "userId": "ada", "anonymousId": "tablet", "traits": {"email": "ada@x.example"}}]);
        space.send(identify.clone()).await;
        let path =
            format!("/profiles/{}/take-away", space.evidence("users", "user_id:ada").await["profile_id"].as_str().expect("text"));
        deputy.operate("POST", &path, json!({"external_id": "anonymous_id:tablet"})).await.ok();
        space.settle().await;
        assert_eq!(space.ids("users", "user_id:ada").await, ["email:ada@x.example", "user_id:ada"]);
        space.send(identify).await;
        assert_eq!(space.ids("users", "user_id:ada").await, ["email:ada@x.example", "user_id:ada"]);
        deputy.operate("POST", &path, json!({"external_id": "user_id:ada"})).await.refused(409, "conflict");
        assert_eq!(deputy.last_reason().await, "admin.conflict");
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_any_two_batches_counts_everything_once() {
    each_engine(async |mut deputy| {
        let token = {
            let space = Space::of(&deputy).await;
            let count = json!({"key": "visits", "over": {"event": "Visit"}, "function": "count"});
            deputy.operate("POST", "/computed-traits", count).await.ok();
            (space.write_key, space.token)
        };
        for round in 0..4 {
            let body = json!({"batch": (0..5).map(|n| json!({"type": "track", "userId": "ada", "event": "Visit", "messageId": format!("m{round}-{n}")}))
                .collect::<Vec<_>>(), "writeKey": token.0});
            for stage in ["dedup of received", "profiles"] {
                deputy.http.post(format!("{}/v1/batch", deputy.issuer)).body(body.to_string()).send().await.expect("it is taken");
                step(&deputy, stage).await;
                deputy.crash().await;
            }
        }
        deputy.settle().await;
        let url = format!("{}/v1/spaces/deputy/collections/users/profiles/user_id:ada/traits", deputy.issuer);
        let told = deputy.http.get(url).basic_auth(&token.1, Some("")).send().await.expect("it answers");
        assert_eq!(told.json::<Value>().await.expect("JSON")["traits"], json!({"visits": 20}));
    })
    .await;
}

#[tokio::test]
async fn a_sum_beyond_all_numbers_stops_nobody() {
    each_engine(async |mut deputy| {
        let token = {
            let space = Space::of(&deputy).await;
            let spent = json!({"key": "spent", "over": {"event": "Order Completed"}, "function": "sum", "property": "total"});
            deputy.operate("POST", "/computed-traits", spent).await.ok();
            let huge = || json!({"type": "track", "userId": "eve", "event": "Order Completed", "properties": {"total": 1e308}});
            space.send(json!([huge(), huge()])).await;
            (space.write_key, space.token)
        };
        deputy.restart().await;
        let space = Space::known(&deputy, &token.0, &token.1);
        space.send(json!([order("eve", 5), order("ada", 5)])).await;
        assert_eq!(space.traits("users", "user_id:eve").await, json!({"spent": 1e308}));
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 5}));
    })
    .await;
}

#[tokio::test]
async fn links_to_the_parts_of_one_person_are_told_as_one_and_hide_nobody() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let rules = json!({"other_limit": {"values_max": 100, "window": "ever"}});
        deputy.operate("PUT", "/identity-rules", rules).await.ok();
        let look = |who: &str, id: String| json!({"type": "track", who: id, "event": "Looked", "context": {"groupId": "g"}});
        space.send((0..5).map(|n| look("userId", format!("user{n}"))).collect()).await;
        deputy.later(1);
        space.send((0..25).map(|n| look("anonymousId", format!("v{n}"))).collect()).await;
        deputy.later(1);
        let identify = |n| json!({"type": "identify", "userId": "ada", "anonymousId": format!("v{n}")});
        space.send((0..25).map(identify).collect()).await;
        let links = space.ask("accounts", "group_id:g", "links").await.ok().json();
        let links = links["data"].as_array().expect("a list");
        assert_eq!((links.len(), links[0]["external_ids"].as_array().map(Vec::len)), (6, Some(26)), "ada was seen last");
    })
    .await;
}

#[tokio::test]
async fn rules_of_identity_change_at_a_place_in_the_log_however_far_profiles_have_come() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let seen = async |who: &str| space.ask("users", who, "traits").await.status == 200;
        let visit = |who: &str| json!([{"type": "track", "userId": who, "event": "Visit"}]);
        deputy.operate("POST", "/consumers/profiles/pause", Value::Null).await.ok();
        space.send(visit("anonymous")).await;
        for (blocked, who) in [(json!(["nobody"]), "null"), (json!(["someone"]), "nobody"), (json!(["nobody"]), "someone")] {
            deputy.operate("PUT", "/identity-rules", json!({"blocked_values": blocked})).await.ok();
            assert_eq!(deputy.operate("GET", "/identity-rules", Value::Null).await.ok().json()["blocked_values"], blocked);
            space.settle().await;
            space.send(visit(who)).await;
        }
        space.send(visit("nobody")).await;
        assert!(!seen("user_id:null").await);
        deputy.operate("POST", "/consumers/profiles/resume", Value::Null).await.ok();
        space.settle().await;
        assert!(!seen("user_id:anonymous").await, "it named nobody when it came");
        for who in ["user_id:null", "user_id:nobody", "user_id:someone"] {
            assert!(seen(who).await, "{who}");
        }
        assert_eq!(space.events("users", "user_id:nobody").await, ["Visit"], "the second came when it named nobody again");
        let told = deputy.operate("GET", "/identity-rules", Value::Null).await.ok().json();
        assert_eq!(told["blocked_values"], json!(["nobody"]));
    })
    .await;
}

async fn step(deputy: &Installation, name: &str) {
    let stage = STAGES.iter().find(|stage| stage.name == name).expect("there is such a stage");
    (stage.step)(deputy.world(), deputy.world().now()).await.expect("it steps");
}

#[tokio::test]
async fn what_operators_define_is_checked() {
    let deputy = Installation::start().await;
    for (method, path, body) in [
        ("POST", "/computed-traits", json!({"key": "a.b", "over": {"event": "E"}, "function": "count"})),
        ("POST", "/computed-traits", json!({"key": "a", "over": {"event": "E"}, "function": "median", "property": "x"})),
        ("POST", "/computed-traits", json!({"key": "a", "over": {"event": "E"}, "function": "count", "dayz": 3})),
        ("POST", "/computed-traits", json!({"id": "ctr_1", "key": "a", "over": {"event": "E"}, "function": "count"})),
        ("POST", "/audiences", json!({"key": "a", "collection": "users", "condition": {"key": "x", "is_like": 1}})),
        ("POST", "/audiences", json!({"key": "a", "collection": "robots", "condition": {"key": "x", "equals": 1}})),
        ("PUT", "/identity-rules", json!({"blocked_patterns": [".*"]})),
        ("PUT", "/identity-rules", json!({"blocked": []})),
        ("POST", "/profile-tokens", json!({"name": ""})),
        ("POST", "/regulations", json!({"regulation": "DELETE_ONLY", "user_ids": []})),
        ("POST", "/regulations", json!({"regulation": "FORGET", "user_ids": ["a"]})),
    ] {
        deputy.operate(method, path, body.clone()).await.refused(400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "admin.value", "{path} {body}");
    }
    for (method, path) in [
        ("DELETE", "/computed-traits/ctr_00000000000000000000000000"),
        ("DELETE", "/audiences/aud_00000000000000000000000000"),
        ("DELETE", "/profile-tokens/pat_00000000000000000000000000"),
        ("GET", "/profiles/prf_00000000000000000000000000"),
        ("GET", "/profiles?collection=users&external_id=user_id:nobody"),
        ("GET", "/regulations/itv_00000000000000000000000000"),
    ] {
        deputy.operate(method, path, Value::Null).await.refused(404, "not_found");
        assert_eq!(deputy.last_reason().await, "admin.not_found", "{path}");
    }
    for (path, body) in [
        ("/profiles/prf_00000000000000000000000000/unmerge", json!({"edge_offset": 1, "external_id": "user_id:a"})),
        ("/profiles/prf_00000000000000000000000000/take-away", json!({"external_id": "user_id:a"})),
    ] {
        deputy.operate("POST", path, body).await.refused(404, "not_found");
        assert_eq!(deputy.last_reason().await, "admin.not_found", "{path}");
    }
    let rules = json!({"limits": {"email": {"values_max": 1, "window": "ever"}}, "promoted": ["crm_id"]});
    assert_eq!(deputy.operate("PUT", "/identity-rules", rules).await.ok().json()["promoted"], json!(["crm_id"]));
    assert_eq!(deputy.operate("GET", "/identity-rules", Value::Null).await.ok().json()["limits"]["email"]["values_max"], 1);
    let count = json!({"key": "n", "over": {"event": "E"}, "function": "count"});
    deputy.operate("POST", "/computed-traits", count.clone()).await.ok();
    deputy.operate("POST", "/computed-traits", count).await.refused(409, "conflict");
    let all = deputy.operate("GET", "/computed-traits", Value::Null).await.ok().json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn what_the_log_has_deleted_is_no_longer_noted_as_anybodys() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(json!([order("ada", 1), order("ada", 2), order("bob", 3)])).await;
        let ada = space.evidence("users", "user_id:ada").await["profile_id"].as_str().expect("text").parse().expect("an id");
        let noted = async || {
            let read =
                deputy.world().storage.read(move |tx| Box::pin(async move { profile_states::events_from(tx, ada, 0, 10).await }));
            read.await.expect("storage answers").len()
        };
        assert_eq!(noted().await, 2);
        // As much as fills the log's first file, and says nothing of anybody.
        let world = deputy.world();
        for _ in 0..25 {
            let filling = vec![Record::new(b"", vec![b' '; 3 << 20], world.now())];
            world.log.append(EVENTS, filling).await.expect("the log takes it");
        }
        deputy.later(40 * 86_400);
        space.send(json!([order("ada", 4)])).await;
        for _ in 0..4 {
            deputy.settle().await;
        }
        let (start, _) = world.log.bounds(EVENTS, 0).await.expect("the log answers");
        assert!(start > 0, "retention has deleted what was first");
        assert_eq!(noted().await, 1);
        assert_eq!(space.events("users", "user_id:ada").await, ["Order Completed"]);
        assert_eq!(space.events("users", "user_id:bob").await, [] as [&str; 0]);
    })
    .await;
}

#[tokio::test]
async fn who_leaves_an_audience_as_days_pass_is_told_of_once_whatever_nodes_look() {
    let one = Installation::start_on_postgres("").await;
    let other = one.beside().await;
    let space = Space::of(&one).await;
    let spent = json!({"key": "spent", "over": {"event": "Order Completed"}, "function": "sum", "property": "total", "days": 1});
    one.operate("POST", "/computed-traits", spent).await.ok();
    let big = json!({"key": "big", "collection": "users", "condition": {"key": "spent", "at_least": 10}});
    one.operate("POST", "/audiences", big).await.ok();
    space.send(json!((0..20).map(|n| order(&format!("user{n}"), 12)).collect::<Vec<_>>())).await;
    one.later(3 * 86_400);
    tokio::join!(one.settle(), other.settle());
    let (here, there) = (one.facts_of("audience.left.v1").await, other.facts_of("audience.left.v1").await);
    assert_eq!(here.len() + there.len(), 20);
}

#[tokio::test]
async fn what_is_forgotten_under_load_is_all_forgotten_and_what_was_not_read_is_told() {
    let deputy = Installation::start().await;
    let space = Space::of(&deputy).await;
    space.settle().await;
    deputy.operate("POST", "/consumers/risk/pause", Value::Null).await;
    space.send(json!((0..230).map(|n| order(&format!("user{n}"), 1)).collect::<Vec<_>>())).await;
    let world = deputy.world();
    for _ in 0..25 {
        let filling = vec![Record::new(b"", vec![b' '; 3 << 20], world.now())];
        world.log.append(EVENTS, filling).await.expect("the log takes it");
    }
    deputy.later(40 * 86_400);
    deputy.settle().await;
    for _ in 0..6 {
        // As if retention had moved the log's beginning since the last step.
        world.forgetting.lock().await.starts.iter_mut().for_each(|start| start.offset -= 1);
        profiles::forgetting::step(world, world.now()).await.expect("it goes on");
    }
    let count = world.storage.read(|tx| Box::pin(async move { count_noted(tx).await }));
    assert_eq!(count.await.expect("storage answers"), 0, "also those of the profiles that come last");

    let risk = async || {
        let listed = deputy.operate("GET", "/consumers", Value::Null).await.ok().json();
        let found = listed["items"].as_array().expect("a list").iter().find(|one| one["consumer"] == "risk");
        found.expect("it is listed")["inputs"][0]["trimmed_unread"].as_u64().expect("a number")
    };
    assert!(risk().await >= 230, "it had read none of them");
    deputy.operate("POST", "/consumers/risk/resume", Value::Null).await;
    deputy.settle().await;
    assert_eq!(risk().await, 0);
    let page = deputy.get("/metrics").await.ok().body;
    assert!(page.contains("deputy_facts_trimmed_unread_total{consumer=\"risk\"}"), "{page}");
}

/// How many events are noted of the users of the test.
async fn count_noted(tx: &mut Tx) -> Result<usize, StorageError> {
    let mut count = 0;
    for profile in profile_states::profiles_after(tx, None, 1_000).await? {
        count += profile_states::events_from(tx, profile, 0, 10).await?.len();
    }
    Ok(count)
}
