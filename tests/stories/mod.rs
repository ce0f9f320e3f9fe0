//! What people, agents and operators achieve, told from the outside.

/// What a newcomer sees: the demo, and the facts on record.
mod demo;
/// The process: how it starts, refuses to start, stops, and survives being killed.
mod process;
/// What is answered is on the disk.
mod on_disk;
/// The database is away, slow or crowded: 503, and nobody loses anything.
mod trouble;
/// Several processes share a database.
mod nodes;

/// An operator runs an installation through the admin API.
mod operator;

/// A person: an account, sessions, a password.
mod person;
/// A person decides what acts for them.
mod consent;
