//! What every command shares: connection, namespace, output, `--from`.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::cluster::connect::{ConnectArgs, Connection, Progress, connect};
use crate::cluster::decode;
use crate::cluster::inventory::{self, Want};
use crate::cluster::recorded::{self, Absent, STANDARD_INPUT};
use crate::error::{Error, Exit, Result};
use crate::kinds::{LabelSelector, StatefulSet};
use crate::paste::{Command, sts};
use crate::render::spinner::{self, Spinner};
use crate::render::{Output, Style, View};
use crate::snapshot::{Observed, Scope};
use crate::words::{self, distance};

/// Flags of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Namespace to use (default: that of the context)
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = heading::WHICH, display_order = 100)]
    pub namespace: Option<String>,
    /// Read files instead of the cluster: recordings, manifests or the output of kubectl get; - is standard input
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath,
          help_heading = heading::WHICH, display_order = 101)]
    pub from: Vec<String>,
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT",
          help_heading = heading::OUTPUT, display_order = 102)]
    pub output: Output,
    /// Leave out the first line of tables
    #[arg(long, global = true, help_heading = heading::OUTPUT, display_order = 103)]
    pub no_headers: bool,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = heading::OUTPUT,
          display_order = 103)]
    pub color: Color,
    /// How to reach the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// The headings of flags in the help.
pub mod heading {
    /// What a command is about.
    pub const WHICH: &str = "Which StatefulSets";
    /// Which PVCs of them.
    pub const PVCS: &str = "Which PVCs";
    /// Which rules are run.
    pub const RULES: &str = "Which rules";
    /// What is written.
    pub const CHANGES: &str = "What changes";
    /// To how many pods.
    pub const HOW_FAR: &str = "How far";
    /// What is asked, checked and kept.
    pub const SAFETY: &str = "Safety";
    /// For how long.
    pub const WAITING: &str = "Waiting";
    /// What is asked of DNS.
    pub const DNS: &str = "DNS";
    /// What is shown.
    pub const OUTPUT: &str = "Output";
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which sets a command is about.
#[derive(Args, Clone, Debug, Default)]
pub struct SetFilter {
    /// Use all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace", help_heading = heading::WHICH)]
    pub all_namespaces: bool,
    /// Only StatefulSets with these labels: app=db,tier!=test
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector, help_heading = heading::WHICH)]
    pub selector: Option<LabelSelector>,
}

/// Where a command shows and says things while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// How standard output looks.
    pub look: Style,
    /// Shows a warning beside the answer.
    pub warn: fn(&str),
    /// Shows an error that does not end the command.
    pub fail: fn(&Error),
}

/// What a command answers.
pub struct Answer {
    /// What is shown on standard output.
    pub view: Box<dyn View>,
    /// How the process ends.
    pub exit: Exit,
}

/// What was observed for a command, and how to speak of where that was.
pub struct Observation {
    /// Everything read.
    pub observed: Observed,
    /// `in namespace shop`, `in any namespace`, `in the files given`.
    pub place: String,
    /// The command that lists the sets there.
    pub list: Command,
    /// The connection to the cluster, where one was observed.
    pub connection: Option<Connection>,
    namespace: Option<String>,
}

impl Global {
    /// Observes the cluster, or the files given instead.
    ///
    /// # Errors
    /// When neither can be read.
    pub async fn observe(&self, all_namespaces: bool, want: Want, warn: fn(&str)) -> Result<Observation> {
        if !self.from.is_empty() {
            let observed = recorded::read(&read_files(&self.from)?, Absent::Unseen, Timestamp::now())?;
            let list = self.from.iter().fold(sts("status"), |list, file| list.with("--from").path(file));
            return Ok(self.of_files(observed, list));
        }
        let connection = connect(&self.connect, self.namespace.as_deref(), warn).await?;
        Observation::of(&connection, all_namespaces, want).await
    }

