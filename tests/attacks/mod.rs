//! What went wrong elsewhere must not work here; a test is named by the line of the collection that it is about.

/// 19, 20, 39, 85, 99: the admin API, cut-offs, secrets and cursors.
mod administration;

/// Sign-in, forms, sessions and consent.
mod sign_in;
