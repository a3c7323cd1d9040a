//! Names that only the cluster, the kubeconfig or the files given know.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Deserialize;

use crate::cli::Global;
use crate::cluster::connect::{Environment, KubeconfigNames, connect_in, kubeconfig_names};
use crate::cluster::inventory::Want;
use crate::kinds::Kind;

/// What names are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Sets,
    SetsOfAll,
    Namespaces,
    Contexts,
    Clusters,
    Users,
}

/// Names alone: the API server sends the metadata only.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";
/// More would not be read by anybody; one request is all there is time for.
const LIMIT: usize = 500;

/// The names, sorted; none when they cannot be had in time.
pub(super) fn names(global: Option<&Global>, wanted: Wanted, until: Instant) -> Vec<String> {
    let Some(global) = global else { return Vec::new() };
    let mut env = Environment::of_process();
    // Whoever waits for a list of names is not to be asked for a password, nor told why there is none.
    env.stdin_is_terminal = false;
    env.quiet_plugins = true;
    let kubeconfig = |choose: fn(KubeconfigNames) -> Vec<String>| {
        kubeconfig_names(&global.connect, &env).map(choose).unwrap_or_default()
    };
    let found = match wanted {
        Wanted::Contexts => kubeconfig(|names| names.contexts),
        Wanted::Clusters => kubeconfig(|names| names.clusters),
        Wanted::Users => kubeconfig(|names| names.users),
        Wanted::Sets | Wanted::SetsOfAll | Wanted::Namespaces => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return Vec::new() };
            let read = async {
                let read = async {
                    if global.from.is_empty() {
                        of_cluster(global, &env, wanted).await
                    } else {
                        of_files(global, wanted).await
                    }
                };
                tokio::time::timeout_at(until.into(), read).await.ok().flatten()
            };
            let found = runtime.block_on(read).unwrap_or_default();
            // A plugin that hangs is not waited for.
            runtime.shutdown_background();
            found
        }
    };
    found.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

async fn of_cluster(global: &Global, env: &Environment, wanted: Wanted) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let connection = connect_in(env, &global.connect, global.namespace.as_deref(), |_| ()).await.ok()?;
    let path = match wanted {
        Wanted::Sets => Kind::StatefulSet.path(Some(&connection.namespace)),
        Wanted::SetsOfAll => Kind::StatefulSet.path(None),
        _ => "/api/v1/namespaces".to_owned(),
    };
    let body = connection.get_bytes(&format!("{path}?limit={LIMIT}"), METADATA).await.ok()?;
    let list: List = serde_json::from_slice(&body).ok()?;
    Some(list.items.into_iter().map(|item| item.metadata.name).collect())
}

async fn of_files(global: &Global, wanted: Wanted) -> Option<Vec<String>> {
    if global.from.iter().any(|file| file == "-") {
        // What comes on standard input then is not there yet.
        return None;
    }
    let sets = global.observe(true, Want::Diagnosis, |_| ()).await.ok()?.observed.sets;
    let all = sets.into_iter().map(|set| (set.metadata.namespace, set.metadata.name));
    Some(match (wanted, &global.namespace) {
        (Wanted::Namespaces, _) => all.map(|(namespace, _)| namespace).collect(),
        (Wanted::Sets, Some(here)) => {
            all.filter(|(namespace, _)| namespace == here).map(|(_, name)| name).collect()
        }
        _ => all.map(|(_, name)| name).collect(),
    })
}
