//! The rules of the house that a program can check. They read the source; what a program does is for the other folders.

/// Our own source, as tokens.
mod source;
/// A module imports only from those before it, and the rooms never from one another.
mod import_order;
/// Each library, and each kind of text, has one home.
mod homes;
/// How files begin, how long they are, how they are numbered.
mod shape;
/// The README's map is the territory.
mod map;
/// What we depend on, and under which terms.
mod dependencies;
/// What must not stand in a public repository.
mod nothing_private;
/// Tests wait for nothing and leave nothing out.
mod tests_are_quick;
/// Every refusal is somebody's test.
mod refusals;
/// Every route has a refusal test.
mod routes;
/// Every attack that is known has its test.
mod attacks;
