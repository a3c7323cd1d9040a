//! Objects of a list or a watch, decoded while they arrive, and held to what was asked for.
//!
//! The objects in a list of a built-in kind have neither `kind` nor `apiVersion`; those of a custom resource, and those of
//! watches, have both. Where they are, they must be right.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde_json::Value;

use super::connect::LONGEST_OBJECT;
use crate::kinds::wire::{Malformed, push};
use crate::kinds::{Object, VolumeSnapshot, Workload};

/// Most objects of one list. The largest clusters have 150,000 pods.
const MOST: usize = 1_000_000;

/// What tells one object from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
}

/// What can be listed.
pub(super) trait Listed: DeserializeOwned + Send + 'static {
    /// Whether it is asked for as protobuf.
    const IN_PROTOBUF: bool = false;

    fn identity(&self) -> Identity<'_>;

    /// Drops what nobody reads.
    fn settle(&mut self) {}

    /// Reads one object; never called for what is not asked for so.
    fn of_protobuf(_: &[u8]) -> Result<Self, Malformed> {
        Err(Malformed)
    }
}

impl<T: Object> Listed for T {
    const IN_PROTOBUF: bool = true;

    fn identity(&self) -> Identity<'_> {
        let meta = self.meta();
        Identity { namespace: &meta.namespace, name: &meta.name, uid: &meta.uid }
    }

    fn settle(&mut self) {
        Object::settle(self);
    }

    fn of_protobuf(bytes: &[u8]) -> Result<T, Malformed> {
        T::of_list(bytes)
    }
}

macro_rules! listed {
    ($($name:ident),*) => { $(
        impl Listed for $name {
            fn identity(&self) -> Identity<'_> {
                let meta = &self.metadata;
                Identity { namespace: &meta.namespace, name: &meta.name, uid: &meta.uid }
            }
        }
    )* };
}
listed!(Workload, VolumeSnapshot);

impl Listed for Value {
    fn identity(&self) -> Identity<'_> {
        let text = |key: &str| self["metadata"][key].as_str().unwrap_or_default();
        Identity { namespace: text("namespace"), name: text("name"), uid: text("uid") }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub kind: &'static str,
    pub api_version: &'static str,
    /// `None`: objects of this kind have no namespace. Empty: any.
    pub namespace: Option<&'a str>,
}

impl Asked<'_> {
    /// Why an object cannot be one of those asked for; without its values, which may come from anybody.
    pub fn refuses(&self, identity: Identity<'_>) -> Option<&'static str> {
        let Identity { namespace, name, uid } = identity;
        if !is_segment(name) {
            return Some("an object has no valid name");
        }
        if uid.is_empty() {
            return Some("an object has no uid");
        }
        match self.namespace {
            None if !namespace.is_empty() => Some("an object is in a namespace, which its kind has not"),
            Some("") if !is_segment(namespace) => Some("an object has no valid namespace"),
            Some(asked) if !asked.is_empty() && namespace != asked => {
                Some("an object is in another namespace")
            }
            _ => None,
        }
    }

    /// The object without what nobody reads of it, if it can be one of those asked for.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn settled<T: Listed>(&self, mut object: T) -> Result<T, &'static str> {
        if let Some(why) = self.refuses(object.identity()) {
            return Err(why);
        }
        object.settle();
        Ok(object)
    }

    /// Takes an object into a list, as the last: if it can be one of those asked for, without what nobody reads of it.
    ///
    /// # Errors
    /// Why the list is none.
    pub fn admit<T: Listed>(&self, object: T, items: &mut Vec<T>) -> Result<(), String> {
        push(items, self.settled(object)?);
        if items.len() > MOST {
            return Err(format!("it has more than {MOST} objects"));
        }
        Ok(())
    }

    /// Why these are not the kind and the version asked for.
    pub fn differs(&self, kind: Option<&str>, api_version: Option<&str>) -> Option<String> {
        let (kind, api_version) = (kind.unwrap_or_default(), api_version.unwrap_or_default());
        // Kinds are shown only if they can be kinds.
        let said = |text: &str| {
            let plain =
                text.len() <= 60 && text.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c));
            if text.is_empty() {
                "none".to_owned()
            } else if plain {
                text.to_owned()
            } else {
                "another".to_owned()
            }
        };
        if kind != self.kind {
            return Some(format!("its kind is {} instead of {}", said(kind), self.kind));
        }
        let differs = api_version != self.api_version;
        differs.then(|| format!("its apiVersion is {} instead of {}", said(api_version), self.api_version))
    }
}

/// Whether a path can be made of it (apimachinery `path.IsValidPathSegmentName`), and nothing else be meant by that path.
fn is_segment(name: &str) -> bool {
    let bad = |c: char| matches!(c, '/' | '%' | '?' | '#' | '\\') || c.is_whitespace() || c.is_control();
    !matches!(name, "" | "." | "..") && name.len() <= 253 && !name.contains(bad)
}

