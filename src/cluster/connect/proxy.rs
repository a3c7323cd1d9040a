//! Which proxy stands between us and the API server. kube compares `NO_PROXY` with the proxy's own address and applies
//! it to the kubeconfig's `proxy-url` too, so the choice is made here, by Go's rules (`golang.org/x/net/http/httpproxy`).

use std::net::IpAddr;

use http::Uri;

use super::environment::Environment;
use super::redact::Redactor;
use crate::error::{Error, Result};

/// The proxy for `server`: the kubeconfig's `proxy-url` whatever `NO_PROXY` says, else the environment's.
///
/// # Errors
/// When its address cannot be used; it is not repeated, as it may hold a password.
pub(super) fn proxy_for(
    server: &Uri,
    configured: Option<&str>,
    env: &Environment,
    redactor: &Redactor,
) -> Result<Option<Uri>> {
    let parse = |url, origin| {
        let uri = parse(url, origin)?;
        let user = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        if let Some((user, _)) = user {
            redactor.hide(user.split_once(':').map_or(user, |(_, password)| password));
        }
        Ok(uri)
    };
    if let Some(url) = configured.filter(|url| !url.is_empty()) {
        return parse(url, "the kubeconfig's proxy-url").map(Some);
    }
    let (value, name) = match server.scheme_str() {
        Some("http") => (&env.http_proxy, "HTTP_PROXY"),
        _ => (&env.https_proxy, "HTTPS_PROXY"),
    };
    match value.as_deref().filter(|value| !value.is_empty()) {
        Some(value) if !bypassed(server, env.no_proxy.as_deref().unwrap_or_default()) => {
            parse(value, name).map(Some)
        }
        _ => Ok(None),
    }
}

fn parse(url: &str, origin: &str) -> Result<Uri> {
    let full = match url.split_once("://") {
        None => format!("http://{url}"),
        // kube's socks5 already leaves the name look-up to the proxy, which is what the h asks for
        Some(("socks5h", rest)) => format!("socks5://{rest}"),
        Some(_) => url.to_owned(),
    };
    // the address may hold a password, so it is not repeated
    let uri: Uri =
        full.parse().map_err(|_| Error::usage(format!("{origin} is not the address of a proxy")))?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") if uri.host().is_some() => Ok(uri),
        _ => Err(Error::usage(format!("{origin} names a proxy of an unknown kind"))
            .hint("use http://, https:// or socks5://")),
    }
}

/// Whether `server` is reached directly: this machine, or an entry of `no_proxy`.
fn bypassed(server: &Uri, no_proxy: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_lowercase();
    let ip = host.parse::<IpAddr>().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    no_proxy.split(',').map(str::trim).any(|entry| matches(&entry.to_lowercase(), &host, ip, port))
}

fn matches(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) =
        entry.split_once('/').and_then(|(n, b)| Some((n.parse().ok()?, b.parse().ok()?)))
    {
        return ip.is_some_and(|ip| in_network(ip, network, bits));
    }
    let (name, wanted_port) = split_port(entry);
    if wanted_port.is_some_and(|wanted| wanted != port.to_string()) || name.is_empty() {
        return false;
    }
    if let Ok(wanted) = name.parse::<IpAddr>() {
        return ip == Some(wanted);
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// `host:port` or `[v6]:port`; a bare v6 address has no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap_or_default()
    }

    #[test]
    fn no_proxy_is_compared_with_the_server() {
        for (server, no_proxy, direct) in [
            ("https://api.example.com:6443", "", false),
            ("https://api.example.com:6443", "*", true),
            ("https://api.example.com:6443", "api.example.com", true),
            ("https://API.example.com:6443", "api.EXAMPLE.com", true),
            ("https://api.example.com:6443", "example.com", true),
            ("https://api.example.com:6443", ".example.com", true),
            ("https://api.example.com:6443", "*.example.com", true),
            ("https://example.com", ".example.com", false),
            ("https://example.com", "*.example.com", false),
            ("https://badexample.com", "example.com", false),
            ("https://api.example.com:6443", "api.example.com:6443", true),
            ("https://api.example.com:6443", "api.example.com:443", false),
            ("https://api.example.com", "api.example.com:443", true),
            ("http://api.example.com", "api.example.com:80", true),
            ("https://api.example.com", "a.com, ,,:80, api.example.com", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://10.1.2.3:6443", "0.0.0.0/0", true),
            ("https://10.1.2.3:6443", "10.1.3.0/24", false),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://10.1.2.3:6443", "10.1.2.3:6443", true),
            ("https://10.1.2.3:6443", "10.1.2.3:1", false),
            ("https://10.1.2.3:6443", "10.1.2.0/99", false),
            ("https://10.1.2.3:6443", "fd00::/8", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "fd00::1", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "[fd00::1]:443", false),
            ("https://localhost:6443", "", true),
            ("https://127.0.0.1:6443", "", true),
            ("https://[::1]:6443", "", true),
        ] {
            assert_eq!(bypassed(&uri(server), no_proxy), direct, "{server} with NO_PROXY={no_proxy}");
        }
    }

    #[test]
    fn the_kubeconfigs_proxy_wins_and_ignores_no_proxy() {
        let env = Environment {
            https_proxy: Some("proxy:3128".into()),
            http_proxy: Some("http://plain:1".into()),
            no_proxy: Some("api".into()),
            ..Environment::default()
        };
        let chosen = |server, configured| {
            proxy_for(&uri(server), configured, &env, &Redactor::default()).ok().flatten()
        };
        assert_eq!(chosen("https://api", Some("socks5h://own:1080")), Some(uri("socks5://own:1080")));
        assert_eq!(chosen("https://api", None), None);
        assert_eq!(chosen("https://other", None), Some(uri("http://proxy:3128")));
        assert_eq!(chosen("http://other", None), Some(uri("http://plain:1")));
        assert_eq!(chosen("https://other", Some("")), Some(uri("http://proxy:3128")));
    }

    #[test]
    fn an_unusable_proxy_is_refused_without_its_password() {
        let env =
            Environment { https_proxy: Some("ftp://me:hunter2@proxy".into()), ..Environment::default() };
        let error = proxy_for(&uri("https://api"), None, &env, &Redactor::default())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");
    }
}
