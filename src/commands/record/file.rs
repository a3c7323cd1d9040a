//! A file that is there as a whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use crate::stop::Unfinished;

/// Whether something has this name already, also if it is a link to nothing.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Writes a new file, for its owner only: under another name first, so that nobody ever reads half of it. What has the
/// name already is left alone, and symbolic links are not followed.
///
/// # Errors
/// Those of the file system; nothing is left behind then.
pub(super) fn write_new(path: &Path, text: &str) -> Result<()> {
    let taken = || Error::new(ErrorKind::AlreadyExists, "the file already exists");
    if is_there(path) {
        return Err(taken());
    }
    let beside = beside(path)?;
    let unfinished = Unfinished::new(&beside);
    let mut file = private(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    publish(&beside, path).map_err(|error| if is_there(path) { taken() } else { error })?;
    drop(unfinished);
    // The name is on the disk only with its folder. Not every file system knows how.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// A name in the same folder, as a rename must not leave the file system.
fn beside(path: &Path) -> Result<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it is not a file name"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.unfinished", std::process::id()));
    Ok(path.with_file_name(beside))
}

fn private(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Gives the file its name, unless something has it.
fn publish(from: &Path, to: &Path) -> Result<()> {
    // A link fails where something has the name; a rename would write over it.
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists || is_there(to) => Err(error),
        // Not every file system has links.
        Err(_) => std::fs::rename(from, to),
    }
}
