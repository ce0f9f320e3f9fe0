//! Every test that looks at Deputy from outside: one binary, a folder for each kind of question.

mod support;
mod stories;
mod rfc;
mod attacks;
mod clients;
mod pipeline;
mod house;
mod simulation;
