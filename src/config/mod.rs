//! What an installation may decide: `deputy.toml`, then the environment.
//!
//! A setting exists only where two sensible installations would differ. `KEYS` is the one table of them: the loader takes names,
//! defaults and limits from it, `deputy doctor --reference` prints it, and `deploy/deputy.example.toml` is a copy that a test
//! compares. Every problem of a configuration is reported at once, and no secret is ever part of a report.

mod reference;
mod source;
mod values;

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use url::{Host, Url};

pub use reference::{ENVIRONMENT_ONLY, Form, KEYS, Key, reference};
pub use source::{ConfigError, Problem};
pub use values::{
    DatabaseAddress, Issuer, LogAddress, LogFilter, LogFormat, NotAllowed, OrganizationName, Registration, master_key,
};

use crate::domain::{secret::Secret, token::SigningAlgorithm};
use source::Given;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "deputy.toml";

/// A complete, checked configuration; each field is the key of the same name, whose unit, default and meaning are in [`KEYS`].
#[derive(Clone, Debug)]
pub struct Settings {
    pub issuer: Issuer,
    pub organization_name: OrganizationName,
    pub listen: std::net::SocketAddr,
    pub trusted_proxies: Vec<IpNet>,
    pub internal_hosts: Vec<Host>,
    pub requests_in_flight_max: usize,

    pub data_dir: PathBuf,
    pub database: DatabaseAddress,
    pub database_connections_max: u32,
    pub log: LogAddress,
    pub log_partitions: u16,
    pub recorded_refusals_per_second_max: u32,
    pub facts_retention_s: u32,
    /// Zero means no limit by size.
    pub facts_retention_bytes_max: u64,
    pub events_retention_s: u32,
    /// Zero means no limit by size.
    pub events_retention_bytes_max: u64,
    pub dedup_window_s: u32,
    pub dedup_keys_max: u64,

    pub master_key: Option<Secret<[u8; 32]>>,
    /// Unset means the file that [`Settings::master_key_path`] names.
    pub master_key_file: Option<PathBuf>,
    pub signing_algorithm: SigningAlgorithm,
    pub key_rotation_interval_s: u32,

    pub access_token_ttl_s: u32,
    pub refresh_token_idle_ttl_s: u32,
    pub refresh_grace_s: u32,
    pub grant_ttl_s: u32,

    pub registration: Registration,
    pub registrations_per_minute_max: u32,
    pub client_metadata_documents: bool,
    pub sign_up: bool,
    pub session_idle_ttl_s: u32,

    pub log_format: LogFormat,
    pub log_level: LogFilter,
    pub otlp_endpoint: Option<Url>,
}

impl Settings {
    /// Reads `file` (or, when none is named, `./deputy.toml` if there is one), then the `DEPUTY_` variables of `environment`, which
    /// win. Variables that are empty count as not set.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML; otherwise every unknown key and every value that is not allowed, together.
    pub fn load(file: Option<&Path>, environment: impl IntoIterator<Item = (String, String)>) -> Result<Settings, ConfigError> {
        let mut given = Given::default();
        match file {
            Some(path) => given.read_file(path)?,
            None if Path::new(DEFAULT_FILE).exists() => given.read_file(Path::new(DEFAULT_FILE))?,
            None => {}
        }
        given.read_environment(environment);
        given.into_settings()
    }

    /// Reads the text of a configuration file; `name` stands for the file in what is reported.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(name: &str, text: &str) -> Result<Settings, ConfigError> {
        let mut given = Given::default();
        given.read_text(name, text)?;
        given.into_settings()
    }

    /// Where the key that encrypts the signing keys is kept, unless the environment holds it.
    pub fn master_key_path(&self) -> PathBuf {
        self.master_key_file.clone().unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// Where the first start writes the operator's token, and where the command line reads it.
    pub fn operator_token_path(&self) -> PathBuf {
        self.data_dir.join("operator.token")
    }

    /// Whether operators may have us connect to this host although it is inside our own network.
    pub fn is_internal(&self, host: &Host<impl AsRef<str>>) -> bool {
        self.internal_hosts.iter().any(|known| match (known, host) {
            (Host::Domain(known), Host::Domain(host)) => known == host.as_ref(),
            (Host::Ipv4(known), Host::Ipv4(host)) => known == host,
            (Host::Ipv6(known), Host::Ipv6(host)) => known == host,
            _ => false,
        })
    }

    /// The state's file when the database is SQLite.
    pub fn sqlite_path(&self) -> PathBuf {
        self.data_dir.join("deputy.db")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Given::default().into_settings().expect("the defaults of the reference are allowed: a test reads each of them")
    }
}

