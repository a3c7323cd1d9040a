//! A folder in which a printed command is run as a user would run it, with stand-ins for the programs it may name.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Stand-ins that write down what they were given, and do nothing.
const STUB: &str = "#!/bin/sh\n{ printf '%s\\0' \"${0##*/}\" \"$@\"; } > \"$LOG/$$\"\n";

pub struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let sandbox = Sandbox { folder: tempfile::tempdir().unwrap() };
        for name in ["bin", "log", "here"] {
            fs::create_dir(sandbox.path(name)).unwrap();
        }
        for name in ["kubectl", "grep", "sed", "tee", "sleep"] {
            let path = sandbox.path("bin").join(name);
            fs::write(&path, STUB).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Whoever is obeyed leaves a file.
        symlink("/usr/bin/touch", sandbox.path("bin").join("touch")).unwrap();
        fs::write(sandbox.path("here").join("bystander"), "").unwrap();
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the line; gives back the programs that ran with all their words, in no order, or what went wrong.
    pub fn run(&self, line: &str) -> Result<Vec<Vec<String>>, String> {
        let output = Command::new("/bin/sh")
            .args(["-c", line])
            .current_dir(self.path("here"))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("LOG", self.path("log"))
            // What stands in the home directory is seen as it is written.
            .env("HOME", "~")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut ran = Vec::new();
        for entry in fs::read_dir(self.path("log")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            ran.push(text.trim_end_matches('\0').split('\0').map(str::to_owned).collect());
            fs::remove_file(path).unwrap();
        }
        ran.sort();
        let files: Vec<_> =
            fs::read_dir(self.path("here")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if files != ["bystander"] {
            return Err(format!("it left {files:?}"));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || !said.is_empty() {
            return Err(format!("it ended with {} and said {said}", output.status));
        }
        Ok(ran)
    }
}

#[test]
fn the_sandbox_sees_what_is_obeyed() {
    let sandbox = Sandbox::new();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        sandbox.run("kubectl get pod 'a b' | grep x"),
        Ok(vec![words(&["grep", "x"]), words(&["kubectl", "get", "pod", "a b"])])
    );
    assert!(sandbox.run("kubectl get x;reboot").is_err());
    assert_eq!(sandbox.run("kubectl *"), Ok(vec![words(&["kubectl", "bystander"])]));
    assert!(sandbox.run("kubectl get x;touch PWNED").unwrap_err().starts_with("it left"));
}
