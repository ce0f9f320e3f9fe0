//! An organisation's own model is asked about profiles that change, over HTTP, and what it says is a trait like others.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Json, Router, body::Bytes, http::HeaderMap, response::IntoResponse, routing::post};
use deputy::{
    domain::refusal::{ADMIN_CONFLICT, ADMIN_NOT_FOUND, ADMIN_VALUE},
    events::profiles,
    storage::{StorageError, consumers},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{shaped::topic, space::Space};
use crate::support::{Installation, each_engine_calling_out};

const TOKEN: &str = "a.token~of-the-test";

/// How a model is today.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// It says how many traits it was told, divided by ten, and is as sure as that.
    Well,
    Failing,
    Babbling,
    Silent,
    /// It answers well, when it is let.
    Held,
}

/// A model behind HTTP.
struct Model {
    url: String,
    state: Arc<Mutex<(Mood, Vec<Value>)>>,
    /// It was asked, while it is held; and it may answer.
    asked: Arc<Notify>,
    let_answer: Arc<Notify>,
}

impl Model {
    async fn start() -> Model {
        let state = Arc::new(Mutex::new((Mood::Well, Vec::new())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/predict", listener.local_addr().expect("it is bound"));
        let shared = Arc::clone(&state);
        let (asked, let_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (is_asked, may_answer) = (Arc::clone(&asked), Arc::clone(&let_answer));
        let answer = move |headers: HeaderMap, body: Bytes| {
            let state = Arc::clone(&shared);
            let (is_asked, may_answer) = (Arc::clone(&is_asked), Arc::clone(&may_answer));
            async move {
                let asked: Value = serde_json::from_slice(&body).expect("it is asked in JSON");
                let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
                let mood = {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.1.push(json!({"authorization": authorization, "body": asked}));
                    state.0
                };
                match mood {
                    Mood::Well => Json(json!({"predictions": predictions(&asked)})).into_response(),
                    Mood::Failing => reqwest::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    Mood::Babbling => "I think so".into_response(),
                    Mood::Silent => std::future::pending().await,
                    Mood::Held => {
                        is_asked.notify_one();
                        may_answer.notified().await;
                        Json(json!({"predictions": predictions(&asked)})).into_response()
                    }
                }
            }
        };
        tokio::spawn(async move { axum_serve(listener, Router::new().route("/predict", post(answer))).await });
        Model { url, state, asked, let_answer }
    }

    fn is(&self, mood: Mood) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = mood;
    }

    /// What it was asked since the last time.
    fn take_requests(&self) -> Vec<Value> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// A definition of a trait that it predicts, with these members changed.
    async fn predicts(&self, deputy: &Installation, changes: Value) -> Value {
        let mut new = json!({"key": "churn", "url": self.url, "token": TOKEN, "interval_s": 60, "deadline_ms": 300});
        new.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let made = deputy.operate("POST", "/predicted-traits", new).await.ok();
        assert!(!made.body.contains(TOKEN), "it is never told again: {made:?}");
        made.json()
    }
}

fn predictions(asked: &Value) -> Vec<Value> {
    let profiles = asked["profiles"].as_array().expect("a list").iter();
    let predict = |profile: &Value| {
        let share = profile["traits"].as_object().expect("an object").len() as f64 / 10.0;
        json!({"profile_id": profile["profile_id"], "value": share, "confidence": share})
    };
    profiles.map(predict).collect()
}

/// One connection after the other, for each a task.
async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn status(deputy: &Installation) -> Value {
    deputy.operate("GET", "/predicted-traits", Value::Null).await.ok().json()["items"][0].clone()
}

fn identify(user: &str, traits: Value) -> Value {
    json!([{"type": "identify", "userId": user, "traits": traits}])
}

/// The traits of those whom a model was asked about, request by request.
fn told(requests: &[Value]) -> Vec<Vec<Value>> {
    let told =
        |request: &Value| request["body"]["profiles"].as_array().expect("a list").iter().map(|one| one["traits"].clone()).collect();
    requests.iter().map(told).collect()
}

#[tokio::test]
async fn what_a_model_says_is_a_trait_with_its_source_its_time_and_its_confidence() {
    each_engine_calling_out("", async |deputy| {
        let (space, model) = (Space::of(&deputy).await, Model::start().await);
        let made = model.predicts(&deputy, json!({})).await;
        let audience = json!({"key": "leaving", "collection": "users",
            "condition": {"key": "churn", "more_than": 0.15}});
        deputy.operate("POST", "/audiences", audience).await.ok();
        space.send(identify("ada", json!({"plan": "pro"}))).await;
        let asked = model.take_requests();
        assert_eq!(told(&asked), [[json!({"plan": "pro"})]]);
        assert_eq!(asked[0]["authorization"], format!("Bearer {TOKEN}"));
        assert_eq!((&asked[0]["body"]["trait"], &asked[0]["body"]["collection"]), (&json!("churn"), &json!("users")));
        let shown =
            space.ask("users", "user_id:ada", "traits?verbose=true&include=churn").await.ok().json()["traits"]["churn"].clone();
        assert_eq!(
            (&shown["value"], &shown["confidence"], &shown["source_id"]),
            (&json!(0.1), &json!(0.1), &made["predicted_trait_id"])
        );
        assert!(shown["updated_at"].as_str().is_some_and(|at| at.starts_with("2027-01-15T08:00:00")), "{shown}");

        // A profile that keeps changing waits, and is asked about once more; its own prediction changes nothing of that.
        deputy.later(20);
        space.send(identify("ada", json!({"plan": "free"}))).await;
        space.send(identify("ada", json!({"seats": 2}))).await;
        assert_eq!(model.take_requests().len(), 0);
        deputy.later(40);
        space.settle().await;
        assert_eq!(told(&model.take_requests()), [[json!({"plan": "free", "seats": 2})]]);
        assert_eq!(space.traits("users", "user_id:ada").await["churn"], 0.2);
        deputy.later(600);
        space.settle().await;
        assert_eq!(model.take_requests().len(), 0, "nothing has changed");
        let status = status(&deputy).await;
        assert_eq!((&status["asked"], &status["answered"], &status["waiting"]), (&json!(2), &json!(2), &json!(0)), "{status}");
        assert_eq!(space.traits("users", "user_id:ada").await["leaving"], true, "a prediction is good for a condition");

        // An event that says something later wins, and whoever does not answer any longer is not asked.
        space.send(identify("ada", json!({"churn": "told us"}))).await;
        let path = format!("/predicted-traits/{}", made["predicted_trait_id"].as_str().expect("text"));
        deputy.operate("DELETE", &path, Value::Null).await.ok();
        model.take_requests();
        space.send(identify("bob", json!({"plan": "pro"}))).await;
        assert_eq!((model.take_requests().len(), &space.traits("users", "user_id:bob").await), (0, &json!({"plan": "pro"})));
    })
    .await;
}

#[tokio::test]
async fn a_model_is_told_of_fewer_at_once_when_there_is_much_to_say() {
    each_engine_calling_out("", async |deputy| {
        let (space, model) = (Space::of(&deputy).await, Model::start().await);
        // Of each 440 KB.
        for user in ["ada", "bob", "eve"] {
            for call in 0..22 {
                let traits: serde_json::Map<_, _> = (0..5).map(|n| (format!("t{call}.{n}"), json!("x".repeat(4_000)))).collect();
                space.send_only(identify(user, traits.into())).await;
            }
        }
        space.settle().await;
        model.predicts(&deputy, json!({})).await;
        for user in ["ada", "bob", "eve"] {
            space.send_only(identify(user, json!({"plan": "pro"}))).await;
        }
        space.settle().await;
        assert_eq!(told(&model.take_requests()).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        let status = status(&deputy).await;
        assert_eq!((&status["asked"], &status["waiting"]), (&json!(3), &json!(3)), "{status}");
    })
    .await;
}

#[tokio::test]
async fn a_model_that_is_down_changes_nothing_and_is_asked_again() {
    each_engine_calling_out("", async |mut deputy| {
        let model = Model::start().await;
        model.predicts(&deputy, json!({"batch_max": 2, "inputs": ["plan"]})).await;
        let token = {
            let space = Space::of(&deputy).await;
            model.is(Mood::Failing);
            for user in ["a", "b", "c"] {
                space.send_only(identify(user, json!({"plan": user, "secret": "s"}))).await;
            }
            space.settle().await;
            assert_eq!(model.take_requests().len(), 1, "it rests");
            assert_eq!(space.traits("users", "user_id:a").await, json!({"plan": "a", "secret": "s"}));
            let down = status(&deputy).await;
            assert!(
                down["failure"].as_str().is_some_and(|told| told.contains("500")) && down["failing_since"].is_string(),
                "{down}"
            );
            assert_eq!((&down["waiting"], &down["asked"]), (&json!(3), &json!(0)));
            for (mood, words) in [(Mood::Babbling, "not of the form"), (Mood::Silent, "within 300 ms")] {
                model.is(mood);
                deputy.later(30);
                space.settle().await;
                assert_eq!(model.take_requests().len(), 1);
                let told = status(&deputy).await["failure"].clone();
                assert!(told.as_str().is_some_and(|told| told.contains(words)), "{told}");
            }
            space.token.clone()
        };
        // Who waits is not forgotten by a restart.
        model.is(Mood::Well);
        deputy.restart().await;
        deputy.later(600);
        deputy.settle().await;
        deputy.settle().await;
        let requests = model.take_requests();
        assert_eq!(told(&requests).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1], "no more in one request than it takes");
        let all: Vec<_> = told(&requests).concat();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|traits| traits.get("secret").is_none() && traits["plan"].is_string()), "{all:?}");
        let well = status(&deputy).await;
        assert_eq!((&well["failure"], &well["asked"]), (&Value::Null, &json!(3)), "{well}");
        let url = format!("{}/v1/spaces/deputy/collections/users/profiles/user_id:c/traits", deputy.issuer);
        let shown = crate::support::Answer::of(deputy.http.get(url).basic_auth(&token, Some(""))).await.ok().json();
        assert_eq!(shown["traits"]["churn"], 0.1);
    })
    .await;
}

