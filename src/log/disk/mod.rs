//! The few file operations that the log stands on, so that a simulated disk can take their place.
//!
//! A disk is one flat folder. Its contract is POSIX at its most pessimistic: bytes are there for good only after `sync` has
//! succeeded; after a crash any part of what was written since may be there; after a failed `sync` nothing is known about it, and
//! a later success does not change that.

/// A disk in memory that crashes, fills up and fails as it is told.
pub mod simulated;

use super::LogError;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A flat folder of files.
pub trait Disk: Send + Sync {
    /// What people call the folder.
    fn folder(&self) -> String;

    /// Takes the folder for this owner alone, until the guard is dropped.
    ///
    /// # Errors
    /// `Locked` while somebody else holds it.
    fn lock(&self) -> Result<Box<dyn Send + Sync>, LogError>;

    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// An empty file, replacing one of that name, with space for `bytes` set aside that reads as zeros. Its name is durable.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    fn open_to_write(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    fn open_to_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives the file another name, taking it from the file that had it. The change is durable, and all of it or nothing; when it
    /// fails, either may be.
    fn rename(&self, name: &str, new_name: &str) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    fn bytes(&self) -> io::Result<u64>;

    /// Fills the whole buffer from `position` on.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Makes everything that was written durable.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, and gives back what was set aside beyond.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// What this user may still write to the real file system that holds the folder, or will hold it.
///
/// # Errors
/// What the file system says.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let folder = std::path::absolute(folder)?;
    let nearest = folder.ancestors().find(|folder| folder.exists()).ok_or(io::ErrorKind::NotFound)?;
    let found = rustix::fs::statvfs(nearest)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A folder of the real file system.
pub struct RealDisk {
    folder: PathBuf,
}

impl RealDisk {
    /// The folder, made if it is missing, readable by its owner only.
    ///
    /// # Errors
    /// What the file system says when the folder cannot be made.
    pub fn create(folder: &Path) -> io::Result<RealDisk> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(RealDisk::at(folder))
    }

    /// The folder, which must exist.
    pub fn at(folder: &Path) -> RealDisk {
        RealDisk { folder: folder.to_owned() }
    }
}

impl Disk for RealDisk {
    fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, LogError> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(LogError::Locked { folder: self.folder() }),
            Err(fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is none of ours.
        Ok(fs::read_dir(&self.folder)?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path)?;
        allocate(&file, bytes)?;
        // `sync_all` for the new length, the folder for the new name.
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Box::new(file))
    }

    fn open_to_write(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.folder.join(name))?))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.folder.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }

    fn rename(&self, name: &str, new_name: &str) -> io::Result<()> {
        fs::rename(self.folder.join(name), self.folder.join(new_name))?;
        File::open(&self.folder)?.sync_all()
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.read_exact_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

/// Sets space aside, so that a later `sync` has no file size to write, and so that a full disk is met here and not half-way
/// through a record.
#[expect(unsafe_code, reason = "the standard library cannot set space aside")]
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the call touches no memory of ours.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
