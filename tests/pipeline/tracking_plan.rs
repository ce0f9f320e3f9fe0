//! A tracking plan over a source's events: what is not as planned goes on, is mended or is kept aside, and is told of as an event.

use deputy::{
    domain::refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
    storage::{StorageError, tracking_plans},
};
use serde_json::{Value, json};

use super::shaped::{Sender, asides, goes_on, value};
use crate::support::{Answer, Installation, each_engine};

#[track_caller]
fn refused(answer: Answer, status: u16, refusal: &OAuthError, told: &str) {
    let answer = answer.refused(status, refusal.code.as_str());
    assert!(answer.text("error_description").contains(told), "{answer:?}");
}

fn rules() -> Value {
    let properties = json!({"type": "object", "required": ["total"], "additionalProperties": false,
        "properties": {"total": {"type": "number"}}});
    json!([{"call": "track", "name": "Order Completed", "schema": {"properties": {"properties": properties}}}])
}

fn plan(sender: &Sender<'_>, on_violation: &str, on_unplanned: &str) -> Value {
    json!({"name": "Shop", "rules": rules(), "on_violation": on_violation, "on_unplanned": on_unplanned, "sources": [sender.id]})
}

fn track(id: &str, event: &str, properties: Value) -> Value {
    json!({"type": "track", "userId": "u", "messageId": id, "event": event, "properties": properties})
}

#[tokio::test]
async fn what_is_not_as_planned_is_told_of_mended_or_kept_aside() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        let made = deputy.operate("POST", "/tracking-plans", plan(&shop, "allow", "allow")).await.ok().json();
        let path = format!("/tracking-plans/{}", made["tracking_plan_id"].as_str().expect("text"));
        let sent = [
            track("m-1", "Order Completed", json!({"total": 1})),
            track("m-2", "Order Completed", json!({"total": 1, "card": "4111"})),
            track("m-3", "Order Completed", json!({})),
            track("m-4", "Order Complete", json!({"total": 1})),
            json!({"type": "identify", "userId": "u", "messageId": "m-5"}),
        ];
        let shaped = shop.send(&sent).await;
        assert!(shaped.iter().all(|shaped| goes_on(shaped).is_none() && shaped.aside.is_empty()), "all go on: {shaped:?}");
        let violations: Vec<_> = shaped.iter().flat_map(|shaped| &shaped.violations).map(value).collect();
        let told: Vec<_> =
            violations.iter().map(|told| (&told["properties"]["eventMessageID"], &told["properties"]["violationField"])).collect();
        let expected =
            [(json!("m-2"), json!("properties.card")), (json!("m-3"), json!("properties.total")), (json!("m-4"), json!("event"))];
        assert_eq!(told, expected.each_ref().map(|(id, field)| (id, field)));
        let first = &violations[0];
        assert_eq!(
            (&first["type"], &first["userId"], &first["event"]),
            (&json!("track"), &json!("schema-violations"), &json!("Violation Generated"))
        );
        assert_eq!(
            (&first["properties"]["violationType"], &first["properties"]["trackingPlanID"]),
            (&json!("Unplanned Property"), &made["tracking_plan_id"])
        );
        assert_eq!((&first["messageId"], first.to_string().contains("4111")), (&json!("violation-0-m-2"), false));

        deputy.operate("PATCH", &path, json!({"on_violation": "omit", "on_unplanned": "block"})).await.ok();
        let shaped = shop.shape(&shop.received().await).await;
        assert_eq!(goes_on(&shaped[0]), None);
        assert_eq!(goes_on(&shaped[1]).expect("it was mended")[0]["properties"], json!({"total": 1}));
        assert_eq!((goes_on(&shaped[2]), asides(&shaped[2])), (Some(vec![]), vec![("plan.blocked", "properties.total")]));
        assert_eq!((goes_on(&shaped[3]), asides(&shaped[3])), (Some(vec![]), vec![("plan.blocked", "event")]));
        assert_eq!(value(&shaped[3].aside[0].message)["event"], "Order Complete", "it is not lost");
        assert_eq!((goes_on(&shaped[4]), shaped.iter().map(|shaped| shaped.violations.len()).sum::<usize>()), (None, 3));

        deputy.operate("PATCH", &path, json!({"on_violation": "block"})).await.ok();
        let shaped = shop.shape(&shop.received().await).await;
        assert_eq!(asides(&shaped[1]), [("plan.blocked", "properties.card")]);
        let shown = deputy.operate("GET", &path, Value::Null).await.ok().json();
        assert_eq!((&shown["version"], &shown["rules"], &shown["on_violation"]), (&json!(3), &rules(), &json!("block")));
        assert_eq!(deputy.operate("GET", "/tracking-plans", Value::Null).await.ok().json()["items"], json!([shown]));
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        let shaped = shop.shape(&shop.received().await).await;
        assert!(shaped.iter().all(|shaped| goes_on(shaped).is_none() && shaped.violations.is_empty()), "the plan is gone");

        let id = &made["tracking_plan_id"];
        assert_eq!(deputy.facts_of("tracking_plan.created.v1").await, [json!({"tracking_plan": id, "name": "Shop"})]);
        assert_eq!(deputy.facts_of("tracking_plan.changed.v1").await.len(), 2);
        assert_eq!(deputy.facts_of("tracking_plan.deleted.v1").await, [json!({"tracking_plan": id})]);
    })
    .await;
}

