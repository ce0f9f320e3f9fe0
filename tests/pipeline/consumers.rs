//! Consumers of the log, as an operator sees to them: how far they have come, pause, resume, and reading again.

use deputy::domain::refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, CONSUMER_REPLAY, REQUEST_METHOD};
use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Installation, each_engine};

/// A consumer as it is listed.
async fn shown(deputy: &Installation, name: &str) -> Value {
    let all = deputy.operate("GET", "/consumers", Value::Null).await.ok().json();
    let found = all["items"].as_array().expect("a list").iter().find(|consumer| consumer["consumer"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}")).clone()
}

async fn pause(deputy: &Installation, name: &str) {
    assert_eq!(deputy.operate("POST", &format!("/consumers/{name}/pause"), Value::Null).await.status, 204);
}

async fn resume(deputy: &Installation, name: &str) {
    assert_eq!(deputy.operate("POST", &format!("/consumers/{name}/resume"), Value::Null).await.status, 204);
}

fn visit(user: &str) -> Value {
    json!({"type": "track", "userId": user, "event": "Visit"})
}

#[tokio::test]
async fn a_consumer_that_is_paused_stands_still_until_it_is_resumed_also_after_a_restart() {
    each_engine(async |mut deputy| {
        let (write_key, token) = {
            let space = Space::of(&deputy).await;
            space.send(json!([visit("ada")])).await;
            let before = shown(&deputy, "profiles").await;
            assert_eq!((&before["inputs"][0]["lag"], &before["paused_at"]), (&json!(0), &Value::Null), "{before}");
            pause(&deputy, "profiles").await;
            pause(&deputy, "profiles").await;
            deputy.later(7);
            space.send(json!([visit("bob"), visit("bob")])).await;
            (space.write_key.clone(), space.token.clone())
        };
        deputy.restart().await;
        deputy.later(5);
        let space = Space::known(&deputy, &write_key, &token);
        space.settle().await;
        assert_eq!(space.ask("users", "user_id:bob", "traits").await.status, 404, "nobody has read of bob");
        let paused = shown(&deputy, "profiles").await;
        let input = &paused["inputs"][0];
        // The two visits, and the facts of the pause and of its own.
        let (next, end, lag) = (input["next"].as_u64(), input["end"].as_u64(), input["lag"].as_u64());
        assert_eq!((lag, lag >= Some(2)), (end.zip(next).map(|(end, next)| end - next), true), "{paused}");
        assert!(input["lag_s"].as_u64().is_some_and(|seconds| (5..=12).contains(&seconds)), "{paused}");
        assert!(
            paused["paused_at"].is_string() && paused["paused_by"].as_str().is_some_and(|by| by.starts_with("opr_")),
            "{paused}"
        );
        assert_eq!(shown(&deputy, "risk").await["inputs"][0]["lag"], 0, "the others go on");

        resume(&deputy, "profiles").await;
        resume(&deputy, "profiles").await;
        space.settle().await;
        assert_eq!(space.events("users", "user_id:bob").await, ["Visit", "Visit"], "nothing was lost");
        let running = shown(&deputy, "profiles").await;
        assert_eq!((&running["inputs"][0]["lag"], &running["paused_at"]), (&json!(0), &Value::Null), "{running}");
        let named = json!({"consumer": "profiles"});
        for fact in ["consumer.paused.v1", "consumer.resumed.v1"] {
            assert_eq!(deputy.facts_of(fact).await, std::slice::from_ref(&named), "{fact}: once, however often it is asked");
        }
    })
    .await;
}

#[tokio::test]
async fn dedup_that_is_paused_publishes_nothing_and_loses_nothing() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.settle().await;
        pause(&deputy, "dedup").await;
        let published = deputy.topic("events").await.len();
        space.send(json!([visit("ada")])).await;
        assert_eq!(deputy.topic("events").await.len(), published);
        let told = shown(&deputy, "dedup").await;
        let waiting = told["inputs"].as_array().expect("a list").iter().find(|input| input["topic"] == "received");
        assert_eq!(waiting.map(|input| &input["lag"]), Some(&json!(1)), "{told}");
        resume(&deputy, "dedup").await;
        space.settle().await;
        assert_eq!(space.events("users", "user_id:ada").await, ["Visit"]);
    })
    .await;
}

