//! The README's map names every module, in import order.

use std::collections::BTreeSet;

use super::import_order::modules;
use super::source::{files, text};

#[test]
fn the_map_names_every_module_in_import_order() {
    let mut expected = modules();
    expected.push("cli".to_owned());
    assert_eq!(rows(), expected, "the README's map is the table of src/lib.rs, and the command line on top");
}

#[test]
fn every_module_of_the_folder_is_in_the_map() {
    let sources = files("src");
    let below = sources.iter().filter_map(|source| source.path.strip_prefix("src/"));
    let found = below.map(|path| path.split_once('/').map_or_else(|| path.trim_end_matches(".rs"), |(module, _)| module));
    let found: BTreeSet<_> = found.filter(|name| !matches!(*name, "lib" | "main")).collect();
    let rows = rows();
    assert_eq!(found, rows.iter().map(String::as_str).collect::<BTreeSet<_>>());
}

/// The first cell of each row: "| `domain` | nouns and rules |" is `domain`.
fn rows() -> Vec<String> {
    let readme = text("README.md");
    let (_, map) = readme.split_once("\n## The map of the code\n").expect("the README has a map");
    let section = map.split_once("\n## ").map_or(map, |(section, _)| section);
    let names = section.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
    names.map(str::to_owned).collect()
}
