//! The pipeline under the seed: customer events come in, stages work in any order, and misfortunes befall both. After every move
//! promise 7 is held against the log and against what the consumers have made of it.
//!
//! It has choices of its own, and so leaves those of the other moves as they were.

/// What is sent.
mod producers;
/// What has to be in the log.
mod topics;
/// What profiles have to be.
mod profiles;
/// The same events once more.
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use deputy::{
    domain::event::{Event, Fact},
    events::{dedup, profiles as profiles_stage, profiles::read},
    log::{Cursor, Entry},
    server::stages::{STAGES, Stage},
    storage::{StorageError, consumers, profile_states},
    world::{EVENTS, FACTS, RECEIVED, World},
};
use serde_json::{Value, json};

use super::{
    course::Simulation,
    machine::Reached,
    model::{Checked, ensure},
    random::Random,
};
use producers::{Producers, Shipment};
use profiles::{BUYER_ORDERS, Profiles};
use topics::Topics;

/// Profiles that are looked at after each move, beside one at random.
const PROFILES_LOOKED_AT: usize = 4;
/// More events than a simulation makes.
const EVENTS_MAX: i64 = 100_000;
const COUNT_IDS: &str = "SELECT count(*) FROM external_ids";
/// As many commits as a stage makes in a step, or more.
const COMMITS_OF_A_STAGE: u64 = 3;

/// What was sent, and what must have come of it.
pub struct Pipeline {
    random: Random,
    reached: Reached,
    producers: Producers,
    topics: Topics,
    profiles: Profiles,
    /// Everything published that profiles have not taken in yet.
    published: Vec<(u64, Event)>,
    /// Facts that are to be told once, by what makes them one.
    told_once: BTreeSet<String>,
    /// How often each profile entered an audience.
    buyers: BTreeMap<String, u32>,
}

impl Pipeline {
    pub fn new(seed: u64) -> Pipeline {
        Pipeline {
            // Other choices than those of the other moves.
            random: Random::new(!seed),
            reached: Reached::new(),
            producers: Producers::default(),
            topics: Topics::default(),
            profiles: Profiles::default(),
            published: Vec::new(),
            told_once: BTreeSet::new(),
            buyers: BTreeMap::new(),
        }
    }
}

impl Simulation {
    /// Sources, and what is computed of their events.
    pub async fn add_sources(&mut self) -> Checked {
        for kind in ["server", "browser"] {
            let source = self.operate("POST", "/sources", &json!({"name": "Shop", "kind": kind})).await?;
            let [id, write_key] = ["source_id", "write_key"].map(|member| source[member].as_str().unwrap_or_default().to_owned());
            self.keep_secret("write key", &write_key);
            self.pipeline.producers.add_source(id, write_key);
        }
        for (key, function, property) in
            [("orders", "count", Value::Null), ("spent", "sum", json!("total")), ("latest", "last", json!("total"))]
        {
            let mut definition = json!({"key": key, "over": {"event": "Order"}, "function": function});
            if !property.is_null() {
                definition["property"] = property;
            }
            self.operate("POST", "/computed-traits", &definition).await?;
        }
        let condition = json!({"key": "orders", "at_least": BUYER_ORDERS});
        self.operate("POST", "/audiences", &json!({"key": "buyer", "collection": "users", "condition": condition})).await?;
        Ok(())
    }

    /// A move of the pipeline, and what must hold after it.
    pub async fn pipeline_move(&mut self) -> Checked {
        match self.pipeline.random.weighted(&[(50, 0), (36, 1), (4, 2), (3, 3), (4, 4), (3, 5)]) {
            0 => self.send_events().await?,
            1 => self.step_some().await,
            2 => {
                self.moves.push("crash".to_owned());
                self.machine.crash().await;
            }
            3 => {
                let operations = self.pipeline.random.within(0..12);
                self.moves.push(format!("crash, and again after {operations} operations of the log's disk"));
                self.machine.crash_twice(operations).await;
            }
            4 => {
                self.moves.push("crash, and the index of seen ids suffers".to_owned());
                self.machine.lose_index(&mut self.pipeline.random).await;
            }
            _ => {
                self.moves.push("restart".to_owned());
                self.machine.restart().await;
            }
        }
        self.check_pipeline().await?;
        self.check_lines()
    }