#[tokio::test]
async fn a_pause_holds_on_every_node() {
    let one = Installation::start_on_postgres("").await;
    let other = one.beside().await;
    let space = Space::of(&other).await;
    space.settle().await;
    pause(&one, "dedup").await;
    space.send(json!([visit("ada")])).await;
    assert!(shown(&other, "dedup").await["paused_at"].is_string());
    assert_eq!(other.topic("events").await.iter().filter(|event| event["type"] == "event.received.v1").count(), 0);
    resume(&other, "dedup").await;
    space.settle().await;
    assert_eq!(other.topic("events").await.iter().filter(|event| event["type"] == "event.received.v1").count(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_again_says_why_and_what_to_do() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(json!([visit("ada")])).await;
        let replay = async |name: &str, from: Value| deputy.operate("POST", &format!("/consumers/{name}/replay"), from).await;
        for (name, instead) in
            [("dedup", "replay a consumer of that topic"), ("risk", "enable its client"), ("who", "set its kind")]
        {
            let refused = replay(name, json!({"from_offset": 0})).await.refused(409, CONSUMER_REPLAY.code.as_str());
            assert!(refused.body.contains(instead), "{refused:?}");
            assert_eq!(deputy.last_reason().await, CONSUMER_REPLAY.reason);
            assert_eq!(shown(&deputy, name).await["can_be_replayed"], false);
        }
        for wrong in [
            json!({}),
            json!({"from_offset": 0, "from_time": "2026-11-01T00:00:00Z"}),
            json!({"from_time": "2026-11-01T00:00:00Z", "partition": 0}),
            json!({"from_time": "yesterday"}),
            json!({"from_offset": 1_000_000}),
            json!({"from_offset": 0, "partition": 7}),
            json!({"from": 0}),
        ] {
            replay("profiles", wrong).await.refused(400, ADMIN_VALUE.code.as_str());
        }
        let nowhere = replay("profiles", json!({"from_offset": 0, "partition": 7})).await.text("error_description");
        assert_eq!(nowhere, "There is no partition 7: the consumer's have the numbers from 0 to 0.");
        for path in ["/consumers/{nobody}/pause", "/consumers/{nobody}/resume", "/consumers/{nobody}/replay"] {
            deputy.operate("POST", path, json!({"from_offset": 0})).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
        }
        deputy.operate("POST", "/consumers", json!({})).await.refused(405, REQUEST_METHOD.code.as_str());
    })
    .await;
}

/// Reads again from there on, and comes to the end of it.
async fn replay(deputy: &Installation, from: Value) {
    assert_eq!(deputy.operate("POST", "/consumers/profiles/replay", from).await.status, 204);
    assert!(shown(deputy, "profiles").await["inputs"][0]["replay"]["until"].is_u64());
    catch_up(deputy).await;
    let told = shown(deputy, "profiles").await;
    assert_eq!((&told["inputs"][0]["replay"], &told["inputs"][0]["lag"]), (&Value::Null, &json!(0)), "{told}");
}

/// Lets the stages run until nothing lies before any consumer: on Kafka they get their partitions only after a while.
async fn catch_up(deputy: &Installation) {
    for _ in 0..600 {
        deputy.settle().await;
        let all = deputy.operate("GET", "/consumers", Value::Null).await.ok().json();
        let inputs = all["items"].as_array().expect("a list").iter().flat_map(|consumer| consumer["inputs"].as_array()).flatten();
        if inputs.filter(|input| input["lag"] != 0).count() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the consumers do not catch up");
}

/// All that is shown of somebody but when it was computed.
async fn whole(space: &Space<'_>, who: &str) -> Value {
    json!({
        "traits": space.traits("users", who).await,
        "ids": space.ids("users", who).await,
        "events": space.events("users", who).await,
        "metadata": space.ask("users", who, "metadata").await.ok().json(),
    })
}

async fn count(deputy: &Installation, key: &str) {
    let trait_of = json!({"key": key, "over": {"event": "Visit"}, "function": "count"});
    deputy.operate("POST", "/computed-traits", trait_of).await.ok();
}

#[tokio::test]
async fn a_replay_counts_what_came_before_a_trait_was_made_and_nothing_twice() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        reads_again(&space, &deputy).await;
    })
    .await;
}

#[tokio::test]
async fn a_replay_on_kafka_is_the_same() {
    let deputy = Installation::start_with(&super::kafka::on_kafka()).await;
    reads_again(&Space::of(&deputy).await, &deputy).await;
}

