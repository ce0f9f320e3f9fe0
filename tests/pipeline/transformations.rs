//! An operator's programs on a source's events: tried, saved, applied; and whatever goes wrong in one loses nothing.

use deputy::{
    domain::refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE, OAuthError},
    server::stages::STAGES,
    world::{EVENTS, Progress},
};
use serde_json::{Value, json};

use super::{
    sandbox::LONG_PROGRAM,
    shaped::{Sender, asides, goes_on, published, topic, value},
};
use crate::support::{Answer, Installation, each_engine};

#[track_caller]
fn refused(answer: Answer, status: u16, refusal: &OAuthError, told: &str) {
    let answer = answer.refused(status, refusal.code.as_str());
    assert!(answer.text("error_description").contains(told), "{answer:?}");
}

async fn save(deputy: &Installation, source: &str, purpose: &str, program: &str) -> String {
    let new = json!({"name": "A program", "purpose": purpose, "program": program, "sources": [source]});
    deputy.operate("POST", "/transformations", new).await.ok().text("transformation_id")
}

fn order(user: &str, total: Value) -> Value {
    json!({"type": "track", "userId": user, "event": "Order Completed", "messageId": format!("m-{user}"),
        "timestamp": "2026-11-23T10:00:00.000Z", "properties": {"total": total}})
}

#[tokio::test]
async fn a_program_is_tried_saved_applied_changed_and_taken_away() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        assert_eq!(goes_on(&shop.send(&[order("a", json!(1))]).await[0]), None, "nothing is to be done: the bytes that came");

        let program = ".properties.total = to_float!(.properties.total) * 2.0\n.userId = upcase!(.userId)";
        let sample = json!({"purpose": "transform", "program": program, "event": order("a", json!("1.5"))});
        let tried = deputy.operate("POST", "/transformations/test", sample).await.ok().json();
        assert_eq!((&tried["events"][0]["properties"]["total"], &tried["events"][0]["userId"]), (&json!(3.0), &json!("A")));
        assert_eq!(deputy.facts_of("transformation.created.v1").await, Vec::<Value>::new(), "a trial changes nothing");

        let id = save(&deputy, &shop.id, "transform", program).await;
        let path = format!("/transformations/{id}");
        let shaped = shop.send(&[order("b", json!("1.5"))]).await.remove(0);
        let made = goes_on(&shaped).expect("it was changed").remove(0);
        assert_eq!((&made["userId"], &made["properties"]["total"], &made["messageId"]), (&json!("B"), &json!(3.0), &json!("m-b")));
        let before = value(&shop.received().await[1]);
        for member in ["timestamp", "originalTimestamp", "receivedAt", "type", "event"] {
            assert_eq!(made[member], before[member], "{member}");
        }

        let changed = deputy.operate("PATCH", &path, json!({"program": ". = null", "name": "Nothing"})).await.ok().json();
        assert_eq!((&changed["version"], &changed["program"]), (&json!(2), &json!(". = null")));
        assert_eq!(goes_on(&shop.send(&[order("c", json!(1))]).await[0]), Some(vec![]), "dropped on purpose");
        let listed = deputy.operate("GET", "/transformations", Value::Null).await.ok().json();
        assert_eq!(listed["items"], json!([deputy.operate("GET", &path, Value::Null).await.ok().json()]));

        deputy.operate("PATCH", &path, json!({"disabled": true})).await.ok();
        assert_eq!(goes_on(&shop.send(&[order("d", json!(1))]).await[0]), None, "it is not applied");
        deputy.operate("PATCH", &path, json!({"disabled": false})).await.ok();
        assert_eq!(goes_on(&shop.send(&[order("e", json!(1))]).await[0]), Some(vec![]));
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        assert_eq!(goes_on(&shop.send(&[order("f", json!(1))]).await[0]), None, "it is gone");

        assert_eq!(deputy.facts_of("transformation.created.v1").await, [json!({"transformation": id, "name": "A program"})]);
        let versions: Vec<_> =
            deputy.facts_of("transformation.changed.v1").await.iter().map(|fact| fact["version"].clone()).collect();
        assert_eq!(versions, [2, 2, 2]);
        assert_eq!(deputy.facts_of("transformation.deleted.v1").await, [json!({"transformation": id})]);
    })
    .await;
}

