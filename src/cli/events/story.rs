//! `deputy events show`: one fact in full, or the story of one subject in order.

use std::collections::BTreeSet;

use deputy::config::Settings;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::output::{self, Reader};
use super::Printer;
use super::facts::{Facts, Place, Recorded};

/// How many facts of one subject are shown; a longer story is one for `tail --json`.
const FACTS_MAX: usize = 10_000;

pub(super) async fn show(subject: &str, reader: Reader, settings: &Settings) -> Result<(), Failure> {
    let subject = Subject::parse(subject)?;
    let mut facts = Facts::open(settings, Place::Start).await?;
    let (mut story, mut names) = (Vec::new(), BTreeSet::new());
    loop {
        let read = facts.read().await?;
        if read.is_empty() {
            break;
        }
        for fact in read {
            let event: Value = serde_json::from_slice(&fact.payload).unwrap_or_default();
            if subject.names_in(&event, &mut names) && story.len() < FACTS_MAX {
                story.push(fact);
            }
        }
    }
    if names.len() > 1 {
        let names: Vec<String> = names.iter().map(|name| output::plain(name)).collect();
        return Err(Failure(format!("{subject} could be each of these; give one in full:\n{}", names.join("\n"))));
    }
    if story.is_empty() {
        return Err(unknown(&subject, &facts));
    }
    match (story.as_slice(), names.iter().any(|name| name.starts_with("evt_"))) {
        ([event], true) if reader == Reader::Person => output::print(&in_full(event)),
        _ => {
            let mut printer = Printer::new(reader);
            story.iter().try_for_each(|fact| printer.print(fact))?;
            if story.len() == FACTS_MAX && reader == Reader::Person {
                output::print(&format!("The story may go on: these are its first {FACTS_MAX} facts.\n"))?;
            }
            Ok(())
        }
    }
}

/// What is looked for: an identifier, or its kind and its end.
struct Subject {
    beginning: String,
    /// Absent when `beginning` is all of it.
    end: Option<String>,
}

impl Subject {
    fn parse(text: &str) -> Result<Subject, Failure> {
        let (beginning, end) = match text.split_once('…').or_else(|| text.split_once("...")) {
            Some((beginning, end)) => (beginning, Some(end)),
            None => (text, None),
        };
        if beginning.is_empty() && end.is_none_or(str::is_empty) {
            return Err(Failure("say what to show: an identifier such as gra_…4e6g8h".to_owned()));
        }
        Ok(Subject { beginning: beginning.to_owned(), end: end.map(str::to_owned) })
    }

    fn is(&self, text: &str) -> bool {
        match &self.end {
            Some(end) => text.strip_prefix(self.beginning.as_str()).is_some_and(|rest| rest.ends_with(end.as_str())),
            None => text == self.beginning,
        }
    }

    /// Whether a string in the event is the subject; collects which. Only identifiers and client URLs can be abbreviated.
    fn names_in(&self, value: &Value, names: &mut BTreeSet<String>) -> bool {
        match value {
            Value::String(text) if self.is(text) && (self.end.is_none() || is_identifier(text)) => {
                names.insert(text.clone());
                true
            }
            Value::Array(items) => items.iter().filter(|item| self.names_in(item, names)).count() > 0,
            Value::Object(members) => members.values().filter(|member| self.names_in(member, names)).count() > 0,
            _ => false,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.end.as_ref().map_or_else(|| self.beginning.clone(), |end| format!("{}…{end}", self.beginning));
        out.write_str(&output::plain(&text))
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with("http") || text.split_once('_').is_some_and(|(prefix, digits)| prefix.len() == 3 && digits.len() == 26)
}

/// Every member of the event on a line of its own: first those that all events have, then its own.
fn in_full(fact: &Recorded) -> String {
    let event: Value = serde_json::from_slice(&fact.payload).unwrap_or_default();
    let actor = match &event["actor"] {
        Value::Object(actor) => actor.values().next().cloned().unwrap_or_default(),
        actor => actor.clone(),
    };
    let envelope =
        json!({"id": event["id"], "type": event["type"], "at": fact.at.to_rfc3339(), "actor": actor, "offset": fact.offset});
    let parts = [&envelope, &event["data"]].map(|part| output::object(part, Reader::Person));
    parts.join("\n")
}

fn unknown(subject: &Subject, facts: &Facts) -> Failure {
    let older = if facts.is_trimmed { "; older facts are gone, as facts_retention_s says" } else { "" };
    let hint = match subject.beginning.contains('_') || subject.beginning.starts_with("http") || subject.end.is_some() {
        true => "",
        false => "; facts know people and clients by identifier: `deputy people list` and `deputy clients list` show them",
    };
    Failure(format!("no fact is about {subject}{older}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(subject: &str, event: &Value) -> (bool, Vec<String>) {
        let mut names = BTreeSet::new();
        let found = Subject::parse(subject).expect("it says something").names_in(event, &mut names);
        (found, names.into_iter().collect())
    }

    #[test]
    fn a_subject_is_found_wherever_it_stands_and_by_its_short_form() {
        let grant = "gra_01kb6v3q5wf6y8z0c2d4e6g8h2";
        let event =
            json!({"actor": {"client": "https://agent.example/client"}, "type": "grant.ended.v1", "data": {"grant": grant}});
        for subject in [grant, "gra_…e6g8h2", "gra_...e6g8h2", "…e6g8h2"] {
            assert_eq!(names(subject, &event), (true, vec![grant.to_owned()]), "{subject}");
        }
        assert!(names("https://agent.example/client", &event).0);
        for subject in ["gra_…e6g8h3", "per_…e6g8h2", "gra_01kb", "gr…v1"] {
            assert!(!names(subject, &event).0, "{subject}");
        }
        assert!(Subject::parse("").is_err() && Subject::parse("…").is_err());
    }
}
