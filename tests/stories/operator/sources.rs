//! Sources of customer events in an operator's hands.

use deputy::domain::refusal::{ADMIN_NOT_FOUND, ADMIN_VALUE};
use serde_json::{Value, json};

use super::{last_fact, refused};
use crate::support::each_engine;

#[tokio::test]
async fn a_source_is_made_and_its_write_key_told_once() {
    each_engine(async |deputy| {
        let made = deputy.source(json!({"name": "The shop", "kind": "browser"})).await;
        assert_eq!(made["write_key"].as_str().map(str::len), Some(43));
        let (actor, data) = last_fact(&deputy, "source.created.v1").await;
        assert_eq!(data, json!({"source": made["source_id"], "name": "The shop", "kind": "browser"}));
        assert!(actor["operator"].is_string());
        deputy.later(1);
        deputy.source(json!({"name": "The stock"})).await;
        let list = deputy.operate("GET", "/sources?limit=1", Value::Null).await.ok();
        assert_eq!(list.json()["items"][0]["source_id"], made["source_id"]);
        let next = format!("/sources?cursor={}", list.text("next_cursor"));
        let next = deputy.operate("GET", &next, Value::Null).await.ok().json();
        assert_eq!((&next["items"][0]["name"], &next["items"][0]["kind"]), (&"The stock".into(), &"server".into()));
        let shown = deputy.operate("GET", &path(&made), Value::Null).await.ok();
        assert!([&list.body, &shown.body].iter().all(|told| !told.contains(made["write_key"].as_str().expect("text"))));
        for (new, told) in [
            (json!({"name": "  "}), "name must have"),
            (json!({"name": "N", "kind": "toaster"}), "unknown variant"),
            (json!({"name": "N", "client_id": "nobody"}), "There is no client nobody"),
            (json!({"name": "N", "client_id": "not a client"}), "not the identifier of a client"),
        ] {
            refused(deputy.operate("POST", "/sources", new).await, 400, &ADMIN_VALUE, told);
        }
    })
    .await;
}

fn path(source: &Value) -> String {
    format!("/sources/{}", source["source_id"].as_str().expect("text"))
}

#[tokio::test]
async fn a_source_changes_and_each_change_is_on_record() {
    each_engine(async |deputy| {
        let made = deputy.source(json!({})).await;
        let service = deputy.service("tracking_api:write").await;
        let change = async |change: Value| deputy.operate("PATCH", &path(&made), change).await.ok().json();
        let changed = change(json!({"name": "Another", "client_id": service.client_id, "requires_token": true})).await;
        assert_eq!((&changed["name"], &changed["client_id"]), (&"Another".into(), &service.client_id.clone().into()));
        assert_eq!(last_fact(&deputy, "source.changed.v1").await.1, json!({"source": made["source_id"], "change": "settings"}));
        let changed = change(json!({"client_id": null, "disabled": true})).await;
        assert_eq!((&changed["client_id"], changed["disabled_at"].is_string()), (&Value::Null, true));
        change(json!({"disabled": false})).await;
        assert_eq!(last_fact(&deputy, "source.changed.v1").await.1["change"], "enabled");
        let before = deputy.facts_of("source.changed.v1").await.len();
        change(json!({"disabled": false})).await;
        assert_eq!(deputy.facts_of("source.changed.v1").await.len(), before, "nothing changed");
        refused(deputy.operate("PATCH", &path(&made), json!({"client_id": "nobody"})).await, 400, &ADMIN_VALUE, "no client nobody");
        refused(deputy.operate("PATCH", "/sources/src_unknown", json!({})).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}

#[tokio::test]
async fn a_new_write_key_and_the_end_of_a_source() {
    each_engine(async |deputy| {
        let made = deputy.source(json!({})).await;
        let key = format!("{}/write-key", path(&made));
        let renewed = deputy.operate("POST", &key, json!({})).await.ok().json();
        assert_ne!(renewed["write_key"], made["write_key"]);
        assert_eq!(last_fact(&deputy, "source.changed.v1").await.1["change"], "write_key");
        deputy.operate("DELETE", &path(&made), Value::Null).await.ok();
        assert_eq!(last_fact(&deputy, "source.deleted.v1").await.1, json!({"source": made["source_id"]}));
        refused(deputy.operate("DELETE", &path(&made), Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
        refused(deputy.operate("GET", &path(&made), Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
        for method in ["GET", "DELETE"] {
            refused(deputy.operate(method, "/sources/src_unknown", Value::Null).await, 404, &ADMIN_NOT_FOUND, "");
        }
        refused(deputy.operate("POST", &key, json!({})).await, 404, &ADMIN_NOT_FOUND, "");
        refused(deputy.operate("POST", "/sources/src_unknown/write-key", json!({})).await, 404, &ADMIN_NOT_FOUND, "");
    })
    .await;
}