#[tokio::test]
async fn one_message_becomes_several_each_with_an_id_of_its_own() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    let program = "first = .\nsecond = .\nsecond.event = \"Order Booked\"\nsecond.messageId = \"mine\"\n. = [first, second]";
    save(&deputy, &shop.id, "transform", program).await;
    let shaped = shop.send(&[order("a", json!(1)), order("b", json!(2))]).await;
    let ids: Vec<_> =
        shaped.iter().flat_map(|shaped| goes_on(shaped).expect("changed")).map(|made| made["messageId"].clone()).collect();
    assert_eq!(ids, ["m-a-0", "m-a-1", "m-b-0", "m-b-1"], "whatever the program says");
    // Shaping again, as after a crash, gives the same.
    assert_eq!(shop.shape(&shop.received().await).await, shaped);
}

#[tokio::test]
async fn everything_that_came_of_a_message_is_published_once() {
    each_engine(async |deputy| {
        let (shop, plain) = (Sender::new(&deputy).await, Sender::new(&deputy).await);
        let program = "kind = string!(.properties.total)\nif kind == \"fail\" { .x = to_int!(kind) }\n\
            if kind == \"drop\" { abort }\nif kind == \"two\" { one = .\n. = [one, .] } else { .userId = \"changed\" }";
        save(&deputy, &shop.id, "transform", program).await;
        plain.send(&[order("before", json!("as it came"))]).await;
        shop.send(&["fine", "two", "drop", "fail"].map(|kind| order(kind, json!(kind)))).await;
        // The SDK sends it again, and differently: neither comes through.
        shop.send(&[order("two", json!("two")), order("fine", json!("another"))]).await;
        plain.send(&[order("after", json!("as it came"))]).await;

        let mut published = published(&deputy).await;
        published.sort_by_key(|event| (event["type"].to_string(), event["data"]["message_id"].to_string()));
        let told: Vec<_> =
            published.iter().map(|event| (event["type"].as_str().unwrap_or_default(), &event["data"]["message_id"])).collect();
        let expected = [
            ("event.kept_aside.v1", json!("m-fail")),
            ("event.kept_aside.v1", json!("m-fine")),
            ("event.received.v1", json!("m-after")),
            ("event.received.v1", json!("m-before")),
            ("event.received.v1", json!("m-fine")),
            ("event.received.v1", json!("m-two-0")),
            ("event.received.v1", json!("m-two-1")),
        ];
        assert_eq!(told, expected.each_ref().map(|(name, id)| (*name, id)));
        let aside = &published[0];
        assert_eq!(published[1]["data"]["reason"], "conflict");
        assert_eq!((&aside["data"]["reason"], &aside["actor"]), (&json!("transformation.failed"), &json!("deputy")));
        assert_eq!((&aside["data"]["message"]["userId"], &aside["data"]["source"]), (&json!("fail"), &json!(shop.id)));
        assert_eq!(published[4]["data"]["message"]["userId"], "changed");
        assert_eq!(published[5]["actor"], json!({"source": shop.id}), "it is still the source's");
        let ids: std::collections::BTreeSet<_> = published.iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), published.len(), "each has an id of its own");
    })
    .await;
}

#[tokio::test]
async fn much_is_made_of_little_and_still_all_of_it_is_published() {
    const SHOPS: usize = 14;
    let deputy = Installation::start().await;
    // Each message becomes twenty-one of some sixteen thousand bytes: more in one batch than one commit may hold. Each has a program of
    // its own, for all of that is more than one of them has time for.
    let mut program = "pad = \"0123456789abcdef\"\n".to_owned() + &"pad = pad + pad\n".repeat(10) + ".pad = pad\none = .\n. = [";
    program += &"one, ".repeat(20);
    program += "one]";
    for number in 0..SHOPS {
        let shop = Sender::new(&deputy).await;
        save(&deputy, &shop.id, "transform", &program).await;
        let batch = json!({"writeKey": shop.write_key, "batch": [order(&number.to_string(), json!(number))]});
        Answer::of(deputy.http.post(format!("{}/v1/batch", deputy.issuer)).json(&batch)).await.ok();
    }
    let published = published(&deputy).await;
    assert_eq!(published.len(), SHOPS * 21);
    assert!(published.iter().all(|event| event["type"] == "event.received.v1"));
}

