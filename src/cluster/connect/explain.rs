//! Errors of the connection in kubectl's words, with the next step.

use std::io;
use std::time::Duration;

use kube::client::AuthError;

use super::Connection;
use super::redact::{plain_urls, unquoted};
use super::request::RequestError;
use super::status::Refusal;
use crate::error::Error;
use crate::text::one_line;

/// What a kube error means to the user: `doing` is what was tried (`list pods`), `server` the address it went to.
pub fn explain(error: &kube::Error, doing: &str, server: &str) -> Error {
    match error {
        kube::Error::Api(status) => {
            let Refusal { reason, message } = Refusal::new(&status.reason, &status.message, status.code);
            refused(status.code, &reason, &message, doing)
        }
        // its own text repeats what the command printed, and that may be a token
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            cannot(doing).because(format!("the command that gets the credentials ended with {}", out.status))
        }
        kube::Error::SerdeError(e) => nonsense(&unquoted(&e.to_string()), doing),
        // What the login server said may hold a token.
        kube::Error::Auth(_) => Error::cluster("the login by the kubeconfig's auth-provider failed")
            .hint("log in again, or use an exec plugin such as kubectl oidc-login"),
        other => unreachable(&Trouble::of(other), doing, server),
    }
}

/// As [`explain`], for our own reads.
pub fn explain_read(error: &RequestError, doing: &str, server: &str) -> Error {
    match error {
        RequestError::Forbidden { message } => refused(403, "Forbidden", message, doing),
        RequestError::NotFound { message } => refused(404, "NotFound", message, doing),
        RequestError::Gone => refused(410, "Expired", "the version asked for is too old", doing),
        RequestError::Unauthorized => refused(401, "Unauthorized", "", doing),
        RequestError::Api { code, reason, message } => refused(*code, reason, message, doing),
        RequestError::Nonsense(why) => nonsense(why, doing),
        RequestError::Credentials(error) => error.clone(),
        RequestError::Silent(waited) => silent(*waited, server),
        RequestError::Transport(error) => explain(error, doing, server),
    }
}

impl Connection {
    /// `explain_read` with this connection's server.
    pub fn explain(&self, error: &RequestError, doing: &str) -> Error {
        explain_read(error, &self.session.redactor.clean(doing), &self.server)
    }
}

fn nonsense(why: &str, doing: &str) -> Error {
    cannot(doing)
        .because(format!("the answer cannot be understood: {why}"))
        .hint("check that the address is that of the API server, and check proxies, gateways and VPN")
}

fn cannot(doing: &str) -> Error {
    Error::cluster(if doing.is_empty() { "the request failed".to_owned() } else { format!("cannot {doing}") })
}

fn refused(code: u16, reason: &str, message: &str, doing: &str) -> Error {
    match code {
        401 => Error::cluster("you must be logged in to the server (Unauthorized)")
            .hint("log in again, or choose other credentials with --user, --token or --context"),
        403 => cannot(doing)
            .because(message)
            .hint("ask for this permission; list yours with: kubectl auth can-i --list"),
        409 => cannot(doing).because(message).hint("it changed in the meantime; try again"),
        429 => cannot(doing)
            .because(message)
            .hint("the server is busy, or a PodDisruptionBudget forbids it; try again later"),
        _ if message.contains("HTTP request to an HTTPS server") => {
            cannot(doing).because(message).hint("the server expects HTTPS: correct the address to https://…")
        }
        _ if reason.is_empty() || message.contains(reason) => cannot(doing).because(message),
        _ => cannot(doing).because(format!("{message} ({reason})")),
    }
}

fn silent(waited: Duration, server: &str) -> Error {
    Error::cluster(format!("the server {server} did not answer within {waited:?}"))
        .hint("check the network, VPN and proxy; --request-timeout sets how long to wait")
}

/// Everything the chain of causes of an error says.
struct Trouble {
    text: String,
    last: String,
    kind: Option<io::ErrorKind>,
}

impl Trouble {
    fn of(error: &kube::Error) -> Trouble {
        let mut trouble = Trouble { text: String::new(), last: String::new(), kind: None };
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            trouble.last = error.to_string();
            trouble.text += &trouble.last;
            trouble.text.push('\n');
            let io = error.downcast_ref::<io::Error>();
            trouble.kind = io.map(io::Error::kind).or(trouble.kind);
            // an io::Error hands out its inner error's source as its own and would hide the inner error
            next = match io.and_then(|io| io.get_ref()) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        trouble
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.text.contains(word))
    }
}

