//! The script of a shell, put where that shell looks for the scripts of one user.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Shell;
use crate::error::{Error, Result};

/// A script that is where its shell looks for it.
pub(super) struct Installed {
    pub path: PathBuf,
    pub became: Became,
    shell: Shell,
}

/// What was done to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// It was not there.
    Created,
    /// It was that of another version.
    Replaced,
    /// It was this one already.
    Kept,
}

/// A file that may be written, as nothing or a script of ours is there.
pub(super) struct Place {
    path: PathBuf,
    shell: Shell,
    there: Option<Vec<u8>>,
}

impl Place {
    /// The place for the script, by the variables of the environment.
    ///
    /// # Errors
    /// When there is none, or a file that is not ours is there.
    pub(super) fn find(shell: Shell, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Place> {
        let path = path(shell, variable).ok_or_else(|| {
            Error::usage("the home directory is not known, so the script cannot be installed")
        })?;
        let taken = || {
            Error::refused(format!("{} already exists and is not a script of kubectl-sts", path.display())).hint(
                "delete it and run the command again, or print the script with: kubectl sts completion SHELL",
            )
        };
        let there = match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => Some(fs::read(&path).map_err(|e| unwritable(&path, &e))?),
            Ok(_) => return Err(taken()),
            Err(_) => None,
        };
        if there.as_deref().is_some_and(|text| !is_ours(text)) {
            return Err(taken());
        }
        Ok(Place { path, shell, there })
    }

    /// Writes the script, unless it is there already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn install(self) -> Result<Installed> {
        let text = self.shell.script();
        let became = match &self.there {
            Some(there) if there == text.as_bytes() => Became::Kept,
            Some(_) => Became::Replaced,
            None => Became::Created,
        };
        if became != Became::Kept {
            write(&self.path, text).map_err(|e| unwritable(&self.path, &e))?;
        }
        Ok(Installed { path: self.path, became, shell: self.shell })
    }
}

/// Writes the file as a whole: a shell that starts at this moment reads the old one or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

/// How all of our scripts begin, those of other versions too.
fn is_ours(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.lines().take(2).any(|line| line.starts_with("# Completion of kubectl-sts in "))
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::cluster(format!("could not write {}", path.display()))
        .because(error)
        .hint("print the script, and save it yourself: kubectl sts completion SHELL")
}

fn path(shell: Shell, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The specification of these directories has relative ones ignored.
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    let below_home = |path: &str| Some(set("HOME").or_else(|| set("USERPROFILE"))?.join(path));
    let config = || set("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    Some(match shell {
        Shell::Bash => {
            let data = || set("XDG_DATA_HOME").or_else(|| below_home(".local/share"));
            let own = set("BASH_COMPLETION_USER_DIR").or_else(|| Some(data()?.join("bash-completion")))?;
            own.join("completions/kubectl-sts")
        }
        Shell::Zsh => set("ZDOTDIR").or_else(|| below_home(""))?.join(".zfunc/_kubectl-sts"),
        Shell::Fish => config()?.join("fish/completions/kubectl-sts.fish"),
        Shell::Pwsh if cfg!(windows) => below_home("Documents/PowerShell/kubectl-sts.ps1")?,
        Shell::Pwsh => config()?.join("powershell/kubectl-sts.ps1"),
    })
}

impl Installed {
    /// What is left to do, and the line that does it; `None` where the shell loads the file by itself.
    pub(super) fn left(&self) -> Option<(&'static str, String)> {
        let quoted = |path: &Path, quote: &str| format!("'{}'", path.to_string_lossy().replace('\'', quote));
        let dir = self.path.parent().unwrap_or(&self.path);
        Some(match self.shell {
            Shell::Bash => (
                "bash loads it if the package bash-completion is set up; without it, add this line to ~/.bashrc:",
                format!("source {}", quoted(&self.path, r"'\''")),
            ),
            Shell::Zsh => (
                "add this line to ~/.zshrc, before compinit:",
                format!("fpath=({} $fpath)", quoted(dir, r"'\''")),
            ),
            Shell::Fish => return None,
            Shell::Pwsh => {
                ("add this line to the file in $PROFILE:", format!(". {}", quoted(&self.path, "''")))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Shell, path};

    #[test]
    fn each_shell_has_its_place() {
        let at = |shell, set: &[(&str, &str)]| {
            path(shell, |name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
            })
        };
        let home = ("HOME", "/home/ann");
        for (shell, more, expected) in [
            (Shell::Bash, ("", ""), "/home/ann/.local/share/bash-completion/completions/kubectl-sts"),
            (Shell::Bash, ("XDG_DATA_HOME", "/data"), "/data/bash-completion/completions/kubectl-sts"),
            (Shell::Bash, ("BASH_COMPLETION_USER_DIR", "/own"), "/own/completions/kubectl-sts"),
            (
                Shell::Bash,
                ("XDG_DATA_HOME", "data"),
                "/home/ann/.local/share/bash-completion/completions/kubectl-sts",
            ),
            (Shell::Zsh, ("", ""), "/home/ann/.zfunc/_kubectl-sts"),
            (Shell::Zsh, ("ZDOTDIR", "/home/ann/.zsh"), "/home/ann/.zsh/.zfunc/_kubectl-sts"),
            (Shell::Fish, ("", ""), "/home/ann/.config/fish/completions/kubectl-sts.fish"),
            (Shell::Fish, ("XDG_CONFIG_HOME", "/etc/ann"), "/etc/ann/fish/completions/kubectl-sts.fish"),
        ] {
            assert_eq!(at(shell, &[home, more]).as_deref(), Some(Path::new(expected)), "{more:?}");
        }
        assert_eq!(at(Shell::Fish, &[("HOME", "here")]), None);
    }
}
