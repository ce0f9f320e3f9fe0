//! A [connection URL](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS) that says everything itself:
//! nothing is left to the environment of the process, whose passwords are not for other people's hosts.

use url::{Host, Url};

use crate::domain::secret::Secret;

/// The port that is meant where none is named.
const PORT: u16 = 5432;

/// Whether the connection is encrypted, and whether the server has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// `sslmode=disable`: only where the way there is trusted.
    Disable,
    /// `sslmode=require`: encrypted, to whoever answers.
    Require,
    /// `sslmode=verify-ca`: the certificate is of a known authority.
    VerifyAuthority,
    /// `sslmode=verify-full`, and where nothing is said: the certificate is also the host's.
    VerifyFull,
}

/// Where a warehouse is, and who we are there.
#[derive(Debug, Clone)]
pub struct ConnectionUrl {
    pub host: Host,
    pub port: u16,
    pub user: String,
    pub password: Secret<String>,
    pub database: String,
    pub tls: Tls,
}

/// What is wrong with a connection URL, without quoting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it must be a URL such as postgres://user:password@host:5432/database")]
    Form,
    #[error("it must name a host")]
    Host,
    #[error("it must name a user")]
    User,
    #[error("it must name a database")]
    Database,
    #[error("its parameters may only be sslmode, which may be disable, require, verify-ca or verify-full")]
    Parameter,
}

impl ConnectionUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What it lacks, or has too much.
    pub fn parse(text: &str) -> Result<ConnectionUrl, Malformed> {
        let url = Url::parse(text).map_err(|_| Malformed::Form)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") || url.fragment().is_some() {
            return Err(Malformed::Form);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Malformed::Host)?;
        let mut tls = Tls::VerifyFull;
        for (name, value) in url.query_pairs() {
            tls = match (&*name, &*value) {
                ("sslmode", "disable") => Tls::Disable,
                ("sslmode", "require") => Tls::Require,
                ("sslmode", "verify-ca") => Tls::VerifyAuthority,
                ("sslmode", "verify-full") => Tls::VerifyFull,
                _ => return Err(Malformed::Parameter),
            };
        }
        let named = |text: &str, lacking| decoded(text).filter(|name| !name.is_empty()).ok_or(lacking);
        Ok(ConnectionUrl {
            // Of this scheme the library reads no addresses by itself; and a path would be a socket of this machine.
            host: Host::parse(host).map_err(|_| Malformed::Host)?,
            port: url.port().unwrap_or(PORT),
            user: named(url.username(), Malformed::User)?,
            password: Secret::new(decoded(url.password().unwrap_or_default()).ok_or(Malformed::Form)?),
            database: named(url.path().trim_start_matches('/'), Malformed::Database)?,
            tls,
        })
    }
}

/// The text without its percent signs; `None` if it is not UTF-8 or holds a zero, which ends texts in the protocol.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_says_everything_itself() {
        let url = ConnectionUrl::parse("postgres://reader:p%40ss%2F%25@db.example:6432/shop%20one").expect("it is whole");
        assert_eq!((url.host.to_string().as_str(), url.port, url.tls), ("db.example", 6432, Tls::VerifyFull));
        assert_eq!((url.user.as_str(), url.password.reveal().as_str(), url.database.as_str()), ("reader", "p@ss/%", "shop one"));
        assert!(!format!("{url:?}").contains("p@ss"), "no text shows the password");
        let url = ConnectionUrl::parse("postgresql://reader@[::1]/shop?sslmode=disable").expect("it is whole");
        assert_eq!((url.host, url.port, url.tls), (Host::Ipv6(std::net::Ipv6Addr::LOCALHOST), 5432, Tls::Disable));
        assert_eq!(url.password.reveal(), "");
    }

    #[test]
    fn what_is_no_connection_is_told_without_quoting_it() {
        for (text, wrong) in [
            ("", Malformed::Form),
            ("host=db user=x", Malformed::Form),
            ("mysql://reader:secret@db/shop", Malformed::Form),
            ("postgres:///shop", Malformed::Host),
            ("postgres://reader:secret@/shop", Malformed::Form),
            ("postgres://reader:secret@%2Frun%2Fpostgresql/shop", Malformed::Host),
            ("postgres://db/shop", Malformed::User),
            ("postgres://reader:secret@db", Malformed::Database),
            ("postgres://reader:secret@db/", Malformed::Database),
            ("postgres://reader:%00@db/shop", Malformed::Form),
            ("postgres://reader:%zz@db/shop", Malformed::Form),
            ("postgres://reader:secret@db/shop?sslmode=prefer", Malformed::Parameter),
            ("postgres://reader:secret@db/shop?host=other", Malformed::Parameter),
        ] {
            assert_eq!(ConnectionUrl::parse(text).err(), Some(wrong), "{text}");
        }
    }
}
