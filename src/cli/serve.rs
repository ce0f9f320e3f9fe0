//! `deputy serve`: run the server until Ctrl-C or SIGTERM.

use std::io::ErrorKind;

use deputy::config::Settings;
use deputy::server::{self, ServerError};
use deputy::telemetry::Telemetry;

use super::Failure;

pub(crate) fn run(settings: Settings) -> Result<(), Failure> {
    // Dropped last: what the stop itself says is sent too.
    let _telemetry = Telemetry::start(&settings).map_err(|error| Failure::because("cannot start", &error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("cannot start", &error))?;
    runtime.block_on(server::run(settings)).map_err(failure)
}

/// Why there is no server, in one sentence.
pub(crate) fn failure(error: ServerError) -> Failure {
    match error {
        ServerError::Listen { address, source } if source.kind() == ErrorKind::AddrInUse => Failure(format!(
            "cannot serve: {address} is in use; stop what runs there, perhaps another Deputy, or choose another address with the settings `listen` and `issuer`"
        )),
        error => Failure::because("cannot serve", &error),
    }
}
