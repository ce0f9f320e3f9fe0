//! Other services call us: Stripe and GitHub as their documents say they do, and any that signs with a shared secret.

use aws_lc_rs::hmac;
use deputy::domain::refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE, WEBHOOK_MALFORMED, WEBHOOK_SIGNATURE, WEBHOOK_STALE, WEBHOOK_UNKNOWN};
use serde_json::{Value, json};

use super::shaped::{Sender, asides, goes_on, published, topic, value};
use crate::support::{Answer, Installation, each_engine};

const SECRET: &str = "whsec_a secret of the test";

/// A service that calls a webhook.
struct Service<'i> {
    source: Sender<'i>,
    deputy: &'i Installation,
}

impl<'i> Service<'i> {
    async fn new(deputy: &'i Installation, webhook: Value) -> Service<'i> {
        let source = Sender::of_kind(deputy, "webhook").await;
        let path = format!("/sources/{}/webhook", source.id);
        let set = deputy.operate("PUT", &path, webhook).await.ok();
        assert_eq!(set.text("url"), format!("{}/v1/webhooks/{}", deputy.issuer, source.id));
        assert!(!set.body.contains(SECRET), "it is never told again: {set:?}");
        Service { source, deputy }
    }

    async fn maps(&self, program: &str) {
        let new = json!({"name": "Map", "program": program, "sources": [self.source.id]});
        self.deputy.operate("POST", "/transformations", new).await.ok();
    }

    async fn call(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.deputy.http.post(format!("{}/v1/webhooks/{}", self.deputy.issuer, self.source.id));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.body(body.to_owned())).await
    }

    /// As Stripe calls, so many seconds ago.
    async fn stripe(&self, body: &str, seconds_ago: i64) -> Answer {
        let time = self.deputy.world().now().seconds() - seconds_ago;
        let signature = format!("t={time},v1={}", tag(&format!("{time}.{body}")));
        self.call(&[("Content-Type", "application/json"), ("Stripe-Signature", &signature)], body).await
    }

    /// As GitHub calls.
    async fn github(&self, event: &str, delivery: &str, body: &str) -> Answer {
        let signature = format!("sha256={}", tag(body));
        let headers = [
            ("Content-Type", "application/json"),
            ("X-GitHub-Event", event),
            ("X-GitHub-Delivery", delivery),
            ("X-Hub-Signature-256", &signature),
        ];
        self.call(&headers, body).await
    }

    /// What the messages that came in become.
    async fn become_of_all(&self) -> Vec<Vec<Value>> {
        let shaped = self.source.shape(&self.source.received().await).await;
        shaped.iter().map(|shaped| goes_on(shaped).unwrap_or_else(|| panic!("not as it came: {shaped:?}"))).collect()
    }
}

