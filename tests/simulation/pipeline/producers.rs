//! Who sends customer events, what they sent, and what of it was answered.

use std::collections::HashMap;

use axum::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deputy::domain::time::Timestamp;
use serde_json::{Value, json};

use crate::simulation::{
    model::{Checked, ensure},
    random::Random,
    request::Request,
};

/// So many messages speak of the same few people; then others come.
const MESSAGES_OF_A_CIRCLE: u64 = 50;
const USERS: u64 = 3;
/// As many as one profile may have.
const VISITORS: u64 = 5;
/// Messages that are sent again are mostly among so many last ones.
const LATELY: usize = 25;

#[derive(Default)]
pub struct Producers {
    sources: Vec<Source>,
    /// Every message that makes sense, with its source.
    messages: Vec<(usize, Value)>,
    /// What was not answered, and may be sent again.
    unanswered: Vec<Shipment>,
    copies: HashMap<Said, Copies>,
    /// What was answered since the last look at the log.
    owed: Vec<Said>,
    made: u64,
}

struct Source {
    id: String,
    write_key: String,
}

/// What a source says under an id, however often it says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Said {
    pub source: String,
    pub message_id: String,
    /// The message without what differs from one sending to the next.
    pub words: String,
}

#[derive(Debug, Default)]
struct Copies {
    sent: u32,
    answered: u32,
    found: u32,
}

/// What one request carries.
#[derive(Debug, Clone)]
pub struct Shipment {
    source: usize,
    door: Door,
    key: KeyPlace,
    messages: Vec<Value>,
}

#[derive(Debug, Clone, Copy)]
enum Door {
    OfTheCall,
    Batch,
}

#[derive(Debug, Clone, Copy)]
enum KeyPlace {
    Header,
    Body,
}

impl Said {
    /// What the message says, as its source wrote it or as it is kept.
    pub fn of(source: &str, message: &Value) -> Said {
        let mut words = message.clone();
        if let Some(words) = words.as_object_mut() {
            words.retain(|name, _| {
                !name.starts_with('_') && !matches!(name.as_str(), "timestamp" | "sentAt" | "receivedAt" | "context")
            });
        }
        let message_id = message["messageId"].as_str().unwrap_or_default().to_owned();
        Said { source: source.to_owned(), message_id, words: words.to_string() }
    }
}

impl Shipment {
    pub fn describe(&self) -> String {
        let ids: Vec<_> = self.messages.iter().map(|message| message["messageId"].as_str().unwrap_or("-")).collect();
        format!("source {} sends {} by {:?}", self.source, ids.join(" "), self.door)
    }
}

impl Producers {
    pub fn add_source(&mut self, id: String, write_key: String) {
        self.sources.push(Source { id, write_key });
    }

    /// Something to send: new, sent before, or both.
    pub fn choose(&mut self, random: &mut Random, now: Timestamp) -> Shipment {
        if random.chance(25)
            && let Some(index) = random.index(self.unanswered.len())
        {
            return self.unanswered.swap_remove(index);
        }
        let source = random.within(0..self.sources.len() as u64) as usize;
        let door = if random.chance(30) { Door::OfTheCall } else { Door::Batch };
        let key = if random.chance(50) { KeyPlace::Header } else { KeyPlace::Body };
        let count = match door {
            Door::OfTheCall => 1,
            Door::Batch => random.weighted(&[(4, 1), (4, 3), (2, 8), (1, 20)]),
        };
        let messages = (0..count).map(|_| self.message(source, random, now)).collect();
        Shipment { source, door, key, messages }
    }

    /// The request, which from now on was sent.
    pub fn send(&mut self, shipment: &Shipment) -> Request {
        for message in shipment.messages.iter().filter(|message| is_fit(message)) {
            self.copies.entry(self.said(shipment.source, message)).or_default().sent += 1;
        }
        let write_key = &self.sources[shipment.source].write_key;
        let (path, mut body) = match shipment.door {
            Door::Batch => {
                ("/v1/batch".to_owned(), json!({"batch": shipment.messages, "context": {"library": {"name": "simulated"}}}))
            }
            Door::OfTheCall => {
                let message = &shipment.messages[0];
                (format!("/v1/{}", message["type"].as_str().unwrap_or_default()), message.clone())
            }
        };
        match shipment.key {
            KeyPlace::Body => {
                body["writeKey"] = write_key.as_str().into();
                Request::json(Method::POST, &path, &body)
            }
            KeyPlace::Header => {
                let header = format!("Basic {}", STANDARD.encode(format!("{write_key}:")));
                Request::json(Method::POST, &path, &body).with("authorization", header)
            }
        }
    }

