//! How lines look in a terminal, and that they are plain text everywhere else.

use std::io::IsTerminal;

/// Where standard output goes, found out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    ink: Ink,
    /// How many characters fit a line.
    width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
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
    Deputy,
    Notes,
}

/// Wider lines are no easier to read, and narrower columns hold no words.
const WIDTH: std::ops::RangeInclusive<usize> = 72..=100;

impl Terminal {
    /// Colour where a person looks on, unless they asked for none ([NO_COLOR](https://no-color.org)).
    #[expect(clippy::disallowed_methods, reason = "a convention among terminals, not a setting of the server")]
    pub(crate) fn of_stdout() -> Terminal {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let ink = if std::io::stdout().is_terminal() && !is_unwanted { Ink::Colour } else { Ink::Plain };
        let width = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
        Terminal { ink, width: width.unwrap_or(*WIDTH.end()).clamp(*WIDTH.start(), *WIDTH.end()) }
    }

    /// For lines that are compared.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Terminal {
        Terminal { ink: Ink::Plain, width }
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if self.ink == Ink::Plain || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Agent => "36",
            Tone::Person => "35",
            Tone::Deputy => "33",
            Tone::Notes => "94",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// The text in lines that fit when they begin after `indent` characters. A word that is longer stands alone.
    pub(crate) fn wrap(self, text: &str, indent: usize) -> Vec<String> {
        let width = self.width.saturating_sub(indent);
        let mut lines: Vec<String> = Vec::new();
        // Several spaces are a gap within a line: they stay, except where the line is broken.
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ if word.is_empty() => {}
                _ => lines.push(word.to_owned()),
            }
        }
        lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_get_colour() {
        assert_eq!(Terminal::plain(80).paint(Tone::Bad, "401"), "401");
        assert_eq!(Terminal { ink: Ink::Colour, width: 80 }.paint(Tone::Bad, "401"), "\u{1b}[31m401\u{1b}[0m");
    }

    #[test]
    fn long_text_is_broken_between_words_only_and_keeps_its_gaps() {
        let word = "x".repeat(80);
        assert_eq!(Terminal::plain(80).wrap(&format!("a   b {word}   c"), 10), ["a   b", word.as_str(), "c"]);
        assert!(Terminal::plain(80).wrap(&"many words ".repeat(40), 20).iter().all(|line| line.len() + 20 <= 80));
    }
}
