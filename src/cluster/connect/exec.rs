//! Credential plugins, run by us and once: kube runs them three times for one client, and not again after a 401.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::child::Running;
use super::environment::Environment;
use crate::error::{Error, Result};
use crate::text::{clean, one_line};

/// How long a plugin may take that cannot ask anybody, unless `--request-timeout` says otherwise.
const LIMIT: Duration = Duration::from_secs(60);
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// How to get credentials, kept so that they can be had again when the server stops taking them.
#[derive(Clone)]
pub(super) struct Plugin {
    exec: ExecConfig,
    cluster: Option<ExecAuthCluster>,
    terminal: bool,
    quiet: bool,
    timeout: Option<Duration>,
}

/// What a plugin answers.
pub(super) struct Credentials {
    /// A bearer token.
    pub token: Option<String>,
    /// A client certificate and its key, both PEM.
    pub identity: Option<(String, String)>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plugin").field(&self.exec.command).finish()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: Option<String>,
    status: Option<AnswerStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl Plugin {
    /// The plugin `exec` describes, which may ask and talk as far as the environment allows it; `timeout` is
    /// `--request-timeout`. A certificate authority in `cluster` must be data, not a file.
    pub fn new(
        exec: ExecConfig,
        cluster: &Cluster,
        env: &Environment,
        timeout: Option<Duration>,
    ) -> Result<Plugin> {
        let told = if exec.provide_cluster_info {
            let told = ExecAuthCluster::try_from(cluster);
            Some(told.map_err(|_| Error::cluster("cannot read the kubeconfig's certificate authority"))?)
        } else {
            None
        };
        let (terminal, quiet) = (env.stdin_is_terminal, env.quiet_plugins);
        Ok(Plugin { exec, cluster: told, terminal, quiet, timeout })
    }

    /// Runs the plugin and returns what it answers. It is killed when this future is dropped, as Ctrl-C does.
    ///
    /// # Errors
    /// When it cannot be started, fails, takes too long, or answers with anything but credentials.
    pub async fn credentials(&self) -> Result<Credentials> {
        let version = self.version()?;
        let interactive = self.terminal && self.exec.interactive_mode != Some(ExecInteractiveMode::Never);
        if self.exec.interactive_mode == Some(ExecInteractiveMode::Always) && !interactive {
            return Err(self
                .failed("it needs to ask questions, but stdin is not a terminal")
                .hint("run this on a terminal, or log in first with the command of the plugin"));
        }
        let limit = match self.timeout {
            Some(Duration::ZERO) => None,
            Some(asked) => Some(asked),
            None => (!interactive).then_some(LIMIT),
        };
        let command = self.command(version, interactive);
        let running = Running::start(command, interactive).map_err(|e| self.not_started(&e))?;
        let ended = match limit {
            Some(limit) => timeout(limit, running.end()).await.map_err(|_| self.too_slow(limit))?,
            None => running.end().await,
        };
        let (status, output) = ended.map_err(|e| self.failed(&e.to_string()))?;
        if !status.success() {
            let error = self.failed(&format!("it ended with {status}"));
            return Err(
                error.hint("read its message above; log in again with its own command if it asks for that")
            );
        }
        self.read(version, &output)
    }

    fn version(&self) -> Result<&'static str> {
        let asked = self.exec.api_version.as_deref().unwrap_or_default();
        VERSIONS.into_iter().find(|known| *known == asked).ok_or_else(|| {
            self.failed("the API version in the kubeconfig is not known")
                .hint(format!("the versions are {}", VERSIONS.join(" and ")))
        })
    }

    fn command(&self, version: &str, interactive: bool) -> Command {
        let mut command = Command::new(self.name());
        command.args(self.exec.args.iter().flatten());
        for pair in self.exec.env.iter().flatten() {
            // A name with = or a NUL in it cannot be set, and std panics over some of them.
            if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value"))
                && !name.is_empty()
                && !name.contains(['=', '\0'])
                && !value.contains('\0')
            {
                command.env(name, value);
            }
        }
        let mut spec = json!({ "interactive": interactive });
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = json!(cluster);
        }
        let info = json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec });
        command.env("KUBERNETES_EXEC_INFO", info.to_string());
        // its questions and its troubles go to the user, past us
        command.stderr(if self.quiet { Stdio::null() } else { Stdio::inherit() });
        command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::piped());
        command
    }

    fn read(&self, version: &str, output: &[u8]) -> Result<Credentials> {
        // the parser's own words would quote the credentials
        let answer: Answer = serde_saphyr::from_slice(output)
            .map_err(|_| self.failed("its output is not an ExecCredential in JSON or YAML"))?;
        if answer.api_version.as_deref() != Some(version) {
            return Err(self.failed(&format!("its answer has another API version, not {version}")));
        }
        let status = answer.status.ok_or_else(|| self.failed("its answer has no status"))?;
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let identity = filled(status.client_certificate_data).zip(filled(status.client_key_data));
        let token = filled(status.token);
        if token.is_none() && identity.is_none() {
            return Err(self.failed("its answer has no token and no certificate with a key"));
        }
        Ok(Credentials { token, identity })
    }

    fn too_slow(&self, limit: Duration) -> Error {
        self.failed(&format!("it did not end within {limit:?} and was stopped"))
            .hint("log in first with the command of the plugin; --request-timeout sets how long to wait")
    }

    fn name(&self) -> &str {
        self.exec.command.as_deref().unwrap_or_default()
    }

    fn failed(&self, why: &str) -> Error {
        Error::cluster(format!("cannot get credentials from the plugin {}", one_line(self.name(), 200)))
            .because(why)
    }

    fn not_started(&self, error: &io::Error) -> Error {
        let failed = match error.kind() {
            io::ErrorKind::NotFound => self.failed("there is no such program"),
            _ => self.failed(&error.to_string()),
        };
        match self.exec.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty()) {
            Some(hint) => failed.hint(hint.lines().map(clean).collect::<Vec<_>>().join("\n")),
            None => failed.hint("install it, or correct users[].user.exec.command in the kubeconfig"),
        }
    }
}
