//! Our own source: the files of the tree, and Rust as tokens, so that comments and the insides of strings mislead no rule.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file of the tree.
pub struct Source {
    /// From the root of the tree, with `/` between folders.
    pub path: String,
    pub text: String,
}

/// What rules ask about. Doc comments are the text of a `doc` attribute; other comments are gone.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// An identifier or keyword.
    Word(String),
    /// A character of punctuation, or the edge of a group.
    Mark(char),
    /// A literal as it is spelled.
    Literal(String),
}

/// The root of the tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of one file, by its path from the root.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files below a folder.
pub fn rust_files(folder: &str) -> Vec<Source> {
    files(folder).into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// All files of text below a folder, `.` for the whole tree, without what is built, installed or recorded by git.
pub fn files(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "{folder} has files");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    const NOT_OURS: [&str; 5] = [".git", "target", "node_modules", ".venv", "deputy-data"];
    for entry in fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("the folder is readable")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("the kind is known"));
        if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            collect(&path, found);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.push(Source { path: from_root(&path), text });
        }
    }
}

fn from_root(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).expect("it was found there").components().collect();
    path.to_str().expect("our paths are text").to_owned()
}

impl Source {
    /// Its tokens, each with the line it stands in.
    pub fn tokens(&self) -> Vec<(usize, Token)> {
        let stream: TokenStream = self.text.parse().unwrap_or_else(|error| panic!("{}: {error}", self.path));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        tokens
    }

    /// Where an identifier occurs, as `path:line`.
    pub fn places_of(&self, word: &str) -> Vec<String> {
        let places = self.tokens().into_iter().filter(|(_, token)| matches!(token, Token::Word(found) if found == word));
        places.map(|(line, _)| format!("{}:{line}", self.path)).collect()
    }

    /// The literals, each with its line.
    pub fn literals(&self) -> Vec<(usize, String)> {
        let literals = self.tokens().into_iter().filter_map(|(line, token)| match token {
            Token::Literal(text) => Some((line, text)),
            Token::Word(_) | Token::Mark(_) => None,
        });
        literals.collect()
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<(usize, Token)>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(word) => tokens.push((line, Token::Word(word.to_string()))),
            TokenTree::Punct(mark) => tokens.push((line, Token::Mark(mark.as_char()))),
            TokenTree::Literal(literal) => tokens.push((line, Token::Literal(literal.to_string()))),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Brace => ('{', '}'),
                    Delimiter::Bracket => ('[', ']'),
                    // What a macro left behind; source text has none.
                    Delimiter::None => (' ', ' '),
                };
                tokens.push((line, Token::Mark(open)));
                flatten(group.stream(), tokens);
                tokens.push((group.span_close().start().line, Token::Mark(close)));
            }
        }
    }
}

/// Fails with the rule and everything that breaks it.
#[track_caller]
pub fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}
