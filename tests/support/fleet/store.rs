//! The objects on disk: as JSON, one file for each kind, and in every other form that was asked for, made at the first
//! request and kept. Only where each object begins is in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kinds::Kind;
use super::select::Selectors;
use super::{protobuf, table};

/// What an answer holds of each object, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Json,
    Protobuf,
    MetaJson,
    MetaProtobuf,
    Table(Include),
}

/// What a row of a table has besides its cells (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Form {
    pub fn is_protobuf(self) -> bool {
        matches!(self, Form::Protobuf | Form::MetaProtobuf)
    }
}

/// Objects in a file, one after the other; those in JSON begin with a comma.
pub struct Items {
    pub path: PathBuf,
    /// Where each begins, and where the last ends.
    offsets: Vec<u64>,
}

impl Items {
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Where in the file these are.
    pub fn range(&self, from: usize, to: usize) -> (u64, u64) {
        (self.offsets[from], self.offsets[to])
    }
}

/// All objects of a kind, in JSON.
pub struct Base {
    items: Arc<Items>,
    /// Namespace and name of each.
    names: Vec<(String, String)>,
}

pub struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    offsets: Vec<u64>,
    names: Vec<(String, String)>,
}

impl Writer {
    pub fn create(path: &Path) -> Writer {
        let file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
        Writer { file, path: path.to_owned(), offsets: vec![0], names: Vec::new() }
    }

    /// Adds an object, without the kind and the version that items of lists do not have.
    pub fn add(&mut self, namespace: &str, name: &str, mut object: Value) {
        let fields = object.as_object_mut().expect("an object");
        fields.remove("kind");
        fields.remove("apiVersion");
        self.push(format!(",{object}").as_bytes());
        self.names.push((namespace.to_owned(), name.to_owned()));
    }

    fn push(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("the disk is not full");
        self.offsets.push(self.offsets[self.offsets.len() - 1] + bytes.len() as u64);
    }

    pub fn end(self) -> Base {
        let names = self.names;
        self.file.into_inner().expect("the disk is not full");
        Base { items: Arc::new(Items { path: self.path, offsets: self.offsets }), names }
    }
}

/// Which objects, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    pub plural: &'static str,
    /// Empty: all namespaces.
    pub namespace: String,
    pub labels: String,
    pub fields: String,
    pub form: Form,
}

/// A part of a file with what stands around it: a whole answer.
pub struct Body {
    pub head: Vec<u8>,
    pub path: PathBuf,
    pub from: u64,
    pub to: u64,
    pub tail: Vec<u8>,
}

impl Body {
    pub fn len(&self) -> u64 {
        self.head.len() as u64 + (self.to - self.from) + self.tail.len() as u64
    }
}

/// The objects of an answer: from which to which of those that a query selects.
type Part = (Query, usize, usize);

pub struct Store {
    folder: TempDir,
    bases: HashMap<&'static str, Base>,
    views: Mutex<HashMap<Query, Arc<Items>>>,
    compressed: Mutex<HashMap<Part, Arc<Vec<u8>>>>,
}

pub const RESOURCE_VERSION: &str = "49000000";

impl Store {
    pub fn new(folder: TempDir, bases: HashMap<&'static str, Base>) -> Store {
        Store { folder, bases, views: Mutex::default(), compressed: Mutex::default() }
    }

    /// How many objects of a kind there are, and their size in JSON.
    pub fn size(&self, plural: &str) -> (usize, u64) {
        let items = &self.bases[plural].items;
        (items.len(), items.range(0, items.len()).1)
    }

