//! How an image can be pulled after all, by what the registry or the runtime says.

use std::collections::BTreeSet;

use serde_json::{Map as Json, Value, json};

use super::creations::{Way, patch_containers, patch_template};
use super::misspelt::is_near;
use super::pods::Group;
use super::prelude::*;
use crate::messages::kubelet::{
    is_disk_full, is_for_another_platform, is_passing, is_rate_limited, is_unauthorized, is_unknown_host,
    is_unknown_image, is_untrusted,
};

/// An image that cannot be pulled.
pub(super) struct Pull<'a> {
    /// The container that needs it.
    pub container: &'a str,
    /// Its name.
    pub image: &'a str,
    /// The reason of the container's state.
    pub reason: &'a str,
    /// What was said.
    pub gist: &'a str,
    /// The image pull Secrets that the kubelet does not find.
    pub missing: &'a [&'a str],
    /// Whether it may pass in the next minutes.
    pub passing: bool,
}

/// What to change. The steps are alternatives.
pub(super) fn way(snapshot: &Snapshot<'_>, group: &Group<'_>, pull: &Pull<'_>) -> Way {
    let Pull { container, image, gist, .. } = *pull;
    let host = registry(image);
    let node = &group.first().pod.spec.node_name;
    let edited = |why: String| group.edit(snapshot).into_iter().fold(Way::because(why), Way::step);
    let moved = |why: String| match group.elsewhere(snapshot) {
        Some(elsewhere) => Way::because(why).step(elsewhere),
        None => Way::because(why).step(group.describe(snapshot)),
    };
    let changed = |change: Value| {
        let patch = patch_containers(snapshot, Json::new(), &[(container, change)].into())?;
        group.reached_by(snapshot, patch)
    };
    match () {
        () if pull.reason == "ErrImageNeverPull" => {
            let policy = changed(json!({"imagePullPolicy": "IfNotPresent"}));
            let way = Way::because(format!(
                "imagePullPolicy of container {container} is Never, and the image is not on node {node}: set it to IfNotPresent"
            ));
            policy.or_else(|| group.edit(snapshot)).into_iter().fold(way, Way::step)
        }
        () if !pull.missing.is_empty() => missing(snapshot, group, pull, host),
        () if is_rate_limited(gist) && group.first().pod.spec.image_pull_secrets.is_empty() => {
            let mut way = login(snapshot, group, host);
            if pull.passing {
                way.steps.insert(0, awaited(snapshot, group));
            }
            Way {
                why: format!(
                    "the kubelet tries again; {host} allows more pulls to users who log in: run docker login {host}, then {}",
                    way.why
                ),
                ..way
            }
        }
        () if is_unauthorized(gist) => unauthorized(snapshot, group, pull, host),
        () if is_passing(gist) && pull.passing => {
            Way::because("the kubelet tries again; the registry must be reachable from the node")
                .step(awaited(snapshot, group))
        }
        () if is_passing(gist) => moved(format!(
            "the kubelet tries again; node {node} must be able to reach {host} (look for its firewall, proxy and DNS server)"
        )),
        () if is_untrusted(gist) => moved(format!(
            "the container runtime of node {node} does not accept the certificate of {host}, or {host} has none: configure \
             {host} in /etc/containerd/certs.d on each node"
        )),
        () if is_disk_full(gist) => {
            moved(format!("free space on the disk of node {node}, or use another node"))
        }
        () if is_for_another_platform(gist) => platform(snapshot, group, container, node),
        () if is_unknown_host(gist) || is_unknown_image(gist) => {
            let what = if is_unknown_host(gist) {
                format!(
                    "{host} does not resolve on node {node}: correct the image of container {container} in the pod template"
                )
            } else {
                format!("correct the image of container {container} in the pod template")
            };
            let meant = meant(snapshot, image).and_then(|(right, user)| {
                Some((
                    format!("{what}; {user} runs a similar image: {right}"),
                    changed(json!({"image": right}))?,
                ))
            });
            match meant {
                Some((why, change)) => {
                    group.edit(snapshot).into_iter().fold(Way::because(why).step(change), Way::or)
                }
                None => edited(what),
            }
        }
        () => edited(format!("correct the image of container {container} in the pod template")),
    }
}

/// Waits for what passes by itself.
fn awaited(snapshot: &Snapshot<'_>, group: &Group<'_>) -> Command {
    kubectl("wait pod")
        .name(group.pod())
        .with("--for=condition=Ready --timeout=10m")
        .namespace(home(snapshot))
}

/// A Secret of the logins of the user who pastes it: the kubelet takes no other type
/// (`pkg/credentialprovider/secrets/secrets.go:MakeDockerKeyring`), and a password has no place on a command line.
fn created(name: &str, at: &str) -> Command {
    kubectl("create secret docker-registry").name(name).with("--from-file").login().namespace(at)
}

/// Secrets that the pod names, and that do not exist.
fn missing(snapshot: &Snapshot<'_>, group: &Group<'_>, pull: &Pull<'_>, host: &str) -> Way {
    let at = home(snapshot);
    let template = &snapshot.set.spec.template.spec.image_pull_secrets;
    let is_own = |name: &&str| template.iter().any(|own| own.name == **name);
    let account = match group.first().pod.spec.service_account_name.as_str() {
        "" => "its ServiceAccount".to_owned(),
        account => format!("ServiceAccount {account}"),
    };
    let place = if pull.missing.iter().all(is_own) {
        "the pod template".to_owned()
    } else if template.is_empty() && !snapshot.set.spec.template.spec.containers.is_empty() {
        account
    } else {
        format!("the pod template or {account}")
    };
    let mut all = pull.missing.iter().map(|name| created(name, at));
    let first = all.next().map(|first| all.fold(first, Command::and));
    let way = Way::because(format!(
        "run docker login {host}, then create that Secret from it (type kubernetes.io/dockerconfigjson), or correct its name in \
         imagePullSecrets of {place}"
    ));
    first.into_iter().fold(way, Way::step)
}