impl Given {
    fn into_settings(mut self) -> Result<Settings, ConfigError> {
        let settings = Settings {
            issuer: self.one("issuer"),
            organization_name: self.one("organization_name"),
            listen: self.one("listen"),
            trusted_proxies: self.list("trusted_proxies", values::network),
            internal_hosts: self.list("internal_hosts", values::host),
            requests_in_flight_max: self.one("requests_in_flight_max"),
            data_dir: self.one("data_dir"),
            database: self.one("database"),
            database_connections_max: self.one("database_connections_max"),
            log: self.one("log"),
            log_partitions: self.one("log_partitions"),
            recorded_refusals_per_second_max: self.one("recorded_refusals_per_second_max"),
            facts_retention_s: self.one("facts_retention_s"),
            facts_retention_bytes_max: self.one("facts_retention_bytes_max"),
            events_retention_s: self.one("events_retention_s"),
            events_retention_bytes_max: self.one("events_retention_bytes_max"),
            dedup_window_s: self.one("dedup_window_s"),
            dedup_keys_max: self.one("dedup_keys_max"),
            master_key: self.optional("master_key", values::master_key),
            master_key_file: self.optional("master_key_file", str::parse),
            signing_algorithm: self.one("signing_algorithm"),
            key_rotation_interval_s: self.one("key_rotation_interval_s"),
            access_token_ttl_s: self.one("access_token_ttl_s"),
            refresh_token_idle_ttl_s: self.one("refresh_token_idle_ttl_s"),
            refresh_grace_s: self.one("refresh_grace_s"),
            grant_ttl_s: self.one("grant_ttl_s"),
            registration: self.one("registration"),
            registrations_per_minute_max: self.one("registrations_per_minute_max"),
            client_metadata_documents: self.one("client_metadata_documents"),
            sign_up: self.one("sign_up"),
            session_idle_ttl_s: self.one("session_idle_ttl_s"),
            log_format: self.one("log_format"),
            log_level: self.one("log_level"),
            otlp_endpoint: self.optional("otlp_endpoint", values::collector),
        };
        self.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let mut given = Given::default();
        given.read_text("deputy.toml", text).map_err(|error| error.to_string())?;
        given.read_environment(environment(pairs));
        given.into_settings().map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let settings = load("access_token_ttl_s = 120\nsign_up = true", &[("DEPUTY_ACCESS_TOKEN_TTL_S", "300"), ("HOME", "/x")]);
        let settings = settings.expect("all values are allowed");
        assert_eq!((settings.access_token_ttl_s, settings.sign_up, settings.refresh_grace_s), (300, true, 60));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let settings = load("otlp_endpoint = \"http://127.0.0.1:4318\"", &[("DEPUTY_ISSUER", ""), ("DEPUTY_OTLP_ENDPOINT", "")]);
        let settings = settings.expect("all values are allowed");
        assert_eq!(settings.issuer.as_str(), "http://127.0.0.1:9400");
        assert!(settings.otlp_endpoint.is_some());
    }

    #[test]
    fn lists_are_arrays_in_the_file_and_separated_by_commas_in_the_environment() {
        let from_file = load("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", &[]).expect("all values are allowed");
        let from_environment = load("", &[("DEPUTY_TRUSTED_PROXIES", "10.0.0.0/8, ::1")]).expect("all values are allowed");
        assert_eq!(from_file.trusted_proxies, from_environment.trusted_proxies);
        assert_eq!(from_file.trusted_proxies.len(), 2);
    }

