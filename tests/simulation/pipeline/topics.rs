//! What the log has to hold: every customer event and every fact of ours that came in stands in `events` once, in its order.
//!
//! A sequential reading of what came in says what must go on. What it was is compared byte for byte. An id is known for at least the
//! window; beyond it, and before its run expires, either is right. An index that is made anew then may know the id by a payload that
//! was kept aside, and judge others by that: nothing goes on twice for it, and everything is on record.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use deputy::{
    domain::{
        event::{Event, Fact},
        time::Timestamp,
    },
    log::{Cursor, Entry},
    world::{FACTS, RECEIVED},
};
use serde_json::Value;

use super::producers::Said;
use crate::simulation::model::{Checked, ensure};

/// As the simulation's configuration has it.
const WINDOW: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub struct Topics {
    /// What came in and has not gone on yet, in its order.
    waiting: BTreeMap<Input, VecDeque<Waiting>>,
    /// Where each of them waits, by its id.
    places: HashMap<String, Input>,
    /// Which ids of each source were there before.
    firsts: HashMap<(String, String), First>,
    /// The latest time of all that came in.
    newest: Option<Timestamp>,
    /// Up to where the inputs were found done with.
    done: BTreeMap<Input, u64>,
    /// Of events that we made ourselves on the way.
    made: HashSet<String>,
}

/// A topic and a partition.
type Input = (&'static str, u16);

struct Waiting {
    offset: u64,
    at: Timestamp,
    id: String,
    payload: Vec<u8>,
    /// What a customer event says; none for what is our own.
    received: Option<Received>,
}

struct Received {
    said: Said,
    text: String,
}

/// What went on under an id.
#[derive(Debug)]
struct First {
    at: Timestamp,
    words: String,
    /// All that came under the id, now and before.
    uses: HashSet<String>,
    /// Whether the window has passed it, or one before it.
    is_old: bool,
}

/// What may become of an event that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesOn,
    GoesNowhere,
    IsKeptAside,
}

impl Topics {
    /// A fact of ours came in.
    pub fn note_fact(&mut self, partition: u16, entry: &Entry, id: &str) {
        self.wait((FACTS, partition), entry, id.to_owned(), None);
    }

    /// A customer event came in; answers what it says.
    pub fn note_received(&mut self, partition: u16, entry: &Entry) -> Checked<Said> {
        let event = read(entry)?;
        let Fact::EventReceived { source, message_id, message } = event.fact else {
            return Err(format!("something else than a customer event was received: {event:?}"));
        };
        let said =
            Said::of(&source.to_string(), &serde_json::from_str::<Value>(message.as_str()).map_err(|error| error.to_string())?);
        ensure(said.message_id == message_id, || format!("a message's id is told in two ways: {message_id} and {said:?}"))?;
        let received = Received { said: said.clone(), text: message.as_str().to_owned() };
        self.wait((RECEIVED, partition), entry, event.id.to_string(), Some(received));
        Ok(said)
    }

    /// An event went on.
    pub fn note_published(&mut self, entry: &Entry) -> Checked {
        let event = read(entry)?;
        let id = event.id.to_string();
        if let Fact::EventKeptAside { source, message_id, reason, message, .. } = &event.fact {
            ensure(reason == "conflict" && self.made.insert(id), || format!("an event is kept aside for no reason: {event:?}"))?;
            let is_it = |waiting: &Waiting| {
                let Some(received) = &waiting.received else { return false };
                received.said.source == source.to_string()
                    && received.said.message_id == *message_id
                    && received.text == message.as_str()
            };
            let known = self.waiting.iter().find(|(_, waiting)| waiting.iter().any(is_it)).map(|(input, _)| *input);
            let Some(input) = known else { return Err(format!("what is kept aside did not come in, or not again: {event:?}")) };
            return self.take(input, is_it, Fate::IsKeptAside).map(|_| ());
        }
        let Some(input) = self.places.remove(&id) else {
            return Err(format!("an event was published twice, or never came in: {event:?}"));
        };
        let taken = self.take(input, |waiting| waiting.id == id, Fate::GoesOn)?;
        ensure(taken.payload == entry.payload && taken.at == entry.at, || format!("an event changed on its way: {event:?}"))
    }

