//! Files named by flags and kubeconfigs. Neither their size nor their writer is trusted: a device without an end and a
//! pipe that nobody writes to must end in an error.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Most bytes of a kubeconfig: thousands of clusters, each with its certificates.
pub(super) const KUBECONFIG: u64 = 16 << 20;
/// Most bytes of a bundle of certificates, or of a key.
pub(super) const CERTIFICATES: u64 = 4 << 20;
/// Most bytes of a token; the API server accepts 1 MiB of headers in all.
pub(super) const TOKEN: u64 = 512 << 10;
/// How long the bytes of one file may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// Those of opening and reading; also when it is longer, or when its bytes do not come within ten seconds.
pub(super) fn read(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let path = path.as_ref().to_owned();
    let (done, read) = mpsc::sync_channel(1);
    // A pipe without a writer already blocks while it is opened. The thread is left behind then, and ends with the process.
    thread::Builder::new().name("file".to_owned()).spawn(move || {
        let _ = done.send(read_now(&path, most));
    })?;
    read.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing came within {}s", PATIENCE.as_secs())))
    })
}

fn read_now(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_no_end_is_no_file() {
        let error = read("/dev/zero", 1 << 20).map(|bytes| bytes.len());
        assert!(error.is_err_and(|error| error.to_string().contains("longer than 1048576 bytes")));
        assert!(read("/dev/null", 1).is_ok_and(|bytes| bytes.is_empty()));
        assert!(read("/", 1).is_err());
    }
}
