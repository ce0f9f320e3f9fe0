//! Looking on at a source: what it sends and what becomes of it, live, and that a viewer is in nobody's way.

use std::time::Duration;

use deputy::domain::refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, WATCH_VIEWERS};
use serde_json::{Value, json};

use super::shaped::Sender;
use crate::support::{Answer, Installation, each_engine};

/// Somebody who looks on.
pub struct Viewer {
    response: reqwest::Response,
    text: String,
}

impl Viewer {
    async fn of(deputy: &Installation, source: &str, last: usize, token: &str) -> Viewer {
        let url = format!("{}/admin/v1/sources/{source}/watch?last={last}", deputy.issuer);
        let response = deputy.http.get(url).bearer_auth(token).send().await.expect("the server answers");
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().ok()),
            (200, Some("text/event-stream"))
        );
        let mut viewer = Viewer { response, text: String::new() };
        assert_eq!(viewer.frame().await, ": looking on");
        viewer
    }

    pub async fn operator(deputy: &Installation, source: &str, last: usize) -> Viewer {
        Viewer::of(deputy, source, last, &deputy.operator_token()).await
    }

    /// What comes next, as it stands in the stream.
    async fn frame(&mut self) -> String {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                return frame;
            }
            let chunk =
                tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await.expect("something comes in time");
            let chunk = chunk.expect("the stream is whole").expect("the stream goes on");
            self.text += std::str::from_utf8(&chunk).expect("it is text");
        }
    }

    /// What comes next: the stage, and what is told of it.
    pub async fn next(&mut self) -> (String, Value) {
        let frame = self.frame().await;
        let (name, data) = frame.split_once("\ndata: ").unwrap_or_else(|| panic!("no event: {frame}"));
        let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {frame}"));
        (name.strip_prefix("event: ").expect("a name").to_owned(), data)
    }

    /// The stages of what comes next, and the messages' ids.
    async fn stages(&mut self, count: usize) -> Vec<(String, String)> {
        let mut stages = Vec::new();
        for _ in 0..count {
            let (stage, data) = self.next().await;
            stages.push((stage, data["message_id"].as_str().unwrap_or_default().to_owned()));
        }
        stages
    }
}

fn track(id: &str, total: i64) -> Value {
    json!({"type": "track", "userId": "ada", "event": "Ordered", "messageId": id, "properties": {"total": total}})
}

async fn send(deputy: &Installation, source: &Sender<'_>, messages: &[Value]) -> Answer {
    let body = json!({"writeKey": source.write_key, "batch": messages});
    Answer::of(deputy.http.post(format!("{}/v1/batch", deputy.issuer)).json(&body)).await
}