    /// What was answered is on record, what is on record goes on once, and what went on has had its effect once.
    pub async fn check_pipeline(&mut self) -> Checked {
        // Cursors before and after: what was under way when its caller was gone may come to its end in between.
        let before = self.cursors_of_dedup().await?;
        let events = self.machine.read_on(EVENTS, &mut self.pipeline.reached).await?;
        let after = self.cursors_of_dedup().await?;
        for (partition, entry) in self.machine.read_on(RECEIVED, &mut self.pipeline.reached).await? {
            let said = self.pipeline.topics.note_received(partition, &entry)?;
            self.pipeline.producers.note_found(&said)?;
        }
        for (partition, entry) in self.machine.read_on(FACTS, &mut self.pipeline.reached).await? {
            self.learn_fact(partition, &entry)?;
        }
        self.pipeline.producers.check_owed()?;
        for (_, entry) in &events {
            self.pipeline.topics.note_published(entry)?;
            let event = serde_json::from_slice(&entry.payload).map_err(|error| error.to_string())?;
            self.pipeline.published.push((entry.offset, event));
        }
        self.pipeline.topics.check_cursors(&before, &after)?;
        self.check_profiles().await
    }

    /// Nothing is under way any longer, and everything is as it should be.
    pub async fn check_pipeline_settled(&mut self) -> Checked {
        self.check_pipeline().await?;
        self.pipeline.topics.check_settled()?;
        ensure(self.pipeline.published.is_empty(), || format!("profiles never take in {:?}", self.pipeline.published[0]))?;
        let mut entered = self.pipeline.buyers.len();
        for group in self.pipeline.profiles.all() {
            let members = self.check_profile(group).await?;
            let told = members.iter().filter(|member| self.pipeline.buyers.contains_key(*member)).count();
            let due = self.pipeline.profiles.group(group);
            ensure(due.is_buyer() == (told > 0), || format!("{told} times it was told who became a buyer: {due:?}"))?;
            entered -= told;
        }
        ensure(entered == 0, || "it was told of nobody that they became a buyer".to_owned())?;
        let count = async |world: &World| {
            world.storage.read(|tx| Box::pin(async move { tx.row(COUNT_IDS, &[], |row| row.int(0)).await })).await
        };
        let count = self.machine.look(count).await?.unwrap_or(0);
        let due = self.pipeline.profiles.ids_count();
        ensure(usize::try_from(count) == Ok(due), || format!("{count} external ids are known, and should be {due}"))
    }

    /// Producers send, several at once; who is not answered sends again, now or later.
    async fn send_events(&mut self) -> Checked {
        let Pipeline { random, producers, .. } = &mut self.pipeline;
        let now = self.machine.now();
        let count = random.weighted(&[(6, 1), (3, 2), (1, 4)]);
        let shipments: Vec<Shipment> = (0..count).map(|_| producers.choose(random, now)).collect();
        let fault = self.machine.fault(random);
        self.moves.extend(shipments.iter().map(|shipment| format!("{}, {fault:?}", shipment.describe())));
        let requests: Vec<_> = shipments.iter().map(|shipment| producers.send(shipment)).collect();
        let answers = self.machine.serve(&requests, fault.as_ref()).await;
        if self.pipeline.random.chance(15) {
            self.moves.push("the power fails right after the answers".to_owned());
            self.machine.crash().await;
        }
        for (shipment, answer) in shipments.into_iter().zip(answers) {
            let is_answered = match &answer {
                Some(answer) => !self.is_trouble(answer, fault.as_ref())?,
                None => false,
            };
            let answer = if is_answered {
                answer
            } else if self.pipeline.random.chance(60) {
                let request = self.pipeline.producers.send(&shipment);
                let again = self.machine.call(&request).await;
                (!self.is_trouble(&again, None)?).then_some(again)
            } else {
                None
            };
            match answer {
                Some(answer) => {
                    let is_taken = answer.status.as_u16() == 200 && answer.json() == json!({"success": true});
                    ensure(is_taken, || format!("{} is answered {} {}", shipment.describe(), answer.status, answer.body))?;
                    self.pipeline.producers.note_answered(&shipment);
                }
                None => self.pipeline.producers.note_unanswered(shipment),
            }
        }
        Ok(())
    }

