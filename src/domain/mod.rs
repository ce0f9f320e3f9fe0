//! Nouns and rules, pure: no async, I/O, SQL, HTTP, clock or randomness.
//!
//! The glossary, one word per thing:
//!
//! - **person**: a human with an account here; the resource owner of OAuth.
//! - **client**: software that asks for tokens; an **agent** is a client that acts for a person.
//! - **operator**: whoever administers the installation; acts through `/admin/v1`.
//! - **resource**: a server that accepts our tokens (an MCP server), named by its identifier URI.
//! - **scope**: one named permission at a resource; **scopes**: a set of them.
//! - **consent**: what a person allowed a client at a resource, remembered so that it need not be asked again.
//! - **authorization**: who may do what, for whom, until when; what every grant type yields.
//! - **grant**: an authorization that was given, a node of the delegation tree; ending it ends every token under it.
//! - **token**: what leaves the process: access token, refresh token, ID token.
//! - **one-time value**: a code, invitation or assertion id that may be used once, for one purpose.
//! - **session**: a person signed in, in one browser.
//! - **source**: whatever sends customer events to us; its **write key** says which one it is.
//! - **warehouse**: a source that sends nothing: the rows of a query, polled from an organisation's own database.
//! - **message**: one customer event as its source sent it, in the words of the Segment protocol.
//! - **profile**: what is known of one person, agent or group, put together from the events about it; its **traits** are named values.
//! - **external id**: what others call the somebody of a profile, by type and value; a **merge** makes two profiles one.
//! - **audience**: the profiles of which a condition holds.
//! - **intervention**: what is done to profiles besides what events do; a **regulation** is one that a person, or the law, demands.
//! - **transformation**: an operator's program that says what becomes of a source's messages; a **filter** is one that only lets pass.
//! - **tracking plan**: which events a source is to send, and what is to be in them; what is not so is a **violation**.
//! - **kept aside**: not going on, with the reason, and not lost.
//! - **risk**: what speaks against an agent or an account; a **signal** is one event that does, **proven** if nobody else could have
//!   caused it. A **measure** is what is done about it; a **doubt** rests what a person granted until they consent again.
//! - **network**: from where somebody comes, as facts may name it: never an address.
//! - **actor**: whoever is seen here doing something, by one id; its **kind** says who that is, and the **evidence** led to it.
//! - **sighting**: a message at a step of its way, as somebody sees it who looks on.
//! - **consumer**: a stage that reads the log from a cursor of its own; a **replay** has it read a part again.
//! - **fact**: what happened, past tense; an **event** is a fact with an id, a time and an actor.
//! - **remark**: a fact that no decision depends on: nothing waits for it, and it may be missing or come twice.
//! - **refusal**: an error of ours with a public code and a private, stable reason.

pub mod time;
pub mod id;
pub mod secret;
pub mod refusal;
pub mod scope;
pub mod resource;
pub mod redirect_uri;
pub mod client;
pub mod client_metadata;
pub mod person;
pub mod grant;
pub mod token;
pub mod policy;
pub mod source;
pub mod webhook;
pub mod warehouse;
pub mod json;
pub mod call;
pub mod transformation;
pub mod tracking_plan;
pub mod network;
pub mod condition;
pub mod computed_trait;
pub mod profile;
pub mod predicted_trait;
pub mod audience;
pub mod actor;
pub mod risk;
pub mod event;
pub mod sighting;
pub mod identity;
pub mod intervention;
