//! Who belongs to an audience where no event says so: days pass, and what is defined changes. And that the stage rests afterwards.

use std::collections::BTreeSet;

use deputy::{
    domain::{
        audience::Audience,
        id::{AudienceKind, Id},
    },
    server::stages::STAGES,
    storage::{StorageError, audience_walk, definitions, profile_states},
    world::Progress,
};
use serde_json::{Value, json};

use super::space::Space;
use crate::support::{Installation, each_engine};

const DAY_S: u64 = 86_400;

async fn step(deputy: &Installation, name: &str) -> Progress {
    let stage = STAGES.iter().find(|stage| stage.name == name).expect("there is such a stage");
    (stage.step)(deputy.world(), deputy.world().now()).await.expect("it steps")
}

/// Steps the stage until it rests, which it does before long.
async fn rests(deputy: &Installation, name: &str) {
    for _ in 0..50 {
        if step(deputy, name).await == Progress::Idle {
            return;
        }
    }
    panic!("{name} never rests");
}

fn order(who: &str, id: &str, total: i64) -> Value {
    json!({"type": "track", who: id, "event": "Order Completed", "properties": {"total": total}})
}

/// What was spent in the last two days.
async fn spent(deputy: &Installation) -> String {
    let spent = json!({"key": "spent", "over": {"event": "Order Completed"}, "function": "sum", "property": "total", "days": 2});
    deputy.operate("POST", "/computed-traits", spent).await.ok().text("id")
}

async fn audience(deputy: &Installation, condition: Value) -> String {
    let made = json!({"key": "chosen", "collection": "users", "condition": condition});
    deputy.operate("POST", "/audiences", made).await.ok().text("id")
}

#[tokio::test]
async fn a_visitor_who_was_counted_and_signed_in_is_not_looked_at_for_ever() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        spent(&deputy).await;
        audience(&deputy, json!({"key": "spent", "at_least": 10})).await;
        space.send(json!([{"type": "identify", "userId": "ada"}])).await;
        space.send(json!([order("anonymousId", "phone", 1)])).await;
        space.send(json!([{"type": "identify", "userId": "ada", "anonymousId": "phone"}])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 1}));
        deputy.later(3 * DAY_S);
        rests(&deputy, "profiles").await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({}));
        space.settle().await;
    })
    .await;
}

#[tokio::test]
async fn the_last_audience_may_go() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        spent(&deputy).await;
        let id = audience(&deputy, json!({"key": "spent", "at_least": 10})).await;
        space.send(json!([order("userId", "ada", 12)])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 12, "chosen": true}));
        deputy.operate("DELETE", &format!("/audiences/{id}"), Value::Null).await.ok();
        deputy.later(3 * DAY_S);
        rests(&deputy, "profiles").await;
        space.settle().await;
    })
    .await;
}

#[tokio::test]
async fn a_merge_is_taken_back_where_there_is_no_audience() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(json!([order("anonymousId", "a", 1), order("anonymousId", "b", 1)])).await;
        let joined = ["a", "b"].map(|id| json!({"type": "identify", "userId": "ada", "anonymousId": id}));
        space.send(json!(joined)).await;
        let evidence = space.evidence("users", "user_id:ada").await;
        let (profile, merge) = (evidence["profile_id"].as_str().expect("text"), &evidence["merges"][0]);
        let undo = json!({"edge_offset": merge["edge_offset"], "external_id": merge["external_id"]});
        deputy.operate("POST", &format!("/profiles/{profile}/unmerge"), undo).await.ok();
        space.settle_but("profiles").await;
        rests(&deputy, "profiles").await;
        assert_eq!(space.ids("users", "anonymous_id:b").await, ["anonymous_id:b"]);
        space.settle().await;
    })
    .await;
}

