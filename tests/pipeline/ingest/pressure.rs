//! Too much at once, and trouble of our own: no answer makes an SDK throw away what could be taken later.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
};

use deputy::{
    events::ingest::body::BODY_BYTES_MAX,
    log::{APPEND_BYTES_MAX, disk::simulated::SimulatedDisk},
    world::{EVENTS, memory::INGEST_BYTES_MAX},
};
use serde_json::{Value, json};

use super::{key, messages, post, refused, taken};
use crate::support::{Answer, Installation};

/// For how long the answer says to stay away.
fn wait_s(answer: &Answer) -> u32 {
    let wait = answer.header("retry-after").and_then(|text| text.parse().ok());
    wait.unwrap_or_else(|| panic!("no seconds in Retry-After: {answer:?}"))
}

#[tokio::test]
async fn too_much_at_once_is_told_to_come_again_at_different_times() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let body = json!({"writeKey": key(&source), "userId": "ada"});
    let places = u32::try_from(INGEST_BYTES_MAX).expect("it fits");
    let all = deputy.world().memory.ingest_bytes.acquire_many(places).await.expect("never closed");
    let crowd = (0..12).map(|_| Answer::of(post(&deputy, "/v1/page", &body)));
    let answers = futures_util::future::join_all(crowd).await;
    let before = deputy.refusals_counted("tracking.busy").await;
    assert!(before >= 12, "each is counted");
    for answer in &answers {
        refused(answer, 429, "temporarily_unavailable");
        assert!((60..=300).contains(&wait_s(answer)), "{answer:?}");
        assert_eq!(answer.header("x-ratelimit-reset"), answer.header("retry-after"));
    }
    assert!(answers.iter().any(|answer| wait_s(answer) != wait_s(&answers[0])), "not all at the same moment");
    drop(all);
    taken(&Answer::of(post(&deputy, "/v1/page", &body)).await);
    assert_eq!(messages(&deputy).await.len(), 1);
}

#[tokio::test]
async fn whoever_only_promises_a_body_takes_no_room() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let mut silent = Vec::new();
    for _ in 0..INGEST_BYTES_MAX / BODY_BYTES_MAX {
        let mut stream = std::net::TcpStream::connect(deputy.address()).expect("it listens");
        let head = format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        silent.push(stream);
    }
    taken(&Answer::of(post(&deputy, "/v1/page", &json!({"writeKey": key(&source), "userId": "ada"}))).await);
}

#[tokio::test]
async fn what_a_batch_says_for_all_its_messages_cannot_make_much_of_little() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let page = json!({"type": "page", "userId": "u"});
    let batch = |context_bytes| json!({"writeKey": key(&source), "context": {"note": "x".repeat(context_bytes)}, "batch": vec![page.clone(); 2_000]});
    for context_bytes in [30_000, 33_000] {
        refused(&Answer::of(post(&deputy, "/v1/batch", &batch(context_bytes))).await, 400, "invalid_request");
    }
    assert!(messages(&deputy).await.is_empty());
}

#[tokio::test]
async fn a_batch_within_the_limits_is_taken_whole_whatever_it_says_for_all() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let page = |number: usize| json!({"type": "page", "userId": "ada", "messageId": format!("m{number}"), "name": "x".repeat(125)});
    let context = json!({"app": "x".repeat(1_400)});
    let batch = json!({"writeKey": key(&source), "context": context, "batch": (0..2_500).map(page).collect::<Vec<_>>()});
    assert!((450_000..500_000).contains(&batch.to_string().len()), "{}", batch.to_string().len());
    taken(&Answer::of(post(&deputy, "/v1/batch", &batch)).await);
    let told = messages(&deputy).await;
    let bytes = told.iter().map(|message| message.to_string().len()).sum::<usize>();
    assert!(told.len() == 2_500 && bytes > APPEND_BYTES_MAX, "{} messages of {bytes} bytes", told.len());
    let ids: BTreeSet<_> = told.iter().map(|message| message["messageId"].as_str().expect("text")).collect();
    assert!(ids.len() == 2_500 && told.iter().all(|message| message["context"]["app"] == context["app"]));
}

