//! What was observed, as a file, and back: `record` writes it, `--from` reads it and plain `kubectl get` output too.

mod logs;
mod newest;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::logs::Written;
use self::users::Users;
use super::{claims, decode, door};
use crate::error::{Error, Result};
use crate::kinds::*;
use crate::snapshot::{
    Clock, Coverage, DnsProbe, NotRead, Observed, Scope, Seen, ServerVersion, Unseen, parse_pod_name,
};

const API_VERSION: &str = "kubectl-sts/v1";
const KIND: &str = "Recording";

/// The file format. Keys are written in order of the alphabet, so that the counts stand before the objects and a file
/// that was cut off shows it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recording {
    api_version: String,
    kind: String,
    taken_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_version: Option<String>,
    /// Absent when all namespaces were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// The StatefulSets it is about, as `namespace/name`; absent where it is about all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<Vec<String>>,
    /// What holds claims besides pods, where that was looked at: a claim seemed left over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim_users: Option<Users>,
    /// The ends of logs, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logs: Vec<Written>,
    /// What DNS answers, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dns: Option<DnsProbe>,
    /// Kinds that could not be read, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    not_seen: BTreeMap<String, String>,
    /// How many objects of each kind follow.
    counts: BTreeMap<String, usize>,
    #[serde(default)]
    objects: Vec<Value>,
}

/// A file of manifests.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// Its path, or `standard input`.
    pub name: String,
    /// What it holds.
    pub text: String,
    /// Whether it was found in a folder, and not named.
    pub is_found: bool,
}

/// The name of what is read from standard input.
pub const STANDARD_INPUT: &str = "standard input";

/// What the absence of a kind in plain files means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It was not looked at.
    Unseen,
    /// There is none.
    Empty,
}

/// The recording as a value that serialises to YAML or JSON.
///
/// # Errors
/// Never in practice: all types serialise.
pub fn recording(observed: &Observed) -> Result<impl Serialize + use<>> {
    let mut items = Vec::new();
    let mut counts = BTreeMap::new();
    let mut not_seen = BTreeMap::new();
    for set in &observed.sets {
        items.push(written(set)?);
    }
    counts.insert(Kind::StatefulSet.name().to_owned(), observed.sets.len());
    macro_rules! push {
        ([$($of_sets:tt)*] $([$type:ident $field:ident $($more:tt)*])*) => { $(
            match &observed.$field {
                Ok(objects) => {
                    counts.insert(Kind::$type.name().to_owned(), objects.len());
                    for object in objects {
                        items.push(written(object)?);
                    }
                }
                Err(unseen) => {
                    not_seen.insert(Kind::$type.name().to_owned(), unseen.why.to_string());
                }
            }
        )* };
    }
    for_each_kind!(push);
    for (plural, why) in observed.around.iter().flat_map(|around| &around.unread) {
        let kind = claims::kinds_around().find(|(_, known)| known == plural);
        not_seen.insert(kind.map_or(*plural, |(kind, _)| kind).to_owned(), why.to_string());
    }
    Ok(Recording {
        about: observed
            .chosen
            .as_ref()
            .map(|chosen| chosen.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect()),
        claim_users: observed.around.as_ref().map(Users::of),
        logs: observed.logs.iter().map(Written::of).collect(),
        dns: observed.dns.clone(),
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        taken_at: observed.taken_at,
        server_version: observed.server.as_ref().map(|server| server.text.clone()),
        namespace: match &observed.scope {
            Scope::Namespace(namespace) => Some(namespace.clone()),
            Scope::All => None,
        },
        not_seen,
        counts,
        objects: items,
    })
}

