//! kubectl's connection flags.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::words::parse_duration;

const HEADING: &str = "Connection";

/// A value that is never shown, not even in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Secret {
        Secret(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Which cluster to talk to and as whom: kubectl's flags, except `-n/--namespace`. Empty values are as good as none.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectArgs {
    /// Path of the kubeconfig file
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "NAME")]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "NAME")]
    pub user: Option<String>,
    /// Address and port of the API server
    #[arg(long, short = 's', global = true, hide_short_help = true, help_heading = HEADING, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token for authentication
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "TOKEN")]
    pub token: Option<Secret>,
    /// Username for basic authentication
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "NAME")]
    pub username: Option<String>,
    /// Password for basic authentication
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "PASSWORD")]
    pub password: Option<Secret>,
    /// User to impersonate, which can be a service account
    #[arg(long = "as", global = true, hide_short_help = true, help_heading = HEADING, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to impersonate (repeatable)
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "GROUP")]
    pub as_group: Vec<String>,
    /// UID to impersonate
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "UID")]
    pub as_uid: Option<String>,
    /// Extra attribute of the impersonated user (repeatable)
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "KEY=VALUE",
          value_parser = parse_pair)]
    pub as_user_extra: Vec<(String, String)>,
    /// Path of the CA certificates that sign the certificate of the server
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Path of the client certificate
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// Path of the key of the client certificate
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Name in the server certificate, if it is not the host name
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Skip the check of the server certificate, which makes the connection insecure
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false,
          action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub insecure_skip_tls_verify: bool,
    /// Request uncompressed answers from the server
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false,
          action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    pub disable_compression: bool,
    /// Longest time for one request: 30s, 2m, or 0 for no limit (default: a read fails after 30s without an answer)
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING, value_name = "DURATION",
          value_parser = parse_duration)]
    pub request_timeout: Option<Duration>,
    /// Show each request on standard error: method, path, status, and the time until the answer began
    #[arg(long, global = true, hide_short_help = true, help_heading = HEADING)]
    pub trace: bool,
}

impl ConnectArgs {
    /// The flags that a command to paste repeats, so that it reaches the same cluster as the same user; the value of a
    /// switch is empty. Tokens, passwords and a URL that has some are secrets, and are left out.
    pub fn to_repeat(&self) -> Vec<(&'static str, String)> {
        let file = |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.to_str()).map(str::to_owned);
        let server = self.server.clone().filter(|url| !url.contains(['@', '?', '#']));
        let single = [
            ("--kubeconfig", file(&self.kubeconfig)),
            ("--context", self.context.clone()),
            ("--cluster", self.cluster.clone()),
            ("--user", self.user.clone()),
            ("--server", server),
            ("--as", self.as_user.clone()),
            ("--as-uid", self.as_uid.clone()),
            ("--certificate-authority", file(&self.certificate_authority)),
            ("--client-certificate", file(&self.client_certificate)),
            ("--client-key", file(&self.client_key)),
            ("--tls-server-name", self.tls_server_name.clone()),
        ];
        let groups = self.as_group.iter().map(|group| ("--as-group", group.clone()));
        let extra =
            self.as_user_extra.iter().map(|(key, value)| ("--as-user-extra", format!("{key}={value}")));
        let given = single.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        let given = given.chain(groups).chain(extra).filter(|(_, value)| !value.is_empty());
        let switch = self.insecure_skip_tls_verify.then(|| ("--insecure-skip-tls-verify", String::new()));
        given.chain(switch).collect()
    }

    /// Whether the flags choose a server that need not be the one of the context.
    pub(super) fn names_another_cluster(&self) -> bool {
        [&self.server, &self.cluster].into_iter().flatten().any(|value| !value.is_empty())
    }

    /// Whether the flags say who is asking, so that the kubeconfig need not.
    pub(super) fn has_credentials(&self) -> bool {
        self.token.as_ref().is_some_and(|token| !token.reveal().is_empty())
            || self.username.as_ref().is_some_and(|name| !name.is_empty())
            || self.client_certificate.as_ref().is_some_and(|path| !path.as_os_str().is_empty())
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("give KEY=VALUE".to_owned()),
    }
}
