//! An organisation that sends events and asks for profiles.

use reqwest::Url;
use serde_json::{Value, json};

use crate::support::{Answer, Installation};

/// A source to send through, and a token to ask with.
pub struct Space<'d> {
    deputy: &'d Installation,
    pub write_key: String,
    pub token: String,
}

impl<'d> Space<'d> {
    pub async fn of(deputy: &'d Installation) -> Space<'d> {
        let source = deputy.source(json!({})).await;
        let issued = deputy.operate("POST", "/profile-tokens", json!({"name": "Support desk"})).await.ok();
        let write_key = source["write_key"].as_str().expect("a source has a write key").to_owned();
        Space { deputy, write_key, token: issued.text("token") }
    }

    /// The same, after a restart.
    pub fn known(deputy: &'d Installation, write_key: &str, token: &str) -> Space<'d> {
        Space { deputy, write_key: write_key.to_owned(), token: token.to_owned() }
    }

    /// Sends calls, and lets everything have its effect.
    pub async fn send(&self, calls: Value) {
        self.send_only(calls).await;
        self.settle().await;
    }

    /// Sends calls that wait for their effect.
    pub async fn send_only(&self, calls: Value) {
        let body = json!({"batch": calls, "writeKey": self.write_key}).to_string();
        Answer::of(self.deputy.http.post(format!("{}/v1/batch", self.deputy.issuer)).body(body)).await.ok();
    }

    /// What a profile has led to is a fact too, and takes the same way once more.
    pub async fn settle(&self) {
        self.deputy.settle().await;
        self.deputy.settle().await;
    }

    /// Lets everything have its effect but for one stage.
    pub async fn settle_but(&self, stage: &str) {
        self.deputy.settle_but(stage).await;
        self.deputy.settle_but(stage).await;
    }

    /// Asks about somebody: `users`, `user_id:ada`, `traits?limit=20`.
    pub async fn ask(&self, collection: &str, who: &str, view: &str) -> Answer {
        Answer::of(self.deputy.http.get(self.url(collection, who, view)).basic_auth(&self.token, Some(""))).await
    }

    /// The address of a view; what names somebody is one segment, whatever is in it.
    pub fn url(&self, collection: &str, who: &str, view: &str) -> Url {
        let (view, query) = view.split_once('?').map_or((view, None), |(view, query)| (view, Some(query)));
        let mut url = Url::parse(&self.deputy.issuer).expect("an issuer is a URL");
        let place = ["v1", "spaces", "deputy", "collections", collection, "profiles", who];
        url.path_segments_mut().expect("it has a path").pop_if_empty().extend(place).extend(view.split('/'));
        url.set_query(query);
        url
    }

    /// All traits of somebody.
    pub async fn traits(&self, collection: &str, who: &str) -> Value {
        self.ask(collection, who, "traits?limit=200").await.ok().json()["traits"].clone()
    }

    /// All external ids of somebody, as `type:value`.
    pub async fn ids(&self, collection: &str, who: &str) -> Vec<String> {
        let data = self.ask(collection, who, "external_ids?limit=200").await.ok().json()["data"].clone();
        let spell = |id: &Value| format!("{}:{}", id["type"].as_str().expect("text"), id["id"].as_str().expect("text"));
        data.as_array().expect("a list").iter().map(spell).collect()
    }

    /// The names of somebody's events, the oldest first.
    pub async fn events(&self, collection: &str, who: &str) -> Vec<String> {
        let data = self.ask(collection, who, "events?limit=200&sort=asc").await.ok().json()["data"].clone();
        let name = |event: &Value| event["event"].as_str().or(event["type"].as_str()).expect("text").to_owned();
        data.as_array().expect("a list").iter().map(name).collect()
    }

    /// Somebody with the evidence, as an operator sees it.
    pub async fn evidence(&self, collection: &str, who: &str) -> Value {
        let path = format!("/profiles?collection={collection}&external_id={who}");
        self.deputy.operate("GET", &path, Value::Null).await.ok().json()
    }
}
