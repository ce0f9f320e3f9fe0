//! Every test that looks at Deputy from outside: one binary, a folder for each kind of question.

mod support;
mod rfc;
mod house;
mod simulation;
