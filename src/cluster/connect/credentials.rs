//! Who we are: what is sent with each request, where it comes from, and how it is had again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use kube::config::{AuthInfo, AuthProviderConfig};

use super::certificates::{self, Identity};
use super::exec::Plugin;
use super::files;
use super::redact::Redactor;
use crate::error::{Error, Result};

/// What proves who we are.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Proof {
    /// The `Authorization` header.
    pub authorization: Option<HeaderValue>,
    /// For the TLS handshake.
    pub identity: Option<Identity>,
}

/// Where it comes from.
pub(super) struct Source {
    user: AuthInfo,
    plugin: Option<Plugin>,
    redactor: Redactor,
}

impl Source {
    /// That of a user. A plugin is asked only where the user names nothing else.
    pub fn new(user: AuthInfo, plugin: Option<Plugin>, redactor: Redactor) -> Source {
        let secrets = [user.password.as_ref(), user.token.as_ref(), user.client_key_data.as_ref()];
        for secret in secrets.into_iter().flatten() {
            redactor.hide(revealed(secret));
        }
        Source { user, plugin, redactor }
    }

    /// Whether asking again may bring something else.
    pub fn is_renewable(&self) -> bool {
        self.plugin.is_some() || self.has_files() || self.provider().is_some()
    }

    /// Whether what was brought must be taken for new even if it is the same.
    pub fn is_always_new(&self) -> bool {
        self.plugin.is_some() || self.provider().is_some()
    }

    /// Whether it is read from files, which others replace.
    pub fn has_files(&self) -> bool {
        self.user.token_file.is_some() || self.user.client_certificate.is_some()
    }

    /// What kube logs in with by itself.
    pub fn provider(&self) -> Option<&AuthProviderConfig> {
        self.user.auth_provider.as_ref()
    }

    /// Reads the files, or runs the plugin.
    ///
    /// # Errors
    /// Names what cannot be read, or sent.
    pub async fn proof(&self) -> Result<Proof> {
        let mut identity = certificates::identity(&self.user)?;
        let mut authorization = None;
        if let Some(plugin) = &self.plugin {
            let answer = plugin.credentials().await?;
            if let Some(token) = &answer.token {
                authorization = Some(self.bearer(token, "the token from the plugin")?);
            }
            if let Some((certificate, key)) = answer.identity {
                self.redactor.hide(&key);
                identity = Some((STANDARD.encode(certificate), STANDARD.encode(key)));
            }
        } else if self.provider().is_none() {
            authorization = self.written()?;
        }
        Ok(Proof { authorization, identity })
    }

    /// What files and flags say.
    fn written(&self) -> Result<Option<HeaderValue>> {
        let user = &self.user;
        if let (Some(name), Some(password)) = (&user.username, &user.password) {
            let pair = STANDARD.encode(format!("{name}:{}", revealed(password)));
            self.redactor.hide(&pair);
            return Ok(Some(sensitive(&format!("Basic {pair}")).unwrap_or(HeaderValue::from_static(""))));
        }
        // As in client-go, the file wins, and the token beside it stands in where the file cannot be read.
        let token = user.token.as_ref().map(revealed);
        match &user.token_file {
            Some(path) => match (self.token_file(path), token) {
                (Err(_), Some(token)) => {
                    self.bearer(token, "the token of the user in the kubeconfig").map(Some)
                }
                (read, _) => read.map(Some),
            },
            None => token
                .map(|token| self.bearer(token, "the token given by --token or the kubeconfig"))
                .transpose(),
        }
    }

    fn token_file(&self, path: &str) -> Result<HeaderValue> {
        let unreadable = || Error::cluster(format!("cannot read the token file {path}"));
        let bytes = files::read(path, files::TOKEN).map_err(|e| unreadable().because(e))?;
        let token = String::from_utf8(bytes).map_err(|_| unreadable().because("it is not text in UTF-8"))?;
        let token = token.trim();
        if token.is_empty() {
            return Err(unreadable().because("it is empty"));
        }
        self.bearer(token, &format!("the token in {path}"))
    }

    fn bearer(&self, token: &str, what: &str) -> Result<HeaderValue> {
        self.redactor.hide(token);
        sensitive(&format!("Bearer {token}")).ok_or_else(|| {
            Error::cluster(format!("{what} cannot be sent"))
                .because("it contains a line break or another character that is not allowed in a header")
                .hint("copy it again, on one line, or log in again")
        })
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The text of a secret.
pub(super) fn revealed(secret: &secrecy::SecretString) -> &str {
    use secrecy::ExposeSecret;
    secret.expose_secret()
}

/// The headers that ask to act as somebody else, as client-go writes them (`transport/round_trippers.go`).
///
/// # Errors
/// When a name cannot be sent in a header.
pub(super) fn impersonation(user: &mut AuthInfo) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let value = |text: &str, what: &str| {
        HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
            Error::usage(format!("the {what} to impersonate cannot be sent"))
                .because("it contains a line break or another character that is not allowed in a header")
        })
    };
    let mut headers = Vec::new();
    if let Some(name) = user.impersonate.take() {
        headers.push((HeaderName::from_static("impersonate-user"), value(&name, "user")?));
    }
    if let Some(uid) = user.impersonate_uid.take() {
        headers.push((HeaderName::from_static("impersonate-uid"), value(&uid, "UID")?));
    }
    for group in user.impersonate_groups.take().into_iter().flatten() {
        headers.push((HeaderName::from_static("impersonate-group"), value(&group, "group")?));
    }
    for (key, texts) in user.impersonate_user_extra.take().into_iter().flatten() {
        let name = HeaderName::try_from(format!("impersonate-extra-{}", escaped(&key)))
            .map_err(|_| Error::usage("a key of --as-user-extra is too long"))?;
        for text in texts {
            headers.push((name.clone(), value(&text, "extra attribute")?));
        }
    }
    Ok(headers)
}

/// Percent-encodes what cannot stand in the name of a header, and `%` itself (client-go `headerKeyEscape`).
fn escaped(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