    /// From now on every message of it is on record, whatever happens.
    pub fn note_answered(&mut self, shipment: &Shipment) {
        for message in shipment.messages.iter().filter(|message| is_fit(message)) {
            let said = self.said(shipment.source, message);
            self.copies.entry(said.clone()).or_default().answered += 1;
            self.owed.push(said);
        }
    }

    /// Nobody answered: its producer may try again.
    pub fn note_unanswered(&mut self, shipment: Shipment) {
        self.unanswered.push(shipment);
    }

    /// A message came to the log.
    pub fn note_found(&mut self, said: &Said) -> Checked {
        let copies = self.copies.entry(said.clone()).or_default();
        copies.found += 1;
        ensure(copies.found <= copies.sent, || format!("a message is on record more often than it was sent: {said:?}, {copies:?}"))
    }

    /// What was answered is on record.
    pub fn check_owed(&mut self) -> Checked {
        for said in std::mem::take(&mut self.owed) {
            let copies = &self.copies[&said];
            ensure(copies.found >= copies.answered, || format!("a message was answered and is lost: {said:?}, {copies:?}"))?;
        }
        Ok(())
    }

    fn message(&mut self, source: usize, random: &mut Random, now: Timestamp) -> Value {
        let message = match random.within(0..100) {
            0..22 => self.known(random, |known| known == source),
            22..28 => self.known(random, |known| known == source).map(|mut message| {
                self.made += 1;
                message["note"] = self.made.into();
                message
            }),
            28..34 => self.known(random, |known| known != source),
            _ => None,
        };
        let message = message.unwrap_or_else(|| self.new_message(random, now));
        if is_fit(&message) {
            self.messages.push((source, message.clone()));
        }
        message
    }

    /// A message of such a source.
    fn known(&self, random: &mut Random, is_of: impl Fn(usize) -> bool) -> Option<Value> {
        let of: Vec<&Value> = self.messages.iter().filter(|(source, _)| is_of(*source)).map(|(_, message)| message).collect();
        let from = if random.chance(75) { of.len().saturating_sub(LATELY) } else { 0 };
        random.pick(&of[from..]).map(|message| (*message).clone())
    }

    fn new_message(&mut self, random: &mut Random, now: Timestamp) -> Value {
        self.made += 1;
        // Those of one circle are met together, so that nobody ever has more ids than one may have.
        let now_met = self.made / MESSAGES_OF_A_CIRCLE;
        let circle = if random.chance(85) { now_met } else { random.within(0..now_met + 1) };
        let user = format!("user-{circle}-{}", random.within(0..USERS));
        let visitor = format!("visitor-{circle}-{}", random.within(0..VISITORS));
        let mut message = match random.within(0..100) {
            0..40 => json!({"type": "track", "event": "Order", "properties": {"total": random.within(1..100)}}),
            40..52 => json!({"type": "track", "event": "Look"}),
            52..76 => json!({"type": "identify", "traits": some_traits(random)}),
            76..84 => json!({"type": "page", "name": "Start"}),
            84..94 => json!({"type": "group", "groupId": format!("group-{circle}"), "traits": some_traits(random)}),
            94..98 => json!({"type": "alias", "previousId": visitor, "userId": user}),
            // It names nobody, and is nobody's.
            _ => json!({"type": "track", "event": "Order", "properties": {"total": 1_000_000}, "messageId": "unfit"}),
        };
        if message["messageId"].is_string() {
            return message;
        }
        message["messageId"] = format!("m{}", self.made).into();
        if message["type"] != "alias" {
            let names = random.weighted(&[(4, [true, false]), (3, [false, true]), (3, [true, true])]);
            for (name, id) in [("userId", user), ("anonymousId", visitor)]
                .into_iter()
                .zip(names)
                .filter(|(_, is_named)| *is_named)
                .map(|(named, _)| named)
            {
                message[name] = id.into();
            }
        }
        if random.chance(25) {
            // Events come late, and in another order than they happened in.
            let happened_at = Timestamp(now.0 - random.within(0..7_200_000).cast_signed());
            (message["timestamp"], message["originalTimestamp"]) =
                (happened_at.to_iso_8601().into(), happened_at.to_iso_8601().into());
        }
        message
    }

    fn said(&self, source: usize, message: &Value) -> Said {
        Said::of(&self.sources[source].id, message)
    }
}

/// Whether it is an event of anybody.
fn is_fit(message: &Value) -> bool {
    message["userId"].is_string() || message["anonymousId"].is_string()
}

fn some_traits(random: &mut Random) -> Value {
    let mut traits = json!({});
    if random.chance(70) {
        traits["plan"] = (*random.pick(&["free", "pro", "max"]).expect("there are some")).into();
    }
    if random.chance(50) {
        traits["seats"] = if random.chance(80) { random.within(1..50).into() } else { Value::Null };
    }
    traits
}