fn told(stages: &[(&str, &str)]) -> Vec<(String, String)> {
    stages.iter().map(|(stage, id)| ((*stage).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test]
async fn a_viewer_sees_each_message_come_in_and_what_becomes_of_it() {
    each_engine(async |deputy| {
        let (shop, other) = (Sender::new(&deputy).await, Sender::new(&deputy).await);
        send(&deputy, &shop, &[track("m0", 1), track("m1", 1)]).await.ok();
        deputy.settle().await;
        let mut viewer = Viewer::operator(&deputy, &shop.id, 1).await;
        let (stage, past) = viewer.next().await;
        assert_eq!((stage.as_str(), &past["message_id"], &past["message"]["properties"]["total"]), ("published", &json!("m1"), &json!(1)));

        // Nobody looks on at the other source.
        send(&deputy, &other, &[track("theirs", 1)]).await.ok();
        send(&deputy, &shop, &[track("m2", 1), json!({"type": "track", "event": "Nobody's"})]).await.ok();
        let (stage, refused) = viewer.next().await;
        assert_eq!((stage.as_str(), &refused["reason"], &refused["detail"]), ("refused", &json!("no_identifier"), &json!("message 2 of the request")));
        let (stage, accepted) = viewer.next().await;
        assert_eq!((stage.as_str(), &accepted["message_id"], &accepted["message"]["event"]), ("accepted", &json!("m2"), &json!("Ordered")));
        deputy.settle().await;
        assert_eq!(viewer.stages(1).await, told(&[("published", "m2")]));

        // The same once more, and something else under its id.
        send(&deputy, &shop, &[track("m2", 1), track("m2", 2)]).await.ok();
        deputy.settle().await;
        assert_eq!(viewer.stages(3).await, told(&[("accepted", "m2"), ("accepted", "m2"), ("duplicate", "m2")]));
        let (stage, aside) = viewer.next().await;
        assert_eq!((stage.as_str(), &aside["reason"]), ("kept_aside", &json!("conflict")));

        // What its program and its plan make of it.
        let program = r#"if .properties.total == 0 { . = null } else if .properties.total == 7 { .event = "Lucky" } else if .properties.total == 9 { .properties.total = to_int!("x") }"#;
        let new = json!({"name": "Shape", "program": program, "sources": [shop.id]});
        deputy.operate("POST", "/transformations", new).await.ok();
        deputy.later(2);
        send(&deputy, &shop, &[track("m3", 0), track("m4", 7), track("m5", 9)]).await.ok();
        deputy.settle().await;
        assert_eq!(viewer.stages(4).await, told(&[("accepted", "m3"), ("accepted", "m4"), ("accepted", "m5"), ("dropped", "m3")]));
        let (stage, shaped) = viewer.next().await;
        assert_eq!((stage.as_str(), &shaped["published_as"][0]["event"]), ("published", &json!("Lucky")), "{shaped}");
        let (stage, aside) = viewer.next().await;
        assert_eq!((stage.as_str(), &aside["reason"], &aside["message_id"]), ("kept_aside", &json!("transformation.failed"), &json!("m5")));

        // A request that is refused as a whole.
        deputy.operate("PATCH", &format!("/sources/{}", shop.id), json!({"disabled": true})).await.ok();
        deputy.later(3);
        assert_eq!(send(&deputy, &shop, &[track("m6", 1)]).await.status, 403);
        let (stage, refused) = viewer.next().await;
        assert_eq!((stage.as_str(), &refused["reason"]), ("refused", &json!("tracking.source_disabled")), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn who_was_deleted_or_is_suppressed_is_not_among_the_last() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        let of = |user: &str, id: &str| json!({"type": "track", "userId": user, "event": "Ordered", "messageId": id});
        send(&deputy, &shop, &[of("ada", "a1"), of("bob", "b1"), of("eve", "e1")]).await.ok();
        deputy.settle().await;
        for (regulation, user) in [("DELETE_ONLY", "ada"), ("SUPPRESS_ONLY", "eve")] {
            deputy.operate("POST", "/regulations", json!({"regulation": regulation, "user_ids": [user]})).await.ok();
            deputy.settle().await;
            deputy.settle().await;
        }
        deputy.later(1);
        send(&deputy, &shop, &[of("ada", "a2"), of("eve", "e2"), of("bob", "b2")]).await.ok();
        deputy.settle().await;
        let mut viewer = Viewer::operator(&deputy, &shop.id, 4).await;
        // She came back, and nobody asked for that to be forgotten.
        assert_eq!(
            viewer.stages(4).await,
            told(&[("published", "b1"), ("published", "e1"), ("published", "a2"), ("published", "b2")])
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_plan_blocks_is_not_shown_as_published() {
    each_engine(async |deputy| {
        let shop = Sender::new(&deputy).await;
        let schema = json!({"properties": {"properties": {"required": ["card"]}}});
        let plan = json!({"name": "Plan", "rules": [{"call": "track", "name": "Ordered", "schema": schema}], "sources": [shop.id]});
        let path = deputy.operate("POST", "/tracking-plans", plan).await.ok().text("tracking_plan_id");
        let mut viewer = Viewer::operator(&deputy, &shop.id, 0).await;
        send(&deputy, &shop, &[track("m1", 1)]).await.ok();
        deputy.settle().await;
        assert_eq!(viewer.stages(1).await, told(&[("accepted", "m1")]));
        let (stage, shaped) = viewer.next().await;
        assert_eq!((stage.as_str(), shaped["published_as"].as_array().map(Vec::len)), ("published", Some(1)), "{shaped}");

        deputy.operate("PATCH", &format!("/tracking-plans/{path}"), json!({"on_violation": "block"})).await.ok();
        deputy.later(2);
        send(&deputy, &shop, &[track("m2", 1)]).await.ok();
        deputy.settle().await;
        assert_eq!(viewer.stages(2).await, told(&[("accepted", "m2"), ("kept_aside", "m2")]));
    })
    .await;
}

#[tokio::test]
async fn a_view_ends_with_its_operator_and_with_the_server() {
    each_engine(async |mut deputy| {
        let (id, mut viewer) = {
            let shop = Sender::new(&deputy).await;
            let grace = deputy.operate("POST", "/operators", json!({"name": "Grace"})).await.ok();
            let mut theirs = Viewer::of(&deputy, &shop.id, 0, &grace.text("token")).await;
            let viewer = Viewer::operator(&deputy, &shop.id, 0).await;
            send(&deputy, &shop, &[track("m1", 1)]).await.ok();
            assert_eq!(theirs.stages(1).await, told(&[("accepted", "m1")]));
            deputy.operate("DELETE", &format!("/operators/{}", grace.text("operator_id")), Value::Null).await.ok();
            deputy.later(2);
            send(&deputy, &shop, &[track("m2", 1)]).await.ok();
            let (stage, end) = theirs.next().await;
            assert_eq!((stage.as_str(), end["why"].as_str()), ("end", Some("The operator's token is good no longer.")));
            assert!(theirs.response.chunk().await.expect("it ends in order").is_none());
            (shop.id.clone(), viewer)
        };
        assert_eq!(viewer.stages(2).await, told(&[("accepted", "m1"), ("accepted", "m2")]));
        deputy.restart().await;
        let (stage, end) = viewer.next().await;
        assert_eq!((stage.as_str(), end["why"].as_str()), ("end", Some("The server stops.")), "{id}");
    })
    .await;
}

#[tokio::test]
async fn a_view_that_ends_because_the_database_is_away_says_so() {
    let deputy = Installation::start_on_postgres("").await;
    let shop = Sender::new(&deputy).await;
    let mut viewer = Viewer::operator(&deputy, &shop.id, 0).await;
    deputy.later(2);
    let told = deputy.without_storage(async {
        let watched = deputy.world().memory.viewers.of(shop.id.parse().expect("it is an identifier"));
        watched.expect("somebody looks on").lose(1);
        viewer.next().await
    });
    let (stage, end) = told.await;
    assert!(stage == "end" && end["why"].as_str().is_some_and(|why| why.contains("cannot be found out now")), "{stage} {end}");
}

#[tokio::test]
async fn viewers_are_few_and_a_slow_one_is_told_what_it_lost() {
    let deputy = Installation::start().await;
    let shop = Sender::new(&deputy).await;
    let path = |id: &str, query: &str| format!("/sources/{id}/watch{query}");
    let mut viewer = Viewer::operator(&deputy, &shop.id, 0).await;
    // More in one second of the clock than anybody is shown.
    let many: Vec<Value> = (0..300).map(|n| track(&format!("m{n}"), n)).collect();
    send(&deputy, &shop, &many).await.ok();
    deputy.settle().await;
    let (mut shown, mut lost) = (0, 0);
    while shown + lost < 600 {
        match viewer.next().await {
            (stage, data) if stage == "lost" => lost += data["count"].as_u64().expect("a number"),
            _ => shown += 1,
        }
    }
    assert!(shown <= 100 && lost >= 500, "{shown} {lost}");

    let mut others = Vec::new();
    for _ in 0..15 {
        others.push(Viewer::operator(&deputy, &shop.id, 0).await);
    }
    let counted = deputy.refusals_counted("watch.viewers").await;
    let refused = deputy.operate("GET", &path(&shop.id, ""), Value::Null).await.refused(429, WATCH_VIEWERS.code.as_str());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(deputy.refusals_counted("watch.viewers").await, counted + 1);
    deputy.operate("GET", "/sources/{unknown}/watch", Value::Null).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
    deputy.operate("GET", &path(&shop.id, "?last=101"), Value::Null).await.refused(400, ADMIN_VALUE.code.as_str());
    deputy.operate("GET", &path(&shop.id, "?first=1"), Value::Null).await.refused(400, ADMIN_VALUE.code.as_str());
}