/// Makes it about these StatefulSets only, and leaves out what no answer about them needs: revisions and events of
/// others, and all of namespaces without one of them but Services, PVCs and what is in no namespace. The other StatefulSets
/// of their namespaces stay, with their pods and PVCs: they decide what belongs to whom.
pub fn keep(observed: &mut Observed, is_chosen: impl Fn(&StatefulSet) -> bool) {
    let key = |meta: &Meta| (meta.namespace.clone(), meta.name.clone());
    let chosen: BTreeSet<(String, String)> =
        observed.sets.iter().filter(|set| is_chosen(set)).map(|set| key(&set.metadata)).collect();
    let others: BTreeSet<(String, String)> =
        observed.sets.iter().map(|set| key(&set.metadata)).filter(|it| !chosen.contains(it)).collect();
    let namespaces: BTreeSet<String> = chosen.iter().map(|(namespace, _)| namespace.clone()).collect();
    observed.sets.retain(|set| namespaces.contains(&set.metadata.namespace));
    macro_rules! retain {
        ([$($of_sets:tt)*] $([$type:ident $field:ident $($more:tt)*])*) => { $(
            let is_kept_everywhere =
                Kind::$type.is_of_cluster() || matches!(Kind::$type, Kind::Service | Kind::PersistentVolumeClaim);
            if let (false, Ok(objects)) = (is_kept_everywhere, &mut observed.$field) {
                objects.retain(|object| namespaces.contains(&object.meta().namespace));
            }
        )* };
    }
    for_each_kind!(retain);
    let is_others = |namespace: &str, set: &str| others.contains(&(namespace.to_owned(), set.to_owned()));
    if let Ok(revisions) = &mut observed.revisions {
        revisions.retain(|revision| {
            let meta = &revision.metadata;
            let owner = meta.controller().filter(|owner| owner.kind == Kind::StatefulSet.name());
            !owner.is_some_and(|owner| is_others(&meta.namespace, &owner.name))
        });
    }
    if let Ok(events) = &mut observed.events {
        events.retain(|event| {
            let (namespace, it) = (&event.metadata.namespace, &event.involved_object);
            match it.kind.as_str() {
                "StatefulSet" => !is_others(namespace, &it.name),
                "Pod" => !parse_pod_name(&it.name).is_some_and(|(set, _)| is_others(namespace, set)),
                _ => true,
            }
        });
    }
    observed.chosen = Some(chosen);
}

fn written<T: Object>(object: &T) -> Result<Value> {
    let mut value = serde_json::to_value(object)
        .map_err(|error| Error::cluster("could not write the recording").because(error))?;
    if let Value::Object(members) = &mut value {
        members.insert("apiVersion".to_owned(), T::KIND.api_version().into());
        members.insert("kind".to_owned(), T::KIND.name().into());
    }
    Ok(value)
}

/// Reads files: recordings, `kubectl get -o yaml|json` output, manifests; each is a name for messages and its text.
///
/// # Errors
/// When a file is no YAML, is cut off, or holds no StatefulSet.
pub fn read(files: &[(String, String)], absent: Absent, now: Timestamp) -> Result<Observed> {
    read_all(files.iter().map(|(name, text)| (name.as_str(), text.as_str(), false)), absent, now)
}

/// Reads manifests, some of which were found in a folder: a file that was found may hold nothing of interest.
///
/// # Errors
/// As [`read`].
pub fn read_manifests(files: &[Manifests], now: Timestamp) -> Result<Observed> {
    let files = files.iter().map(|file| (file.name.as_str(), file.text.as_str(), file.is_found));
    read_all(files, Absent::Unseen, now)
}

fn read_all<'a>(
    files: impl Iterator<Item = (&'a str, &'a str, bool)>,
    absent: Absent,
    now: Timestamp,
) -> Result<Observed> {
    let mut pile = FileReader::default();
    for (name, text, is_found) in files {
        // A folder is several files, even if it has one; and what is piped in was put together.
        pile.is_one_file = pile.files_read == 0 && !is_found && name != STANDARD_INPUT;
        pile.files_read += 1;
        let before = pile.items;
        for document in decode::documents(name, text)? {
            pile.document(name, document)?;
        }
        if pile.items == before && pile.recorded.is_none() && !is_found {
            return Err(Error::cluster(format!("{name} holds no Kubernetes object this tool reads"))
                .hint("it takes recordings (kubectl sts record), kubectl get -o yaml|json, and manifests"));
        }
    }
    pile.observed(absent, now)
}

