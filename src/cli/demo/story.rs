//! How the main job is told in a terminal: who asks whom for what, and what came of it.
//!
//! Every line with an arrow is a request that is being made; every line with a status is the answer that came.

use super::super::Failure;
use super::super::output::{plain, print};
use super::super::terminal::{Terminal, Tone};

/// Who acts in the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Agent,
    Person,
    Deputy,
    /// The MCP server.
    Notes,
}

/// Where the right column begins: what is asked, what is answered.
const TELLING_AT: usize = 20;
/// Where what an answer holds begins, after its status.
const DETAIL_AT: usize = TELLING_AT + 5;
const LABEL_WIDTH: usize = 9;
/// How far everything but headings is from the left.
const MARGIN: usize = 2;

pub(super) struct Story {
    pub(super) terminal: Terminal,
}

impl Party {
    fn name(self) -> &'static str {
        match self {
            Party::Agent => "agent",
            Party::Person => "person",
            Party::Deputy => "deputy",
            Party::Notes => "notes",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Party::Agent => Tone::Agent,
            Party::Person => Tone::Person,
            Party::Deputy => Tone::Deputy,
            Party::Notes => Tone::Notes,
        }
    }
}

impl Story {
    /// The heading of a step, and what it is for.
    pub(super) fn step(&self, number: u8, title: &str, meaning: &str) -> Result<(), Failure> {
        let heading = format!("{number:>2}  {title}");
        print(&format!("\n{}\n", self.terminal.paint(Tone::Strong, &heading)))?;
        self.paragraph(4, meaning)?;
        print("\n")
    }

    /// The heading of what is no step.
    pub(super) fn heading(&self, text: &str) -> Result<(), Failure> {
        print(&format!("\n{}\n\n", self.terminal.paint(Tone::Strong, text)))
    }

    /// A thing and what there is to know about it, on a line of a list.
    pub(super) fn row(&self, name: &str, text: &str) -> Result<(), Failure> {
        let start = format!("{:MARGIN$}{}", "", self.terminal.paint(Tone::Faint, &format!("{name:10}")));
        self.lines(&start, MARGIN + 10, text)
    }

    /// Text that belongs to no party.
    pub(super) fn paragraph(&self, indent: usize, text: &str) -> Result<(), Failure> {
        self.terminal
            .wrap(text, indent)
            .iter()
            .try_for_each(|line| print(&format!("{:indent$}{}\n", "", self.terminal.paint(Tone::Faint, line))))
    }

    /// Somebody asks somebody.
    pub(super) fn asks(&self, from: Party, to: Party, what: &str) -> Result<(), Failure> {
        let names = format!("{} → {}", from.name(), to.name());
        let width = TELLING_AT - MARGIN;
        let rest = " ".repeat(width.saturating_sub(names.chars().count()));
        let names = format!("{} → {}", self.terminal.paint(from.tone(), from.name()), self.terminal.paint(to.tone(), to.name()));
        self.lines(&format!("{:MARGIN$}{names}{rest}", ""), TELLING_AT, what)
    }

    /// Somebody answers.
    pub(super) fn answers(&self, who: Party, status: u16, what: &str) -> Result<(), Failure> {
        let name = format!("{:1$}", who.name(), TELLING_AT - MARGIN);
        let tone = if status < 400 { Tone::Good } else { Tone::Bad };
        let start =
            format!("{:MARGIN$}{}{}  ", "", self.terminal.paint(who.tone(), &name), self.terminal.paint(tone, &status.to_string()));
        self.lines(&start, DETAIL_AT, what)
    }

    /// Somebody does or sees something that is no request.
    pub(super) fn does(&self, who: Party, what: &str) -> Result<(), Failure> {
        let name = format!("{:1$}", who.name(), TELLING_AT - MARGIN);
        self.lines(&format!("{:MARGIN$}{}", "", self.terminal.paint(who.tone(), &name)), TELLING_AT, what)
    }

    /// A part of what was answered.
    pub(super) fn detail(&self, label: &str, value: &str) -> Result<(), Failure> {
        let start = format!("{:DETAIL_AT$}{}  ", "", self.terminal.paint(Tone::Faint, &format!("{label:LABEL_WIDTH$}")));
        self.lines(&start, DETAIL_AT + LABEL_WIDTH + 2, value)
    }

    fn lines(&self, start: &str, indent: usize, text: &str) -> Result<(), Failure> {
        let mut lines = self.terminal.wrap(&plain(text), indent).into_iter();
        print(&format!("{start}{}\n", lines.next().unwrap_or_default()))?;
        lines.try_for_each(|line| print(&format!("{:indent$}{line}\n", "")))
    }
}
