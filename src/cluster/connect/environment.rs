//! What of the process environment decides how to connect, as values.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The environment, read once. Empty values are as good as none.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `KUBECONFIG`: a list of files; the ones that are missing are skipped.
    pub kubeconfig: Option<OsString>,
    /// The home directory; `.kube/config` below it is read when `KUBECONFIG` is not set.
    pub home: Option<PathBuf>,
    /// `HTTPS_PROXY` or `https_proxy`.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY` or `http_proxy`: for servers spoken to over plain http.
    pub http_proxy: Option<String>,
    /// `NO_PROXY` or `no_proxy`.
    pub no_proxy: Option<String>,
    /// `KUBERNETES_SERVICE_HOST`, set inside a pod.
    pub service_host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`, set inside a pod.
    pub service_port: Option<String>,
    /// The directory with `token`, `ca.crt` and `namespace` inside a pod.
    pub service_account: PathBuf,
    /// Whether somebody can type an answer to an exec plugin.
    pub stdin_is_terminal: bool,
    /// Whether what exec plugins say is dropped, as in the middle of a completion.
    pub quiet_plugins: bool,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Environment {
        let text =
            |names: &[&str]| names.iter().find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
        Environment {
            kubeconfig: env::var_os("KUBECONFIG").filter(|v| !v.is_empty()),
            home: env::home_dir(),
            https_proxy: text(&["HTTPS_PROXY", "https_proxy"]),
            http_proxy: text(&["HTTP_PROXY", "http_proxy"]),
            no_proxy: text(&["NO_PROXY", "no_proxy"]),
            service_host: text(&["KUBERNETES_SERVICE_HOST"]),
            service_port: text(&["KUBERNETES_SERVICE_PORT"]),
            service_account: SERVICE_ACCOUNT.into(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            quiet_plugins: false,
        }
    }
}