#[tokio::test]
async fn a_filter_lets_pass_what_it_is_sure_of() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    save(&deputy, &shop.id, "filter", "total = float!(.properties.total)\ntotal > 1.0").await;
    let id = save(&deputy, &shop.id, "transform", ".userId = \"changed\"").await;
    let shaped = shop.send(&[order("a", json!(2.0)), order("b", json!(0.5)), order("c", json!("much"))]).await;
    assert_eq!(goes_on(&shaped[0]).expect("it passed, and was changed")[0]["userId"], "changed");
    assert_eq!((goes_on(&shaped[1]), asides(&shaped[1])), (Some(vec![]), vec![]), "dropped");
    // It fails, so nothing passes; and nothing is lost.
    let [(reason, detail)] = asides(&shaped[2])[..] else { panic!("{shaped:?}") };
    assert!(reason == "filter.failed" && detail.contains("expected float"), "{detail}");
    assert_eq!((goes_on(&shaped[2]), value(&shaped[2].aside[0].message)["userId"].clone()), (Some(vec![]), json!("c")));
    deputy.operate("DELETE", &format!("/transformations/{id}"), Value::Null).await.ok();
    assert_eq!(goes_on(&shop.send(&[order("d", json!(2.0))]).await[0]), None, "what passes is as it came");
}

#[tokio::test]
async fn what_a_program_cannot_handle_is_kept_aside_with_the_reason() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    let program = "kind = string!(.properties.total)\n\
        if kind == \"fail\" { .x = to_int!(kind) }\n\
        if kind == \"nobody\" { del(.userId) }\n\
        if kind == \"number\" { . = 7 }\n\
        if kind == \"no type\" { .type = \"buy\" }\n\
        if kind == \"times\" { .timestamp = \"soon\" }\n\
        if kind == \"ids\" { .userId = 12 }\n\
        if kind == \"greedy\" {\n  s = \"ab\"\n"
        .to_owned()
        + &"  s = s + s\n".repeat(60)
        + "  .s = s\n}";
    save(&deputy, &shop.id, "transform", &program).await;
    let kinds = ["fine", "fail", "nobody", "number", "no type", "times", "ids", "greedy", "fine again"];
    let sent: Vec<_> = kinds.iter().map(|kind| order(kind, json!(kind))).collect();
    let shaped = shop.send(&sent).await;
    let told: Vec<_> = shaped.iter().map(|shaped| asides(shaped).first().map(|(reason, _)| *reason)).collect();
    let expected = [
        None,
        Some("transformation.failed"),
        Some("transformation.output"),
        Some("transformation.output"),
        Some("transformation.output"),
        None,
        None,
        Some("transformation.stopped"),
        None,
    ];
    assert_eq!(told, expected);
    assert_eq!(asides(&shaped[2]), [("transformation.output", "event 0 is no message: no_identifier")]);
    for (place, kind) in kinds.iter().enumerate().filter(|(place, _)| told[*place].is_some()) {
        let kept = &shaped[place].aside[0];
        assert_eq!((goes_on(&shaped[place]), &value(&kept.message)["userId"]), (Some(vec![]), &json!(kind)), "as it came");
    }
    let made = |place: usize| goes_on(&shaped[place]).expect("it was changed").remove(0);
    assert_eq!(made(5)["timestamp"], "2026-11-23T10:00:00.000Z", "a time that is none leaves the one that it had");
    assert_eq!(made(6)["userId"], "12", "numbers are taken as text, as from anybody");
    assert_eq!(made(8)["userId"], "fine again");
}

