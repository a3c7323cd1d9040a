//! Probes that ask the wrong question: what to change in the pod template, named with its field and value.

use serde_json::{Map as Json, Value, json};

use super::creations::patch_containers;
use super::misspelt::is_near;
use super::pods::{Group, container, status};
use super::prelude::*;
use crate::messages::kubelet::{
    Probe as Which, answers_plainly, answers_with_tls, lacks_program, lacks_right, refused, status_code,
    timed_out,
};

/// What is wrong with a probe.
pub(super) struct Wrong {
    /// What to change, and why; as a fragment.
    pub why: String,
    /// Changes it, and sees to it that the pods get it.
    pub change: Option<Command>,
    /// Whether nothing else can be the cause.
    pub is_certain: bool,
    /// Whether the change has the value, or leaves it to the user.
    pub is_named: bool,
}

/// The field of a container for the probe.
pub(super) fn field(which: Which) -> &'static str {
    match which {
        Which::Startup => "startupProbe",
        Which::Readiness => "readinessProbe",
        Which::Liveness => "livenessProbe",
    }
}

fn probe(container: &Container, which: Which) -> Option<&Probe> {
    match which {
        Which::Startup => container.startup_probe.as_deref(),
        Which::Readiness => container.readiness_probe.as_deref(),
        Which::Liveness => container.liveness_probe.as_deref(),
    }
}

/// What is wrong with this probe, by its own words and by the ports that the container declares. Of pods that would be created
/// from another template nothing is said: that one may be right.
pub(super) fn wrong(
    snapshot: &Snapshot<'_>,
    group: &Group<'_>,
    (name, which): (&str, Which),
    said: &str,
) -> Option<Wrong> {
    if group.is_outdated(snapshot) {
        return None;
    }
    let pod = group.first().pod;
    let container = container(pod, name)?;
    let probe = probe(container, which)?;
    let field = field(which);
    let patched = |change: Value| {
        let change = json!({field: change});
        let patch = patch_containers(snapshot, Json::new(), &[(name, change)].into())?;
        group.reached_by(snapshot, patch)
    };
    let edited = |why: String| Wrong { why, change: group.edit(snapshot), is_certain: true, is_named: false };
    if let Some(it) = wrong_port(snapshot, group, container, (probe, field), said) {
        let (action, port) = (it.action, it.port);
        return Some(match port {
            Some(port) => Wrong {
                why: it.why,
                change: patched(json!({action: {"port": port}})),
                is_certain: it.is_certain,
                is_named: true,
            },
            None => Wrong { is_certain: it.is_certain, ..edited(it.why) },
        });
    }
    let http = probe.http_get.is_some();
    let scheme = |scheme: &str, speaks: &str| Wrong {
        why: format!("the port speaks {speaks}: set {field}.httpGet.scheme of container {name} to {scheme}"),
        change: patched(json!({"httpGet": {"scheme": scheme}})),
        is_certain: true,
        is_named: true,
    };
    let code = status_code(said).filter(|_| http);
    Some(match code {
        _ if http && answers_plainly(said) => scheme("HTTP", "HTTP without TLS"),
        _ if http && answers_with_tls(said) => scheme("HTTPS", "TLS"),
        Some(404 | 405) => edited(format!(
            "the application answers, but not at this path: correct {field}.httpGet.path of container {name} in the pod template"
        )),
        Some(401 | 403) => edited(format!(
            "the application answers, and requires a login there: set {field}.httpGet.path of container {name} to a path \
             without one"
        )),
        Some(400) => edited(format!(
            "the application answers, and does not accept the request: correct scheme (HTTPS where it speaks TLS), path or \
             httpHeaders of {field}.httpGet of container {name}"
        )),
        _ if probe.exec.is_some() && lacks_program(said) => edited(format!(
            "the image has no such program: correct {field}.exec.command of container {name} in the pod template"
        )),
        _ if probe.exec.is_some() && lacks_right(said) => edited(format!(
            "the container may not run that program: correct {field}.exec.command of container {name}, or the mode of the file"
        )),
        _ if timed_out(said) && which != Which::Liveness => {
            let seconds = probe.timeout().saturating_mul(2).max(5);
            Wrong {
                why: format!(
                    "if it is only slow, set {field}.timeoutSeconds of container {name} to {seconds} (it is {})",
                    probe.timeout()
                ),
                change: patched(json!({"timeoutSeconds": seconds})),
                is_certain: false,
                is_named: true,
            }
        }
        _ => return None,
    })
}