    /// What was read of files, and the command that lists the StatefulSets in them.
    pub fn of_files(&self, observed: Observed, list: Command) -> Observation {
        let place = match &self.namespace {
            Some(namespace) => format!("in namespace {namespace} of the files given"),
            None => "in the files given".to_owned(),
        };
        Observation { observed, place, list, connection: None, namespace: self.namespace.clone() }
    }
}

/// What is read sooner needs no sign of life.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// How often what was read until now is told.
const TOLD: Duration = Duration::from_millis(120);

impl Observation {
    /// Observes the cluster.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of(connection: &Connection, all_namespaces: bool, want: Want) -> Result<Observation> {
        let namespace = connection.namespace.clone();
        let (scope, place, list) = if all_namespaces {
            (Scope::All, "in any namespace".to_owned(), sts("status -A"))
        } else {
            (
                Scope::Namespace(namespace.clone()),
                format!("in namespace {namespace}"),
                sts("status").namespace(&namespace),
            )
        };
        let mut reading = pin!(inventory::observe(connection, scope, want));
        let observed = if let Ok(observed) = timeout(PATIENCE, &mut reading).await {
            observed?
        } else {
            let sign = Spinner::start("reading the cluster");
            loop {
                if let Ok(observed) = timeout(TOLD, &mut reading).await {
                    break observed?;
                }
                let Progress { lists, done, objects, bytes } = connection.progress();
                let (lists, objects) = (words::count(lists, "list"), words::count(objects, "object"));
                sign.say(&format!("reading: {done} of {lists}, {objects}, {}", spinner::bytes(bytes)));
            }
        };
        Ok(Observation { observed, place, list, connection: Some(connection.clone()), namespace: None })
    }

    /// The sets a command is about: the named ones, or all that the selector admits.
    ///
    /// # Errors
    /// When a named set does not exist; the hint says what does.
    pub fn choose(
        &self,
        names: &[String],
        choice: &SetFilter,
    ) -> Result<impl Fn(&StatefulSet) -> bool + use<>> {
        let namespace = self.namespace.clone();
        let selector = choice.selector.clone();
        let names: Vec<String> =
            names.iter().map(|name| bare(name).map(str::to_owned)).collect::<Result<Vec<_>>>()?;
        let here = |set: &&StatefulSet| {
            namespace.as_ref().is_none_or(|here| set.metadata.namespace == *here)
                && self.observed.is_about(set)
        };
        for name in &names {
            if !self.observed.sets.iter().filter(here).any(|set| set.metadata.name == *name) {
                return Err(self.missing(name));
            }
        }
        let about: Option<BTreeSet<(String, String)>> = self.observed.chosen.clone();
        let is_about = move |set: &StatefulSet| {
            let key = || (set.metadata.namespace.clone(), set.metadata.name.clone());
            about.as_ref().is_none_or(|about| about.contains(&key()))
        };
        Ok(move |set: &StatefulSet| {
            is_about(set)
                && namespace.as_ref().is_none_or(|here| set.metadata.namespace == *here)
                && (names.is_empty() || names.contains(&set.metadata.name))
                && selector.as_ref().is_none_or(|selector| selector.matches(&set.metadata.labels))
        })
    }

    fn missing(&self, name: &str) -> Error {
        let mut near: Vec<(usize, &str)> = self
            .observed
            .sets
            .iter()
            .filter(|set| self.namespace.as_ref().is_none_or(|here| set.metadata.namespace == *here))
            .filter(|set| self.observed.is_about(set))
            .map(|set| (distance(name, &set.metadata.name), set.metadata.name.as_str()))
            .collect();
        near.sort_unstable();
        let there = near.first().map_or(String::new(), |(_, name)| format!("there is {name}; "));
        Error::cluster(format!("no StatefulSet \"{name}\" {}", self.place))
            .hint(self.list.after(&format!("{there}list them with")))
    }
}

/// What kubectl calls the kind.
pub const KIND_WORDS: [&str; 5] =
    ["sts", "statefulset", "statefulsets", "statefulset.apps", "statefulsets.apps"];

