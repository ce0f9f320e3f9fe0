//! The one table of settings: name, unit, default, what is allowed, and what it is for.

use std::fmt;

/// One setting, as the loader reads it and the reference prints it.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// The unit of a number; empty where there is none.
    pub unit: &'static str,
    /// The value when nothing is given, as text; empty for a setting that may be absent.
    pub default: &'static str,
    pub form: Form,
    pub meaning: &'static str,
}

/// What a value must look like.
#[derive(Debug)]
pub enum Form {
    /// Text with a form of its own, described.
    Text(&'static str),
    /// As [`Form::Text`], and never shown.
    Secret(&'static str),
    /// Several texts, each of the described form.
    List(&'static str),
    OneOf(&'static [&'static str]),
    Whole {
        min: u64,
        max: u64,
    },
    Switch,
}

impl Key {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// What is allowed, as the end of a sentence: "a whole number of seconds from 60 to 3600".
    pub fn allowed(&self) -> String {
        match self.form {
            Form::Text(form) | Form::Secret(form) | Form::List(form) => form.to_owned(),
            Form::OneOf(names) => format!("one of {}", names.join(", ")),
            Form::Whole { min, max } => match self.unit {
                "" => format!("a whole number from {min} to {max}"),
                unit => format!("a whole number of {unit} from {min} to {max}"),
            },
            Form::Switch => "true or false".to_owned(),
        }
    }

    /// The line of a configuration file that sets it to its default; `#` before it marks that saying it changes nothing.
    fn line(&self) -> impl fmt::Display {
        let Key { name, default, .. } = *self;
        fmt::from_fn(move |out| match self.form {
            Form::Whole { .. } | Form::Switch => write!(out, "#{name} = {default}"),
            Form::List(_) => write!(out, "#{name} = []"),
            Form::Text(_) | Form::Secret(_) | Form::OneOf(_) => write!(out, "#{name} = \"{default}\""),
        })
    }
}

/// What every variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "DEPUTY_";

const DAY_S: u64 = 24 * 60 * 60;
const YEAR_S: u64 = 365 * DAY_S;

/// Every key of `deputy.toml`, in the order of the reference; the environment may set each as `DEPUTY_<KEY>`.
pub const KEYS: &[Key] = &[
    Key {
        name: "issuer",
        unit: "",
        default: "http://127.0.0.1:9400",
        form: Form::Text("an https URL (http only for a loopback host) without trailing slash, query, fragment or user"),
        meaning: "The public address of this server. Clients compare it byte by byte, and it is in every token: choose it once.",
    },
    Key {
        name: "organization_name",
        unit: "",
        default: "Deputy",
        form: Form::Text("a name of 1 to 80 characters, none of them a control character"),
        meaning: "Who runs this server, as people read it on its pages.",
    },
    Key {
        name: "listen",
        unit: "",
        default: "127.0.0.1:9400",
        form: Form::Text("an IP address and a port, such as 127.0.0.1:9400 or [::]:9400"),
        meaning: "Where the server accepts connections. TLS ends at the proxy in front of it.",
    },
    Key {
        name: "trusted_proxies",
        unit: "",
        default: "",
        form: Form::List("IP addresses and networks such as 10.0.0.0/8"),
        meaning: "Proxies whose X-Forwarded-For is believed, for the client's address and for nothing else.",
    },
    Key {
        name: "internal_hosts",
        unit: "",
        default: "",
        form: Form::List("host names and IP addresses such as db.internal, 10.0.0.7 or [fd00::7]"),
        meaning: "Hosts inside your network that operators may have Deputy call: the PostgreSQL of a warehouse, the model of a trait.",
    },
    Key {
        name: "requests_in_flight_max",
        unit: "requests",
        default: "1024",
        form: Form::Whole { min: 1, max: 1_000_000 },
        meaning: "How many requests are worked on at once, half of them waiting for a body; beyond it the answer is 503 with Retry-After.",
    },
    Key {
        name: "data_dir",
        unit: "",
        default: "./deputy-data",
        form: Form::Text("the path of a folder"),
        meaning: "The folder of everything that must survive a restart: state, facts, keys, the operator's token.",
    },
    Key {
        name: "database",
        unit: "",
        default: "sqlite",
        form: Form::Secret("sqlite, or a URL such as postgres://user:password@host:5432/deputy"),
        meaning: "Where state is kept: sqlite (a file in data_dir) or PostgreSQL. Never shown, for it may hold a password.",
    },
    Key {
        name: "database_connections_max",
        unit: "connections",
        default: "16",
        form: Form::Whole { min: 2, max: 1000 },
        meaning: "How many connections to PostgreSQL are held; SQLite does not use it.",
    },
    Key {
        name: "log",
        unit: "",
        default: "embedded",
        form: Form::Text("embedded, or brokers and a prefix such as kafka://host:9092,host:9092/deputy"),
        meaning: "Where facts and events are kept: files in data_dir, or Apache Kafka. All names there begin with the prefix, or deputy.",
    },
    Key {
        name: "log_partitions",
        unit: "partitions",
        default: "1",
        form: Form::Whole { min: 1, max: 1024 },
        meaning: "Into how many parts new facts are cut, so that nodes can share the work. Counts when the log is made.",
    },
    Key {
        name: "recorded_refusals_per_second_max",
        unit: "refusals",
        default: "10",
        form: Form::Whole { min: 1, max: 100_000 },
        meaning: "How many refused requests each process puts on record, a minute's worth at once; of one network, a quarter. The rest are counted.",
    },
    Key {
        name: "facts_retention_s",
        unit: "seconds",
        default: "34560000",
        form: Form::Whole { min: DAY_S, max: 100 * YEAR_S },
        meaning: "How long the record of facts is kept: 400 days.",
    },
    Key {
        name: "facts_retention_bytes_max",
        unit: "bytes",
        default: "0",
        form: Form::Whole { min: 0, max: 1_000_000_000_000_000 },
        meaning: "Above this size the oldest facts are dropped before their time; 0 for no limit, so that no noise ever ends what is older.",
    },
    Key {
        name: "events_retention_s",
        unit: "seconds",
        default: "3024000",
        form: Form::Whole { min: DAY_S, max: 100 * YEAR_S },
        meaning: "How long customer events are kept in the log: 35 days. What is made of them, such as profiles, stays.",
    },
    Key {
        name: "events_retention_bytes_max",
        unit: "bytes",
        default: "0",
        form: Form::Whole { min: 0, max: 1_000_000_000_000_000 },
        meaning: "Above this size the oldest customer events are dropped before their time; 0 for no limit. It should hold \
                  dedup_window_s.",
    },
    Key {
        name: "dedup_window_s",
        unit: "seconds",
        default: "2419200",
        form: Form::Whole { min: 3600, max: YEAR_S },
        meaning: "How long an event that is sent again is recognised: 28 days, for as many ids as dedup_keys_max holds, which by default \
                  are 206 new ones a second all day. Events that retention deletes sooner are forgotten when the index of seen ids is \
                  made anew.",
    },
    Key {
        name: "dedup_keys_max",
        unit: "keys",
        default: "500000000",
        form: Form::Whole { min: 1_000_000, max: 100_000_000_000 },
        meaning: "How many ids are remembered at once, ours and those of customer events; with more of them the oldest are forgotten before \
                  dedup_window_s. It should be new ids in a second times dedup_window_s: 1,000 a second for 28 days are 2,419,200,000. A \
                  key takes 24 bytes on disk and 1.25 in memory: 12 GB and 0.6 GB.",
    },
    Key {
        name: "master_key_file",
        unit: "",
        default: "",
        form: Form::Text("the path of a file"),
        meaning: "The file of the key that encrypts the signing keys; absent, it is master.key in data_dir, made at first start.",
    },
    Key {
        name: "signing_algorithm",
        unit: "",
        default: "ES256",
        form: Form::OneOf(&["ES256", "EdDSA", "RS256"]),
        meaning: "What new signing keys are made for. Tokens signed by earlier keys stay valid.",
    },
    Key {
        name: "key_rotation_interval_s",
        unit: "seconds",
        default: "7776000",
        form: Form::Whole { min: DAY_S, max: 10 * YEAR_S },
        meaning: "How long a signing key signs before the next one takes over: 90 days.",
    },
    Key {
        name: "access_token_ttl_s",
        unit: "seconds",
        default: "600",
        form: Form::Whole { min: 60, max: 3600 },
        meaning: "How long an access token is valid, unless its resource says otherwise.",
    },
    Key {
        name: "refresh_token_idle_ttl_s",
        unit: "seconds",
        default: "2592000",
        form: Form::Whole { min: 3600, max: YEAR_S },
        meaning: "A refresh token that is not used for this long is dead: 30 days.",
    },
    Key {
        name: "refresh_grace_s",
        unit: "seconds",
        default: "60",
        form: Form::Whole { min: 0, max: 120 },
        meaning: "For this long after a refresh, repeating it gets the same successor; later it ends the grant's tokens as stolen.",
    },
    Key {
        name: "grant_ttl_s",
        unit: "seconds",
        default: "31536000",
        form: Form::Whole { min: 3600, max: 10 * YEAR_S },
        meaning: "How long a person's consent holds before they are asked again: 1 year.",
    },
    Key {
        name: "registration",
        unit: "",
        default: "open",
        form: Form::OneOf(&["open", "token", "off"]),
        meaning: "Who may register a client by itself: anybody, holders of an initial access token, or nobody.",
    },
    Key {
        name: "registrations_per_minute_max",
        unit: "registrations",
        default: "60",
        form: Form::Whole { min: 1, max: 100_000 },
        meaning: "How many new clients may register by themselves, or change their metadata document; from one network, a quarter of them.",
    },
    Key {
        name: "client_metadata_documents",
        unit: "",
        default: "true",
        form: Form::Switch,
        meaning: "Whether an https URL may be a client_id, its metadata fetched from there.",
    },
    Key {
        name: "sign_up",
        unit: "",
        default: "false",
        form: Form::Switch,
        meaning: "Whether people may make an account themselves; otherwise an operator creates or invites them.",
    },
    Key {
        name: "session_idle_ttl_s",
        unit: "seconds",
        default: "1209600",
        form: Form::Whole { min: 300, max: YEAR_S },
        meaning: "A browser that is not used for this long is signed out: 14 days.",
    },
    Key {
        name: "log_format",
        unit: "",
        default: "text",
        form: Form::OneOf(&["text", "json"]),
        meaning: "How the lines on standard error are written.",
    },
    Key {
        name: "log_level",
        unit: "",
        default: "info",
        form: Form::Text("a level (error, warn, info, debug, trace, off) or filter directives such as info,deputy::http=debug"),
        meaning: "What is written to standard error.",
    },
    Key {
        name: "otlp_endpoint",
        unit: "",
        default: "",
        form: Form::Text("an http or https URL such as http://127.0.0.1:4318"),
        meaning: "The OpenTelemetry collector that traces are sent to (OTLP over HTTP, path /v1/traces); absent, none are sent.",
    },
];

/// Variables that have no key in the file.
pub const ENVIRONMENT_ONLY: &[Key] = &[
    Key {
        name: "config",
        unit: "",
        default: "",
        form: Form::Text("the path of a file"),
        meaning: "The configuration file; --config wins.",
    },
    Key {
        name: "master_key",
        unit: "",
        default: "",
        form: Form::Secret("base64url of 32 random bytes"),
        meaning: "The key that encrypts the signing keys, itself; then master_key_file is not read.",
    },
    Key {
        name: "operator_token",
        unit: "",
        default: "",
        form: Form::Secret("an operator's token"),
        meaning: "What the command line shows to the server; absent, it reads operator.token in data_dir.",
    },
];

/// The reference as a configuration file in which every key stands with its default, commented out.
pub fn reference() -> String {
    let mut text = String::from(
        "# Every setting of Deputy with its default. A line that begins with # and a name can be uncommented and changed.\n\
         # Each key can also be set in the environment, as DEPUTY_ and its name in capitals; the environment wins.\n",
    );
    for key in KEYS {
        text += &format!("\n# {}\n# Allowed: {}.\n", key.meaning, key.allowed());
        match (&key.form, key.default) {
            (Form::Text(_), "") => text += &format!("# Not set by default.\n#{} = \"{}\"\n", key.name, example(key.name)),
            _ => text += &format!("{}\n", key.line()),
        }
    }
    text += "\n# Only in the environment:\n";
    for key in ENVIRONMENT_ONLY {
        text += &format!("#   {}: {} ({})\n", key.variable(), key.meaning, key.allowed());
    }
    text
}

/// A value to show for a setting that has none by default.
fn example(name: &str) -> &'static str {
    match name {
        "otlp_endpoint" => "http://127.0.0.1:4318",
        _ => "./deputy-data/master.key",
    }
}

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().chain(ENVIRONMENT_ONLY).find(|key| key.name == name)
}

