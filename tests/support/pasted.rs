//! Every command that is printed is run in a shell, by somebody who gave the connection flags and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::{Cluster, Namespace, Run};

/// The context's name, which a shell would read as three words.
const CONTEXT: &str = "other $(ctx) it's";

/// Stands before the real kubectl: what would write is checked by the server without effect, and nothing waits for long.
const CHECKED: &str = r#"#!/bin/sh
verb="$1"
case "$verb" in
sts)
    sub="$2"
    shift 2
    case "$sub" in
    recover | undo | canary | promote | abort | prune-pvcs) set -- --dry-run=client "$@" ;;
    watch) set -- --timeout 1s "$@" ;;
    esac
    exec REAL sts "$sub" "$@"
    ;;
apply)
    case "$2" in
    view-last-applied) exec REAL "$@" ;;
    set-last-applied) exec REAL "$@" --dry-run=server ;;
    esac
    shift
    exec REAL apply --dry-run=server "$@"
    ;;
create)
    shift
    exec REAL create "$@" --dry-run=server
    ;;
patch | delete | scale | label | annotate | taint | uncordon | cordon)
    shift
    exec REAL "$verb" --dry-run=server "$@"
    ;;
rollout)
    # It has no dry run.
    shift 2
    exec REAL get "$@"
    ;;
set)
    sub="$2"
    shift 2
    exec REAL "$verb" "$sub" --dry-run=server "$@"
    ;;
edit)
    # Nobody types: the editor leaves the file as it is.
    shift
    KUBE_EDITOR=true exec REAL edit "$@"
    ;;
wait)
    shift
    exec REAL wait "$@" --timeout=1s
    ;;
*) exec REAL "$@" ;;
esac
"#;

/// What a command that is not understood, or does not reach the cluster, says. What it asks for may be gone or not there
/// yet: that is no fault of the command.
const WRONG: [&str; 14] = [
    "unknown flag",
    "unknown command",
    "unknown shorthand",
    "unexpected argument",
    "required arguments",
    "required flag",
    "no context exists",
    "no context named",
    "does not exist in the kubeconfig",
    "onnection refused",
    "Unable to connect",
    "unable to parse",
    "the server doesn't have a resource type",
    "not found: ",
];

/// A folder with a kubeconfig whose path and context need quotes, and the kubectl that changes nothing.
struct Desk {
    kubeconfig: PathBuf,
    path: String,
    home: PathBuf,
}

fn desk(cluster: &Cluster) -> &'static Desk {
    static DESK: OnceLock<Desk> = OnceLock::new();
    DESK.get_or_init(|| {
        let plane = &cluster.plane;
        let home = plane.dir.join("a desk");
        fs::create_dir_all(home.join("bin")).unwrap();
        let kubeconfig = home.join("kube $config");
        fs::copy(&plane.kubeconfig, &kubeconfig).unwrap();
        let config = |args: &[&str]| {
            let mut command = Command::new(&plane.kubectl);
            plane.clean(&mut command);
            Run::of(command.arg("--kubeconfig").arg(&kubeconfig).arg("config").args(args), "").ok()
        };
        let now = config(&["current-context"]);
        config(&["rename-context", now.trim(), CONTEXT]);
        config(&["unset", "current-context"]);
        let program = home.join("bin/kubectl");
        let real = format!("'{}'", plane.kubectl.display());
        fs::write(&program, CHECKED.replace("REAL", &real)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let sts = Path::new(env!("CARGO_BIN_EXE_kubectl-sts")).parent().unwrap();
        let path = format!("{}:{}:/usr/bin:/bin", home.join("bin").display(), sts.display());
        Desk { kubeconfig, path, home }
    })
}

impl Desk {
    fn run(&self, cluster: &Cluster, command: &mut Command) -> Run {
        cluster.plane.clean(command);
        command
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .env_remove("KUBECONFIG")
            .current_dir(&self.home);
        Run::of(command, "")
    }

    fn sts(&self, ns: &Namespace, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        command.args(args).args(["--namespace", &ns.name, "--context", CONTEXT]);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        self.run(ns.cluster, &mut command)
    }
}

/// Runs what `doctor`, `status`, the plans and the refusals of this namespace print; gives how many commands that were.
///
/// # Errors
/// The first command that is not understood or does not reach the cluster, and what it said.
pub fn works(ns: &Namespace) -> Result<usize, String> {
    let desk = desk(ns.cluster);
    let mut all = BTreeSet::new();
    let mut unnamed = None;
    // The context is in quotes, as it is no plain word.
    let named = format!("(context {CONTEXT:?})");
    let mut take = |args: &[&str]| {
        let run = desk.sts(ns, args);
        let names_it = match args.contains(&"json") {
            true => serde_json::from_str::<Value>(&run.stdout).is_ok_and(|value| value["context"] == CONTEXT),
            false => run.stdout.contains(&named),
        };
        let is_plan =
            args.contains(&"json") || (run.code == 0 && run.stdout.contains("dry run: nothing was changed"));
        if is_plan && !names_it {
            unnamed.get_or_insert(format!("the cluster is not named:\n{run}"));
        }
        let documents = serde_json::Deserializer::from_str(&run.stdout).into_iter::<Value>();
        documents.map_while(Result::ok).for_each(|document| collect(&document, &mut all));
        let lines = run.stdout.lines().chain(run.stderr.lines());
        all.extend(lines.filter_map(printed).map(str::to_owned));
    };
    take(&["doctor"]);
    take(&["doctor", "-o", "json"]);
    take(&["status"]);
    take(&["status", "no-such-set"]);
    take(&["prune-pvcs", "--dry-run=client"]);
    let sets = ns.kubectl_json(&["get", "statefulsets"]);
    for set in sets["items"].as_array().unwrap() {
        let set = set["metadata"]["name"].as_str().unwrap();
        for args in [
            &["status", set][..],
            &["recover", set, "--dry-run=client"],
            &["undo", set, "--dry-run=client"],
            &["canary", set, "--pods", "1", "--dry-run=client"],
            &["promote", set, "--dry-run=client"],
            &["abort", set, "--dry-run=client"],
            &["history", set],
        ] {
            take(args);
        }
    }
    if let Some(unnamed) = unnamed {
        return Err(unnamed);
    }
    for line in &all {
        let run = desk.run(ns.cluster, Command::new("sh").args(["-c", line]));
        let ours = line.starts_with("kubectl sts ");
        let usage = ours && run.code == 2;
        if usage || run.code == 127 || WRONG.iter().any(|words| run.stderr.contains(words)) {
            return Err(format!("printed, and does not work:\n{line}\n{run}"));
        }
    }
    Ok(all.len())
}

/// Commands in the strings of a JSON document.
fn collect(value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => all.extend(printed(text).map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, all)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The command at the end of a line, if it is one to paste: in a column of its own, or after a colon.
fn printed(line: &str) -> Option<&str> {
    let starts = ["kubectl ", "echo ", "printf "];
    let line = line.trim_end();
    let at = starts.iter().filter_map(|start| line.find(start)).min()?;
    let (before, command) = line.split_at(at);
    let is_own = before.trim().is_empty() || before.ends_with(": ") || before.ends_with("  ");
    // A placeholder is for the reader to fill in.
    let has_gap = command.contains("IMAGE") || command.contains('…');
    (is_own && !has_gap).then_some(command)
}
