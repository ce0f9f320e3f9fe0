//! What must not work: one test for each line of the list of known attacks, named by its id. Each has a control, so that the
//! refusal is for the malice and not for something else.

/// Sign-in, forms, sessions and consent.
mod sign_in;