fn unreachable(trouble: &Trouble, doing: &str, server: &str) -> Error {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    let last = one_line(&plain_urls(&trouble.last), 300);
    if trouble.says(&["tunnel error", "SOCKS error", "configured proxy"]) {
        return Error::cluster(format!("the proxy for the server {server} failed"))
            .because(last)
            .hint("check proxy-url in the kubeconfig, HTTPS_PROXY and NO_PROXY");
    }
    if let Some(error) = tls(trouble, &last, server) {
        return error;
    }
    if trouble.says(&["dns error", "failed to lookup address"]) {
        return Error::cluster(format!("the name of the server {server} cannot be resolved"))
            .because(last)
            .hint(
                "check the address: kubectl config view --minify; check the VPN, or choose another --context",
            );
    }
    match trouble.kind {
        Some(ConnectionRefused) => {
            Error::cluster(format!("the connection to the server {server} was refused"))
                .hint("check host and port, or choose another cluster with --context")
        }
        Some(HostUnreachable | NetworkUnreachable) => {
            Error::cluster(format!("there is no route to the server {server}"))
                .because(last)
                .hint("check the network and VPN, or choose another cluster with --context")
        }
        Some(TimedOut) => Error::cluster(format!("the server {server} did not answer in time"))
            .because(last)
            .hint("check the network, VPN and proxy; --request-timeout sets how long to wait"),
        Some(ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof) => lost(server, &last, doing),
        _ if trouble.says(&[
            "connection closed before message completed",
            "unexpected EOF",
            "end of file before",
        ]) =>
        {
            lost(server, &last, doing)
        }
        _ if trouble.says(&["deadline has elapsed"]) => {
            Error::cluster(format!("the server {server} did not answer in time"))
                .hint("check the network, VPN and proxy; --request-timeout sets how long to wait")
        }
        _ => cannot(doing).because(last),
    }
}

fn lost(server: &str, last: &str, doing: &str) -> Error {
    cannot(doing)
        .because(format!("the connection to the server {server} was lost"))
        .because(last)
        .hint("try again")
}

fn tls(trouble: &Trouble, last: &str, server: &str) -> Option<Error> {
    let untrusted = |hint: &str| {
        Error::cluster(format!("the certificate of the server {server} is not trusted"))
            .because(last)
            .hint(hint)
    };
    let own = |hint: &str| Error::cluster("the client certificate cannot be used").because(last).hint(hint);
    Some(if trouble.says(&["CaUsedAsEndEntity"]) {
        untrusted(
            "the server uses the certificate of its certificate authority, which is not supported;\n\
             give the server a certificate signed by that authority, or use --insecure-skip-tls-verify",
        )
    } else if trouble.says(&["UnknownIssuer"]) {
        untrusted("check certificate-authority-data in the kubeconfig, or give --certificate-authority FILE")
    } else if trouble.says(&["certificate not valid for name", "NotValidForName"]) {
        untrusted(
            "connect with a name that is in the certificate, or give such a name with --tls-server-name NAME",
        )
    } else if trouble.says(&["certificate expired", "certificate not valid yet"]) {
        untrusted("check the clock of this machine; if it is right, renew the certificate of the server")
    } else if trouble.says(&["invalid dns name"]) {
        Error::usage("the name given for the server certificate is not valid")
            .hint("correct --tls-server-name, or tls-server-name in the kubeconfig")
    } else if trouble.says(&["KeyMismatch"]) {
        own("the client key does not match the client certificate; check both in the user of the kubeconfig")
    } else if trouble.says(&["private key"]) {
        own("the key must be RSA, P-256, P-384 or Ed25519, unencrypted; P-521 keys are not supported")
    } else if trouble.says(&["identity PEM", "client certificate", "client key"]) {
        own("check client-certificate and client-key of the user in the kubeconfig")
    } else if trouble.says(&["InvalidContentType"]) {
        Error::cluster(format!("the server {server} does not speak TLS"))
            .hint("check the port; if the server uses plain HTTP, its address must start with http://")
    } else if trouble.says(&["invalid peer certificate"]) {
        untrusted("check certificate-authority-data in the kubeconfig, or give --certificate-authority FILE")
    } else if trouble.says(&["received fatal alert"]) {
        Error::cluster(format!("the server {server} broke off the TLS handshake"))
            .because(last)
            .hint("check the client certificate of the user in the kubeconfig; it may have expired")
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_trouble_names_the_next_step() {
        for (cause, says) in [
            ("invalid peer certificate: UnknownIssuer", "--certificate-authority FILE"),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "signed by that authority"),
            ("invalid peer certificate: certificate not valid for name \"a\"", "--tls-server-name NAME"),
            ("invalid peer certificate: certificate expired: verification time 1", "clock"),
            ("invalid private key: failed to parse private key as RSA, ECDSA, or EdDSA", "P-521"),
            (
                "invalid private key: keys may not be consistent: KeyMismatch",
                "does not match the client certificate",
            ),
            ("unknown private key format", "the key must be"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
            ("received fatal alert: CertificateRequired", "broke off the TLS handshake"),
        ] {
            // as hyper-rustls hands it on: an io::Error inside an io::Error
            let inner = io::Error::new(io::ErrorKind::InvalidData, cause);
            let error = kube::Error::Service(Box::new(io::Error::other(inner)));
            let shown = explain(&error, "list pods", "https://a").to_string();
            assert!(shown.contains(says), "{cause}: {shown}");
        }
    }
}