#[tokio::test]
async fn the_plan_judges_what_the_transformation_made() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    deputy.operate("POST", "/tracking-plans", plan(&shop, "block", "allow")).await.ok();
    let program = "good = .\ngood.properties = {\"total\": 2}\nbad = .\n. = [good, bad]";
    let new = json!({"name": "Split", "program": program, "sources": [shop.id]});
    deputy.operate("POST", "/transformations", new).await.ok();
    let shaped = shop.send(&[track("m-1", "Order Completed", json!({"amount": 1}))]).await.remove(0);
    let went_on = goes_on(&shaped).expect("it was changed");
    assert_eq!((went_on.len(), &went_on[0]["messageId"]), (1, &json!("m-1-0")));
    assert_eq!((asides(&shaped).len(), &value(&shaped.aside[0].message)["messageId"]), (1, &json!("m-1-1")));
    assert!(shaped.violations.iter().all(|told| value(told)["properties"]["eventMessageID"] == "m-1-1"), "{shaped:?}");
}

#[tokio::test]
async fn a_plan_by_which_nothing_could_be_judged_is_not_saved() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        let with = |schema: Value| json!({"name": "Shop", "rules": [{"call": "track", "name": "E", "schema": schema}]});
        for (body, told) in [
            (with(json!({"$ref": "https://schemas.example/e.json"})), "$ref may point only inside the schema"),
            (with(json!({"type": "strnig"})), "The rule for track 'E'"),
            (json!({"name": "Shop", "rules": [{"call": "call", "schema": {}}]}), "The request body is not right"),
            (json!({"name": "Shop", "rules": [], "on_violation": "shrug"}), "The request body is not right"),
            (json!({"name": "Shop", "rules": [], "sources": ["src_00000000000000000000000000"]}), "There is no source"),
        ] {
            refused(deputy.operate("POST", "/tracking-plans", body).await, 400, &ADMIN_VALUE, told);
        }
        let large = json!({"name": "Shop", "rules": [{"call": "track", "schema": {"description": "x".repeat(600_000)}}]});
        refused(deputy.operate("POST", "/tracking-plans", large).await, 400, &ADMIN_VALUE, "at most 524288 bytes");
        let path = deputy.operate("POST", "/tracking-plans", plan(&shop, "allow", "allow")).await.ok().text("tracking_plan_id");
        refused(
            deputy.operate("POST", "/tracking-plans", plan(&shop, "block", "block")).await,
            409,
            &ADMIN_CONFLICT,
            "has a tracking plan",
        );
        refused(deputy.operate("PATCH", "/tracking-plans/tpl_unknown", json!({})).await, 404, &ADMIN_NOT_FOUND, "");
        let path = format!("/tracking-plans/{path}");
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        for method in ["GET", "PATCH", "DELETE"] {
            let body = if method == "PATCH" { json!({}) } else { Value::Null };
            refused(deputy.operate(method, &path, body).await, 404, &ADMIN_NOT_FOUND, "");
        }
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_this_version_cannot_read_is_taken_from_its_source() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        let made = deputy.operate("POST", "/tracking-plans", plan(&shop, "allow", "allow")).await.ok().json();
        let id = made["tracking_plan_id"].as_str().expect("text").to_owned();
        let (path, id) = (format!("/tracking-plans/{id}"), id.parse().expect("it is an identifier"));
        let spoil = deputy.world().storage.write(move |tx| {
            Box::pin(async move {
                let mut plan = tracking_plans::hold(tx, id).await?.expect("it was made just now");
                plan.rules[0].schema = json!({"type": "of another release"});
                tracking_plans::update(tx, &plan).await
            })
        });
        spoil.await.map_err(|error: StorageError| error.to_string()).expect("storage answers");
        deputy.world().forget_shapes();
        let order = track("m-1", "Order Completed", json!({"total": 1}));
        assert_eq!(asides(&shop.send(&[order]).await[0])[0].0, "plan.unreadable");

        // The rules that are there are not judged again: only new ones are.
        let bad = json!([{"call": "track", "name": "E", "schema": {"type": "none"}}]);
        refused(deputy.operate("PATCH", &path, json!({"rules": bad})).await, 400, &ADMIN_VALUE, "The rule for track 'E'");
        deputy.operate("PATCH", &path, json!({"sources": []})).await.ok();
        let order = track("m-2", "Order Completed", json!({"total": 1}));
        assert_eq!(goes_on(&shop.send(&[order]).await[0]), None, "it goes on as it came");
    })
    .await;
}
