//! What somebody achieves with Deputy, told from their side.

/// A person: an account, sessions, a password, consent, and what acts for them.
mod person;
