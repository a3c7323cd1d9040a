//! What to type instead of a word that is no command: a list of our own, as the nearest name is often about another thing.

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use crate::error::Error;
use crate::words::distance;

/// Words that people who know kubectl, Helm or Argo Rollouts may type, and what does that. What is not a command of ours
/// is shown with the words of kubectl.
const INSTEAD: &[(&[&str], &str)] = &[
    (
        &["restart", "rollout", "redeploy", "reload"],
        "to restart all pods: kubectl rollout restart statefulset NAME",
    ),
    (
        &["pause", "hold", "freeze"],
        "to pause a rollout at a partition: kubectl sts canary NAME --partition N",
    ),
    (&["resume", "continue", "unpause"], "to continue a canary: kubectl sts promote NAME"),
    (&["list", "ls", "get", "ps", "top", "overview"], "to list StatefulSets: kubectl sts status"),
    (&["describe", "show", "inspect", "tree", "view"], "to show one StatefulSet: kubectl sts status NAME"),
    (&["rollback", "revert", "roll-back", "rollout-undo"], "to roll back: kubectl sts undo NAME"),
    (&["diff", "revisions", "compare"], "to compare revisions: kubectl sts history NAME --diff A..B"),
    (&["follow", "wait", "tail", "monitor"], "to follow a rollout: kubectl sts watch NAME"),
    (
        &["check", "diagnose", "analyze", "analyse", "lint", "validate", "health", "troubleshoot", "why"],
        "to find out what is wrong: kubectl sts doctor",
    ),
    (
        &["fix", "repair", "heal", "unblock", "unstick", "retry"],
        "to unblock a rollout: kubectl sts recover NAME",
    ),
    (&["cancel", "stop"], "to cancel a canary: kubectl sts abort NAME"),
    (
        &["set-image", "set", "update", "upgrade", "deploy", "apply", "patch", "edit", "replace"],
        "to update some pods first: kubectl sts canary NAME --pods 1 --image CONTAINER=IMAGE",
    ),
    (
        &["prune", "gc", "cleanup", "clean", "orphans", "pvc", "pvcs"],
        "to find orphaned PVCs: kubectl sts prune-pvcs",
    ),
    (&["restore", "undelete"], "to restore a PVC: kubectl sts restore-pvc FILE"),
    (
        &["dump", "report", "save", "export", "snapshot", "backup", "support-bundle", "bug-report"],
        "to record the state for a report: kubectl sts record",
    ),
    (&["rules", "rule"], "to list the rules: kubectl sts explain"),
    (&["logs", "log"], "to read logs: kubectl logs POD"),
    (
        &["exec", "attach", "shell", "debug", "port-forward", "cp"],
        "to work in a pod, use kubectl exec, debug, port-forward or cp",
    ),
    (&["events"], "to list events: kubectl events --for statefulset/NAME"),
    (
        &["scale", "autoscale", "resize"],
        "to change the number of replicas: kubectl scale statefulset NAME --replicas N",
    ),
    (&["delete", "rm", "remove"], "to delete a StatefulSet: kubectl delete statefulset NAME"),
    (&["create", "run", "new"], "to create a StatefulSet: kubectl apply -f FILE"),
    (&["label", "annotate"], "to label or annotate a StatefulSet, use kubectl label or kubectl annotate"),
];

/// What to type instead of this word, if that is known: the thing meant, or the command that is misspelt.
pub fn tip(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    if let Some((_, hint)) = INSTEAD.iter().find(|(words, _)| words.contains(&lower.as_str())) {
        return Some((*hint).to_owned());
    }
    let length = lower.chars().count();
    let commands = Cli::command();
    let names = commands
        .get_subcommands()
        .map(|command| (difference(&lower, command.get_name()), command.get_name()));
    // One letter in three may be wrong: then it is still the same word, if it begins with the same letter.
    let is_same = |letters: usize, name: &str| {
        letters * 3 <= length && (letters <= 1 || name.chars().next() == lower.chars().next())
    };
    if let Some((_, name)) = names.min().filter(|(letters, name)| is_same(*letters, name)) {
        return Some(format!("did you mean {name}?"));
    }
    // There are many of these, and some are close to each other: only one letter may be wrong.
    let is_near = |word: &str| length >= 5 && difference(&lower, word) <= 1;
    INSTEAD
        .iter()
        .find(|(words, _)| words.iter().any(|word| is_near(word)))
        .map(|(_, hint)| (*hint).to_owned())
}

/// How many letters differ, two that changed places counted as one.
fn difference(word: &str, name: &str) -> usize {
    let letters: Vec<char> = word.chars().collect();
    let swapped = (1..letters.len()).map(|at| {
        let mut letters = letters.clone();
        letters.swap(at - 1, at);
        distance(&letters.into_iter().collect::<String>(), name).saturating_add(1)
    });
    swapped.chain([distance(word, name)]).min().unwrap_or_default()
}

/// A word that is no command.
pub fn unknown_command(word: &str) -> Error {
    let error = Error::usage(format!("unknown command \"{word}\" for \"kubectl sts\""));
    match tip(word) {
        Some(tip) => error.hint(tip),
        None => error.hint("list the commands with: kubectl sts --help"),
    }
}

/// The same for what clap found, if it is that.
pub fn unknown_word(error: &clap::Error) -> Option<Error> {
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => Some(unknown_command(word)),
        _ => None,
    }
}
