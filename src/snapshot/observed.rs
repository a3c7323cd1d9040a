//! Everything that was read, at one instant: one list for each kind, or the reason why there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use jiff::Timestamp;

use super::attribution::ClaimUsers;
use super::clock::Clock;
use super::dns::DnsProbe;
use super::log::Log;
use super::names::Names;
use super::trial::Trial;
use crate::kinds::*;

/// Why something could not be looked at. It is never taken for healthy: whoever needs it is skipped, and named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What could not be looked at.
    pub kind: Kind,
    /// Why not.
    pub why: NotRead,
}

/// Why a list was not read. As text it is a fragment: `forbidden to user alice`, `not in the files given`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// The API server does not allow it, to the user it names.
    Forbidden(Option<String>),
    /// Anything else, as a fragment.
    Other(String),
}

/// What is said of a kind that files do not have.
const ABSENT: &str = "not in the files given";

/// How the text of [`NotRead::Forbidden`] begins, also in recordings.
const FORBIDDEN: &str = "forbidden";

impl NotRead {
    /// What a recording says.
    pub fn parse(text: &str) -> NotRead {
        match text.strip_prefix(FORBIDDEN) {
            Some(rest) => NotRead::Forbidden(rest.strip_prefix(" to user ").map(str::to_owned)),
            None => NotRead::Other(text.to_owned()),
        }
    }

    /// That files were given which do not have it.
    pub fn absent() -> NotRead {
        NotRead::Other(ABSENT.to_owned())
    }

    /// Whether nobody tried to read it: files were given, and they do not have it.
    pub fn is_absent(&self) -> bool {
        matches!(self, NotRead::Other(text) if text == ABSENT)
    }

    /// Whether a permission is missing, which the next try does not change.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, NotRead::Forbidden(_))
    }
}

impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotRead::Forbidden(Some(user)) => write!(f, "{FORBIDDEN} to user {user}"),
            NotRead::Forbidden(None) => f.write_str(FORBIDDEN),
            NotRead::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind.plural(), self.why)
    }
}

/// One kind's objects, or why they are not known.
pub type Seen<T> = Result<Vec<T>, Unseen>;

/// Which part of the cluster was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// All of them.
    All,
}

/// The API server's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// As the server says it: `v1.37.1`.
    pub text: String,
}

impl ServerVersion {
    /// Major, minor and patch; vendors append to them (`v1.33.5-eks-abc`, minor `33+`).
    pub fn numbers(&self) -> Option<(u32, u32, u32)> {
        let mut parts = self.text.trim_start_matches('v').splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
    }
}

/// How much of an application some manifests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// One file: others may hold what it refers to.
    OneFile,
    /// Several files, a folder, or what a tool has rendered.
    Several,
}

/// Declares [`Observed`] by the table of kinds.
macro_rules! declare_observed {
    ([$set:ident $sets:ident $($of_sets:tt)*]
     $([$name:ident $field:ident $plural:literal $version:literal $scope:ident $about:literal])*) => {
        /// What was read of a cluster.
        #[derive(Clone, Debug)]
        pub struct Observed {
            /// When, by the server's clock. Ages and "for how long" are counted up to here, never up to this machine's clock.
            pub taken_at: Timestamp,
            /// How well that time is known.
            pub clock: Clock,
            /// `None` when unknown, as with plain manifests.
            pub server: Option<ServerVersion>,
            /// Which part.
            pub scope: Scope,
            /// The StatefulSets; without them nothing can be said at all.
            pub $sets: Vec<$set>,
            $(
                #[doc = concat!($about, ".")]
                pub $field: Seen<$name>,
            )*
            /// Whether the pods of ReplicaSets are among the pods: of many namespaces they are read only where they matter.
            pub has_all_pods: bool,
            /// The StatefulSets that it is about, by namespace and name, where that is not all of them: the others decide
            /// what belongs to whom.
            pub chosen: Option<BTreeSet<(String, String)>>,
            /// What holds claims besides pods: read only where claims seem left over, and not part of plain files.
            pub around: Option<ClaimUsers>,
            /// The file of each StatefulSet, by its namespace and name; empty where a cluster was read.
            pub files: BTreeMap<(String, String), String>,
            /// The ends of logs: of a recording that has some.
            pub logs: Vec<Log>,
            /// What the API server says to pods that are not there, where it was asked.
            pub trials: Vec<Trial>,
            /// Where manifests were read that no cluster has answered with: how much of an application they are.
            pub manifests: Option<Coverage>,
            /// What DNS answers about the StatefulSets, where it was asked.
            pub dns: Option<DnsProbe>,
        }

        impl Observed {
            /// Nothing was read yet, for the reason given.
            pub fn nothing(taken_at: Timestamp, scope: Scope, why: &str) -> Observed {
                fn unseen<T: Object>(why: &str) -> Seen<T> {
                    Err(Unseen { kind: T::KIND, why: NotRead::Other(why.to_owned()) })
                }
                Observed {
                    taken_at,
                    clock: Clock::of_file(taken_at),
                    server: None,
                    scope,
                    $sets: Vec::new(),
                    $($field: unseen(why),)*
                    has_all_pods: true,
                    chosen: None,
                    around: None,
                    files: BTreeMap::new(),
                    logs: Vec::new(),
                    trials: Vec::new(),
                    manifests: None,
                    dns: None,
                }
            }

            /// Whether it is about this StatefulSet.
            pub fn is_about(&self, set: &StatefulSet) -> bool {
                let key = || (set.metadata.namespace.clone(), set.metadata.name.clone());
                self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&key()))
            }

            /// When the newest of the objects was created, by the API server's clock.
            pub fn newest(&self) -> Option<Timestamp> {
                fn of<T: Object>(seen: &[T]) -> Option<Timestamp> {
                    seen.iter().filter_map(|object| object.meta().creation_timestamp).max()
                }
                let all = [of(&self.$sets), $(of(self.$field.as_deref().unwrap_or_default()),)*];
                all.into_iter().flatten().max()
            }

            /// The kinds that could not be looked at, and why, in the order they are recorded.
            pub fn unseen(&self) -> Vec<Unseen> {
                [$(self.$field.as_ref().err(),)*].into_iter().flatten().cloned().collect()
            }
        }
    };
}
for_each_kind!(declare_observed);

