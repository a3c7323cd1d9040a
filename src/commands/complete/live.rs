//! What only the cluster, the kubeconfig or the files given know.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{timeout, timeout_at};

use crate::cli::Global;
use crate::cluster::connect::{Connection, Environment, KubeconfigNames, connect_in, kubeconfig_names};
use crate::cluster::inventory::Want;
use crate::kinds::{Kind, Meta, StatefulSet};

/// Lists of which a name can be completed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// StatefulSets, with how many of their replicas are ready.
    Sets,
    /// The same of all namespaces.
    SetsOfAll,
    /// Pods of the namespace, with their state.
    Pods,
    /// Namespaces, with their phase.
    Namespaces,
    /// Classes of VolumeSnapshots, with their driver.
    SnapshotClasses,
}

/// One object of a list.
pub(super) struct Row {
    pub name: String,
    /// The column that says how it is.
    pub state: String,
}

/// A revision of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Revision {
    pub number: i64,
    pub name: String,
    /// As kubectl prints it.
    pub age: String,
    pub change_cause: String,
}

/// A table as kubectl prints it: the columns, and of the objects their metadata at most. It has no template, and with that no
/// values of environment variables.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// More would not be read by anybody; one request is all there is time for.
const LIMIT: usize = 500;

/// Where things are looked up, for as long as somebody waits.
pub(super) struct Source<'a> {
    global: &'a Global,
    env: Environment,
    /// For how long the API server is waited for.
    patience: Duration,
    /// When everything ends, credential plugins included.
    until: Instant,
}

impl<'a> Source<'a> {
    pub fn new(global: &'a Global, patience: Duration, until: Instant) -> Source<'a> {
        let mut env = Environment::of_process();
        // Whoever waits for a list of names is not to be asked for a password, nor told why there is none.
        env.stdin_is_terminal = false;
        env.quiet_plugins = true;
        Source { global, env, patience, until }
    }

    /// Names of the kubeconfig, sorted.
    pub fn kubeconfig(&self, choose: fn(KubeconfigNames) -> Vec<String>) -> BTreeSet<String> {
        let names = kubeconfig_names(&self.global.connect, &self.env).map(choose);
        names.unwrap_or_default().into_iter().collect()
    }

    /// The objects of a list, sorted by name; none when they cannot be had in time.
    pub fn rows(&self, listing: Listing) -> Vec<Row> {
        let found =
            self.read(async |connection| table(connection, &listing.path(&connection.namespace)).await);
        let rows: BTreeMap<String, String> = match found {
            Some(table) => {
                let column = table.column(listing.state());
                let named = table.rows.iter().filter_map(|row| Some((row.text(Some(0))?, row.text(column))));
                named.map(|(name, state)| (name, state.unwrap_or_default())).collect()
            }
            None => self
                .of_files(listing)
                .unwrap_or_default()
                .into_iter()
                .map(|name| (name, String::new()))
                .collect(),
        };
        rows.into_iter().map(|(name, state)| Row { name, state }).collect()
    }

    /// A StatefulSet.
    pub fn set(&self, name: &str) -> Option<StatefulSet> {
        if self.is_of_files() {
            return self.sets_of_files()?.into_iter().find(|set| set.metadata.name == name);
        }
        self.read(async |connection| set(connection, name).await)
    }

    /// The revisions of a StatefulSet, newest first, and the StatefulSet itself, if it may be read.
    pub fn revisions(&self, name: &str) -> (Vec<Revision>, Option<StatefulSet>) {
        let read = self.read(async |connection| {
            let path = Kind::ControllerRevision.path(Some(&connection.namespace));
            // At once: each request takes as long as the way there and back.
            let (table, set) = tokio::join!(table(connection, &path), set(connection, name));
            Some((table?, set))
        });
        let Some((table, set)) = read else { return (Vec::new(), None) };
        let [number, owner, age] = ["Revision", "Controller", "Age"].map(|column| table.column(column));
        let is_own = |row: &&TableRow| {
            row.text(owner).is_some_and(|owner| owner == format!("statefulset.apps/{name}"))
        };
        let mut revisions: Vec<Revision> = table
            .rows
            .iter()
            .filter(is_own)
            .filter_map(|row| {
                Some(Revision {
                    number: row.text(number)?.parse().ok()?,
                    name: row.text(Some(0))?,
                    age: row.text(age).unwrap_or_default(),
                    change_cause: row.change_cause(),
                })
            })
            .collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
        (revisions, set)
    }

    fn is_of_files(&self) -> bool {
        !self.global.from.is_empty()
    }

    /// What is read over a connection; nothing when that takes too long or fails.
    fn read<T>(&self, ask: impl AsyncFnOnce(&Connection) -> Option<T>) -> Option<T> {
        if self.is_of_files() {
            return None;
        }
        let (global, namespace) = (&self.global.connect, self.global.namespace.as_deref());
        self.block(async {
            let connection = connect_in(&self.env, global, namespace, |_| ()).await.ok()?;
            timeout(self.patience, ask(&connection)).await.ok()?
        })
    }

    fn block<T>(&self, read: impl Future<Output = Option<T>>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let found = runtime.block_on(async { timeout_at(self.until.into(), read).await.ok().flatten() });
        // A plugin that hangs is not waited for.
        runtime.shutdown_background();
        found
    }

    fn sets_of_files(&self) -> Option<Vec<StatefulSet>> {
        // What comes on standard input is not there yet.
        if !self.is_of_files() || self.global.from.iter().any(|file| file == "-") {
            return None;
        }
        let observed = self.block(async {
            Some(self.global.observe(true, Want::Diagnosis, |_| ()).await.ok()?.observed.sets)
        })?;
        let here = |set: &StatefulSet| {
            self.global.namespace.as_ref().is_none_or(|here| set.metadata.namespace == *here)
        };
        Some(observed.into_iter().filter(here).collect())
    }

    fn of_files(&self, listing: Listing) -> Option<Vec<String>> {
        let sets = || self.sets_of_files();
        match listing {
            Listing::Namespaces => {
                let global = Global { namespace: None, ..self.global.clone() };
                let all = Source { global: &global, env: self.env.clone(), ..*self }.sets_of_files()?;
                Some(all.into_iter().map(|set| set.metadata.namespace).collect())
            }
            Listing::Sets | Listing::SetsOfAll => {
                Some(sets()?.into_iter().map(|set| set.metadata.name).collect())
            }
            Listing::Pods | Listing::SnapshotClasses => None,
        }
    }
}

impl Listing {
    fn path(self, namespace: &str) -> String {
        let path = match self {
            Listing::Sets => Kind::StatefulSet.path(Some(namespace)),
            Listing::SetsOfAll => Kind::StatefulSet.path(None),
            Listing::Pods => Kind::Pod.path(Some(namespace)),
            Listing::Namespaces => "/api/v1/namespaces".to_owned(),
            Listing::SnapshotClasses => "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses".to_owned(),
        };
        format!("{path}?limit={LIMIT}&includeObject=None")
    }

