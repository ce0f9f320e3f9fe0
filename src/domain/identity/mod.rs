//! Identity: which external ids are one person, one account, one agent. Pure, and decided in the log's order alone.
//!
//! - A **profile** comes into being at the first event that names somebody unknown, and keeps its id for ever.
//! - An **external id** is mapped to one profile, its *home*: the profile that the event's best known id had as its home.
//! - A **merge** joins two profiles by an edge. What is joined is a **component**; its **canonical** profile is the one that was created
//!   at the smallest offset. Edges only ever join two components, so they are a forest, and taking one away splits exactly one.
//! - What an operator has taken apart is **kept apart**: no later event, and no replay of an earlier one, joins it again.
//!
//! People, accounts and agents are collections of their own, with external ids of their own: nothing here can merge across them.
//! Which agent acts for which person is a link, not an identity.
//!
//! The one decision is [`resolve::resolve`]: a function of the rules, of the event's ids and of the part of the graph that the ids touch.
//! The caller loads that part, from SQL or from memory, and writes the changes in the commit that moves its cursor.

pub mod external_id;
pub mod rules;
pub mod graph;
pub mod resolve;
pub mod split;
pub mod message;
pub mod fact;

#[cfg(test)]
mod tests;