    /// Stages work, in any order.
    async fn step_some(&mut self) {
        let random = &mut self.pipeline.random;
        let count = random.weighted(&[(5, 1), (1, 2), (1, 3), (1, 5), (3, 0)]);
        let stages: Vec<&Stage> = match count {
            0 => STAGES.iter().collect(),
            _ => (0..count).filter_map(|_| random.pick(STAGES)).collect(),
        };
        let fault = self.machine.fault_at_work(random);
        let commits_spared = random.within(0..COMMITS_OF_A_STAGE) as u32;
        let names: Vec<_> = stages.iter().map(|stage| stage.name).collect();
        self.moves.push(format!("step {}, {fault:?} after {commits_spared} commits", names.join(", ")));
        self.machine.step_these(&stages, fault.as_ref(), commits_spared).await;
    }

    /// A fact of ours: it comes once, and so does what it tells of.
    fn learn_fact(&mut self, partition: u16, entry: &Entry) -> Checked {
        let fact: Value = serde_json::from_slice(&entry.payload).map_err(|error| error.to_string())?;
        self.note_fact(&fact)?;
        let event: Event = serde_json::from_slice(&entry.payload).map_err(|error| error.to_string())?;
        self.pipeline.topics.note_fact(partition, entry, &event.id.to_string());
        let once = match &event.fact {
            Fact::RiskSignalled { agent, event, .. } => format!("a signal of {agent} by {event}"),
            Fact::AudienceEntered { profile, .. } => {
                *self.pipeline.buyers.entry(profile.to_string()).or_default() += 1;
                format!("{profile} became a buyer")
            }
            Fact::AudienceLeft { profile, .. } => return Err(format!("{profile} is said to have bought less than before")),
            _ => return Ok(()),
        };
        ensure(self.pipeline.told_once.insert(once.clone()), || format!("it is told twice: {once}"))
    }

    async fn cursors_of_dedup(&self) -> Checked<Vec<Cursor>> {
        let cursors = self.machine.look(async |world| world.log.cursors().await).await?;
        Ok(cursors.into_iter().filter(|cursor| cursor.consumer == dedup::CONSUMER).collect())
    }

    /// Profiles are what the events up to their cursor make of them.
    async fn check_profiles(&mut self) -> Checked {
        let next = self.next_of(profiles_stage::CONSUMER).await?;
        let beyond = self.pipeline.published.partition_point(|(offset, _)| *offset < next);
        for (offset, event) in self.pipeline.published.drain(..beyond) {
            self.pipeline.profiles.learn(&event, offset);
        }
        let end = self.pipeline.reached.get(&(EVENTS, 0)).copied().unwrap_or(0);
        ensure(next <= end, || format!("profiles have read up to {next}, and events end at {end}"))?;
        let mut groups = self.pipeline.profiles.take_touched();
        groups.truncate(PROFILES_LOOKED_AT);
        groups.extend(self.pipeline.random.pick(&self.pipeline.profiles.all()).copied());
        for group in groups {
            self.check_profile(group).await?;
        }
        Ok(())
    }

    /// Holds a profile against what it has to be; answers what it is made of.
    async fn check_profile(&self, group: usize) -> Checked<Vec<String>> {
        let (machine, due) = (&self.machine, self.pipeline.profiles.group(group));
        let (collection, id) = due.name();
        let found = machine.look(async |world| read::find(world, collection, id).await).await?;
        let Some(profile) = found else { return Err(format!("there is no profile of {due:?}")) };
        let places = async |world: &World| {
            let members = profile.members.clone();
            let places = world.storage.read(move |tx| {
                Box::pin(async move {
                    let mut places = Vec::new();
                    for member in members {
                        places.extend(profile_states::events_from(tx, member, 0, EVENTS_MAX).await?);
                    }
                    Ok::<_, StorageError>(places)
                })
            });
            places.await
        };
        let offsets = machine.look(places).await?.iter().map(|place| place.offset).collect();
        due.check(&profile, &offsets, machine.now())?;
        Ok(profile.members.iter().map(ToString::to_string).collect())
    }

    /// Where a consumer goes on.
    async fn next_of(&self, consumer: &'static str) -> Checked<u64> {
        let next = async |world: &World| {
            let input = Cursor::input(EVENTS, 0);
            world.storage.read(move |tx| Box::pin(async move { consumers::next(tx, consumer, &input).await })).await
        };
        self.machine.look(next).await
    }
}