#[tokio::test]
async fn who_is_forgotten_is_never_sent_and_what_was_said_of_them_does_not_come_back() {
    each_engine_calling_out("", async |deputy| {
        let (space, model) = (Space::of(&deputy).await, Model::start().await);
        model.predicts(&deputy, json!({})).await;
        space.send(identify("eve", json!({"plan": "pro"}))).await;
        assert_eq!(space.traits("users", "user_id:eve").await["churn"], 0.1);
        model.is(Mood::Failing);
        for user in ["ada", "bob", "eve", "joe"] {
            space.send_only(identify(user, json!({"name": user}))).await;
        }
        deputy.later(60);
        space.settle().await;
        let regulate = async |regulation: &str, user: &str| {
            deputy.operate("POST", "/regulations", json!({"regulation": regulation, "user_ids": [user]})).await.ok();
        };
        regulate("SUPPRESS_ONLY", "ada").await;
        regulate("DELETE_ONLY", "bob").await;
        regulate("SUPPRESS_WITH_DELETE", "eve").await;
        model.take_requests();
        model.is(Mood::Well);
        deputy.later(60);
        // While somebody waits to be forgotten, nobody is sent.
        let world = deputy.world();
        deputy::events::profiles::predictions::step(world, world.now()).await.expect("storage is there");
        assert_eq!(model.take_requests().len(), 0);
        space.settle().await;
        let names: Vec<_> = told(&model.take_requests()).concat().iter().map(|traits| traits["name"].clone()).collect();
        assert_eq!(names, ["joe"]);
        assert_eq!(status(&deputy).await["waiting"], 1, "nobody else waits");

        // Everything is read again from the first offset on, also what was predicted of eve.
        assert!(topic(&deputy, "events").await.iter().filter(|event| event.contains("trait.predicted.v1")).count() >= 2);
        let rewind = deputy.world().storage.write(|tx| {
            Box::pin(async move {
                let next = consumers::next(tx, "profiles", "events/0").await?;
                Ok::<_, StorageError>(next > 0 && consumers::advance(tx, "profiles", "events/0", next, 0).await?)
            })
        });
        assert!(rewind.await.expect("storage answers"));
        space.settle().await;
        for user in ["user_id:bob", "user_id:eve"] {
            assert_eq!(space.ask("users", user, "traits").await.status, 404, "{user}");
        }
        assert_eq!(space.traits("users", "user_id:joe").await["churn"], 0.1);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_predicted_is_refused_when_it_is_defined() {
    let configuration = "issuer = \"https://id.example\"\ninternal_hosts = [\"models.internal\"]\n";
    let mut deputy = Installation::start_with(configuration).await;
    deputy.issuer = format!("http://{}", deputy.address());
    let new = |changes: Value| {
        let mut new = json!({"key": "churn", "url": "https://model.example/churn"});
        new.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        new
    };
    for (changes, told) in [
        (json!({"key": "a.b"}), "key must be"),
        (json!({"key": ""}), "key must be"),
        (json!({"inputs": ["churn"]}), "inputs must be"),
        (json!({"interval_s": 0}), "interval_s must be"),
        (json!({"batch_max": 1000}), "batch_max must be"),
        (json!({"deadline_ms": 60_000}), "deadline_ms must be"),
        (json!({"token": "with a space"}), "token must have"),
        (json!({"url": "http://model.example/churn"}), "internal_hosts"),
        (json!({"url": "http://127.0.0.1:9/churn"}), "internal_hosts"),
        (json!({"url": "https://10.0.0.7/churn"}), "special-use"),
        (json!({"url": "https://user:pass@model.example/churn"}), "user name"),
        (json!({"url": "churn"}), "not of the right form"),
        (json!({"colour": 1}), "unknown field"),
    ] {
        let answer =
            deputy.operate("POST", "/predicted-traits", new(changes.clone())).await.refused(400, ADMIN_VALUE.code.as_str());
        assert!(answer.text("error_description").contains(told), "{changes}: {answer:?}");
    }
    let made = deputy.operate("POST", "/predicted-traits", new(json!({"url": "http://models.internal/churn"}))).await.ok().json();
    deputy.operate("POST", "/predicted-traits", new(json!({}))).await.refused(409, ADMIN_CONFLICT.code.as_str());
    let path = format!("/predicted-traits/{}", made["predicted_trait_id"].as_str().expect("text"));
    deputy.operate("DELETE", &path, Value::Null).await.ok();
    deputy.operate("DELETE", &path, Value::Null).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
    deputy.operate("DELETE", "/predicted-traits/ptr_unknown", Value::Null).await.refused(404, ADMIN_NOT_FOUND.code.as_str());
    let facts = deputy.facts().await;
    let names: Vec<_> =
        facts.iter().filter_map(|fact| fact["type"].as_str()).filter(|name| name.starts_with("predicted_trait.")).collect();
    assert_eq!(names, ["predicted_trait.created.v1", "predicted_trait.deleted.v1"]);
}

/// A bound holds also where several operators add at the same moment, at nodes that share a database.
#[tokio::test]
async fn the_last_place_is_given_once() {
    const MODELS_MAX: usize = 10;
    let deputy = Installation::start_on_postgres("").await;
    let make = async |number: usize| {
        let new = json!({"key": format!("churn_{number}"), "url": "https://model.example/churn"});
        deputy.operate("POST", "/predicted-traits", new).await
    };
    for number in 1..MODELS_MAX {
        make(number).await.ok();
    }
    // Whoever is let in waits here to put it on record.
    let held = deputy.database().hold_rows("LOCK TABLE outbox IN SHARE MODE").await;
    let release = async {
        deputy.database().until_waiting(3).await;
        held.release().await;
    };
    let (answers, ()) = tokio::join!(join_all((0..3).map(|number| make(MODELS_MAX + number))), release);
    let made = answers.iter().filter(|answer| answer.status.is_success()).count();
    assert_eq!(made, 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| !answer.status.is_success()) {
        answer.refused(400, ADMIN_VALUE.code.as_str());
    }
}

#[tokio::test]
async fn who_changes_while_the_model_answers_is_asked_about_once_more() {
    each_engine_calling_out("", async |deputy| {
        let (space, model) = (Space::of(&deputy).await, Model::start().await);
        model.predicts(&deputy, json!({"deadline_ms": 30_000})).await;
        space.send(identify("ada", json!({"plan": "pro"}))).await;
        assert_eq!(told(&model.take_requests()), [[json!({"plan": "pro"})]]);
        // Both are due: ada has not changed, and bob has.
        deputy.later(30);
        space.send_only(identify("bob", json!({"plan": "pro"}))).await;
        deputy.later(31);
        space.settle_but("predictions").await;
        model.is(Mood::Held);
        let (world, now) = (deputy.world(), deputy.world().now());
        let change = async {
            model.asked.notified().await;
            for user in ["ada", "bob"] {
                space.send_only(identify(user, json!({"plan": "free"}))).await;
            }
            space.settle_but("predictions").await;
            model.is(Mood::Well);
            model.let_answer.notify_one();
        };
        let (asking, ()) = tokio::join!(profiles::predictions::step(world, now), change);
        asking.expect("it is asked");
        assert_eq!(told(&model.take_requests()), [[json!({"plan": "pro"})]], "bob, as he was");
        deputy.later(60);
        space.settle().await;
        let mut asked: Vec<Value> = told(&model.take_requests()).concat();
        asked.sort_by_key(ToString::to_string);
        let free = |traits: &Value| traits["plan"] == "free";
        assert!(asked.len() == 2 && asked.iter().all(free), "{asked:?}");
    })
    .await;
}
