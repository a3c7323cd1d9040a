//! `completion`: puts the name kubectl asks for beside the program, or prints the set-up of a shell.

mod script;

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::complete::HELPER;
use super::notes;
use crate::cli::{Answer, heading};
use crate::error::{Error, Exit, Result};
use crate::render::{Page, View};
use script::{Became, Place};

/// Set up shell completion
///
/// kubectl completes `kubectl sts` if there is a program kubectl_complete-sts in PATH; --install creates it, as a link to this program. kubectl's own completion must be set up too: see kubectl completion --help. If you also call the plugin as kubectl-sts, name your shell: with --install the script is written to the file where the shell looks for it, without it the script is printed.
#[derive(clap::Args, Debug)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("what").args(["shell", "install"]).required(true).multiple(true))]
#[command(after_help = notes!(
    "Examples:"
    "  # Complete kubectl sts, in every shell"
    "  kubectl sts completion --install"
    ""
    "  # Complete kubectl-sts in fish too"
    "  kubectl sts completion fish --install"
    ""
    "  # Complete kubectl-sts, in bash"
    "  echo 'source <(kubectl-sts completion bash)' >> ~/.bashrc"
    ""
    "Reads nothing from the cluster. Creates only the link and the script, and never overwrites a file of another program. The names that \
     are completed are read from the API server, which is given 300 ms to answer, or the time in KUBECTL_STS_COMPLETION_TIMEOUT (at most 10s)."
))]
pub struct Args {
    /// Print the script that completes kubectl-sts in this shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Option<Shell>,
    /// Create kubectl_complete-sts, which makes kubectl complete kubectl sts, and the script file if a shell is named
    #[arg(long, help_heading = heading::CHANGES)]
    install: bool,
    /// Create it in this directory, which should be in PATH (default: the directory of kubectl-sts)
    #[arg(long, value_name = "DIR", requires = "install", value_hint = clap::ValueHint::DirPath, help_heading = heading::CHANGES)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    /// For ~/.bashrc
    Bash,
    /// For ~/.zshrc, or a file _kubectl-sts in $fpath
    Zsh,
    /// For ~/.config/fish/completions/kubectl-sts.fish
    Fish,
    /// For $PROFILE
    #[value(name = "powershell")]
    Pwsh,
}