async fn reads_again(space: &Space<'_>, deputy: &Installation) {
    let named = json!({"type": "identify", "userId": "ada", "anonymousId": "desk", "traits": {"city": "Oslo"}});
    let anonymous = json!({"type": "track", "anonymousId": "desk", "event": "Visit"});
    space.send(json!([anonymous, visit("ada"), named, visit("bob")])).await;
    catch_up(deputy).await;
    deputy.later(60);
    count(deputy, "visits").await;
    let often = json!({"key": "often", "collection": "users", "condition": {"key": "visits", "at_least": 3}});
    deputy.operate("POST", "/audiences", often).await.ok();
    space.send(json!([visit("ada"), {"type": "identify", "userId": "ada", "traits": {"city": "Bergen"}}])).await;
    catch_up(deputy).await;
    assert_eq!(space.traits("users", "user_id:ada").await, json!({"visits": 1, "city": "Bergen"}));
    let mut expected = whole(space, "user_id:ada").await;

    let conflict = async || {
        let again = deputy.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await;
        assert_eq!(
            again.refused(409, CONSUMER_REPLAY.code.as_str()).text("error_description"),
            "It is reading again already; wait until it is where it was."
        );
    };
    assert_eq!(deputy.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await.status, 204);
    conflict().await;
    catch_up(deputy).await;
    expected["traits"] = json!({"visits": 3, "often": true, "city": "Bergen"});
    assert_eq!(whole(space, "user_id:ada").await, expected);
    assert_eq!(space.traits("users", "user_id:bob").await, json!({"visits": 1}));
    for from in [json!({"from_offset": 0}), json!({"from_time": "2027-01-15T08:00:00Z"}), json!({"from_offset": 3})] {
        replay(deputy, from).await;
        assert_eq!(whole(space, "user_id:ada").await, expected, "what is read once more changes nothing");
    }
    assert_eq!(deputy.facts_of("audience.entered.v1").await.len(), 1);
    let mut told = deputy.facts_of("consumer.replayed.v1").await;
    told.sort_by_key(|fact| fact["until"].as_u64());
    assert_eq!((told.len(), &told[0]["input"], &told[0]["from"]), (4, &json!("events/0"), &json!(0)));
    space.send(json!([visit("ada")])).await;
    catch_up(deputy).await;
    assert_eq!(space.traits("users", "user_id:ada").await["visits"], 4, "and what comes next counts once");
}

#[tokio::test]
async fn a_trait_that_is_made_during_a_replay_begins_after_it() {
    each_engine(async |mut deputy| {
        let (write_key, token) = {
            let space = Space::of(&deputy).await;
            space.send(json!([visit("ada"), visit("ada")])).await;
            count(&deputy, "before").await;
            pause(&deputy, "profiles").await;
            deputy.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await.ok();
            count(&deputy, "during").await;
            space.send(json!([visit("ada")])).await;
            (space.write_key.clone(), space.token.clone())
        };
        deputy.restart().await;
        resume(&deputy, "profiles").await;
        let space = Space::known(&deputy, &write_key, &token);
        space.settle().await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"before": 3, "during": 1}));
        replay(&deputy, json!({"from_offset": 0})).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"before": 3, "during": 3}));
    })
    .await;
}

#[tokio::test]
async fn what_nobody_had_by_the_rules_of_then_is_taken_in_and_what_was_taken_away_stays_away() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let desk = json!({"type": "track", "anonymousId": "desk", "event": "Looked"});
        let named = json!({"type": "identify", "userId": "ada", "anonymousId": "desk", "traits": {"email": "two@x.example"}});
        space.send(json!([visit("anonymous"), desk, desk, named, visit("ada")])).await;
        assert_eq!(space.ask("users", "user_id:anonymous", "traits").await.status, 404, "it names nobody");
        let profile = space.evidence("users", "user_id:ada").await["profile_id"].as_str().expect("text").to_owned();
        for id in ["email:two@x.example", "anonymous_id:desk"] {
            deputy.operate("POST", &format!("/profiles/{profile}/take-away"), json!({"external_id": id})).await.ok();
            space.settle().await;
        }
        let expected = whole(&space, "user_id:ada").await;
        assert_eq!(expected["events"], json!(["Looked", "Looked", "identify", "Visit"]));
        deputy.operate("PUT", "/identity-rules", json!({"blocked_values": []})).await.ok();
        space.settle().await;
        for _ in 0..2 {
            replay(&deputy, json!({"from_offset": 0})).await;
            assert_eq!(space.events("users", "user_id:anonymous").await, ["Visit"]);
            assert_eq!(whole(&space, "user_id:ada").await, expected);
            for id in ["email:two@x.example", "anonymous_id:desk"] {
                assert_eq!(space.ask("users", id, "traits").await.status, 404, "{id}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_waits_for_another_says_so() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(json!([visit("ada")])).await;
        pause(&deputy, "profiles").await;
        let regulation = json!({"regulation": "DELETE_ONLY", "user_ids": ["ada"]});
        deputy.operate("POST", "/regulations", regulation).await.ok();
        space.send(json!([visit("bob")])).await;
        let waiting = shown(&deputy, "who").await;
        assert_eq!(waiting["inputs"][0]["waits_for"], "profiles", "{waiting}");
        assert_eq!(shown(&deputy, "risk").await["inputs"][0]["waits_for"], Value::Null, "the others go on");
        resume(&deputy, "profiles").await;
        space.settle().await;
        let running = shown(&deputy, "who").await;
        assert_eq!((&running["inputs"][0]["waits_for"], &running["inputs"][0]["lag"]), (&Value::Null, &json!(0)), "{running}");
    })
    .await;
}
