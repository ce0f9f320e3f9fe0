//! People: humans with an account here, and their sessions.

use super::{
    id::{Id, PersonKind, SessionKind},
    refusal::{LOGIN_INVALID, OAuthError, PASSWORD_WEAK},
    time::Timestamp,
};

/// The least length of a password, in characters
/// ([NIST SP 800-63B-4 §3.1.1](https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver)).
pub const PASSWORD_CHARS_MIN: usize = 12;
/// The greatest length of a password, in bytes; a bound on the work of hashing it.
pub const PASSWORD_BYTES_MAX: usize = 1024;
const DISPLAY_NAME_CHARS_MAX: usize = 100;
/// Long enough, and tried first by everyone who guesses.
const WELL_KNOWN_PASSWORDS: [&str; 12] = [
    "123456789012",
    "1234567890123",
    "qwertyuiop12",
    "passwordpassword",
    "password1234",
    "password12345",
    "administrator",
    "qwertyqwerty",
    "iloveyou1234",
    "letmeinletmein",
    "welcome12345",
    "changemechangeme",
];

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: Id<PersonKind>,
    /// What the person types to sign in: an e-mail address or a name; compared in lower case.
    pub login: String,
    pub display_name: String,
    pub created_at: Timestamp,
    /// A locked person cannot sign in, and no grant of theirs yields a token.
    pub locked_at: Option<Timestamp>,
}

impl Person {
    pub fn is_locked(&self) -> bool {
        self.locked_at.is_some()
    }

    /// The e-mail address, if the login is one. We never verified it.
    pub fn email(&self) -> Option<&str> {
        self.login.contains('@').then_some(self.login.as_str())
    }
}

/// A person signed in, in one browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: Id<SessionKind>,
    pub person: Id<PersonKind>,
    pub started_at: Timestamp,
    /// When the person last proved who they are: `auth_time`.
    pub authenticated_at: Timestamp,
    pub seen_at: Timestamp,
    /// What the browser said of itself, shortened; shown to the person only.
    pub user_agent: String,
}

/// A login as it is stored and compared.
pub fn parse_login(text: &str) -> Result<String, OAuthError> {
    let login = text.trim().to_lowercase();
    let valid = (3..=254).contains(&login.chars().count()) && !login.chars().any(|c| c.is_whitespace() || c.is_control());
    if valid { Ok(login) } else { Err(LOGIN_INVALID) }
}

/// A name as it is shown: what was given, on one line and not too long, or else the login.
pub fn display_name(given: Option<&str>, login: &str) -> String {
    let given = given.unwrap_or_default().split(|c: char| c.is_control()).collect::<Vec<_>>().join(" ");
    let name: String = given.trim().chars().take(DISPLAY_NAME_CHARS_MAX).collect();
    if name.is_empty() { login.to_owned() } else { name }
}

/// Refuses a password that is too short, too long, well known, one character repeated, or the login itself.
pub fn check_password(password: &str, login: &str) -> Result<(), OAuthError> {
    let lower = password.to_lowercase();
    let first = lower.chars().next();
    let weak = password.chars().count() < PASSWORD_CHARS_MIN
        || password.len() > PASSWORD_BYTES_MAX
        || WELL_KNOWN_PASSWORDS.contains(&lower.as_str())
        || lower == login
        || lower.chars().all(|c| Some(c) == first);
    if weak { Err(PASSWORD_WEAK) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused() {
        for weak in ["", "short", "12345678901", "Password1234", "aaaaaaaaaaaaaaa", "ada@example.com", &"x1".repeat(600)] {
            assert!(check_password(weak, "ada@example.com").is_err(), "{weak}");
        }
        assert!(check_password("correct horse battery", "ada").is_ok());
    }

    #[test]
    fn logins_are_compared_in_lower_case() {
        assert_eq!(parse_login(" Ada@Example.com "), Ok("ada@example.com".to_owned()));
        for bad in ["ab", "a b c", "a\0bc", &"x".repeat(255)] {
            assert!(parse_login(bad).is_err(), "{bad:?}");
        }
    }
}