    /// The objects that a query selects.
    ///
    /// # Errors
    /// When its selectors are not supported.
    pub fn view(&self, query: &Query) -> Result<Arc<Items>, String> {
        let base = &self.bases[query.plural];
        let kind = Kind::of_plural(query.plural);
        let selectors = Selectors::parse(kind.kind, &query.labels, &query.fields)?;
        if selectors.is_empty() && query.namespace.is_empty() && query.form == Form::Json {
            return Ok(Arc::clone(&base.items));
        }
        let mut views = self.views.lock().expect("no view failed");
        if let Some(items) = views.get(query) {
            return Ok(Arc::clone(items));
        }
        let path = self.folder.path().join(format!("{}-{}", query.plural, views.len()));
        let mut writer = Writer::create(&path);
        let mut file = File::open(&base.items.path).expect("a file");
        let mut bytes = Vec::new();
        for (index, (namespace, name)) in base.names.iter().enumerate() {
            let (from, to) = base.items.range(index, index + 1);
            let is_there = query.namespace.is_empty() || *namespace == query.namespace;
            // A look at the name is cheaper than one at the object.
            let wanted = query.fields.strip_prefix("metadata.name=").is_none_or(|wanted| wanted == name);
            if !is_there || !wanted {
                continue;
            }
            bytes.resize(usize::try_from(to - from).expect("an object"), 0);
            file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(&mut bytes)).expect("an object");
            if query.form == Form::Json && selectors.is_empty() {
                writer.push(&bytes);
                continue;
            }
            let object: Value = serde_json::from_slice(&bytes[1..]).expect("an object");
            if selectors.matches(&object) {
                match rendered(kind, query.form, &object) {
                    Some(rendered) => writer.push(&rendered),
                    None => writer.push(&bytes),
                }
            }
        }
        let items = writer.end().items;
        views.insert(query.clone(), Arc::clone(&items));
        Ok(items)
    }

    /// The answer with these of the objects; `next` is the token of the rest, and how many that are.
    pub fn body(query: &Query, items: &Items, (start, end): (usize, usize), next: Option<&str>) -> Body {
        let kind = Kind::of_plural(query.plural);
        let mut meta = json!({"resourceVersion": RESOURCE_VERSION});
        if let Some(token) = next {
            meta["continue"] = token.into();
            // How many are selected is not counted (apiserver `storage/etcd3/store.go`).
            if query.labels.is_empty() && query.fields.is_empty() {
                meta["remainingItemCount"] = (items.len() - end).into();
            }
        }
        let (mut from, to) = items.range(start, end);
        let list_kind = format!("{}List", kind.kind);
        let meta_kind = ("meta.k8s.io/v1", "PartialObjectMetadataList");
        let json = |api_version: &str, kind: &str, before: &str| {
            format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{meta},{before}":["#)
                .into_bytes()
        };
        let proto = |api_version: &str, kind: &str| {
            let meta = protobuf::list_meta(&meta);
            let length = meta.len() + usize::try_from(to - from).expect("a length");
            [protobuf::head(api_version, kind, length), meta].concat()
        };
        let head = match query.form {
            Form::Json => json(kind.api_version, &list_kind, "\"items"),
            Form::MetaJson => json(meta_kind.0, meta_kind.1, "\"items"),
            Form::Table(_) => {
                let columns = table::columns(kind.kind);
                json("meta.k8s.io/v1", "Table", &format!("\"columnDefinitions\":{columns},\"rows"))
            }
            Form::Protobuf => proto(kind.api_version, &list_kind),
            Form::MetaProtobuf => proto(meta_kind.0, meta_kind.1),
        };
        let tail = match query.form.is_protobuf() {
            true => protobuf::TAIL.to_vec(),
            false => {
                // The comma of the first.
                from += u64::from(from < to);
                b"]}\n".to_vec()
            }
        };
        Body { head, path: items.path.clone(), from, to, tail }
    }

    /// A body as gzip makes it at the level of the API server, which is 1.
    pub fn compressed(&self, query: &Query, range: (usize, usize), body: &Body) -> Arc<Vec<u8>> {
        let mut compressed = self.compressed.lock().expect("none failed");
        let key = (query.clone(), range.0, range.1);
        let made = compressed.entry(key).or_insert_with(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let mut file = File::open(&body.path).expect("a file");
            file.seek(SeekFrom::Start(body.from)).expect("a place");
            encoder.write_all(&body.head).expect("memory");
            std::io::copy(&mut file.take(body.to - body.from), &mut encoder).expect("memory");
            encoder.write_all(&body.tail).expect("memory");
            Arc::new(encoder.finish().expect("memory"))
        });
        Arc::clone(made)
    }
}

/// `None`: as it is.
fn rendered(kind: &Kind, form: Form, object: &Value) -> Option<Vec<u8>> {
    let partial = || json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
    match form {
        Form::Json => None,
        Form::Protobuf => Some(protobuf::item(kind.message, object)),
        Form::MetaJson => Some(format!(",{}", partial()).into_bytes()),
        Form::MetaProtobuf => {
            Some(protobuf::item("meta.PartialObjectMetadata", &json!({"metadata": object["metadata"]})))
        }
        Form::Table(include) => {
            let shown = match include {
                Include::None => Value::Null,
                Include::Metadata => partial(),
                Include::Object => {
                    let mut object = object.clone();
                    object["kind"] = kind.kind.into();
                    object["apiVersion"] = kind.api_version.into();
                    object
                }
            };
            let row = json!({"cells": table::cells(kind.kind, object), "object": shown});
            Some(format!(",{row}").into_bytes())
        }
    }
}
