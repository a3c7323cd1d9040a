//! Credential plugins, run by us and once: kube runs them three times for one client, and not again after a 401.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;

use super::environment::Environment;
use crate::error::{Error, Result};
use crate::text::{clean, one_line};

/// How to get credentials, kept so that they can be had again when the server stops taking them.
#[derive(Clone)]
pub(super) struct Plugin {
    exec: ExecConfig,
    cluster: Option<ExecAuthCluster>,
    terminal: bool,
    quiet: bool,
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
    /// The plugin `exec` describes, which may ask and talk as far as the environment allows it.
    pub fn new(exec: ExecConfig, cluster: &Cluster, env: &Environment) -> Result<Plugin> {
        let told = if exec.provide_cluster_info {
            let told = ExecAuthCluster::try_from(cluster);
            Some(told.map_err(|e| {
                Error::cluster("cannot read the kubeconfig's certificate authority").because(e)
            })?)
        } else {
            None
        };
        Ok(Plugin { exec, cluster: told, terminal: env.stdin_is_terminal, quiet: env.quiet_plugins })
    }

    /// Runs the plugin and writes what it answers into `user`, in place of what was there.
    pub async fn credentials(&self, user: &mut AuthInfo) -> Result<()> {
        let plugin = self.clone();
        let ran = tokio::task::spawn_blocking(move || plugin.run()).await;
        let status = ran.map_err(|_| Error::cluster("the credential plugin could not be waited for"))??;
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (token, cert, key) =
            (filled(status.token), filled(status.client_certificate_data), filled(status.client_key_data));
        if token.is_none() && (cert.is_none() || key.is_none()) {
            return Err(self.failed("it answered with neither a token nor a certificate with its key"));
        }
        user.exec = None;
        user.token = token.map(Into::into);
        if let (Some(cert), Some(key)) = (cert, key) {
            user.client_certificate_data = Some(STANDARD.encode(cert));
            user.client_key_data = Some(STANDARD.encode(key).into());
        }
        Ok(())
    }

    fn run(&self) -> Result<AnswerStatus> {
        let version = self.exec.api_version.clone().unwrap_or_default();
        if !matches!(
            version.as_str(),
            "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1"
        ) {
            return Err(self.failed(&format!("the kubeconfig asks for its API version {version:?}, which is not known"))
                .hint("the versions are client.authentication.k8s.io/v1 and client.authentication.k8s.io/v1beta1"));
        }
        let interactive = self.terminal && self.exec.interactive_mode != Some(ExecInteractiveMode::Never);
        if self.exec.interactive_mode == Some(ExecInteractiveMode::Always) && !interactive {
            return Err(self
                .failed("it must be able to ask questions, and standard input is not a terminal")
                .hint("run this on a terminal, or log in first with the plugin's own command"));
        }
        let mut command = Command::new(self.name());
        command.args(self.exec.args.iter().flatten());
        for pair in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
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

        let output = command.output().map_err(|e| self.not_started(&e))?;
        if !output.status.success() {
            let error = self.failed(&format!("it ended with {}", output.status));
            return Err(error
                .hint("what it said about that is above; log in again with its own command if it asks to"));
        }
        // the parser's own words would quote the credentials
        let answer: Answer = serde_saphyr::from_slice(&output.stdout)
            .map_err(|_| self.failed("its output is not an ExecCredential in JSON or YAML"))?;
        if answer.api_version.as_ref() != Some(&version) {
            let given = one_line(answer.api_version.as_deref().unwrap_or_default(), 100);
            return Err(self.failed(&format!("it answered in API version {given:?} instead of {version:?}")));
        }
        answer.status.ok_or_else(|| self.failed("its answer has no status"))
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