/// The registry does not let the node have it: the image does not exist, or needs a login.
fn unauthorized(snapshot: &Snapshot<'_>, group: &Group<'_>, pull: &Pull<'_>, host: &str) -> Way {
    let Pull { container, image, .. } = *pull;
    let correct = format!("correct the image of container {container} in the pod template");
    let edit = group.edit(snapshot);
    // Official images need no login, so that only an image that does not exist is denied.
    if is_official(image) {
        return edit
            .into_iter()
            .fold(Way::because(format!("{host} has no such official image: {correct}")), Way::step);
    }
    let names: Vec<&str> =
        group.first().pod.spec.image_pull_secrets.iter().map(|secret| secret.name.as_str()).collect();
    let way = match names.as_slice() {
        [] => login(snapshot, group, host),
        [name, ..] => {
            let replace = created(name, home(snapshot))
                .with("--dry-run=client -o yaml")
                .piped_into(kubectl("replace --force -f -").namespace(home(snapshot)));
            let whose = match names.as_slice() {
                [one] => format!("Secret {one} does not help"),
                several => format!("none of the Secrets {} helps", words::list(several, 3)),
            };
            Way::because(format!(
                "{whose}: it must have the type kubernetes.io/dockerconfigjson, and a login for {host} that may pull this image; \
                 run docker login {host}, then replace {name} with it"
            ))
            .step(replace)
        }
    };
    let why = if names.is_empty() {
        format!("{correct}, or run docker login {host}, then {}", way.why)
    } else {
        format!("{}; or {correct}", way.why)
    };
    edit.into_iter().fold(Way { why, ..way }, Way::or)
}

/// Gives the pods a Secret for the registry.
fn login(snapshot: &Snapshot<'_>, group: &Group<'_>, host: &str) -> Way {
    let name: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let name = format!("{}-pull", name.trim_matches(['.', '-']));
    let patch = patch_template(snapshot, &json!({"imagePullSecrets": [{"name": name}]}));
    let way = Way::because(format!("add a Secret for its registry ({name}) to imagePullSecrets"));
    match group.reached_by(snapshot, patch) {
        Some(patch) => way.step(created(&name, home(snapshot)).and(patch)),
        None => way,
    }
}

/// An image that is made for another architecture than that of the node.
fn platform(snapshot: &Snapshot<'_>, group: &Group<'_>, container: &str, own: &str) -> Way {
    let nodes = snapshot.nodes().unwrap_or_default();
    let of = |name: &str| nodes.iter().find(|node| node.metadata.name == name);
    let has = of(own).map_or("", |node| node.status.node_info.architecture.as_str());
    let others: BTreeSet<&str> = (nodes.iter())
        .filter(|node| node.is_ready())
        .map(|node| node.status.node_info.architecture.as_str())
        .filter(|architecture| !architecture.is_empty() && *architecture != has)
        .collect();
    let architecture =
        if has.is_empty() { "its architecture".to_owned() } else { format!("its architecture {has}") };
    let correct = format!(
        "the image has no variant for node {own} ({architecture}): use an image that has one for container {container}"
    );
    let edit = group.edit(snapshot);
    let selected = others.first().filter(|_| others.len() == 1).and_then(|other| {
        let patch = patch_template(snapshot, &json!({"nodeSelector": {"kubernetes.io/arch": other}}));
        Some((other, group.reached_by(snapshot, patch)?))
    });
    match selected {
        Some((other, patch)) => {
            let way = Way::because(format!(
                "{correct}, or set nodeSelector kubernetes.io/arch to {other} in the pod template"
            ));
            edit.into_iter().fold(way.step(patch), Way::or)
        }
        None => edit.into_iter().fold(Way::because(correct), Way::step),
    }
}

/// The registry of an image (`distribution/reference/normalize.go:splitDockerDomain`).
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

fn is_official(image: &str) -> bool {
    let path = image.strip_prefix("docker.io/").unwrap_or(image);
    let path = path.strip_prefix("library/").unwrap_or(path);
    registry(image) == "docker.io" && !path.contains('/')
}

/// The name of an image, and what says which one of that name.
fn parts(image: &str) -> (&str, &str) {
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    let end = image[name..].find(['@', ':']).map_or(image.len(), |end| name + end);
    image.split_at(end)
}

/// The image that is meant if its name is misspelt, and the pod that runs one of such a name.
fn meant(snapshot: &Snapshot<'_>, image: &str) -> Option<(String, String)> {
    let (name, tag) = parts(image);
    snapshot.namespace.pods.iter().filter(|pod| pod.is_ready()).find_map(|pod| {
        let mut names = pod.spec.containers.iter().map(|it| parts(&it.image).0);
        let right = names.find(|other| is_near(name, other))?;
        Some((format!("{right}{tag}"), pod.metadata.name.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_image_are_told_apart() {
        for (image, host, official, name, tag) in [
            ("postgres:17", "docker.io", true, "postgres", ":17"),
            ("docker.io/library/postgres", "docker.io", true, "docker.io/library/postgres", ""),
            ("me/db:1", "docker.io", false, "me/db", ":1"),
            ("localhost:5000/db", "localhost:5000", false, "localhost:5000/db", ""),
            ("r.example/a/db@sha256:1", "r.example", false, "r.example/a/db", "@sha256:1"),
        ] {
            assert_eq!(
                (registry(image), is_official(image), parts(image)),
                (host, official, (name, tag)),
                "{image}"
            );
        }
    }
}