    /// The column of the state.
    fn state(self) -> &'static str {
        match self {
            Listing::Sets | Listing::SetsOfAll => "Ready",
            Listing::Pods | Listing::Namespaces => "Status",
            Listing::SnapshotClasses => "Driver",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    column_definitions: Vec<TableColumn>,
    #[serde(default, deserialize_with = "crate::kinds::or_null")]
    rows: Vec<TableRow>,
}

#[derive(Deserialize)]
struct TableColumn {
    name: String,
}

#[derive(Deserialize)]
struct TableRow {
    cells: Vec<Value>,
    #[serde(default, deserialize_with = "crate::kinds::or_null")]
    object: TableObject,
}

#[derive(Default, Deserialize)]
struct TableObject {
    #[serde(default)]
    metadata: Meta,
}

impl Table {
    fn column(&self, name: &str) -> Option<usize> {
        self.column_definitions.iter().position(|column| column.name == name)
    }
}

impl TableRow {
    fn text(&self, column: Option<usize>) -> Option<String> {
        match self.cells.get(column?)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn change_cause(&self) -> String {
        let cause = self.object.metadata.annotations.get("kubernetes.io/change-cause");
        cause.cloned().unwrap_or_default()
    }
}

async fn table(connection: &Connection, path: &str) -> Option<Table> {
    serde_json::from_slice(&connection.get_bytes(path, TABLE).await.ok()?).ok()
}

/// A StatefulSet by name. It is listed, so that no more than `list` has to be allowed.
async fn set(connection: &Connection, name: &str) -> Option<StatefulSet> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<StatefulSet>,
    }
    let path = Kind::StatefulSet.path(Some(&connection.namespace));
    let path = format!("{path}?fieldSelector=metadata.name%3D{name}");
    let body = connection.get_bytes(&path, "application/json").await.ok()?;
    let list: List = serde_json::from_slice(&body).ok()?;
    list.items.into_iter().find(|set| set.metadata.name == name)
}