#[tokio::test]
async fn a_batch_whose_half_is_on_record_is_sent_again_and_nothing_is_there_twice() {
    let disk = SimulatedDisk::new(7);
    let deputy = Installation::start_on_disk(disk.clone()).await;
    let source = deputy.source(json!({})).await;
    let page = |number: usize| json!({"type": "page", "userId": "ada", "messageId": format!("m{number}"), "name": "x".repeat(500)});
    let context = json!({"app": "x".repeat(13_000)});
    let batch = json!({"writeKey": key(&source), "context": context, "batch": (0..400).map(page).collect::<Vec<_>>()});
    taken(&Answer::of(post(&deputy, "/v1/page", &json!({"writeKey": key(&source), "userId": "ada", "messageId": "first"}))).await);
    // The first append is one write and one sync.
    disk.fail(2..100);
    let answer = Answer::of(post(&deputy, "/v1/batch", &batch)).await;
    refused(&answer, 503, "temporarily_unavailable");
    assert!((60..=300).contains(&wait_s(&answer)), "{answer:?}");
    disk.fail(0..0);
    let kept = messages(&deputy).await.len();
    assert!((100..401).contains(&kept), "the first append is there: {kept}");
    taken(&Answer::of(post(&deputy, "/v1/batch", &batch)).await);
    assert!(messages(&deputy).await.len() > 401, "some are there twice");
    deputy.settle().await;
    let events = deputy.topic(EVENTS).await;
    let pages = events.iter().filter(|event| event["type"] == "event.received.v1");
    let mut ids: Vec<_> = pages.map(|event| event["data"]["message_id"].as_str().expect("text")).collect();
    assert_eq!(ids.len(), 401);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 401);
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_503_with_a_long_wait() {
    let deputy = Installation::start().await;
    let source = deputy.source(json!({})).await;
    let body = json!({"writeKey": key(&source), "userId": "ada"});
    taken(&Answer::of(post(&deputy, "/v1/page", &body)).await);
    deputy.world().log.close().await.expect("the log closes");
    let before = deputy.refusals_counted("log.unavailable").await;
    let answer = Answer::of(post(&deputy, "/v1/page", &body)).await;
    refused(&answer, 503, "temporarily_unavailable");
    assert!((60..=300).contains(&wait_s(&answer)), "{answer:?}");
    assert!(deputy.refusals_counted("log.unavailable").await > before);
}

#[tokio::test]
async fn a_full_log_is_503_with_a_long_wait_and_takes_the_same_events_when_there_is_space() {
    let disk = SimulatedDisk::new(1);
    let deputy = Installation::start_on_disk(disk.clone()).await;
    let source = deputy.source(json!({})).await;
    let send = async |ids: &[&str]| {
        let pages: Vec<_> = ids.iter().map(|id| json!({"type": "page", "userId": "ada", "messageId": id})).collect();
        Answer::of(post(&deputy, "/v1/batch", &json!({"writeKey": key(&source), "batch": pages}))).await
    };
    let ids = |messages: Vec<Value>| {
        let ids = messages.iter().filter_map(|message| Some(message["messageId"].as_str()?.to_owned()));
        ids.collect::<Vec<_>>()
    };
    let kept = async || ids(messages(&deputy).await);
    taken(&send(&["m1"]).await);
    // What was set aside cannot be written, and there is no space for more.
    disk.fail(0..1);
    disk.set_capacity(disk.bytes_used());
    let before = deputy.refusals_counted("storage.full").await;
    for tries in 1..=3 {
        let answer = send(&["m2", "m3"]).await;
        refused(&answer, 503, "temporarily_unavailable");
        assert!((60..=300).contains(&wait_s(&answer)), "{answer:?}");
        assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("full")), "{answer:?}");
        assert!(deputy.refusals_counted("storage.full").await >= before + tries);
    }
    assert_eq!(kept().await, ["m1"], "what was taken can be read meanwhile");
    disk.set_capacity(u64::MAX);
    taken(&send(&["m2", "m3"]).await);
    assert_eq!(kept().await, ["m1", "m2", "m3"]);
    deputy.settle().await;
    let published = deputy.topic(EVENTS).await.into_iter().filter(|event| event["type"] == "event.received.v1");
    let published = ids(published.map(|event| event["data"]["message"].clone()).collect());
    assert_eq!(published, ["m1", "m2", "m3"]);
}

#[tokio::test]
async fn a_database_that_is_away_does_not_keep_events_out() {
    let deputy = Installation::start_on_postgres("").await;
    let source = deputy.source(json!({})).await;
    let body = json!({"writeKey": key(&source), "userId": "ada"});
    taken(&Answer::of(post(&deputy, "/v1/page", &body)).await);
    let request = post(&deputy, "/v1/page", &body);
    deputy.later(60);
    taken(&deputy.without_storage(Answer::of(request)).await);
    assert_eq!(messages(&deputy).await.len(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_refusal_of_what_was_in_it() {
    let deputy = Installation::start().await;
    deputy.source(json!({})).await;
    let before = deputy.refusals_counted("tracking.incomplete").await;
    let address = deputy.address();
    let cut = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream
            .write_all(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers, and ends the connection");
        answer
    });
    let answer = cut.await.expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: "), "no SDK drops it for this: {answer}");
    assert!(deputy.refusals_counted("tracking.incomplete").await > before, "{answer}");
}
