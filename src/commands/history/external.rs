//! The program that KUBECTL_EXTERNAL_DIFF names, as `kubectl diff` runs it.

use std::fs::{self, DirBuilder};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::render::yaml;

/// A folder of our own, removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Folder> {
        let name = format!("kubectl-sts-{}-{}", std::process::id(), Timestamp::now().as_nanosecond());
        let path = std::env::temp_dir().join(name);
        #[cfg_attr(not(unix), allow(unused_mut))]
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Fails if it is there: nobody else can have put links into it.
        builder.create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Gives both to the program as files, and gives back what it writes. As with diff, 1 means that they differ.
pub(super) fn run(program: &str, both: [(&String, &Value); 2]) -> Result<String> {
    let failed =
        |error: std::io::Error| Error::cluster("could not write the templates to compare").because(error);
    let folder = Folder::new().map_err(failed)?;
    let mut words = program.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    for (title, template) in both {
        let path = folder.0.join(format!("{title}.yaml"));
        fs::write(&path, yaml(template)?).map_err(failed)?;
        command.arg(path);
    }
    let named = format!("KUBECTL_EXTERNAL_DIFF={program}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Error::cluster(format!("could not run {named}")).because(error))?;
    match output.status.code() {
        Some(0 | 1) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Some(code) => Err(Error::cluster(format!("{named} ended with exit code {code}"))),
        None => Err(Error::cluster(format!("{named} was ended by a signal"))),
    }
}
