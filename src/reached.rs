//! Which cluster was reached, to be named in plans, questions, results and for programs. A recording is of no cluster that
//! could be reached again, so nothing is named then.

use std::sync::OnceLock;

use crate::text::{clean, in_quotes};

/// The cluster of this process; set once, as soon as it is known.
static CLUSTER: OnceLock<Cluster> = OnceLock::new();

/// No longer name is shown whole.
const LONGEST: usize = 100;

/// A cluster, by the words people know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cluster {
    /// The kubeconfig's context, where one was used.
    context: Option<String>,
    /// The host and port of the API server, where the context does not say which cluster it is.
    server: Option<String>,
}

/// Notes which cluster was reached: the kubeconfig's context, if one was used, and the server's address. `is_overridden`
/// says that the server is not the one of the context. Only the first call of a process counts.
pub fn note(context: Option<&str>, server: &str, is_overridden: bool) {
    let _ = CLUSTER.set(Cluster::of(context, server, is_overridden));
}

/// `context prod-eu`, or `server 10.0.0.1:6443` where there is no context; safe to be shown.
pub fn place() -> Option<String> {
    CLUSTER.get().map(Cluster::text)
}

/// ` (context prod-eu)`, to end a line of a page with; empty where no cluster was reached. Its own spaces are such that no
/// line is broken there.
pub fn suffix() -> String {
    place().map_or(String::new(), |place| format!(" ({})", place.replace(' ', "\u{a0}")))
}

/// The members that say the same to programs, by name.
pub fn members() -> Vec<(&'static str, &'static str)> {
    let Some(Cluster { context, server }) = CLUSTER.get() else { return Vec::new() };
    let context = context.as_deref().map(|context| ("context", context));
    context.into_iter().chain(server.as_deref().map(|server| ("server", server))).collect()
}

impl Cluster {
    fn of(context: Option<&str>, server: &str, is_overridden: bool) -> Cluster {
        let context = context.filter(|context| !context.is_empty());
        let needs_server = context.is_none() || is_overridden;
        Cluster { context: context.map(str::to_owned), server: needs_server.then(|| host(server)) }
    }

    fn text(&self) -> String {
        let context = self.context.as_deref().map(|context| format!("context {}", shown(context)));
        let server = self.server.as_deref().map(|server| format!("server {}", shown(server)));
        context.into_iter().chain(server).collect::<Vec<_>>().join(", ")
    }
}

/// The host and port of an address.
fn host(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest[..end].to_owned()
}

/// A name as it is where it can only be one, and in quotes otherwise: it must not be taken for the text around it.
fn shown(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-._:/@+[]".contains(c);
    if name.len() <= LONGEST && name.chars().all(is_plain) { clean(name) } else { in_quotes(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_its_context_or_else_by_its_server() {
        let arn = "arn:aws:eks:eu-central-1:123456789012:cluster/prod-eu";
        for (context, server, is_overridden, text) in [
            (Some("prod-eu"), "https://10.0.0.1:6443", false, "context prod-eu"),
            (Some(arn), "https://10.0.0.1:6443", false, &*format!("context {arn}")),
            (Some("a"), "https://db.example:6443/k8s/c-1", true, "context a, server db.example:6443"),
            (Some(""), "http://localhost:8001/", false, "server localhost:8001"),
            (None, "https://[fd00::1]:443", false, "server [fd00::1]:443"),
            (Some("a b"), "https://x", false, "context \"a b\""),
            (Some("a)? [y/N] y\n"), "https://x", false, r#"context "a)? [y/N] y\n""#),
            (Some("a\u{1b}[2J\u{202e}b"), "https://x", false, r#"context "a\u{1b}[2J\u{202e}b""#),
        ] {
            assert_eq!(Cluster::of(context, server, is_overridden).text(), text);
        }
        let long = Cluster::of(Some(&"x".repeat(4000)), "https://x", false).text();
        assert!(long.chars().count() < 80, "{long}");
    }
}