    /// The cursors of dedup say no less than what went on, and no more: those from before `events` was read, and those from after it.
    pub fn check_cursors(&mut self, before: &[Cursor], after: &[Cursor]) -> Checked {
        let inputs: Vec<Input> = self.waiting.keys().copied().collect();
        for input in inputs {
            let of = |cursors: &[Cursor]| {
                let name = Cursor::input(input.0, input.1);
                cursors.iter().find(|cursor| cursor.input == name).map_or(0, |cursor| cursor.next)
            };
            let (least, most) = (of(before), of(after));
            let done = self.done.get(&input).copied().unwrap_or(0);
            ensure(done <= most, || format!("{input:?} went on up to {done}, and dedup's cursor is at {most}"))?;
            while self.waiting[&input].front().is_some_and(|first| first.offset < least) {
                let waiting = self.pop(input).expect("there is one in front");
                self.settle_fate(&waiting, Fate::GoesNowhere)?;
            }
        }
        Ok(())
    }

    /// Nothing waits any longer.
    pub fn check_settled(&self) -> Checked {
        match self.waiting.iter().find_map(|(input, waiting)| Some((input, waiting.front()?))) {
            Some((input, waiting)) => Err(format!("{} of {input:?} never goes on", waiting.id)),
            None => Ok(()),
        }
    }

    fn wait(&mut self, input: Input, entry: &Entry, id: String, received: Option<Received>) {
        self.newest = self.newest.max(Some(entry.at));
        self.places.insert(id.clone(), input);
        let waiting = Waiting { offset: entry.offset, at: entry.at, id, payload: entry.payload.to_vec(), received };
        self.waiting.entry(input).or_default().push_back(waiting);
    }

    /// Takes out what has met its fate. All that was before it went nowhere.
    fn take(&mut self, input: Input, is_it: impl Fn(&Waiting) -> bool, fate: Fate) -> Checked<Waiting> {
        while let Some(waiting) = self.pop(input) {
            let is_it = is_it(&waiting);
            self.settle_fate(&waiting, if is_it { fate } else { Fate::GoesNowhere })?;
            if is_it {
                return Ok(waiting);
            }
        }
        Err(format!("an event overtakes others of {input:?}"))
    }

    fn pop(&mut self, input: Input) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&input)?.pop_front()?;
        self.places.remove(&waiting.id);
        self.done.insert(input, waiting.offset + 1);
        Some(waiting)
    }

    fn settle_fate(&mut self, waiting: &Waiting, fate: Fate) -> Checked {
        let Some(received) = &waiting.received else {
            return ensure(fate == Fate::GoesOn, || {
                format!("{} at {} is a fact of ours, and has the fate {fate:?}", waiting.id, waiting.offset)
            });
        };
        let name = (received.said.source.clone(), received.said.message_id.clone());
        let first = self.firsts.get(&name);
        let tell = |known: &str| {
            let (offset, at, words, newest) = (waiting.offset, waiting.at, &received.said.words, self.newest);
            format!(
                "{words} at {offset} of {at:?} {known}, and has the fate {fate:?}; the newest is of {newest:?}, first was {first:?}"
            )
        };
        match first {
            None => ensure(fate == Fate::GoesOn, || tell("is new"))?,
            Some(first) => {
                let has_passed = self.newest.is_some_and(|newest| newest.since(first.at) >= WINDOW);
                let (is_same, is_old) = (first.words == received.said.words, first.is_old || has_passed);
                let fits = match fate {
                    Fate::GoesOn => has_passed,
                    Fate::GoesNowhere => is_same || is_old && first.uses.contains(&received.said.words),
                    Fate::IsKeptAside => !is_same || is_old && first.uses.len() > 1,
                };
                ensure(fits, || tell(if is_same { "was there before" } else { "came under the id of another" }))?;
            }
        }
        let words = received.said.words.clone();
        let mut known = match (self.firsts.remove(&name), fate) {
            (Some(first), Fate::GoesOn) => First { at: waiting.at, words: words.clone(), is_old: true, ..first },
            (Some(first), _) => first,
            (None, _) => First { at: waiting.at, words: words.clone(), uses: HashSet::new(), is_old: false },
        };
        known.uses.insert(words);
        self.firsts.insert(name, known);
        Ok(())
    }
}

fn read(entry: &Entry) -> Checked<Event> {
    serde_json::from_slice(&entry.payload).map_err(|error| format!("a record cannot be read: {error}"))
}