struct Port {
    why: String,
    action: &'static str,
    port: Option<Value>,
    is_certain: bool,
}

/// A probe of a port that the container does not declare. A name that is not declared is never found
/// (`pkg/probe/util.go:ResolveContainerPort`). Of a number that proves nothing, unless it refuses connections from the
/// beginning in every pod of the template.
fn wrong_port(
    snapshot: &Snapshot<'_>,
    group: &Group<'_>,
    container: &Container,
    (probe, field): (&Probe, &str),
    said: &str,
) -> Option<Port> {
    let (action, port) = match (&probe.http_get, &probe.tcp_socket, &probe.grpc) {
        (Some(get), _, _) => ("httpGet", get.port.clone()?),
        (_, Some(socket), _) => ("tcpSocket", socket.port.clone()?),
        (_, _, Some(grpc)) => ("grpc", IntOrString::Int(grpc.port)),
        _ => return None,
    };
    let declared: Vec<&ContainerPort> =
        container.ports.iter().filter(|it| matches!(it.protocol.as_str(), "" | "TCP")).collect();
    let label = |it: &ContainerPort| match it.name.as_str() {
        "" => it.container_port.to_string(),
        name => format!("{} ({name})", it.container_port),
    };
    let all: Vec<String> = declared.iter().map(|it| label(it)).collect();
    let name = &container.name;
    let as_number = match &port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::Text(text) => text.parse().ok(),
    };
    match (&port, as_number) {
        (IntOrString::Text(text), None) => {
            // A name is looked for in any protocol.
            if container.ports.iter().any(|it| it.name == *text) {
                return None;
            }
            let near = declared.iter().find(|it| is_near(text, &it.name));
            let right = near.or(declared.first().filter(|_| declared.len() == 1));
            let (change, port) = match right {
                Some(it) if !it.name.is_empty() => (it.name.clone(), Some(json!(it.name))),
                Some(it) => (it.container_port.to_string(), Some(json!(it.container_port))),
                None => ("the number of the port on which the application listens".to_owned(), None),
            };
            let has =
                if all.is_empty() { "no port".to_owned() } else { format!("only {}", words::list(&all, 4)) };
            let why = format!(
                "{field} asks the port named {text}, but container {name} declares {has}: set {field}.{action}.port to {change}"
            );
            Some(Port { why, action, port, is_certain: true })
        }
        (_, Some(number)) => {
            let is_declared = declared.iter().any(|it| it.container_port == number);
            if declared.is_empty() || is_declared || !refused(said) || was_ready(snapshot, group) {
                return None;
            }
            let [only] = declared.as_slice() else { return None };
            let why = format!(
                "{field} asks port {number}, where nothing listens, and container {name} declares only port {}: if the \
                 application listens there, set {field}.{action}.port to {}",
                label(only),
                only.container_port
            );
            Some(Port { why, action, port: Some(json!(only.container_port)), is_certain: false })
        }
        _ => None,
    }
}

/// Whether a pod with these containers has been ready: then its probes ask for the right thing.
fn was_ready(snapshot: &Snapshot<'_>, group: &Group<'_>) -> bool {
    let first = group.first().pod;
    let pods = snapshot.replicas().unwrap_or_default().iter().filter_map(|replica| replica.pod);
    let mut alike = pods.filter(|pod| pod.revision() == first.revision());
    alike.any(|pod| {
        // The condition keeps the time at which it was False for the first time since it was True.
        let unready =
            pod.condition("Ready").filter(|it| it.status != "True").and_then(|it| it.last_transition_time);
        let began = pod
            .spec
            .containers
            .iter()
            .filter_map(|it| status(pod, &it.name)?.state.running.as_ref()?.started_at);
        pod.is_ready() || unready.zip(began.min()).is_some_and(|(unready, began)| unready > began)
    })
}
