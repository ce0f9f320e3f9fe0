//! How lines look in a terminal, and that they are plain text everywhere else.

use std::io::IsTerminal;

/// Whether there is colour. Made once, for standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Colour,
    Plain,
}

/// What a piece of text is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// What the eye should find first.
    Strong,
    /// What is there for those who look for it.
    Faint,
    Good,
    Bad,
    Agent,
    Person,
    Server,
}

/// How wide the lines that we lay out ourselves may get, in characters.
pub(crate) const WIDTH: usize = 96;

impl Ink {
    /// Colour where a person looks on, unless they asked for none ([NO_COLOR](https://no-color.org)).
    #[expect(clippy::disallowed_methods, reason = "a convention among terminals, not a setting of the server")]
    pub(crate) fn of_stdout() -> Ink {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !is_unwanted { Ink::Colour } else { Ink::Plain }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if self == Ink::Plain || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Agent => "36",
            Tone::Person => "35",
            Tone::Server => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The text in lines that fit `WIDTH` when they begin after `indent` characters. A word that is longer stands alone.
pub(crate) fn wrap(text: &str, indent: usize) -> Vec<String> {
    let width = WIDTH.saturating_sub(indent);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ink_leaves_no_mark() {
        assert_eq!(Ink::Plain.paint(Tone::Bad, "401"), "401");
        assert_eq!(Ink::Colour.paint(Tone::Bad, "401"), "\u{1b}[31m401\u{1b}[0m");
    }

    #[test]
    fn long_text_is_broken_between_words_only() {
        let word = "x".repeat(WIDTH);
        assert_eq!(wrap(&format!("a b {word} c"), 10), ["a b", word.as_str(), "c"]);
        assert!(wrap(&"many words ".repeat(40), 20).iter().all(|line| line.len() + 20 <= WIDTH));
    }
}
