//! The crate `segment`, as an organisation's server uses it: a batch and every single call; what fails is sent again, as it says.

use std::time::Duration;

use segment::{
    Batcher, Client as _, HttpClient,
    message::{Alias, Group, Identify, Message, Page, Screen, Track, User},
};
use serde_json::json;

/// The crate itself never tries again.
const TRIES_MAX: u32 = 12;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let read = |name| std::env::var(name).unwrap_or_else(|_| panic!("set {name}: tests/clients/tracking/mod.rs says what it holds"));
    let (host, write_key) = (read("HOST"), read("WRITE_KEY"));
    let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build().expect("a client");
    let client = HttpClient::new(http, host);
    let user = || User::UserId { user_id: "ada".to_owned() };
    // The crate gives no ids; who sends again has to.
    let named = |id: String| [("messageId".to_owned(), json!(id))].into_iter().collect();
    let extra = |call: &str| named(format!("rust-{call}"));
    let mut messages: Vec<Message> = vec![
        Identify { user: user(), traits: json!({"plan": "pro"}), extra: extra("identify"), ..Identify::default() }.into(),
        Page { user: user(), name: "Home".to_owned(), extra: extra("page"), ..Page::default() }.into(),
        Screen { user: user(), name: "Start".to_owned(), extra: extra("screen"), ..Screen::default() }.into(),
        Group { user: user(), group_id: "acme".to_owned(), extra: extra("group"), ..Group::default() }.into(),
        Alias { user: user(), previous_id: "anonymous".to_owned(), extra: extra("alias"), ..Alias::default() }.into(),
    ];
    let mut batcher = Batcher::new(Some(json!({"app": {"name": "shop"}})));
    for number in 0..20 {
        let extra = named(format!("rust-{number}"));
        let event =
            Track { user: user(), event: format!("Event {number}"), properties: json!({"number": number}), extra, ..Track::default() };
        assert!(batcher.push(event).expect("it is small").is_none(), "twenty fit one batch");
    }
    messages.push(batcher.into_message());
    for message in messages {
        let mut tries = 0;
        while let Err(error) = client.send(write_key.clone(), message.clone()).await {
            tries += 1;
            assert!(tries < TRIES_MAX, "not sent: {error}");
        }
    }
    println!("ok: everything is sent");
}