impl Shell {
    fn script(self) -> &'static str {
        match self {
            Shell::Bash => include_str!("../../completions/kubectl-sts.bash"),
            Shell::Zsh => include_str!("../../completions/kubectl-sts.zsh"),
            Shell::Fish => include_str!("../../completions/kubectl-sts.fish"),
            Shell::Pwsh => include_str!("../../completions/kubectl-sts.ps1"),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Answer> {
    let view: Box<dyn View> = match args.shell {
        Some(shell) if !args.install => Box::new(Script(shell.script())),
        shell => {
            let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
            // Before anything is written.
            let place = shell.map(|shell| Place::find(shell, variable)).transpose()?;
            let mut installed = install(&plugin()?, args.dir.as_deref())?;
            installed.script = place.map(Place::install).transpose()?;
            Box::new(installed)
        }
    };
    Ok(Answer { view, exit: Exit::Good })
}

/// The program as it was found, links not followed: krew and Homebrew link to a file that the next version replaces.
fn plugin() -> Result<PathBuf> {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let found = if called.components().count() > 1 {
        std::path::absolute(&called).ok()
    } else {
        let mut called = called;
        if called.extension().is_none() {
            called.as_mut_os_string().push(EXE_SUFFIX);
        }
        path_directories().into_iter().map(|dir| dir.join(&called)).find(|file| file.is_file())
    };
    match found.filter(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => std::env::current_exe()
            .map_err(|e| Error::cluster("could not find the file of this program").because(e)),
    }
}

fn path_directories() -> Vec<PathBuf> {
    std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect()
}

fn install(plugin: &Path, dir: Option<&Path>) -> Result<Installed> {
    let beside = plugin.parent().unwrap_or(Path::new("."));
    let dir = match dir {
        Some(dir) => std::path::absolute(dir)
            .map_err(|e| Error::usage(format!("{} is not a directory", dir.display())).because(e))?,
        None => beside.to_owned(),
    };
    let name = dir.join(format!("{HELPER}{EXE_SUFFIX}"));
    let target = match (plugin.file_name(), dir == beside) {
        (Some(name), true) => PathBuf::from(name),
        _ => plugin.to_owned(),
    };
    let there = fs::symlink_metadata(&name).is_ok();
    let current = there && is_current(&name, plugin);
    if there && !current {
        let foreign = || {
            Error::refused(format!("{} already exists and belongs to another program", name.display()))
                .hint("delete it and run the command again, or choose another directory with --dir DIR")
        };
        // A link to an earlier place of the plugin leads nowhere, or to a program of the same name.
        match fs::read_link(&name) {
            Ok(old) if old.file_name() == plugin.file_name() => {
                fs::remove_file(&name).map_err(|e| unwritable(&name, &e))?;
            }
            _ => return Err(foreign()),
        }
    }
    if !current {
        make(&target, plugin, &name).map_err(|e| unwritable(&name, &e))?;
    }
    let found =
        path_directories().iter().any(|entry| std::path::absolute(entry).is_ok_and(|entry| entry == dir));
    Ok(Installed { name, plugin: plugin.to_owned(), new: !current, found, script: None })
}

fn unwritable(name: &Path, error: &io::Error) -> Error {
    Error::cluster(format!("could not write {}", name.display()))
        .because(error)
        .hint("choose a directory of PATH that you can write to: kubectl sts completion --install --dir DIR")
}

/// What packages install under that name, as archives for krew cannot have links.
const PACKAGED: &[u8] = include_bytes!("../../completions/kubectl_complete-sts");

/// Whether the name is this program already: a link, a package's script, or a copy as it is now.
fn is_current(name: &Path, plugin: &Path) -> bool {
    let is_packaged = || fs::read(name).is_ok_and(|text| text == PACKAGED);
    let same_file = || Some(fs::canonicalize(name).ok()? == fs::canonicalize(plugin).ok()?);
    let same_size = || Some(fs::metadata(name).ok()?.len() == fs::metadata(plugin).ok()?.len());
    let same_content = || Some(fs::read(name).ok()? == fs::read(plugin).ok()?);
    same_file() == Some(true) || is_packaged() || same_size() == Some(true) && same_content() == Some(true)
}

/// Makes a link, or where there are none a copy.
#[cfg(unix)]
fn make(target: &Path, _plugin: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

/// Makes a link, or where there are none a copy: on Windows links need a right that few users have.
#[cfg(not(unix))]
fn make(_target: &Path, plugin: &Path, name: &Path) -> io::Result<()> {
    fs::hard_link(plugin, name).or_else(|_| fs::copy(plugin, name).map(|_| ()))
}

struct Installed {
    name: PathBuf,
    plugin: PathBuf,
    new: bool,
    found: bool,
    script: Option<script::Installed>,
}

impl View for Installed {
    fn text(&self, page: &mut Page) {
        let (name, plugin) = (self.name.display(), self.plugin.display());
        if self.new {
            page.line(&format!("{name} created for {plugin}"));
        } else {
            page.line(&format!("{name} already exists for {plugin}"));
        }
        if !self.found {
            let dir = self.name.parent().unwrap_or(&self.name).display();
            page.prose(&format!("{dir} is not in PATH, so kubectl does not find it"), 2);
        }
        page.prose("if kubectl get <TAB> completes nothing, set up completion of kubectl first:", 2);
        page.command("", 4, "kubectl completion --help");
        if let Some(script) = &self.script {
            let path = script.path.display();
            page.line(&match script.became {
                Became::Created => format!("{path} created"),
                Became::Replaced => format!("{path} replaced, which was that of another version"),
                Became::Kept => format!("{path} already exists"),
            });
            if let Some((what, line)) = script.left() {
                page.prose(what, 2);
                page.command("", 4, &line);
            }
        }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Completion",
            "path": self.name.display().to_string(),
            "plugin": self.plugin.display().to_string(),
            "made": self.new,
            "inPath": self.found,
        });
        if let Some(script) = &self.script {
            value["scriptPath"] = script.path.display().to_string().into();
            value["scriptMade"] = (script.became != Became::Kept).into();
        }
        value
    }

    fn names(&self) -> Vec<String> {
        let script = self.script.iter().map(|script| script.path.display().to_string());
        std::iter::once(self.name.display().to_string()).chain(script).collect()
    }
}

struct Script(&'static str);

impl View for Script {
    fn text(&self, page: &mut Page) {
        page.raw(self.0);
    }

    fn json(&self) -> Value {
        json!({"apiVersion": "kubectl-sts/v1", "kind": "Completion", "script": self.0})
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
