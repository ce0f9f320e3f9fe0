//! What somebody achieves with Deputy, told from outside.

/// An operator runs an installation through the admin API.
mod operator;
