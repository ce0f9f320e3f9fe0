//! The order of `src/lib.rs` is the order of imports.

use super::source::{Source, Token, assert_none, rust_files, text};

/// These never import one another: they meet in `domain`, in tables and in the log.
const ROOMS: [&str; 5] = ["protocol", "events", "delivery", "messaging", "resource_server"];

/// The modules of `src/lib.rs`, in order.
pub fn modules() -> Vec<String> {
    let lib = text("src/lib.rs");
    let names = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

#[test]
fn a_module_imports_only_from_those_before_it() {
    let modules = modules();
    let mut broken = Vec::new();
    for source in library_files() {
        let importer = module_of(&source.path);
        let own = position(&modules, importer).unwrap_or_else(|| panic!("src/lib.rs does not name {importer}"));
        for (line, imported) in imports(&source) {
            match position(&modules, &imported) {
                Some(place) if place > own => broken.push(format!("{}:{line}: {importer} imports {imported}", source.path)),
                Some(_) => {}
                None => broken.push(format!("{}:{line}: crate::{imported} is no module of src/lib.rs", source.path)),
            }
        }
    }
    assert_none("A module imports only from those before it in src/lib.rs.", &broken);
}

#[test]
fn the_rooms_never_import_one_another() {
    let mut broken = Vec::new();
    for source in library_files() {
        let room = module_of(&source.path).to_owned();
        if !ROOMS.contains(&room.as_str()) {
            continue;
        }
        let trespasses = imports(&source).into_iter().filter(|(_, other)| *other != room && ROOMS.contains(&other.as_str()));
        broken.extend(trespasses.map(|(line, other)| format!("{}:{line}: {room} imports {other}", source.path)));
    }
    assert_none("Rooms hand over through a table or the log.", &broken);
}

#[test]
fn paths_are_found_however_they_are_spelled() {
    let text = "use crate::{log::{Log, Record}, storage, world::World}; fn f() { crate::keys::g(crate::domain::X) }".to_owned();
    let found: Vec<_> = imports(&Source { path: "src/x.rs".to_owned(), text }).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["log", "storage", "world", "keys", "domain"]);
}

/// Everything but the crate's roots and the command line, which is a crate of its own and stands on all of it.
fn library_files() -> impl Iterator<Item = Source> {
    let files = rust_files("src").into_iter();
    files.filter(|file| !matches!(file.path.as_str(), "src/lib.rs" | "src/main.rs") && !file.path.starts_with("src/cli/"))
}

fn module_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").expect("it is source");
    below.split_once('/').map_or_else(|| below.trim_end_matches(".rs"), |(module, _)| module)
}

fn position(modules: &[String], name: &str) -> Option<usize> {
    modules.iter().position(|module| module == name)
}

/// The top modules that a file names after `crate::`, alone or in braces, with their lines.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let tokens = source.tokens();
    let mut found = Vec::new();
    for (index, window) in tokens.windows(4).enumerate() {
        let [(_, Token::Word(root)), (_, Token::Mark(':')), (_, Token::Mark(':')), (line, first)] = window else { continue };
        if root != "crate" {
            continue;
        }
        match first {
            Token::Word(name) => found.push((*line, name.clone())),
            Token::Mark('{') => found.extend(heads(&tokens[index + 4..])),
            Token::Mark(_) | Token::Literal(_) => {}
        }
    }
    found
}

/// The first word of each branch of a `{…}` whose opening was just read.
fn heads(tokens: &[(usize, Token)]) -> Vec<(usize, String)> {
    let (mut depth, mut is_head, mut found) = (0_usize, true, Vec::new());
    for (line, token) in tokens {
        match token {
            Token::Mark('}') if depth == 0 => break,
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            Token::Mark(',') if depth == 0 => is_head = true,
            Token::Word(name) if is_head => {
                found.push((*line, name.clone()));
                is_head = false;
            }
            Token::Word(_) | Token::Mark(_) | Token::Literal(_) => {}
        }
    }
    found
}
