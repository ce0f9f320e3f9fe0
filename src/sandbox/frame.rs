//! What the two sides of the sandbox say to each other: each message a length of four bytes and as much JSON.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::domain::transformation::Purpose;

/// The longest message either side reads, in bytes: as many events as one may become, of the largest size there is, with room.
const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the parent asks. Each request has one reply, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request<'a> {
    /// Compile a program and keep it under this number.
    Load {
        program: u32,
        purpose: Purpose,
        #[serde(borrow)]
        text: Cow<'a, str>,
    },
    /// Run the program of this number on an event.
    Run {
        program: u32,
        #[serde(borrow)]
        event: &'a RawValue,
    },
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// The processor time that it took.
    pub(super) took_us: u64,
}

/// What there is to say to a request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It has begun, or the program is loaded.
    Ready,
    /// The program does not compile.
    Mistakes(Vec<Mistake>),
    Events(Vec<Box<RawValue>>),
    Passes(bool),
    Failed(String),
}

/// What is wrong with a program, and where: lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Mistake {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Mistake {
    /// The mistakes in one sentence.
    pub fn told(mistakes: &[Mistake]) -> String {
        let each = mistakes.iter().map(|Mistake { line, column, message }| format!("line {line}, column {column}: {message}"));
        each.collect::<Vec<_>>().join("; ")
    }
}

/// Appends a message to a buffer.
pub(super) fn put(buffer: &mut Vec<u8>, message: &impl Serialize) {
    let start = buffer.len();
    buffer.extend([0; 4]);
    serde_json::to_writer(&mut *buffer, message).expect("our own messages serialise into memory");
    let length = u32::try_from(buffer.len() - start - 4).expect("events and programs are bounded far below 4 GiB");
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads the child's next message.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<Answer> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    buffer.resize(checked(length)?, 0);
    from.read_exact(buffer).await?;
    Ok(serde_json::from_slice(buffer)?)
}

/// Reads the parent's next message into the buffer. `false` when the parent is done.
pub(super) fn read_here(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    buffer.resize(checked(length)?, 0);
    from.read_exact(buffer)?;
    Ok(true)
}

/// Writes one message.
pub(super) fn write_here(to: &mut impl Write, buffer: &mut Vec<u8>, message: &Answer) -> io::Result<()> {
    buffer.clear();
    put(buffer, message);
    to.write_all(buffer)
}

fn checked(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX { Err(io::Error::other("the message is longer than any that is sent")) } else { Ok(length) }
}
