//! `deputy sandbox`: the child in which the server runs operators' programs. Nobody starts it by hand.

use std::process::ExitCode;

use deputy::sandbox::worker;

use super::Failure;

pub(crate) fn run() -> Result<ExitCode, Failure> {
    worker::run().map_err(|error| Failure::because("the sandbox ends", &error))?;
    Ok(ExitCode::SUCCESS)
}
