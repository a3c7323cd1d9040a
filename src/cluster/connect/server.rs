//! The API server's address.

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery};

use super::kubeconfig::Target;
use crate::error::{Error, Result};

/// The server's address; without a scheme it is https if anything else speaks of TLS, as in client-go. Without a user, a
/// password, a query and a fragment, which are never sent nor shown; whether there were any is the second value.
///
/// # Errors
/// When there is none, or it is not valid. The address is not repeated: it may hold a password.
pub(super) fn server_url(target: &Target) -> Result<(Uri, bool)> {
    let (cluster, user) = (&target.cluster, &target.user);
    let Some(server) = cluster.server.as_deref() else {
        return Err(
            Error::cluster("the chosen cluster has no server in the kubeconfig").hint("give --server URL")
        );
    };
    let tls = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true)
        || user.client_certificate.is_some()
        || user.client_certificate_data.is_some();
    let full = if server.contains("://") {
        server.to_owned()
    } else {
        format!("http{}://{server}", if tls { "s" } else { "" })
    };
    let bad = || {
        Error::usage("the server's address is not valid; it is not shown, as it may hold a password")
            .hint("give it as https://host:port")
    };
    let url: Uri = full.parse().map_err(|_| bad())?;
    match url.scheme_str() {
        Some("http" | "https") if url.host().is_some_and(is_host) && has_port(&url) => {
            bare(url).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}

/// What can stand for a host: a name or an address. Part of a password that was not escaped cannot.
fn is_host(host: &str) -> bool {
    let inner = host.trim_matches(['[', ']']);
    !inner.is_empty()
        && inner.len() <= 253
        && inner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'))
}

/// Whether what stands behind the host is nothing, or a port.
fn has_port(url: &Uri) -> bool {
    let authority = url.authority().map_or("", Authority::as_str);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let rest = host.strip_prefix(url.host().unwrap_or_default()).unwrap_or_default();
    rest.is_empty() || (rest.starts_with(':') && url.port_u16().is_some_and(|port| port > 0))
}

/// `url` with scheme, host, port and path only, and whether it had a user.
fn bare(url: Uri) -> Option<(Uri, bool)> {
    let Parts { scheme, authority, path_and_query, .. } = url.into_parts();
    let authority = authority?;
    let (user, host) = match authority.as_str().rsplit_once('@') {
        Some((_, host)) => (true, host.parse().ok()?),
        None => (false, authority),
    };
    let mut parts = Parts::default();
    parts.scheme = scheme;
    parts.authority = Some(host);
    let path = path_and_query.as_ref().map_or("/", PathAndQuery::path);
    parts.path_and_query = Some(path.parse().ok()?);
    Some((Uri::from_parts(parts).ok()?, user))
}

/// The address as it is shown.
pub(super) fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let authority = url.authority().map_or("", Authority::as_str);
    format!("{scheme}://{authority}{}", url.path().trim_end_matches('/'))
}

pub(super) fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether `name` can be a namespace (apimachinery `IsDNS1123Label`); a path to a request is made of it.
pub(super) fn is_namespace(name: &str) -> bool {
    let ends = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63
        && name.bytes().all(|c| ends(c) || c == b'-')
        && name.bytes().next().is_some_and(ends)
        && name.bytes().last().is_some_and(ends)
}

#[cfg(test)]
mod tests {
    use kube::config::Cluster;

    use super::*;

    fn url(server: &str) -> Result<(Uri, bool)> {
        let cluster = Cluster { server: Some(server.to_owned()), ..Cluster::default() };
        server_url(&Target { cluster, ..Target::default() })
    }

    #[test]
    fn only_scheme_host_port_and_path_are_kept() {
        for (given, wanted, user) in [
            ("https://host:6443", "https://host:6443", false),
            ("https://me:hunter2@host:6443/k8s/?token=hunter2", "https://host:6443/k8s", true),
            ("host", "http://host", false),
            ("me@host:1", "http://host:1", true),
            ("https://[fd00::1]:6443", "https://[fd00::1]:6443", false),
        ] {
            let read = url(given).map(|(url, user)| (shown(&url), user)).map_err(|error| error.to_string());
            assert_eq!(read, Ok((wanted.to_owned(), user)), "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        for given in [
            "ftp://me:hunter2@host",
            "https://",
            "https://me:hunter2/x@host",
            "https://me:hunter2",
            "https://host:hunter2",
            "https://host:99999",
            "https://hunter2 host",
            "https://hunter2\n",
            "https://?hunter2",
            "//hunter2:x",
            "",
        ] {
            let error = url(given).map(|_| ()).map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|text| !text.contains("hunter2")), "{given}: {error:?}");
        }
    }

    #[test]
    fn namespaces_are_labels() {
        for (name, valid) in
            [("shop", true), ("a-1", true), ("", false), ("-a", false), ("a/b", false), ("A", false)]
        {
            assert_eq!(is_namespace(name), valid, "{name}");
        }
        assert!(!is_namespace(&"a".repeat(64)));
    }
}
