//! `history`: the revisions of a set, which pods are on each, and how two differ.

mod external;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::notes;
use crate::cli::{Answer, Global, SetFilter, Ui, bare, heading};
use crate::cluster::connect::connect;
use crate::cluster::inventory::Want;
use crate::cluster::raw;
use crate::controller::current_revision;
use crate::error::{Error, Exit, Result};
use crate::kinds::{Kind, Pod};
use crate::paste::sts;
use crate::plan::template;
use crate::render::{Column, Glyph, Page, Table, View, skipped, skipped_json};
use crate::rules::{self, Skipped};
use crate::snapshot::{Snapshot, parse_pod_name};
use crate::words;

/// Show the revisions of a StatefulSet, or how two of them differ
///
/// For each revision it shows which pods run it. Values of environment variables, commands, arguments, HTTP headers and annotations with secret names are never shown. With --diff, the program in KUBECTL_EXTERNAL_DIFF gets the two templates as files, without these values.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show all revisions"
    "  kubectl sts history postgres"
    ""
    "  # Show what changed from revision 1 to revision 2"
    "  kubectl sts history postgres --diff 1..2"
    ""
    "  # The same with another diff program"
    "  KUBECTL_EXTERNAL_DIFF='diff -u' kubectl sts history postgres --diff 1..2"
    ""
    "Reads what `status` reads; with --diff, only the StatefulSet and its ControllerRevisions. Changes nothing."
))]
pub struct Args {
    /// StatefulSet to show
    #[arg(value_name = "NAME")]
    name: String,
    /// Show what changed from one revision to another, by number or name
    #[arg(long, value_name = "A..B", value_parser = pair, help_heading = heading::OUTPUT)]
    diff: Option<Pair>,
}

#[derive(Clone, Debug)]
struct Pair(String, String);

fn pair(text: &str) -> std::result::Result<Pair, String> {
    match text.split_once("..") {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Pair(from.to_owned(), to.to_owned())),
        _ => Err("give two revisions, as in 1..2".to_owned()),
    }
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let name = bare(&args.name)?;
    if let Some(pair) = &args.diff {
        return difference(global, name, pair, streams).await;
    }
    let sight = global.observe(false, Want::Diagnosis, streams.warn).await?;
    let chosen = sight.choose(&[name.to_owned()], &SetFilter::default())?;
    for namespace in sight.observed.namespaces().values() {
        if let Some(set) = namespace.sets.iter().copied().find(|set| chosen(set)) {
            let history = History::of(&Snapshot::of(&sight.observed, namespace, set))?;
            return Ok(Answer { view: Box::new(history), exit: Exit::Good });
        }
    }
    Err(Error::cluster(format!("no StatefulSet \"{name}\" {}", sight.place)))
}

struct History {
    name: String,
    namespace: String,
    /// Newest first.
    rows: Vec<Row>,
    not_seen: Vec<Skipped>,
}

struct Row {
    number: i64,
    name: String,
    hash: String,
    age: Option<SignedDuration>,
    cause: String,
    marks: Vec<&'static str>,
    pods: Vec<String>,
    ordinals: Vec<i32>,
    glyph: Glyph,
}

/// More pods than these are named by their ordinals.
const NAMED: usize = 2;

impl Row {
    fn age_text(&self) -> String {
        self.age.map_or_else(String::new, words::age)
    }

    /// The pods by name, or many of them by ordinal: `4 pods: 0-2, 4`.
    fn pods_text(&self) -> String {
        if self.pods.len() <= NAMED || self.ordinals.len() < self.pods.len() {
            return words::list(&self.pods, NAMED);
        }
        format!("{}: {}", words::count(self.pods.len(), "pod"), words::ranges(&self.ordinals))
    }
}

impl History {
    fn of(now: &Snapshot<'_>) -> Result<History> {
        let meta = &now.set.metadata;
        let revisions = now.revisions().map_err(|unseen| {
            Error::cluster(format!("could not read {unseen}, so there is no history to show"))
        })?;
        let replicas = now.replicas().unwrap_or_default().iter().chain(now.condemned().unwrap_or_default());
        let pods: Vec<_> = replicas.filter_map(|replica| replica.pod).collect();
        let rows = revisions.iter().rev().map(|revision| {
            let name = &revision.metadata.name;
            let mut marks = Vec::new();
            if name == current_revision(now) {
                marks.push("current");
            }
            if *name == now.set.status.update_revision {
                marks.push("update");
            }
            let on: Vec<&Pod> = pods.iter().copied().filter(|pod| pod.revision() == name).collect();
            let stuck = |pod: &&Pod| now.trouble(pod).is_some_and(|trouble| trouble.why.needs_intervention());
            let available = |pod: &&Pod| now.is_available(pod);
            let glyph = match on.as_slice() {
                [] => Glyph::Empty,
                on if on.iter().any(stuck) => Glyph::Bad,
                on if on.iter().all(available) => Glyph::Good,
                _ => Glyph::Moving,
            };
            Row {
                number: revision.revision,
                name: name.clone(),
                hash: now.set.short_revision(name).to_owned(),
                age: now.since(revision.metadata.creation_timestamp),
                cause: revision
                    .metadata
                    .annotations
                    .get("kubernetes.io/change-cause")
                    .cloned()
                    .unwrap_or_default(),
                marks,
                pods: on.iter().map(|pod| pod.metadata.name.clone()).collect(),
                ordinals: on
                    .iter()
                    .filter_map(|pod| parse_pod_name(&pod.metadata.name))
                    .map(|(_, ordinal)| ordinal)
                    .collect(),
                glyph,
            }
        });
        Ok(History {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            rows: rows.collect(),
            not_seen: skipped_for(now),
        })
    }
}

