//! The parent's side of a child: start it, ask it in one go, give up on it in time.

use std::{collections::HashMap, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    ANSWER_TIMEOUT, Key, frame,
    frame::{Answer, Reply, Request},
};

/// How long a child may take to begin: on a busy machine, reading the executable takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A child that waits for requests. Dropping it ends it.
pub(super) struct Child {
    /// The programs that it was given, by the number that each has there.
    pub(super) programs: HashMap<Key, u32>,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    buffer: Vec<u8>,
    /// Killed when dropped.
    _process: tokio::process::Child,
}

/// The child is gone, at the request after the last reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It did not answer in time and is killed.
    TimedOut,
    /// It ended by itself.
    Ended,
    /// It was heard enough, and is not asked the rest.
    LeftOff,
}

impl Child {
    /// Starts a child that has nothing: no environment, no folder of ours, no way to say something but by its replies.
    pub(super) async fn start(executable: &Path) -> io::Result<Child> {
        let mut command = Command::new(executable);
        command.arg(super::worker::COMMAND).env_clear().current_dir("/").kill_on_drop(true);
        // What the allocator sets aside for later would count as what the program wanted.
        command.env("MIMALLOC_ARENA_RESERVE", "0");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let requests = process.stdin.take().expect("it is piped");
        let replies = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut child = Child { programs: HashMap::new(), requests, replies, buffer: Vec::new(), _process: process };
        match timeout(START_TIMEOUT, frame::read(&mut child.replies, &mut child.buffer)).await {
            Ok(Ok(Answer { reply: Reply::Ready, .. })) => Ok(child),
            Ok(Ok(_)) => Err(io::Error::other("it is not the executable that it should be")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends all requests and appends the reply of each, as long as there are any, or until what one took, by its place, is enough.
    /// After an error it must not be asked again.
    pub(super) async fn exchange(
        &mut self,
        requests: &[Request<'_>],
        replies: &mut Vec<Reply>,
        mut is_enough: impl FnMut(usize, Duration) -> bool,
    ) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| frame::put(&mut bytes, request));
        let (to, from, buffer) = (&mut self.requests, &mut self.replies, &mut self.buffer);
        // A child that died does not take the rest; what it said before is still read.
        let send = async { to.write_all(&bytes).await.and(to.flush().await) };
        let receive = async {
            for place in 0..requests.len() {
                let Answer { reply, took_us } = match timeout(ANSWER_TIMEOUT, frame::read(from, buffer)).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => return Err(Lost::Ended),
                    Err(_) => return Err(Lost::TimedOut),
                };
                replies.push(reply);
                if is_enough(place, Duration::from_micros(took_us)) && place + 1 < requests.len() {
                    return Err(Lost::LeftOff);
                }
            }
            Ok(())
        };
        // Both at once, or each would wait for the other with full pipes. Who stops reading is not sent to any longer.
        tokio::pin!(send, receive);
        tokio::select! {
            received = &mut receive => received,
            _ = &mut send => receive.await,
        }
    }
}
