//! What must not stand in a public repository: hosts of package registries, and paths of somebody's machine.
//!
//! The words are spelled in pieces here, so that this file does not break its own rule.

use super::source::{Source, assert_none, files};

#[test]
fn no_file_names_a_registry_host() {
    let hosts = [
        ["registry.npm", "js.org"],
        ["registry.yarn", "pkg.com"],
        ["py", "pi.org"],
        ["files.python", "hosted.org"],
        ["static.cra", "tes.io"],
        ["index.cra", "tes.io"],
        ["proxy.go", "lang.org"],
    ];
    assert_none("Clients of registries know where they are.", &places(&files("."), &hosts));
}

#[test]
fn no_file_names_a_path_of_a_machine() {
    let folders = [["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["/wo", "rk/"], ["/tmp/", "wt"]];
    assert_none("Paths begin at the root of the tree or at $HOME.", &places(&files("."), &folders));
}

#[test]
fn no_file_holds_a_private_key() {
    let keys = [["-----BEGIN PRIV", "ATE KEY"], ["-----BEGIN RSA PRIV", "ATE KEY"], ["-----BEGIN EC PRIV", "ATE KEY"]];
    assert_none("Keys are made when they are needed.", &places(&files("."), &keys));
}

fn places(sources: &[Source], pieces: &[[&str; 2]]) -> Vec<String> {
    let mut found = Vec::new();
    for needle in pieces.iter().map(|pieces| pieces.concat()) {
        for source in sources {
            let lines = source.text.lines().enumerate().filter(|(_, line)| line.contains(&needle));
            found.extend(lines.map(|(index, _)| format!("{}:{}: {needle}", source.path, index + 1)));
        }
    }
    found
}
