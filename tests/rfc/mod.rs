//! What the specifications say, each test named by section.

/// The form of requests: RFC 6749 §3, RFC 9110.
mod requests;
