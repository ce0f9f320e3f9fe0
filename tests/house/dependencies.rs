//! What we build on: from one registry, under terms that let anybody use Deputy, and nothing that was ruled out.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use super::source::{assert_none, root};

/// Crates that must not come in, and why.
const RULED_OUT: [(&str, &str); 5] = [
    ("rsa", "its timing gives private keys away (RUSTSEC-2023-0071); aws-lc-rs signs"),
    ("ring", "one library of cryptography is enough: aws-lc-rs"),
    ("openssl-sys", "rustls speaks TLS"),
    ("native-tls", "rustls speaks TLS"),
    ("serde_yaml", "nobody keeps it any longer; configuration is TOML"),
];

/// Licences that ask for no more than a notice.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    // For data: the list of certificate authorities.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Licences that keep a dependency's own files open and ask nothing of ours, each for that dependency alone.
const LICENCES_OF_FILES: [(&str, &str); 1] = [("vrl", "MPL-2.0")];

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    /// Set for what does not come from the registry: a folder or an address.
    source: Option<String>,
}

/// What is built here, for the program and for its tests.
static PACKAGES: LazyLock<BTreeSet<Package>> = LazyLock::new(|| {
    let arguments =
        ["tree", "--locked", "--offline", "--no-dedupe", "--edges=normal,build,dev", "--prefix=none", "--format={p}\t{l}"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes text");
    let packages: BTreeSet<_> = text.lines().map(package).collect();
    assert!(packages.len() > 100, "cargo tree tells all: {text}");
    packages
});

#[test]
fn nothing_that_was_ruled_out_comes_back() {
    let found = PACKAGES.iter().filter_map(|package| {
        let (_, reason) = RULED_OUT.iter().find(|(name, _)| *name == package.name)?;
        Some(format!("{} {}: {reason}", package.name, package.version))
    });
    assert_none("`cargo tree --invert <name>` says who brings it.", &found.collect::<Vec<_>>());
}

#[test]
fn everything_comes_from_the_registry() {
    let others = PACKAGES.iter().filter(|package| package.name != "deputy" && package.source.is_some());
    let others = others.map(|package| format!("{}: {}", package.name, package.source.as_deref().unwrap_or_default()));
    assert_none("A dependency is a published version.", &others.collect::<Vec<_>>());
}

#[test]
fn every_licence_asks_for_no_more_than_a_notice() {
    let others = PACKAGES.iter().filter(|package| !is_allowed(&package.licence));
    let others = others.filter(|package| !LICENCES_OF_FILES.contains(&(&package.name, &package.licence)));
    let others = others.map(|package| format!("{} {}: {}", package.name, package.version, package.licence));
    assert_none("Users of Deputy need not ask a lawyer.", &others.collect::<Vec<_>>());
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = ["MIT", "MIT/Apache-2.0", "MIT OR GPL-3.0", "ISC AND (GPL-2.0 OR MIT)", "Apache-2.0 WITH LLVM-exception OR MIT"];
    let refused = ["GPL-3.0", "", "MIT AND GPL-3.0", "ISC AND (GPL-2.0 OR AGPL-3.0)", "Apache-2.0 WITH other-exception"];
    assert_eq!(allowed.map(is_allowed), [true; 5]);
    assert_eq!(refused.map(is_allowed), [false; 5]);
}

/// From `name v1.2.3 (proc-macro)`, a tab and the licence.
fn package(line: &str) -> Package {
    let (package, licence) = line.split_once('\t').expect("the format has a tab");
    let mut words = package.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (name, version) = (word(), word());
    let source = words.map(|word| word.trim_matches(['(', ')'])).find(|word| word.contains('/')).map(str::to_owned);
    Package { name, version, licence: licence.to_owned(), source }
}

/// Whether an SPDX expression can be satisfied with the licences above. `AND` binds tighter than `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_allowed = either(&mut words);
    is_allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>) -> bool {
    let mut is_allowed = both(words);
    while words.next_if_eq(&"OR").is_some() {
        // Not `||`: the words of the other side have to be read.
        is_allowed |= both(words);
    }
    is_allowed
}

fn both(words: &mut Words<'_>) -> bool {
    let mut is_allowed = one(words);
    while words.next_if_eq(&"AND").is_some() {
        is_allowed &= one(words);
    }
    is_allowed
}

fn one(words: &mut Words<'_>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_allowed = either(words);
        return words.next_if_eq(&")").is_some() && is_allowed;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    LICENCES.contains(&licence.as_str())
}