fn tag(signed: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stripe_event(id: &str, kind: &str, thing: Value) -> String {
    json!({"id": id, "object": "event", "api_version": "2026-09-30", "created": 1_763_913_600, "livemode": false,
        "type": kind, "data": {"object": thing}})
    .to_string()
}

#[tokio::test]
async fn stripe_calls_and_its_events_become_messages() {
    each_engine(async |deputy| {
        let stripe = Service::new(&deputy, json!({"scheme": "stripe", "secret": SECRET})).await;
        stripe.maps(include_str!("../../examples/stripe.vrl")).await;
        let customer = json!({"id": "cus_1", "object": "customer", "email": "jane@shop.example", "name": "Jane", "phone": null});
        let charge = json!({"id": "ch_1", "object": "charge", "customer": "cus_1", "amount": 1999, "currency": "eur"});
        let yen = json!({"id": "ch_2", "object": "charge", "customer": "cus_1", "amount": 500, "currency": "jpy"});
        let price = json!({"data": [{"price": {"id": "price_9"}}]});
        let subscription = json!({"id": "sub_1", "customer": "cus_1", "status": "active", "items": price});
        let product = json!({"id": "prod_1", "object": "product"});
        for (id, kind, thing) in [
            ("evt_1", "customer.created", customer),
            ("evt_2", "charge.succeeded", charge),
            ("evt_3", "charge.succeeded", yen),
            ("evt_4", "customer.subscription.updated", subscription),
            ("evt_5", "product.created", product),
        ] {
            stripe.stripe(&stripe_event(id, kind, thing), 0).await.ok();
        }
        let became = stripe.become_of_all().await;
        let one = |place: usize| became[place].first().unwrap_or_else(|| panic!("{place}: {became:?}")).clone();
        assert_eq!(
            (one(0)["type"].clone(), one(0)["traits"].clone()),
            (json!("identify"), json!({"email": "jane@shop.example", "name": "Jane"}))
        );
        assert_eq!((one(0)["messageId"].clone(), one(0)["timestamp"].clone()), (json!("evt_1"), json!("2025-11-23T16:00:00.000Z")));
        let payment = json!({"order_id": "ch_1", "revenue": 19.99, "currency": "EUR", "live": false});
        assert_eq!((one(1)["event"].clone(), one(1)["properties"].clone()), (json!("Payment Succeeded"), payment));
        assert_eq!(one(2)["properties"]["revenue"], 500.0);
        assert_eq!(
            (one(3)["event"].clone(), one(3)["properties"]["plan"].clone()),
            (json!("Subscription Updated"), json!("price_9"))
        );
        assert_eq!(became[4], Vec::<Value>::new(), "it is about nobody");
    })
    .await;
}

#[tokio::test]
async fn github_calls_and_one_delivery_becomes_two_messages() {
    let deputy = Installation::start().await;
    let github = Service::new(&deputy, json!({"scheme": "github", "secret": SECRET})).await;
    github.maps(include_str!("../../examples/github.vrl")).await;
    let sender = json!({"login": "octo", "id": 583_231, "type": "User"});
    let repository = json!({"full_name": "octo/hello"});
    let push = json!({"ref": "refs/heads/main", "sender": sender, "repository": repository, "commits": [{}, {}],
        "head_commit": {"timestamp": "2026-11-23T12:00:00+02:00"}});
    let merged = json!({"action": "closed", "sender": sender, "repository": repository,
        "pull_request": {"number": 7, "merged": true, "merged_at": "2026-11-23T11:00:00Z"}});
    let ping = json!({"zen": "Keep it logically awesome.", "hook_id": 1});
    for (event, delivery, body) in [("push", "d-1", push), ("pull_request", "d-2", merged), ("ping", "d-3", ping)] {
        github.github(event, delivery, &body.to_string()).await.ok();
    }
    // Delivered again, it is the same event.
    github.github("ping", "d-3", &json!({"zen": "Keep it logically awesome.", "hook_id": 1}).to_string()).await.ok();
    let names: Vec<_> = published(&deputy).await.iter().map(|event| event["data"]["message_id"].clone()).collect();
    assert_eq!(names, ["d-1-0", "d-1-1", "d-2-0", "d-2-1"]);
    let mut became = github.become_of_all().await;
    became.truncate(3);
    let told: Vec<_> =
        became.concat().iter().map(|made| (made["messageId"].clone(), made["event"].clone(), made["userId"].clone())).collect();
    let user = json!("github:583231");
    let expected =
        [("d-1-0", Value::Null), ("d-1-1", json!("Code Pushed")), ("d-2-0", Value::Null), ("d-2-1", json!("Pull Request Merged"))];
    assert_eq!(told, expected.map(|(id, event)| (json!(id), event, user.clone())));
    assert_eq!(
        (&became[0][1]["timestamp"], &became[0][1]["properties"]["commits"]),
        (&json!("2026-11-23T10:00:00.000Z"), &json!(2))
    );
    assert_eq!(became[0][0]["traits"], json!({"username": "octo", "githubType": "User"}));
    assert_eq!(became[2], Vec::<Value>::new(), "a ping is nobody's doing");
}

#[tokio::test]
async fn what_comes_is_kept_as_it_came_until_there_is_a_transformation() {
    let deputy = Installation::start().await;
    let webhook = json!({"scheme": "hmac_sha256", "secret": SECRET, "header": "X-Shop-Signature", "id_header": "X-Shop-Delivery"});
    let shop = Service::new(&deputy, webhook).await;
    let body = "{\"n\" : 1.0,\n\"text\":\"\\u0041\"}";
    let signature = tag(body);
    let headers = [
        ("X-Shop-Signature", signature.as_str()),
        ("X-Shop-Delivery", "d-9"),
        ("Authorization", "Bearer x"),
        ("X-Api-Key", "k"),
        ("X-Shop-Topic", "sold"),
    ];
    shop.call(&headers, body).await.ok();
    let form = "a=1&b=2";
    shop.call(&[("X-Shop-Signature", &tag(form))], form).await.ok();

    let received = shop.source.received().await;
    let (first, second) = (value(&received[0]), value(&received[1]));
    assert_eq!((&first["messageId"], &first["type"]), (&json!("d-9"), &json!("webhook")));
    assert_eq!(first["headers"], json!({"x-shop-delivery": "d-9", "x-shop-topic": "sold"}), "nothing that proves anything is kept");
    assert_eq!(second["text"], json!(form));
    assert!(second["messageId"].as_str().is_some_and(|id| id.starts_with("evt_")), "it has no name of its own: {second}");
    let records = topic(&deputy, "received").await.concat();
    assert!(records.contains(body), "byte for byte: {records}");

    let shaped = shop.source.shape(&received).await;
    assert!(shaped.iter().all(|shaped| goes_on(shaped) == Some(vec![]) && asides(shaped)[0].0 == "webhook.unmapped"), "{shaped:?}");
    shop.maps(". = {\"type\": \"track\", \"userId\": \"u\", \"event\": \"Sold\", \"properties\": .body}").await;
    let became = shop.become_of_all().await;
    assert_eq!(
        (&became[0][0]["event"], &became[0][0]["properties"]["n"], &became[0][0]["messageId"]),
        (&json!("Sold"), &json!(1.0), &json!("d-9"))
    );
}

#[tokio::test]
async fn a_call_that_the_service_did_not_sign_is_refused() {
    each_engine(async |deputy| {
        let stripe = Service::new(&deputy, json!({"scheme": "stripe", "secret": SECRET})).await;
        let body = stripe_event("evt_1", "customer.created", json!({"id": "cus_1"}));
        let signed = format!("t={},v1={}", deputy.world().now().seconds(), tag("something else"));
        for headers in [&[][..], &[("Stripe-Signature", "")][..], &[("Stripe-Signature", signed.as_str())][..]] {
            stripe.call(headers, &body).await.refused(403, "access_denied");
            assert_eq!(deputy.last_reason().await, WEBHOOK_SIGNATURE.reason, "{headers:?}");
        }
        stripe.stripe(&body, 301).await.refused(403, "access_denied");
        assert_eq!(deputy.last_reason().await, WEBHOOK_STALE.reason);
        stripe.stripe(&body, 299).await.ok();

        let at = |path: &str| format!("{}{path}", deputy.issuer);
        let url = at(&format!("/v1/webhooks/{}", stripe.source.id));
        for other in [at("/v1/webhooks/src_unknown"), url.replace(&stripe.source.id, &Sender::new(&deputy).await.id)] {
            Answer::of(deputy.http.post(&other).body(body.clone())).await.refused(404, "not_found");
            assert_eq!(deputy.last_reason().await, WEBHOOK_UNKNOWN.reason, "{other}");
        }
        let large = "x".repeat(300 * 1024);
        Answer::of(deputy.http.post(&url).body(large)).await.refused(413, "payload_too_large");
        assert_eq!(deputy.last_reason().await, "request.too_large");
        deputy.operate("PATCH", &format!("/sources/{}", stripe.source.id), json!({"disabled": true})).await.ok();
        stripe.stripe(&body, 0).await.refused(404, "not_found");
        assert_eq!(stripe.source.received().await.len(), 1, "one was signed");

        // Open to everybody, but not to everything.
        let open = Service::new(&deputy, json!({"scheme": "none"})).await;
        open.call(&[], "{\"fine\": true}").await.ok();
        let url = format!("{}/v1/webhooks/{}", deputy.issuer, open.source.id);
        for body in [vec![0xff, 0xfe], format!("{}1{}", "[".repeat(100), "]".repeat(100)).into_bytes()] {
            Answer::of(deputy.http.post(&url).body(body)).await.refused(400, "invalid_request");
            assert_eq!(deputy.last_reason().await, WEBHOOK_MALFORMED.reason);
        }
    })
    .await;
}

#[tokio::test]
async fn how_calls_are_checked_is_said_by_an_operator() {
    let deputy = Installation::start().await;
    let server = Sender::new(&deputy).await;
    let webhook = Sender::of_kind(&deputy, "webhook").await;
    let path = format!("/sources/{}/webhook", webhook.id);
    for (body, told) in [
        (json!({"scheme": "stripe"}), "secret must have"),
        (json!({"scheme": "stripe", "secret": "short"}), "secret must have"),
        (json!({"scheme": "none", "secret": SECRET}), "has no secret"),
        (json!({"scheme": "hmac_sha256", "secret": SECRET}), "needs it"),
        (json!({"scheme": "github", "secret": SECRET, "header": "x-mine"}), "needs it"),
        (json!({"scheme": "hmac_sha256", "secret": SECRET, "header": "a b"}), "no name of a header"),
        (json!({"scheme": "stripe", "secret": SECRET, "id_header": "x-id"}), "own id"),
    ] {
        let answer = deputy.operate("PUT", &path, body).await.refused(400, ADMIN_VALUE.code.as_str());
        assert!(answer.text("error_description").contains(told), "{answer:?}");
    }
    let good = json!({"scheme": "hmac_sha256", "secret": SECRET, "header": "X-Shop-Signature"});
    let other = format!("/sources/{}/webhook", server.id);
    deputy.operate("PUT", &other, good.clone()).await.refused(400, ADMIN_VALUE.code.as_str());
    deputy.operate("PUT", "/sources/src_unknown/webhook", good.clone()).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
    deputy.operate("GET", &path, Value::Null).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
    deputy.operate("PUT", &path, good).await.ok();
    let shown = deputy.operate("GET", &path, Value::Null).await.ok().json();
    assert_eq!(
        (&shown["scheme"], &shown["header"], shown["secret"].is_null()),
        (&json!("hmac_sha256"), &json!("x-shop-signature"), true)
    );
    let changes = deputy.facts_of("source.changed.v1").await;
    assert_eq!(changes, [json!({"source": webhook.id, "change": "webhook"})]);
    assert!(!topic(&deputy, "facts").await.concat().contains(SECRET), "no secret on record");
}