#[derive(Default)]
struct FileReader {
    recorded: Option<Recording>,
    objects: Objects,
    listed: BTreeSet<Kind>,
    items: usize,
    live: bool,
    /// The file of each StatefulSet, by its namespace and name.
    files: BTreeMap<(String, String), String>,
    files_read: usize,
    is_one_file: bool,
    /// Objects by kind, namespace and name, with a hash of what was said of each.
    seen: HashMap<(Kind, String, String), u64>,
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

macro_rules! declare_objects {
    ($([$type:ident $field:ident $($more:tt)*])*) => {
        /// The objects of the files, by kind.
        #[derive(Default)]
        struct Objects {
            $($field: Vec<$type>,)*
        }
    };
}
for_each_kind!(declare_objects);

impl FileReader {
    fn document(&mut self, name: &str, mut document: Value) -> Result<()> {
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        if kind == KIND && document["apiVersion"] == API_VERSION {
            return self.recording(name, document);
        }
        if let Some(items) =
            document.get_mut("items").and_then(Value::as_array_mut).filter(|_| kind.ends_with("List"))
        {
            let items = std::mem::take(items);
            let of = kind.strip_suffix("List").unwrap_or_default();
            self.listed.extend(Kind::ALL.into_iter().find(|kind| kind.name() == of));
            for mut item in items {
                let Value::Object(members) = &mut item else {
                    return Err(Error::cluster(format!("{name}: an item of the {kind} is not an object")));
                };
                if !of.is_empty() {
                    members.entry("kind").or_insert_with(|| of.into());
                }
                self.document(name, item)?;
            }
            return Ok(());
        }
        self.object(name, &kind, document)
    }

    fn recording(&mut self, name: &str, document: Value) -> Result<()> {
        let mut recording: Recording = serde_json::from_value(document).map_err(|error| {
            Error::cluster(format!("{name} is not a whole recording"))
                .because(door::header(&error))
                .hint("make it again with: kubectl sts record > FILE")
        })?;
        let promised = recording.counts.values().fold(0usize, |sum, count| sum.saturating_add(*count));
        if promised != recording.objects.len() {
            return Err(Error::cluster(format!(
                "{name} is only a part of a recording: it holds {} of {promised} objects",
                recording.objects.len()
            ))
            .hint("make it again with: kubectl sts record > FILE"));
        }
        if self.recorded.is_some() {
            return Err(Error::usage("only one recording can be read at a time").hint(
                "give one --from FILE that is a recording; plain kubectl output may come in several files",
            ));
        }
        for item in std::mem::take(&mut recording.objects) {
            let kind = item["kind"].as_str().unwrap_or_default().to_owned();
            self.object(name, &kind, item)?;
        }
        self.recorded = Some(recording);
        Ok(())
    }

    fn object(&mut self, file: &str, kind: &str, mut value: Value) -> Result<()> {
        let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) else {
            return Ok(());
        };
        if kind != Kind::HorizontalPodAutoscaler
            && value["apiVersion"].as_str().is_some_and(|v| v != kind.api_version())
        {
            // Another group's kind of the same name, such as Knative's Service.
            return Ok(());
        }
        let name = value["metadata"]["name"].as_str().filter(|name| !name.is_empty());
        let label = match name {
            Some(name) => format!("{} {}", kind.name(), crate::text::one_line(name, 80)),
            None => format!("a {}", kind.name()),
        };
        let failed = |why: String| {
            Error::cluster(format!("{file}: {label} is not as Kubernetes writes it")).because(why)
        };
        let Value::Object(members) = &mut value else { return Err(failed("it is not an object".to_owned())) };
        let metadata = members.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if !metadata.is_object() {
            return Err(failed("metadata is not an object".to_owned()));
        }
        if kind.is_namespaced() && metadata["namespace"].as_str().unwrap_or_default().is_empty() {
            metadata["namespace"] = "default".into();
        }
        self.live |= metadata["uid"].as_str().is_some_and(|uid| !uid.is_empty());
        self.items += 1;
        let (name, namespace) = (metadata["name"].clone(), metadata["namespace"].clone());
        if let Some(why) = door::unfit_in_file(kind, &value) {
            return Err(failed(why));
        }
        // Lists overlap, and what they say of an object is the same then.
        let (name, hash) = (name.as_str().unwrap_or_default().to_owned(), hash(&value));
        if !name.is_empty() {
            let namespace = namespace.as_str().unwrap_or_default().to_owned();
            if kind == Kind::StatefulSet {
                self.files.insert((namespace.clone(), name.clone()), file.to_owned());
            }
            let key = (kind, namespace, name);
            match self.seen.insert(key, hash) {
                Some(before) if before == hash => return Ok(()),
                Some(_) => return Err(failed("it is there twice, and differs".to_owned())),
                None => {}
            }
        }
        let objects = &mut self.objects;
        macro_rules! push {
            ($([$type:ident $field:ident $($more:tt)*])*) => {
                match kind {
                    $(Kind::$type => {
                        let mut object: $type = decode::object(value).map_err(failed)?;
                        object.settle();
                        objects.$field.push(object);
                    })*
                }
            };
        }
        for_each_kind!(push);
        Ok(())
    }

