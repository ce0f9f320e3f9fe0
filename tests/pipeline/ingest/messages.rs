//! The calls, and the form in which a message is kept.

use std::io::Write as _;

use deputy::world::RECEIVED;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::{key, messages, post, refused, taken};
use crate::support::{Answer, Installation, each_engine};

/// The moment at which tests begin.
const NOW: &str = "2027-01-15T08:00:00.000Z";

#[tokio::test]
async fn every_call_is_a_fact_of_its_source() {
    each_engine(async |deputy| {
        let source = deputy.source(json!({})).await;
        for (paths, body) in [
            (["identify", "i"], json!({"userId": "ada", "traits": {"plan": "pro"}})),
            (["track", "t"], json!({"userId": "ada", "event": "Ordered", "properties": {"total": 3.50}})),
            (["page", "p"], json!({"anonymousId": "x", "name": "Home"})),
            (["screen", "s"], json!({"anonymousId": "x", "name": "Home"})),
            (["group", "g"], json!({"userId": "ada", "groupId": "acme"})),
            (["alias", "a"], json!({"userId": "ada", "previousId": "x"})),
        ] {
            for path in paths {
                let mut body = body.clone();
                body["writeKey"] = key(&source).into();
                taken(&Answer::of(post(&deputy, &format!("/v1/{path}"), &body)).await);
                let told = messages(&deputy).await.pop().expect("it is on record");
                assert_eq!((&told["type"], &told["receivedAt"], &told["timestamp"]), (&paths[0].into(), &NOW.into(), &NOW.into()));
                for (name, value) in body.as_object().expect("an object") {
                    assert_eq!(told[name], if name == "writeKey" { Value::Null } else { value.clone() }, "{name} of {path}");
                }
            }
        }
        let fact = deputy.topic(RECEIVED).await.pop().expect("it is on record");
        assert_eq!((&fact["actor"]["source"], &fact["data"]["source"]), (&source["source_id"], &source["source_id"]));
        assert_eq!(fact["data"]["message_id"], fact["id"], "who names none gets ours");
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_taken_message_by_message_and_its_context_is_everybodys() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    for path in ["/v1/batch", "/v1/import", "/v1/b", "/v1/batch/"] {
        let before = messages(&deputy).await.len();
        let body = json!({
            "writeKey": key(&source), "sentAt": "2027-01-15T07:59:00Z", "context": {"app": "shop", "locale": "de"},
            "integrations": {"All": false},
            "batch": [
                {"type": "track", "event": "A", "userId": 7, "anonymousId": null, "messageId": "m1", "context": {"locale": "fr"}},
                {"type": "alias", "userId": "ada", "previousId": 9.5, "messageId": 12, "integrations": {"Mail": true}},
                {"type": "track", "userId": "nobody"},
                17,
                {"type": "identify", "userId": "ada", "timestamp": "2027-01-15T07:58:00.250Z", "_metadata": {"n": 1}, "version": 2},
            ],
        });
        taken(&Answer::of(post(&deputy, path, &body)).await);
        let told = messages(&deputy).await.split_off(before);
        let ids = |message: &Value| (message["messageId"].clone(), message["userId"].clone(), message["previousId"].clone());
        assert_eq!(told.len(), 3, "{path}: what makes no sense is left out: {told:?}");
        assert_eq!(ids(&told[0]), ("m1".into(), "7".into(), Value::Null));
        assert_eq!(ids(&told[1]), ("12".into(), "ada".into(), "9.5".into()));
        assert!(told[0].get("anonymousId").is_none() && told[0].get("writeKey").is_none());
        assert_eq!(told[0]["context"], json!({"locale": "fr", "app": "shop"}));
        assert_eq!(told[1]["integrations"], json!({"Mail": true, "All": false}));
        let times = ["originalTimestamp", "sentAt", "timestamp", "receivedAt"].map(|name| told[2][name].clone());
        let expected = ["2027-01-15T07:58:00.250Z", "2027-01-15T07:59:00Z", "2027-01-15T07:59:00.250Z", NOW];
        assert_eq!(times, expected.map(Value::from), "a clock that is a minute slow is set right");
        assert_eq!((&told[2]["_metadata"], &told[2]["version"]), (&json!({"n": 1}), &json!(2)));
    }
}

#[tokio::test]
async fn what_a_source_says_of_its_own_world_keeps_its_bytes() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let properties = r#"{"n": 1.0,  "big":123456789012345678901234567890, "text":"\u0041\/", "n":2}"#;
    let body = format!("{{\"writeKey\":\"{}\",\"userId\":\"a\",\"event\":\"E\",\"properties\":{properties}}}", key(&source));
    let request = deputy.http.post(format!("{}/v1/track", deputy.issuer)).header("content-type", "text/plain").body(body);
    taken(&Answer::of(request).await);
    let log = &deputy.world().log;
    let (_, end) = log.bounds(RECEIVED, 0).await.expect("the partition exists");
    let read = log.read(RECEIVED, 0, end - 1, 1).await.expect("the log is whole");
    let payload = String::from_utf8(read.entries[0].payload.to_vec()).expect("facts are text");
    assert!(payload.contains(properties), "{payload}");
}

#[tokio::test]
async fn a_browser_is_known_by_its_address_and_a_server_is_not() {
    let deputy = Installation::start_with("trusted_proxies = [\"127.0.0.0/8\"]\n").await;
    let (server, browser) = (deputy.source(json!({})).await, deputy.source(json!({"kind": "browser"})).await);
    for (source, context, expected) in [
        (&browser, json!({}), json!("203.0.113.9")),
        (&browser, json!({"ip": "0.0.0.0"}), json!("0.0.0.0")),
        (&server, json!({}), Value::Null),
        (&server, json!({"direct": true}), json!("203.0.113.9")),
        (&server, json!({"direct": false}), Value::Null),
    ] {
        let body = json!({"writeKey": key(source), "userId": "ada", "context": context});
        taken(&Answer::of(post(&deputy, "/v1/page", &body).header("x-forwarded-for", "203.0.113.9")).await);
        assert_eq!(messages(&deputy).await.pop().expect("it is on record")["context"]["ip"], expected, "{context}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_counted_and_answered_like_everything_else() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let long = "x".repeat(100);
    let nested = (0..80).fold(json!(1), |inner, _| json!([inner]));
    let surrogate = "{\"type\":\"page\",\"userId\":\"a\",\"name\":\"\\ud83d\"}";
    let members: Value = (0..80).map(|n| (format!("m{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let mut many = members;
    many["userId"] = "a".into();
    many["type"] = "page".into();
    for (reason, message) in [
        ("form", json!([1]).to_string()),
        ("form", "\"text\"".to_owned()),
        ("members", many.to_string()),
        ("unreadable", surrogate.to_owned()),
        ("unreadable", json!({"type": "page", "userId": "a", "properties": nested}).to_string()),
        ("too_large", json!({"type": "page", "userId": "a", "name": "x".repeat(33_000)}).to_string()),
        ("type", json!({"type": "dance", "userId": "a"}).to_string()),
        ("type", json!({"userId": "a"}).to_string()),
        ("message_id", json!({"type": "page", "userId": "a", "messageId": long}).to_string()),
        ("message_id", json!({"type": "page", "userId": "a", "messageId": {}}).to_string()),
        ("no_identifier", json!({"type": "page", "anonymousId": "", "userId": null}).to_string()),
        ("no_event", json!({"type": "track", "userId": "a", "event": ""}).to_string()),
        ("group_id", json!({"type": "group", "userId": "a"}).to_string()),
        ("group_id", json!({"type": "group", "userId": "a", "groupId": "g".repeat(501)}).to_string()),
        ("no_previous_id", json!({"type": "alias", "userId": "a"}).to_string()),
    ] {
        let before = unfit(&deputy, reason).await;
        let body = format!("{{\"writeKey\":\"{}\",\"batch\":[{message},{{\"type\":\"page\",\"userId\":\"b\"}}]}}", key(&source));
        let kept = messages(&deputy).await.len();
        let request = deputy.http.post(format!("{}/v1/batch", deputy.issuer)).body(body);
        taken(&Answer::of(request).await);
        assert_eq!(messages(&deputy).await.len(), kept + 1, "{reason}: its neighbour is taken");
        assert!(unfit(&deputy, reason).await > before, "{reason}: {message}");
    }
    let batch: Vec<_> = (0..2_501).map(|n| json!({"type": "page", "userId": n})).collect();
    let (before, kept) = (unfit(&deputy, "surplus").await, messages(&deputy).await.len());
    taken(&Answer::of(post(&deputy, "/v1/batch", &json!({"writeKey": key(&source), "batch": batch}))).await);
    assert_eq!(messages(&deputy).await.len(), kept + 2_500);
    assert!(unfit(&deputy, "surplus").await > before);
}

/// How many messages were left out for this reason, in the whole process.
async fn unfit(deputy: &Installation, reason: &str) -> u64 {
    let line = format!("deputy_messages_unfit_total{{reason=\"{reason}\"}} ");
    let page = deputy.get("/metrics").await.ok().body;
    page.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a count"))
}

#[tokio::test]
async fn a_body_may_be_compressed_but_not_a_bomb() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("memory takes everything")
    };
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = deputy.http.post(format!("{}/v1/batch", deputy.issuer)).header("content-encoding", encoding);
        Answer::of(request.body(body)).await
    };
    let batch = json!({"writeKey": key(&source), "batch": [{"type": "page", "userId": "ada"}]}).to_string();
    taken(&send("gzip", gzip(&batch)).await);
    assert_eq!(messages(&deputy).await.len(), 1);
    refused(&send("gzip", gzip(&" ".repeat(10 << 20))).await, 400, "invalid_request");
    assert_eq!(deputy.last_reason().await, "tracking.too_large");
    for (encoding, body) in [("gzip", batch.clone().into_bytes()), ("br", gzip(&batch))] {
        refused(&send(encoding, body).await, 400, "invalid_request");
        assert_eq!(deputy.last_reason().await, "tracking.encoding");
    }
}

#[tokio::test]
async fn only_what_is_no_json_or_too_large_is_refused_for_its_content() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let key = key(&source);
    let large = "x".repeat(33 * 1024);
    let context = json!({"a": "x".repeat(20_000)});
    let many: Vec<_> = (0..400).map(|_| json!({"type": "page", "userId": "a"})).collect();
    for (path, body, reason) in [
        ("/v1/track", "{\"userId\":".to_owned(), "tracking.json"),
        ("/v1/track", "[]".to_owned(), "tracking.json"),
        ("/v1/track", String::new(), "tracking.json"),
        ("/v1/batch", json!({"writeKey": key}).to_string(), "tracking.json"),
        ("/v1/batch", json!({"writeKey": key, "batch": {}}).to_string(), "tracking.json"),
        ("/v1/page/", json!({"writeKey": key, "userId": "a", "name": large}).to_string(), "tracking.too_large"),
        ("/v1/batch", "x".repeat(600 * 1024), "tracking.too_large"),
        // Small on the wire, and too large where each message holds it.
        ("/v1/batch", json!({"writeKey": key, "context": context, "batch": many}).to_string(), "tracking.too_large"),
    ] {
        refused(&Answer::of(deputy.http.post(format!("{}{path}", deputy.issuer)).body(body)).await, 400, "invalid_request");
        assert_eq!(deputy.last_reason().await, reason, "{path}");
    }
    let invalid = deputy.http.post(format!("{}/v1/track", deputy.issuer)).body(vec![b'"', 0xff, b'"']);
    refused(&Answer::of(invalid).await, 400, "invalid_request");
    assert!(messages(&deputy).await.is_empty());
    refused(&Answer::of(post(&deputy, "/v1/dance", &json!({}))).await, 404, "not_found");
    taken(&Answer::of(post(&deputy, "/v1/m", &json!({"series": []}))).await);
    deputy.get("/v1/track").await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_browser_is_told_how_to_send_and_that_it_may_wait_long() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({"kind": "browser"})).await;
    let path = format!("/v1/projects/{}/settings", key(&source));
    let settings = deputy.get(&path).await.ok().json();
    let integrations = settings["integrations"].as_object().expect("an object");
    assert_eq!(integrations.keys().collect::<Vec<_>>(), ["Segment.io"]);
    let segment = &integrations["Segment.io"];
    let host = deputy.issuer.strip_prefix("http://").expect("a loopback issuer");
    assert_eq!((&segment["apiHost"], &segment["protocol"]), (&format!("{host}/v1").into(), &"http".into()));
    assert_eq!((&segment["apiKey"], &segment["httpConfig"]["backoffConfig"]["maxRetryCount"]), (&source["write_key"], &100.into()));
    refused(&deputy.get("/v1/projects/unknown/settings").await, 404, "not_found");
    assert_eq!(deputy.last_reason().await, "tracking.source_unknown");
    let id = source["source_id"].as_str().expect("text");
    deputy.operate("PATCH", &format!("/sources/{id}"), json!({"disabled": true})).await.ok();
    refused(&deputy.get(&path).await, 403, "access_denied");
    assert_eq!(deputy.last_reason().await, "tracking.source_disabled");
}