#[tokio::test]
async fn who_leaves_as_days_pass_leaves_however_many_events_of_others_come() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        spent(&deputy).await;
        audience(&deputy, json!({"key": "spent", "at_least": 10})).await;
        space.send(json!([order("userId", "ada", 12)])).await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"spent": 12, "chosen": true}));
        deputy.later(3 * DAY_S);
        for _ in 0..3 {
            space.send_only(json!([order("userId", "bob", 1)])).await;
            rests(&deputy, "dedup of received").await;
            assert_ne!(step(&deputy, "profiles").await, Progress::Idle);
        }
        assert_eq!(space.traits("users", "user_id:bob").await, json!({"spent": 3}));
        assert_eq!(space.traits("users", "user_id:ada").await, json!({}));
        assert_eq!(deputy.facts_of("audience.left.v1").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn whoever_belongs_to_a_new_audience_enters_it_without_an_event_also_across_a_crash() {
    each_engine(async |mut deputy| {
        {
            let space = Space::of(&deputy).await;
            let identify = |n| json!({"type": "identify", "userId": format!("user{n}"), "traits": {"plan": if n < 230 { "pro" } else { "free" }}});
            space.send(json!((0..240).map(identify).collect::<Vec<_>>())).await;
            audience(&deputy, json!({"key": "plan", "equals": "pro"})).await;
            assert_eq!(step(&deputy, "profiles").await, Progress::Advanced);
            let walk = deputy.world().storage.read(|tx| Box::pin(async move { audience_walk::under_way(tx).await })).await;
            assert!(walk.expect("storage answers").is_some_and(|walk| walk.after.is_some()), "it is on its way");
        }
        deputy.crash().await;
        rests(&deputy, "profiles").await;
        let entered = deputy.facts_of("audience.entered.v1").await;
        let profiles: BTreeSet<_> = entered.iter().map(|fact| fact["profile"].to_string()).collect();
        assert_eq!((entered.len(), profiles.len()), (230, 230), "each once");
        deputy.settle().await;
        assert_eq!(deputy.facts_of("audience.entered.v1").await.len(), 230);
    })
    .await;
}

#[tokio::test]
async fn who_belongs_to_an_audience_by_a_trait_that_is_deleted_leaves_and_what_was_counted_is_forgotten() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        let id = spent(&deputy).await;
        audience(&deputy, json!({"key": "spent", "at_least": 10})).await;
        space.send(json!([order("userId", "ada", 12)])).await;
        deputy.operate("DELETE", &format!("/computed-traits/{id}"), Value::Null).await.ok();
        rests(&deputy, "profiles").await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({}));
        assert_eq!(deputy.facts_of("audience.left.v1").await.len(), 1);

        let ada = space.evidence("users", "user_id:ada").await["profile_id"].as_str().expect("text").parse().expect("an id");
        let counted = async || {
            let only = BTreeSet::from([ada]);
            let load = deputy.world().storage.read(move |tx| Box::pin(async move { profile_states::load(tx, &only).await }));
            load.await.expect("storage answers")[0].state.computed.len()
        };
        assert_eq!(counted().await, 1);
        space.send(json!([order("userId", "ada", 1)])).await;
        assert_eq!(counted().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_replay_has_everybody_looked_at_once_more() {
    each_engine(async |deputy| {
        let space = Space::of(&deputy).await;
        space.send(json!([{"type": "identify", "userId": "ada", "traits": {"plan": "pro"}}])).await;
        // As an earlier version made it: nobody was looked at.
        let made = json!({"id": Id::<AudienceKind>::from_bytes([7; 16]), "key": "chosen", "collection": "users",
            "condition": {"key": "plan", "equals": "pro"}});
        let (made, now): (Audience, _) = (serde_json::from_value(made).expect("a definition"), deputy.world().now());
        let insert =
            deputy.world().storage.write(move |tx| Box::pin(async move { definitions::insert_audience(tx, &made, now).await }));
        assert_eq!(insert.await, Ok::<_, StorageError>(true));
        space.settle().await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"plan": "pro"}));
        deputy.operate("POST", "/consumers/profiles/replay", json!({"from_offset": 0})).await.ok();
        space.settle().await;
        assert_eq!(space.traits("users", "user_id:ada").await, json!({"plan": "pro", "chosen": true}));
    })
    .await;
}
