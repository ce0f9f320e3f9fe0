//! The manifest: which runs count, and which input they cover. It is replaced as a whole, by a change of names.

use super::{Offsets, SeenError};
use crate::domain::time::Timestamp;
use crate::log::LogError;
use crate::log::disk::Disk;
use serde::{Deserialize, Serialize};
use std::io;

pub(super) const NAME: &str = "manifest";
const NEW_NAME: &str = "manifest.new";
const VERSION: u8 = 1;

/// In a file as JSON, after a line with its version and its CRC-32C.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Which secret the keys were made with.
    pub secret_check: u64,
    /// No run has this number yet, nor a greater one.
    pub next_number: u64,
    /// The log time.
    pub now: Option<Timestamp>,
    /// The oldest first; the last one is open.
    pub epochs: Vec<EpochNote>,
    /// The input before these offsets is in the runs.
    pub checkpoint: Offsets,
}

/// A stretch of log time that expires as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EpochNote {
    pub number: u64,
    pub from: Timestamp,
    pub until: Timestamp,
    pub keys: u64,
    /// The oldest first.
    pub runs: Vec<RunNote>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunNote {
    pub number: u64,
    pub keys: u64,
    /// How often its keys have been merged.
    pub level: u32,
    /// What must be read again if the run is lost.
    pub begins: Offsets,
}

/// What stands where the manifest should.
pub(super) enum Found {
    Manifest(Manifest),
    Damage,
    Nothing,
}

impl Manifest {
    pub(super) fn runs(&self) -> impl Iterator<Item = &RunNote> {
        self.epochs.iter().flat_map(|epoch| &epoch.runs)
    }

    /// # Errors
    /// What the disk says. Then the old one counts or this one, and the next that is written after them.
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), LogError> {
        let body = serde_json::to_vec_pretty(self).expect("its keys are text and numbers");
        let mut bytes = format!("DSM {VERSION} {:08x}\n", crc32c::crc32c(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        let file = disk.create(NEW_NAME, bytes.len() as u64)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        Ok(disk.rename(NEW_NAME, NAME)?)
    }

    /// # Errors
    /// `Newer`, or what the disk says.
    pub(super) fn read(disk: &dyn Disk) -> Result<Found, SeenError> {
        let file = match disk.open_to_read(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; usize::try_from(file.bytes()?).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        parse(&bytes)
    }
}

fn parse(bytes: &[u8]) -> Result<Found, SeenError> {
    let line_end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = bytes.split_at(line_end);
    let body = body.get(1..).unwrap_or_default();
    let line = str::from_utf8(line).unwrap_or_default();
    let Some((version, checksum)) = line.strip_prefix("DSM ").and_then(|rest| rest.split_once(' ')) else {
        return Ok(Found::Damage);
    };
    if u32::from_str_radix(checksum, 16) != Ok(crc32c::crc32c(body)) {
        return Ok(Found::Damage);
    }
    match version.parse() {
        Ok(VERSION) => Ok(serde_json::from_slice(body).map_or(Found::Damage, Found::Manifest)),
        Ok(version) if version > VERSION => Err(SeenError::Newer { version, known: VERSION }),
        _ => Ok(Found::Damage),
    }
}
