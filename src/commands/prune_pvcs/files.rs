//! A folder of files that are there whole, or not at all: written to a temporary name, synced, renamed. Symbolic links
//! are not followed, and nothing that exists is written over.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// The longest file that is read back. A manifest is smaller than what the API server takes, 3 MiB.
pub(in crate::commands) const LONGEST: u64 = 4 << 20;
/// How the names of temporary files begin and end.
const TEMPORARY: (&str, &str) = (".kubectl-sts-", ".tmp");

/// A folder.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where it is.
    pub path: PathBuf,
}

/// What failed, and where.
pub(super) type Failed = (PathBuf, io::Error);

impl Folder {
    /// Creates a folder whose name is free, or takes the one that was named, which may exist.
    pub(super) fn open(named: Option<&Path>) -> Result<Folder, Failed> {
        let path = match named {
            Some(path) => {
                builder().recursive(true).create(path).map_err(|error| (path.to_owned(), error))?;
                path.to_owned()
            }
            None => fresh()?,
        };
        let failed = |error| (path.clone(), error);
        let found = fs::symlink_metadata(&path).map_err(failed)?;
        if found.is_symlink() {
            return Err(failed(other("it is a symbolic link")));
        }
        if !found.is_dir() {
            return Err(failed(other("it is not a directory")));
        }
        let folder = Folder { path };
        folder.clear();
        folder.sync()?;
        if let Some(parent) = folder.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync(parent).map_err(|error| (parent.to_owned(), error))?;
        }
        Ok(folder)
    }

    /// The text of a file, or `None` if there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, Failed> {
        let path = self.path.join(name);
        read(&path).map_err(|error| (path, error))
    }

    /// Writes a file that does not exist.
    pub(super) fn create(&self, name: &str, text: &str) -> Result<(), Failed> {
        self.put(name, text, false)
    }

    /// Writes a file that may exist: then it is the old one or the new one, at every moment.
    pub(super) fn replace(&self, name: &str, text: &str) -> Result<(), Failed> {
        self.put(name, text, true)
    }

    fn put(&self, name: &str, text: &str, replaces: bool) -> Result<(), Failed> {
        let path = self.path.join(name);
        let failed = |error| (path.clone(), error);
        // Mode 0600, O_EXCL, and removed when it is dropped.
        let (prefix, suffix) = TEMPORARY;
        let mut file =
            tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(&self.path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        if replaces {
            file.persist(&path).map_err(|error| failed(error.error))?;
            return Ok(());
        }
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(failed(error.error)),
            // Some file systems can neither rename without replacing nor link.
            Err(error) => match fs::symlink_metadata(&path) {
                Err(missing) if missing.kind() == ErrorKind::NotFound => {
                    error.file.persist(&path).map(drop).map_err(|error| failed(error.error))
                }
                _ => Err(failed(error.error)),
            },
        }
    }

    /// Makes sure that the names of its files outlive a crash of the machine.
    pub(super) fn sync(&self) -> Result<(), Failed> {
        sync(&self.path).map_err(|error| (self.path.clone(), error))
    }

    /// Removes temporary files that a run which was killed has left.
    fn clear(&self) {
        let (prefix, suffix) = TEMPORARY;
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(prefix) && name.ends_with(suffix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn other(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// `./kubectl-sts-backup-YYYYMMDD-HHMMSS`; another run may have begun in the same second.
fn fresh() -> Result<PathBuf, Failed> {
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let first = PathBuf::from(format!("./kubectl-sts-backup-{now}"));
    let more = (2..100).map(|number| PathBuf::from(format!("./kubectl-sts-backup-{now}-{number}")));
    let mut failed = None;
    for path in std::iter::once(first).chain(more) {
        match builder().create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => {
                let is_taken = error.kind() == ErrorKind::AlreadyExists;
                failed = Some((path, error));
                if !is_taken {
                    break;
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| (PathBuf::from("."), other("no name is free"))))
}

/// Creates folders that only their owner can look into.
fn builder() -> fs::DirBuilder {
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// The text of a file, or `None` if there is no such file. No link is followed, and no pipe waited for.
pub(in crate::commands) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if found.is_symlink() => return Err(other("it is a symbolic link")),
        Ok(_) => {}
    }
    let mut options = OpenOptions::new();
    options.read(true);
    // It could have become a link since, or be a pipe that never opens.
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    let file = options.open(path)?;
    let length = match file.metadata()? {
        found if !found.is_file() => return Err(other("it is not a regular file")),
        found => found.len(),
    };
    if length > LONGEST {
        return Err(other("it is too long to be a manifest"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[cfg(unix)]
fn sync(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every file system can.
        Err(error) if [ErrorKind::InvalidInput, ErrorKind::Unsupported].contains(&error.kind()) => Ok(()),
        synced => synced,
    }
}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_the_owner_can_look_and_nothing_is_written_over() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(&place.path().join("a/b"))).unwrap();
        folder.create("x.yaml", "one\n").unwrap();
        assert_eq!((mode(&folder.path), mode(&folder.path.join("x.yaml"))), (0o700, 0o600));
        assert_eq!(mode(&place.path().join("a")), 0o700);
        let (path, error) = folder.create("x.yaml", "two\n").unwrap_err();
        assert_eq!(
            (path.file_name().unwrap().to_str(), error.kind()),
            (Some("x.yaml"), ErrorKind::AlreadyExists)
        );
        assert_eq!(folder.read("x.yaml").unwrap().as_deref(), Some("one\n"));
        folder.replace("x.yaml", "three\n").unwrap();
        assert_eq!(folder.read("x.yaml").unwrap().as_deref(), Some("three\n"));
        assert_eq!(folder.read("y.yaml").unwrap(), None);
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1, "a temporary file is left");
    }

    #[test]
    fn links_and_pipes_are_refused_and_never_followed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(place.path())).unwrap();
        let secret = place.path().join("secret");
        fs::write(&secret, "mine\n").unwrap();
        for target in [&secret, &place.path().join("missing")] {
            let link = place.path().join("x.yaml");
            symlink(target, &link).unwrap();
            assert!(folder.read("x.yaml").unwrap_err().1.to_string().contains("symbolic link"));
            assert_eq!(folder.create("x.yaml", "ours\n").unwrap_err().1.kind(), ErrorKind::AlreadyExists);
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "mine\n");
        assert!(!place.path().join("missing").exists());
        // A replaced link is replaced itself, not what it leads to.
        symlink(&secret, place.path().join("README.md")).unwrap();
        folder.replace("README.md", "ours\n").unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "mine\n");

        rustix::fs::mkfifoat(rustix::fs::CWD, place.path().join("pipe"), 0o600.into()).unwrap();
        assert!(folder.read("pipe").unwrap_err().1.to_string().contains("not a regular file"));

        for target in ["real", "nowhere"] {
            let link = place.path().join(format!("to-{target}"));
            fs::create_dir_all(place.path().join("real")).unwrap();
            symlink(place.path().join(target), &link).unwrap();
            Folder::open(Some(&link)).unwrap_err();
            assert!(!place.path().join("nowhere").exists());
        }
        assert!(Folder::open(Some(&secret)).is_err());
    }

    #[test]
    fn what_a_killed_run_has_left_is_cleared() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(".kubectl-sts-abc.tmp"), "hal").unwrap();
        fs::write(place.path().join(".kubectl-sts-notes"), "mine").unwrap();
        Folder::open(Some(place.path())).unwrap();
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, [".kubectl-sts-notes"]);
    }
}