/// Declares [`Namespace`] by the table of kinds: only some of them live in one.
macro_rules! declare_namespace {
    (@ [$($about:literal $name:ident $field:ident)*]) => {
        /// The objects of one namespace. Kinds that were not seen are empty here; whether they were is asked of [`Observed`].
        #[derive(Clone, Debug, Default)]
        pub struct Namespace<'a> {
            $(
                #[doc = concat!($about, ".")]
                pub $field: Vec<&'a $name>,
            )*
            pub(super) names: Names,
        }

        impl<'a> Namespace<'a> {
            fn sort(all: &mut BTreeMap<&'a str, Namespace<'a>>, observed: &'a Observed) {
                fn sort<'a, T: Object>(
                    all: &mut BTreeMap<&'a str, Namespace<'a>>,
                    seen: &'a [T],
                    part: impl for<'n> Fn(&'n mut Namespace<'a>) -> &'n mut Vec<&'a T>,
                ) {
                    fn place<T: Object>(object: &T) -> &str {
                        &object.meta().namespace
                    }
                    // A server lists them by their namespaces.
                    for run in seen.chunk_by(|a, b| place(a) == place(b)) {
                        if let Some(namespace) = run.first().and_then(|first| all.get_mut(place(first))) {
                            part(namespace).extend(run);
                        }
                    }
                }
                $(sort(all, observed.$field.objects(), |namespace| &mut namespace.$field);)*
            }
        }
    };
    (@ [$($done:tt)*] [$name:ident $field:ident $plural:literal $version:literal namespaced $about:literal] $($rest:tt)*) => {
        declare_namespace!(@ [$($done)* $about $name $field] $($rest)*);
    };
    (@ [$($done:tt)*] [$name:ident $field:ident $plural:literal $version:literal cluster $about:literal] $($rest:tt)*) => {
        declare_namespace!(@ [$($done)*] $($rest)*);
    };
    (@ [$($done:tt)*] [$name:ident $field:ident $plural:literal $version:literal everywhere $about:literal] $($rest:tt)*) => {
        declare_namespace!(@ [$($done)*] $($rest)*);
    };
    ([$($first:tt)*] $($rest:tt)*) => {
        declare_namespace!(@ [] [$($first)*] $($rest)*);
    };
}
for_each_kind!(declare_namespace);

/// What was seen of a kind, and of the StatefulSets, without which there is nothing to see.
trait Objects<T> {
    fn objects(&self) -> &[T];
}

impl<T> Objects<T> for Vec<T> {
    fn objects(&self) -> &[T] {
        self
    }
}

impl<T> Objects<T> for Seen<T> {
    fn objects(&self) -> &[T] {
        self.as_deref().unwrap_or_default()
    }
}

impl Observed {
    /// Sorted into namespaces, for those that hold a StatefulSet.
    pub fn namespaces(&self) -> BTreeMap<&str, Namespace<'_>> {
        let names = self.sets.iter().map(|set| (set.metadata.namespace.as_str(), Namespace::default()));
        let mut all: BTreeMap<&str, Namespace<'_>> = names.collect();
        Namespace::sort(&mut all, self);
        let wide = Rc::default();
        for namespace in all.values_mut() {
            namespace.sets.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
            namespace.names.wide = Rc::clone(&wide);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::ServerVersion;

    #[test]
    fn versions_of_vendors_are_understood() {
        for (text, numbers) in [
            ("v1.37.1", Some((1, 37, 1))),
            ("v1.33.5-eks-1234", Some((1, 33, 5))),
            ("v1.35.0-alpha.1", Some((1, 35, 0))),
            ("1.34+", Some((1, 34, 0))),
            ("unknown", None),
        ] {
            assert_eq!(ServerVersion { text: text.into() }.numbers(), numbers, "{text}");
        }
    }
}
