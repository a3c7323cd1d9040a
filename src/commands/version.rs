//! `version`: of this program, and of the API server.

use serde_json::{Value, json};

use super::notes;
use crate::cli::{Answer, Global, Ui, heading};
use crate::cluster::connect::{connect, platform};
use crate::cluster::inventory::server_version;
use crate::error::{Exit, Result};
use crate::render::{Page, View};

/// The commit this was built from, where the build says so.
const COMMIT: Option<&str> = option_env!("KUBECTL_STS_COMMIT");

/// Show the version of this plugin and of the server
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show both versions"
    "  kubectl sts version"
    ""
    "  # Show the version of the plugin for a script, without a cluster"
    "  kubectl sts version --client -o json"
    ""
    "Reads the version of the server. If there is no answer, the exit code is 3, and the version of the plugin is \
     still shown. Changes nothing."
))]
pub struct Args {
    /// Show the version of the plugin only; no cluster is needed
    #[arg(long, help_heading = heading::OUTPUT)]
    client: bool,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let server = if args.client {
        Ok(None)
    } else {
        match connect(&global.connect, global.namespace.as_deref(), streams.warn).await {
            Ok(connection) => server_version(&connection).await.map(Some),
            Err(error) => Err(error),
        }
    };
    let (server, exit) = match server {
        Ok(server) => (server.map(|version| version.text), Exit::Good),
        Err(error) => {
            (streams.fail)(&error);
            (None, error.exit())
        }
    };
    Ok(Answer { view: Box::new(Versions { server }), exit })
}

struct Versions {
    server: Option<String>,
}

/// This program's version, as Kubernetes writes versions.
fn client() -> String {
    format!("v{}", env!("CARGO_PKG_VERSION"))
}

impl View for Versions {
    fn text(&self, page: &mut Page) {
        page.line(&format!("Client Version: {}", client()));
        if let Some(commit) = COMMIT.filter(|_| page.look.wide) {
            page.line(&format!("Client Commit: {commit}"));
        }
        if page.look.wide {
            page.line(&format!("Client Platform: {}", platform()));
        }
        if let Some(server) = &self.server {
            page.line(&format!("Server Version: {server}"));
        }
    }

    fn json(&self) -> Value {
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Version",
            "clientVersion": {"gitVersion": client(), "gitCommit": COMMIT, "platform": platform()},
            "serverVersion": self.server.as_ref().map(|version| json!({"gitVersion": version})),
        })
    }

    fn names(&self) -> Vec<String> {
        vec![client()]
    }
}