    fn observed(self, absent: Absent, now: Timestamp) -> Result<Observed> {
        let FileReader { mut recorded, objects, listed, live, files, is_one_file, .. } = self;
        let users = recorded.as_mut().and_then(|recording| {
            let users = recording.claim_users.take()?;
            Some(users.around(&recording.not_seen))
        });
        if objects.sets.is_empty() && recorded.is_none() {
            return Err(Error::cluster("there is no StatefulSet in the files given")
                .hint("add them, for example: kubectl get statefulsets,pods,pvc,services -o yaml > FILE"));
        }
        let about = recorded.as_mut().and_then(|recording| recording.about.take()).map(|about| {
            let parts = about.iter().filter_map(|one| one.split_once('/'));
            parts.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).collect()
        });
        let not_seen = recorded.as_ref().map(|recording| recording.not_seen.clone());
        let taken_at = match &recorded {
            Some(recording) => recording.taken_at,
            None => objects.newest().unwrap_or(now),
        };
        let scope = match &recorded {
            Some(Recording { namespace: Some(namespace), .. }) => Scope::Namespace(namespace.clone()),
            _ => Scope::All,
        };
        let seen = |kind: Kind, empty: bool| -> std::result::Result<(), Unseen> {
            let unseen = |why: &str| Err(Unseen { kind, why: NotRead::parse(why) });
            match &not_seen {
                Some(not_seen) => not_seen.get(kind.name()).map_or(Ok(()), |why| unseen(why)),
                // Manifests are a whole of their own: a Service they do not bring is not there. What a cluster adds,
                // such as pods and classes, they cannot tell.
                None if !empty || absent == Absent::Empty || listed.contains(&kind) => Ok(()),
                None if kind == Kind::Service && !live => Ok(()),
                None => Err(Unseen { kind, why: NotRead::absent() }),
            }
        };
        let mut observed = Observed::nothing(taken_at, scope, "");
        match &mut recorded {
            Some(it) => {
                observed.logs = std::mem::take(&mut it.logs).into_iter().map(Written::log).collect();
                observed.dns = it.dns.take().map(DnsProbe::cleaned);
            }
            None => observed.clock = Clock::of_newest(taken_at),
        }
        observed.server =
            recorded.and_then(|recording| recording.server_version).map(|text| ServerVersion { text });
        observed.sets = objects.sets;
        observed.around = users;
        observed.chosen = about;
        observed.files = files;
        let of_no_cluster = not_seen.is_none() && !live && absent == Absent::Unseen;
        observed.manifests =
            of_no_cluster.then_some(if is_one_file { Coverage::OneFile } else { Coverage::Several });
        macro_rules! fill {
            ([$($of_sets:tt)*] $([$type:ident $field:ident $($more:tt)*])*) => { $(
                observed.$field = {
                    let found: Seen<$type> = Ok(objects.$field);
                    let empty = found.as_ref().is_ok_and(Vec::is_empty);
                    seen(Kind::$type, empty).and(found)
                };
            )* };
        }
        for_each_kind!(fill);
        Ok(observed)
    }
}