    #[test]
    fn each_mistake_is_told_with_key_value_origin_and_what_is_allowed() {
        /// The file's text, the environment, and what is told.
        type Mistake = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let table: &[Mistake] = &[
            (
                "access_token_ttl_s = 5",
                &[],
                "deputy.toml: access_token_ttl_s = 5 is not allowed: expected a whole number of seconds from 60 to 3600",
            ),
            (
                "",
                &[("DEPUTY_REFRESH_GRACE_S", "121")],
                "environment: DEPUTY_REFRESH_GRACE_S = 121 is not allowed: expected a whole number of seconds from 0 to 120",
            ),
            (
                "acess_token_ttl_s = 600",
                &[],
                "deputy.toml: unknown key acess_token_ttl_s; the nearest known one is access_token_ttl_s",
            ),
            ("grant_ttl = 600", &[], "deputy.toml: unknown key grant_ttl; the nearest known one is grant_ttl_s"),
            ("", &[("DEPUTY_ISSUR", "x")], "environment: unknown variable DEPUTY_ISSUR; the nearest known one is DEPUTY_ISSUER"),
            ("[tls]\ncertificate = \"x\"", &[], "deputy.toml: unknown key tls; `deputy doctor --reference` lists all known ones"),
            ("issuer = [1]", &[], "deputy.toml: issuer = [..] is not allowed: expected one value, not a list or a table"),
            (
                "signing_algorithm = \"HS256\"",
                &[],
                "deputy.toml: signing_algorithm = HS256 is not allowed: expected one of ES256, EdDSA, RS256",
            ),
            (
                "trusted_proxies = [\"10.0.0.0/8\", \"proxy\"]",
                &[],
                "deputy.toml: trusted_proxies = proxy is not allowed: expected IP addresses and networks such as 10.0.0.0/8",
            ),
            ("sign_up = \"yes\"", &[], "deputy.toml: sign_up = yes is not allowed: expected true or false"),
            (
                "master_key = \"c2VjcmV0\"",
                &[],
                "deputy.toml: master_key belongs in the environment (DEPUTY_MASTER_KEY) or in the file that master_key_file names",
            ),
            (
                "log_level = \"verbose\"",
                &[],
                "deputy.toml: log_level = verbose is not allowed: expected a level (error, warn, info, debug, trace, off) or filter \
                 directives such as info,deputy::http=debug",
            ),
        ];
        for (text, pairs, expected) in table {
            let told = load(text, pairs).expect_err("the configuration is wrong");
            assert_eq!(&told, expected);
        }
    }

    #[test]
    fn all_problems_are_told_together() {
        let told = load("acess = 1\nrefresh_grace_s = -1", &[("DEPUTY_LISTEN", "9400")]).expect_err("three things are wrong");
        assert_eq!(told.lines().count(), 3, "{told}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_by_its_line() {
        let told = load("issuer = \"http://127.0.0.1:9400\"\nlisten 127", &[]).expect_err("no TOML");
        assert!(told.starts_with("deputy.toml: line 2: "), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let told = Settings::load(Some(Path::new("/nowhere/deputy.toml")), []).expect_err("there is no such file").to_string();
        assert!(told.starts_with("cannot read /nowhere/deputy.toml: "), "{told}");
    }

    #[test]
    fn secrets_are_in_no_error_and_in_no_debug_text() {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let pairs =
            [("DEPUTY_MASTER_KEY", key), ("DEPUTY_DATABASE", "postgres://deputy:hunter2@db.example/deputy?password=hunter2")];
        let shown = format!("{:?}", load("", &pairs).expect("all values are allowed"));
        assert!(!shown.contains("hunter2") && !shown.contains(key) && shown.contains("db.example"), "{shown}");

        let pairs = [("DEPUTY_MASTER_KEY", "hunter2"), ("DEPUTY_DATABASE", "mysql://deputy:hunter2@db.example")];
        let told = load("", &pairs).expect_err("neither is allowed");
        assert!(!told.contains("hunter2") && told.lines().count() == 2, "{told}");
    }

    #[test]
    fn the_reference_lists_every_field_once_and_nothing_else() {
        let shown = format!("{:#?}", Settings::default());
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let mut fields: Vec<&str> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(':'))
            .filter_map(|(name, _)| is_name(name).then_some(name))
            .collect();
        let mut keys: Vec<&str> = KEYS.iter().map(|key| key.name).chain(["master_key"]).collect();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }

    #[test]
    fn the_example_file_is_the_reference_and_says_the_defaults() {
        let example = include_str!("../../deploy/deputy.example.toml");
        assert_eq!(example, reference(), "write it anew: deputy doctor --reference > deploy/deputy.example.toml");
        let spoken: String = example
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let mut settings = Settings::parse("example", &spoken).expect("every line, uncommented, is allowed");
        settings.otlp_endpoint = None;
        settings.master_key_file = None;
        assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    }
}
