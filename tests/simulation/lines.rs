//! Every line that the process logs, down to the last level, whatever an installation would show of it.
//!
//! One subscriber for the whole test process: the lines of other tests are among ours, but our secrets are not theirs.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, Once},
};

use tracing_subscriber::{Layer as _, filter::Targets, fmt, layer::SubscriberExt as _};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static START: Once = Once::new();

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lines().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to capture, and tells where what comes from now on begins.
pub fn capture() -> usize {
    START.call_once(|| {
        let layer = fmt::layer().with_ansi(false).with_writer(|| Sink);
        let layer = layer.with_filter(Targets::new().with_target("deputy", tracing::Level::TRACE));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).expect("no other test sets a subscriber for all");
    });
    lines().len()
}

/// What was logged since, and where that ends.
pub fn since(start: usize) -> (String, usize) {
    let lines = lines();
    (String::from_utf8_lossy(&lines[start..]).into_owned(), lines.len())
}

fn lines() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().expect("nobody panics while holding the lines")
}
