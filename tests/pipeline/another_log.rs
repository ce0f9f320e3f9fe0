//! Another log takes the place of the one whose offsets storage has: nothing of it is passed over, and who was suppressed stays so.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Installation, each_engine};

/// A process that is gone keeps its place for so long, where others share its database.
const LEASE_S: u64 = 61;

fn identify(user: &str, traits: &Value) -> Value {
    json!({"type": "identify", "userId": user, "traits": traits})
}

/// The consumer's first input, as it is listed.
async fn input(deputy: &Installation, consumer: &str) -> Value {
    let all = deputy.operate("GET", "/consumers", Value::Null).await.ok().json();
    let found = all["items"].as_array().expect("a list").iter().find(|listed| listed["consumer"] == consumer);
    found.expect("it is one of them")["inputs"][0].clone()
}

fn lose(folder: &Path) {
    for part in ["log", "seen"] {
        fs::remove_dir_all(folder.join(part)).expect("it was there");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is ours");
    for file in fs::read_dir(from).expect("it is there").map(|file| file.expect("it can be read")) {
        fs::copy(file.path(), to.join(file.file_name())).expect("the folder is ours");
    }
}

/// Asks for a regulation, and lets it be carried out.
async fn regulate(deputy: &Installation, space: &Space<'_>, regulation: &str, user: &str) {
    deputy.operate("POST", "/regulations", json!({"regulation": regulation, "user_ids": [user]})).await.ok();
    space.settle().await;
}

#[tokio::test]
async fn a_log_that_was_lost_is_followed_by_a_new_one_of_which_nothing_is_passed_over() {
    each_engine(async |mut deputy| {
        let (write_key, token) = {
            let space = Space::of(&deputy).await;
            let crowd: Vec<Value> = (0..40).map(|n| identify(&format!("user{n}"), &json!({"n": n}))).collect();
            space.send(json!(crowd)).await;
            space.send(json!([identify("ada", &json!({"plan": "free"}))])).await;
            regulate(&deputy, &space, "SUPPRESS_WITH_DELETE", "eve").await;
            // Asked for, and not read yet when the log is lost.
            deputy.operate("POST", "/consumers/profiles/pause", Value::Null).await;
            regulate(&deputy, &space, "DELETE_ONLY", "user7").await;
            (space.write_key.clone(), space.token.clone())
        };
        deputy.restart_after(lose).await;
        deputy.later(LEASE_S);
        deputy.operate("POST", "/consumers/profiles/resume", Value::Null).await;
        let space = Space::known(&deputy, &write_key, &token);
        space.send(json!([identify("ada", &json!({"plan": "pro"})), identify("eve", &json!({"plan": "pro"}))])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"plan": "pro"}));
        assert_eq!(space.ask("users", "user_id:eve", "traits").await.status, 404, "who was suppressed stays so");
        assert_eq!(space.ask("users", "user_id:user7", "traits").await.status, 404, "what was asked for is done");
        assert_eq!(space.events("users", "user_id:ada").await, ["identify"], "what the lost log had is not shown from the new one");
        assert_eq!(space.events("users", "user_id:user3").await, [""; 0]);
        for consumer in ["profiles", "risk", "who"] {
            let told = input(&deputy, consumer).await;
            assert_eq!((&told["lag"], &told["trimmed_unread"]), (&json!(0), &json!(0)), "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_log_that_comes_back_goes_on_where_it_was_left() {
    each_engine(async |mut deputy| {
        let (write_key, token) = {
            let space = Space::of(&deputy).await;
            space.send(json!([identify("ada", &json!({"plan": "free"})), identify("bob", &json!({"plan": "free"}))])).await;
            (space.write_key.clone(), space.token.clone())
        };
        // A copy that is older than the database: twenty events are missing in it.
        let kept = tempfile::tempdir().expect("a folder");
        deputy.restart_after(|folder| copy(&folder.join("log"), kept.path())).await;
        {
            let space = Space::known(&deputy, &write_key, &token);
            let crowd: Vec<Value> = (0..20).map(|n| identify(&format!("user{n}"), &json!({"n": n}))).collect();
            space.send(json!(crowd)).await;
        }
        deputy
            .restart_after(|folder| {
                lose(folder);
                copy(kept.path(), &folder.join("log"));
            })
            .await;
        deputy.later(LEASE_S);
        let space = Space::known(&deputy, &write_key, &token);
        space.send(json!([identify("bob", &json!({"plan": "pro"}))])).await;
        assert_eq!(space.traits("users", "user_id:bob").await, json!({"plan": "pro"}), "it is not passed over");
        let told = input(&deputy, "profiles").await;
        assert_eq!(told["lag"], 0, "{told}");
        assert_eq!(space.events("users", "user_id:bob").await, ["identify"], "nothing is taken in twice");
    })
    .await;
}

#[tokio::test]
async fn of_two_processes_with_logs_of_their_own_one_reads_and_the_other_says_so() {
    let one = Installation::start_on_postgres("").await;
    let space = Space::of(&one).await;
    space.send(json!([identify("ada", &json!({"plan": "free"}))])).await;
    let other = one.beside().await;
    let there = Space::known(&other, &space.write_key, &space.token);
    there.send(json!([identify("ada", &json!({"plan": "pro"}))])).await;
    assert_eq!(space.traits("users", "user_id:ada").await, json!({"plan": "free"}), "that log is not read");
    space.send(json!([identify("bob", &json!({"plan": "pro"}))])).await;
    assert_eq!(there.traits("users", "user_id:bob").await, json!({"plan": "pro"}), "what one finds out all know");

    let listed = other.operate("GET", "/consumers", Value::Null).await.ok().json();
    let elsewhere = |listed: &Value, name: &str| {
        let found = listed["items"].as_array().expect("a list").iter().find(|one| one["consumer"] == name);
        found.expect("it is listed")["reads_elsewhere"].clone()
    };
    assert_eq!(["dedup", "profiles", "risk", "who"].map(|name| elsewhere(&listed, name) == true), [false, true, true, true]);
    let page = other.get("/metrics").await.ok().body;
    assert!(page.contains("deputy_events_elsewhere"), "{page}");
    let replay = other.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await;
    replay.refused(409, "conflict");
    assert_eq!(other.last_reason().await, "consumer.replay");
    assert_eq!(there.ask("users", "user_id:bob", "events").await.status, 503, "they are in the other's log");

    // The first one is gone: the other's log is read, from its beginning.
    one.later(LEASE_S);
    there.settle().await;
    assert_eq!(there.traits("users", "user_id:ada").await, json!({"plan": "pro"}));
    space.send(json!([identify("bob", &json!({"plan": "free"}))])).await;
    assert_eq!(there.traits("users", "user_id:bob").await, json!({"plan": "pro"}), "now the first one stands aside");
}