/// The known name that `name` was probably meant to be: the nearest by edits, if it is near at all.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k Key>) -> Option<&'k Key> {
    let edits_max = (name.len() / 3).max(2);
    let near = known.map(|key| (strsim::damerau_levenshtein(name, key.name), key)).min_by_key(|(edits, _)| *edits);
    near.filter(|(edits, _)| *edits <= edits_max).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_or_none() {
        let table = [
            ("isuer", Some("issuer")),
            ("access_token_ttl", Some("access_token_ttl_s")),
            ("registrations_per_minute", Some("registrations_per_minute_max")),
            ("log_fromat", Some("log_format")),
            ("organisation_name", Some("organization_name")),
            ("tls", None),
            ("certificate", None),
        ];
        for (given, expected) in table {
            assert_eq!(nearest(given, KEYS.iter()).map(|key| key.name), expected, "{given}");
        }
    }

    #[test]
    fn numbers_carry_their_unit_in_the_name() {
        for key in KEYS.iter().filter(|key| matches!(key.form, Form::Whole { .. })) {
            let is_count = !key.unit.is_empty() && key.name.ends_with(key.unit);
            assert!(is_count || ["_s", "_max"].iter().any(|suffix| key.name.ends_with(suffix)), "{}", key.name);
            assert_eq!(key.unit == "seconds", key.name.ends_with("_s"), "{}", key.name);
        }
    }
}
