//! Where each outside library may be spoken, and where SQL may.

use super::source::{assert_none, rust_files};

/// A library's name in a path, and the files that may use it: those whose path begins so.
const HOMES: [(&str, &[&str]); 20] = [
    ("axum", &["src/http/", "src/server"]),
    ("tower", &["src/http/", "src/server", "src/resource_server/"]),
    ("askama", &["src/http/"]),
    ("sqlx", &["src/storage/", ABROAD]),
    ("rusqlite", &["src/storage/"]),
    ("crc32c", &["src/log/"]),
    ("memchr", &["src/domain/event/"]),
    ("xorf", &["src/log/seen/"]),
    ("rdkafka", &["src/log/kafka/"]),
    ("libc", &["src/log/disk/"]),
    ("vrl", &["src/sandbox/"]),
    ("rustix", &["src/sandbox/", "src/log/disk/", "src/server/"]),
    ("jsonschema", &["src/domain/tracking_plan/"]),
    ("flate2", &["src/events/ingest/"]),
    ("reqwest", &["src/outbound/", "src/cli/"]),
    ("figment", &["src/config/"]),
    ("clap", &["src/cli/"]),
    ("opentelemetry", &["src/telemetry"]),
    ("opentelemetry_otlp", &["src/telemetry"]),
    ("metrics_exporter_prometheus", &["src/telemetry"]),
];

/// SQL that is not about our own state: the questions to an organisation's warehouse, which is outside like all that is called.
const ABROAD: &str = "src/outbound/warehouse.rs";

/// `domain` is pure: none of these words is in it.
const IMPURE: [&str; 10] = ["async", "await", "tokio", "http", "axum", "sqlx", "rusqlite", "SystemTime", "Instant", "SystemRandom"];

#[test]
fn each_library_has_one_home() {
    let mut broken = Vec::new();
    for source in rust_files("src") {
        let foreign = HOMES.iter().filter(|(_, homes)| !homes.iter().any(|home| source.path.starts_with(home)));
        for (library, homes) in foreign {
            let places = source.places_of(library);
            broken.extend(places.into_iter().map(|place| format!("{place}: {library} belongs to {}", homes.join(", "))));
        }
    }
    assert_none("A library is used where it lives, and reached through that module elsewhere.", &broken);
}

#[test]
fn all_sql_is_in_storage() {
    const VERBS: [&str; 9] = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "CREATE TABLE",
        "ALTER TABLE",
        "DROP TABLE",
        "PRAGMA ",
        "WITH RECURSIVE ",
    ];
    let mut broken = Vec::new();
    for source in rust_files("src").into_iter().filter(|source| !source.path.starts_with("src/storage/") && source.path != ABROAD) {
        for (line, literal) in source.literals() {
            let sql = literal.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            if VERBS.iter().any(|verb| sql.starts_with(verb)) {
                broken.push(format!("{}:{line}: {literal}", source.path));
            }
        }
    }
    assert_none("All SQL is in src/storage.", &broken);
}

#[test]
fn the_domain_is_pure() {
    let sources = rust_files("src/domain");
    let broken: Vec<_> = sources.iter().flat_map(|source| IMPURE.iter().flat_map(|word| source.places_of(word))).collect();
    assert_none("No async, I/O, SQL, HTTP, clock or randomness in src/domain.", &broken);
}