/// The bytes taken since the last object began; shared with what reads them.
pub(super) type Gauge = Rc<Cell<usize>>;

/// One answer to a list request.
pub(super) struct Page<T> {
    pub kind: Option<String>,
    pub api_version: Option<String>,
    pub metadata: ListMeta,
    /// `None`: it has no such member.
    pub items: Option<Vec<T>>,
}

/// What it says of itself, and a watch's bookmark too.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMeta {
    /// From where a watch goes on.
    pub resource_version: String,
    /// Not empty when there is more.
    #[serde(deserialize_with = "crate::kinds::or_null")]
    pub r#continue: String,
}

/// Reads a [`Page`].
pub(super) struct PageOf<'a, T> {
    pub asked: Asked<'a>,
    pub gauge: Gauge,
    pub of: PhantomData<T>,
}

impl<'de, T: Listed> DeserializeSeed<'de> for PageOf<'_, T> {
    type Value = Page<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Page<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Listed> Visitor<'de> for PageOf<'_, T> {
    type Value = Page<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}List", self.asked.kind)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page<T>, A::Error> {
        let mut page = Page { kind: None, api_version: None, metadata: ListMeta::default(), items: None };
        let mut seen = [false; 4];
        while let Some(key) = map.next_key::<String>()? {
            let at = ["kind", "apiVersion", "metadata", "items"].iter().position(|known| *known == key);
            if let Some(seen) = at.and_then(|at| seen.get_mut(at))
                && std::mem::replace(seen, true)
            {
                return Err(A::Error::custom("a member of the list is there twice"));
            }
            match at {
                Some(0) => page.kind = Some(map.next_value()?),
                Some(1) => page.api_version = Some(map.next_value()?),
                Some(2) => page.metadata = map.next_value()?,
                Some(3) => {
                    let items = ItemsOf { asked: self.asked, gauge: Rc::clone(&self.gauge), of: PhantomData };
                    page.items = Some(map.next_value_seed(items)?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(page)
    }
}

struct ItemsOf<'a, T> {
    asked: Asked<'a>,
    gauge: Gauge,
    of: PhantomData<T>,
}

impl<'de, T: Listed> DeserializeSeed<'de> for ItemsOf<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Listed> Visitor<'de> for ItemsOf<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items: Vec<T> = Vec::new();
        loop {
            self.gauge.set(0);
            let Some(Item { object, kind, api_version }) = seq.next_element::<Item<T>>()? else { break };
            if (kind.is_some() || api_version.is_some())
                && let Some(why) = self.asked.differs(kind.as_deref(), api_version.as_deref())
            {
                return Err(A::Error::custom(format!("of one of its objects, {why}")));
            }
            self.asked.admit(object, &mut items).map_err(A::Error::custom)?;
        }
        self.gauge.set(0);
        Ok(items)
    }
}

/// Whether an object, as it is read, has become too long.
pub(super) fn is_too_long(taken: usize) -> bool {
    taken > LONGEST_OBJECT
}

/// An object, with the kind and the version it says it has, which its type may not keep.
pub(super) struct Item<T> {
    pub object: T,
    pub kind: Option<String>,
    pub api_version: Option<String>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Item<T>, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for OfMap<T> {
            type Value = Item<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item<T>, A::Error> {
                let (mut kind, mut api_version) = (None, None);
                let map = Noting {
                    map,
                    kind: &mut kind,
                    api_version: &mut api_version,
                    at: Noted::Other,
                    keys: Vec::new(),
                };
                let object = T::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Item { object, kind, api_version })
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

enum Noted {
    Kind,
    ApiVersion,
    Other,
}

/// Passes the members of an object on, notes its kind and version, and refuses a member that is there twice.
struct Noting<'n, A> {
    map: A,
    kind: &'n mut Option<String>,
    api_version: &'n mut Option<String>,
    at: Noted,
    keys: Vec<String>,
}

/// More members than any object has at its top.
const MEMBERS: usize = 64;

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Noting<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<String>()? else { return Ok(None) };
        if self.keys.contains(&key) {
            return Err(A::Error::custom("a member of an object is there twice"));
        }
        if self.keys.len() == MEMBERS {
            return Err(A::Error::custom("an object has more members than any kind"));
        }
        self.at = match key.as_str() {
            "kind" => Noted::Kind,
            "apiVersion" => Noted::ApiVersion,
            _ => Noted::Other,
        };
        self.keys.push(key.clone());
        let key: StringDeserializer<A::Error> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let place = match self.at {
            Noted::Other => return self.map.next_value_seed(seed),
            Noted::Kind => &mut *self.kind,
            Noted::ApiVersion => &mut *self.api_version,
        };
        let text: String = self.map.next_value()?;
        *place = Some(text.clone());
        seed.deserialize(Value::String(text)).map_err(A::Error::custom)
    }
}