#[tokio::test]
async fn a_program_that_could_not_be_applied_is_not_saved() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        let new = |program: &str, sources: Value| json!({"name": "A program", "program": program, "sources": sources});
        let long = format!(".x = \"{}\"", "x".repeat(33_000));
        for (body, told) in [
            (new(".a = 1\n.b = nothing", json!([])), "line 2, column 6: call to undefined variable nothing"),
            (new(".a = now()", json!([])), "line 1, column 6: now is not for transformations"),
            (new("", json!([])), "1 to 32768 bytes"),
            (new(&long, json!([])), "1 to 32768 bytes"),
            (new(".a = 1", json!([shop.id, shop.id])), "more than once"),
            (new(".a = 1", json!(["src_00000000000000000000000000"])), "There is no source"),
            (json!({"name": "x", "program": ".a", "purpose": "filter"}), "a filter ends with true or false"),
            (json!({"name": "", "program": "."}), "name must have"),
            (json!({"name": "x", "program": ".", "language": "lua"}), "unknown variant `lua`"),
        ] {
            refused(deputy.operate("POST", "/transformations", body).await, 400, &ADMIN_VALUE, told);
        }
        refused(
            deputy.operate("POST", "/transformations/test", json!({"program": ""})).await,
            400,
            &ADMIN_VALUE,
            "program must have",
        );
        let tried = deputy.operate("POST", "/transformations/test", json!({"program": ".a = nothing"})).await.ok().json();
        let mistake = &tried["mistakes"][0];
        assert_eq!((&mistake["line"], &mistake["column"]), (&json!(1), &json!(6)), "{tried}");
        assert_eq!(deputy.operate("POST", "/transformations/test", json!({"program": ".a = 1"})).await.ok().json(), json!({}));

        let id = save(&deputy, &shop.id, "transform", ".a = 1").await;
        let another = new(".a = 2", json!([shop.id]));
        refused(deputy.operate("POST", "/transformations", another).await, 409, &ADMIN_CONFLICT, "has a transformation");
        let path = format!("/transformations/{id}");
        refused(deputy.operate("PATCH", &path, json!({"program": "}"})).await, 400, &ADMIN_VALUE, "line 1, column 1");
        assert_eq!(deputy.operate("GET", &path, Value::Null).await.ok().json()["program"], ".a = 1");
        refused(deputy.operate("PATCH", "/transformations/trf_unknown", json!({})).await, 404, &ADMIN_NOT_FOUND, "");
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        for method in ["GET", "PATCH", "DELETE"] {
            let body = if method == "PATCH" { json!({"program": ".a = 1"}) } else { Value::Null };
            refused(deputy.operate(method, &path, body).await, 404, &ADMIN_NOT_FOUND, "");
        }
    })
    .await;
}

async fn step(deputy: &Installation, name: &str) -> Progress {
    let stage = STAGES.iter().find(|stage| stage.name == name).expect("there is such a stage");
    (stage.step)(deputy.world(), deputy.world().now()).await.expect("nothing fails")
}

/// The types of what every consumer reads.
async fn types(deputy: &Installation) -> Vec<String> {
    let events = topic(deputy, EVENTS).await.into_iter();
    events.filter_map(|text| Some(serde_json::from_str::<Value>(&text).ok()?["type"].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn a_long_program_holds_up_others_for_a_moment_and_our_own_facts_never() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        save(&deputy, &shop.id, "transform", LONG_PROGRAM).await;
        let orders: Vec<_> = (0..60).map(|number| order(&number.to_string(), json!(number))).collect();
        let batch = json!({"writeKey": shop.write_key, "batch": orders});
        Answer::of(deputy.http.post(format!("{}/v1/batch", deputy.issuer)).json(&batch)).await.ok();

        assert_eq!(step(&deputy, "dedup of received").await, Progress::Advanced, "there was no time for all of them");
        let done = types(&deputy).await.len();
        assert!((1..60).contains(&done), "{done} of 60 are done, and stay so");
        step(&deputy, "relay").await;
        step(&deputy, "dedup of facts").await;
        assert!(types(&deputy).await.contains(&"transformation.created.v1".to_owned()), "it does not wait for the others");

        let published = published(&deputy).await;
        let ids: std::collections::BTreeSet<_> = published.iter().map(|event| event["data"]["message_id"].to_string()).collect();
        assert_eq!((published.len(), ids.len()), (60, 60), "each is done with once");
        let rested = published.iter().filter(|event| event["type"] == "event.kept_aside.v1");
        let told = "the program took more than 2 s of processor time within 10 s and rests";
        assert!(rested.clone().all(|event| event["data"]["detail"] == told), "{:?}", rested.collect::<Vec<_>>());
    })
    .await;
}