/// What was not seen, by which the pods of a revision, or their state, may not be known.
fn skipped_for(now: &Snapshot<'_>) -> Vec<Skipped> {
    rules::skipped(now.unseen(), &[])
}

impl View for History {
    fn text(&self, page: &mut Page) {
        if self.rows.is_empty() {
            page.line(&format!("{} has no revisions yet", self.name));
            skipped(page, &self.not_seen);
            return;
        }
        let mut table = Table::new(&[
            Column::new("REVISION"),
            Column::new("NAME"),
            Column::new("IS"),
            Column::new("AGE"),
            Column::remark("CHANGE-CAUSE"),
            Column::prose("PODS"),
        ]);
        let or_dash = |text: String| if text.is_empty() { "–".to_owned() } else { text };
        let pods_unseen = self.not_seen.iter().any(|skipped| skipped.unseen.kind == Kind::Pod);
        for row in &self.rows {
            table.row(
                Some(row.glyph),
                vec![
                    row.number.to_string(),
                    row.name.clone(),
                    or_dash(row.marks.join(", ")),
                    or_dash(row.age_text()),
                    or_dash(row.cause.clone()),
                    if pods_unseen { "?".to_owned() } else { or_dash(row.pods_text()) },
                ],
            );
        }
        page.table(&table);
        if !self.not_seen.is_empty() {
            page.gap();
        }
        skipped(page, &self.not_seen);
    }

    fn json(&self) -> Value {
        let items: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "revision": row.number, "name": row.name, "hash": row.hash, "age": row.age_text(),
                    "ageSeconds": row.age.map(|age| age.as_secs()),
                    "changeCause": row.cause, "is": row.marks, "pods": row.pods,
                })
            })
            .collect();
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "History",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "items": items,
            "notLookedAt": skipped_json(&self.not_seen),
        })
    }

    fn names(&self) -> Vec<String> {
        self.rows.iter().map(|row| format!("controllerrevision.apps/{}", row.name)).collect()
    }
}

async fn difference(global: &Global, name: &str, pair: &Pair, streams: &Ui) -> Result<Answer> {
    if let Some(file) = global.from.first() {
        return Err(Error::usage("recordings hold no templates to compare")
            .hint(sts("history").name(name).with("--from").path(file).after("show its revisions with")));
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = connection.namespace.clone();
    let set = raw::object(&connection, &namespace, Kind::StatefulSet, name).await?;
    let uid = set.as_ref().and_then(|set| set["metadata"]["uid"].as_str());
    let Some(uid) = uid else {
        return Err(Error::cluster(format!("no StatefulSet \"{name}\" in namespace {namespace}"))
            .hint(sts("status").namespace(&namespace).after("list them with")));
    };
    let all = raw::owned(&connection, &namespace, Kind::ControllerRevision, uid).await?;
    let find = |wanted: &str| {
        let found = all.iter().find(|revision| {
            let full = revision["metadata"]["name"].as_str().unwrap_or_default();
            let hash = full.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            let number = revision["revision"].as_i64().is_some_and(|number| wanted.parse() == Ok(number));
            number || full == wanted || hash == Some(wanted)
        });
        found.ok_or_else(|| {
            Error::cluster(format!("{name} has no revision {wanted}"))
                .hint(sts("history").name(name).namespace(&namespace).after("choose from"))
        })
    };
    let (from, to) = (find(&pair.0)?, find(&pair.1)?);
    let template = |revision: &Value| {
        let mut template = revision["data"]["spec"]["template"].clone();
        if let Some(fields) = template.as_object_mut() {
            fields.remove("$patch");
        }
        template
    };
    let (before, after) = (template(from), template(to));
    let title = |revision: &Value| revision["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let said = match std::env::var("KUBECTL_EXTERNAL_DIFF") {
        Ok(program) if !program.trim().is_empty() => {
            let [before, after] = template::to_compare(&before, &after);
            Some(external::run(&program, [(&title(from), &before), (&title(to), &after)])?)
        }
        _ => None,
    };
    let changes = template::changes(&before, &after);
    let view =
        Difference { name: name.to_owned(), namespace, from: title(from), to: title(to), changes, said };
    Ok(Answer { view: Box::new(view), exit: Exit::Good })
}

struct Difference {
    name: String,
    namespace: String,
    from: String,
    to: String,
    changes: Vec<String>,
    /// What the program of KUBECTL_EXTERNAL_DIFF said.
    said: Option<String>,
}

impl View for Difference {
    fn text(&self, page: &mut Page) {
        if let Some(said) = &self.said {
            page.raw(said);
            return;
        }
        if self.changes.is_empty() {
            page.line(&format!("{} and {} have the same template", self.from, self.to));
            return;
        }
        page.line(&format!("{} → {}", self.from, self.to));
        for change in &self.changes {
            page.field("", 2, change);
        }
    }

    fn json(&self) -> Value {
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "RevisionDiff",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "from": self.from,
            "to": self.to,
            "changes": self.changes,
        })
    }

    fn names(&self) -> Vec<String> {
        vec![&self.from, &self.to].into_iter().map(|name| format!("controllerrevision.apps/{name}")).collect()
    }
}