/// `postgres` of `postgres`, `sts/postgres` or `statefulset.apps/postgres`.
///
/// # Errors
/// When another kind is named.
pub fn bare(name: &str) -> Result<&str> {
    match name.split_once('/') {
        None => Ok(name),
        Some((kind, name)) if KIND_WORDS.contains(&kind) => Ok(name),
        Some((kind, _)) => Err(Error::usage(format!("expected a StatefulSet, got {kind}"))
            .hint("name a StatefulSet: NAME, sts/NAME or statefulset.apps/NAME")),
    }
}

fn read_files(names: &[String]) -> Result<Vec<(String, String)>> {
    names
        .iter()
        .map(|name| {
            let label = if name == "-" { STANDARD_INPUT } else { name.as_str() };
            Ok((label.to_owned(), read_file(name)?))
        })
        .collect()
}

/// The text of a file; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or is not text.
pub fn read_file(name: &str) -> Result<String> {
    let bytes = if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(Path::new(name))
    };
    let label = if name == "-" { STANDARD_INPUT } else { name };
    let text = bytes.map_err(|error| error.to_string());
    let text = text.and_then(|bytes| decode::text(bytes).map_err(str::to_owned));
    text.map_err(|why| Error::cluster(format!("could not read {label}")).because(why))
}

/// Reads a label selector as kubectl does: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
fn selector(text: &str) -> std::result::Result<LabelSelector, String> {
    use crate::kinds::Requirement;
    let mut terms = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = match (rest.find('('), rest.find(',')) {
            (Some(open), Some(comma)) if open < comma => rest.find(')').map_or(rest.len(), |close| close + 1),
            (Some(_), None) => rest.len(),
            (_, Some(comma)) => comma,
            (None, None) => rest.len(),
        };
        let (term, tail) = rest.split_at(end);
        rest = tail.trim_start().strip_prefix(',').unwrap_or(tail).trim_start();
        terms.push(term.trim());
    }
    let requirement = |key: &str, operator: &str, values: Vec<String>| {
        let key = key.trim();
        let valid = !key.is_empty() && !key.contains([' ', '(', ')', '=', '!']);
        let requirement = Requirement { key: key.to_owned(), operator: operator.to_owned(), values };
        valid.then_some(requirement).ok_or_else(|| format!("{key:?} is not a label key"))
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    let many = |values: &str| {
        let inner = values.trim().strip_prefix('(').and_then(|values| values.strip_suffix(')'));
        inner
            .map(|inner| inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
            .ok_or_else(|| "put the values in parentheses: tier in (db,queue)".to_owned())
    };
    let match_expressions = terms
        .into_iter()
        .map(|term| {
            if let Some((key, value)) = term.split_once("!=") {
                requirement(key, "NotIn", one(value))
            } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                requirement(key, "In", one(value))
            } else if let Some((key, values)) = term.split_once(" notin ") {
                requirement(key, "NotIn", many(values)?)
            } else if let Some((key, values)) = term.split_once(" in ") {
                requirement(key, "In", many(values)?)
            } else if let Some(key) = term.strip_prefix('!') {
                requirement(key, "DoesNotExist", Vec::new())
            } else {
                requirement(term, "Exists", Vec::new())
            }
        })
        .collect::<std::result::Result<Vec<_>, String>>()?;
    Ok(LabelSelector { match_expressions, ..LabelSelector::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_kubectl_reads_them() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let db = labels(&[("app", "db"), ("tier", "gold")]);
        for (text, matches) in [
            ("app=db", true),
            ("app==db,tier!=iron", true),
            ("app!=db", false),
            ("tier in (gold, silver),app", true),
            ("tier notin (gold)", false),
            ("!other", true),
            ("!app", false),
            ("other!=x", true),
        ] {
            assert_eq!(selector(text).unwrap().matches(&db), matches, "{text}");
        }
        for text in ["=x", "a b", "tier in gold"] {
            assert!(selector(text).is_err(), "{text}");
        }
    }
}
