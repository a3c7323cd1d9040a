//! The kubelet, and the runtime and volume plugins whose errors it passes on.

use jiff::SignedDuration;

use super::clipped;
use crate::kinds::{Event, Pod};
use crate::words::parse_age;

/// What matters in a message of the kubelet or runtime: the innermost error, without the names of the calls and objects
/// it was handed through. Empty when there is nothing in it but a back-off.
pub fn gist(message: &str) -> String {
    let text = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = text.as_str();
    if rest.starts_with("Back-off ") && !rest.contains("\": ") {
        return String::new();
    }
    if let Some((_, desc)) = rest.rsplit_once("desc = ") {
        rest = desc;
    }
    if let Some((_, inner)) = rest.rsplit_once("\": ") {
        rest = inner;
    }
    let passed_on = |step: &str| {
        step.contains("://")
            || (step.contains('/') && !step.contains(' '))
            || ["failed ", "reading manifest", "pinging container registry"]
                .iter()
                .any(|start| step.starts_with(start))
            || matches!(step, "Error" | "ErrImagePull" | "rpc error" | "httpReadSeeker")
    };
    while let Some((step, inner)) = rest.split_once(": ")
        && passed_on(step)
        && !inner.is_empty()
    {
        rest = inner;
    }
    clipped(rest)
}

/// Why the runtime could not start a container: `exec: "postgers": executable file not found in $PATH`.
pub fn start_failure(message: &str) -> String {
    let inner = ["unable to start container process: ", "error during container init: "]
        .iter()
        .fold(message, |rest, step| rest.rsplit_once(step).map_or(rest, |(_, inner)| inner));
    let inner = inner.strip_prefix("Error: ").unwrap_or(inner);
    clipped(inner.strip_suffix(": unknown").unwrap_or(inner))
}

/// No kubelet makes a container wait longer.
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_mins(5);

/// How long the kubelet makes a container wait since it ended, as the message of CrashLoopBackOff says: 10 seconds, doubled
/// up to 5 minutes, or less if the node is configured so (`kuberuntime_manager.go:doBackOff`; `validation.go` of the kubelet's
/// configuration allows 1 to 300 seconds).
pub fn back_off(message: &str) -> Option<SignedDuration> {
    let (pause, _) = message.strip_prefix("back-off ")?.split_once(" restarting failed container")?;
    parse_age(pause).ok().filter(|pause| *pause <= LONGEST_BACK_OFF)
}

/// A kubelet's message within a sentence.
fn within(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

/// What a failed probe said, within a sentence: `liveness probe failed: HTTP probe failed with statuscode: 503`. A probe
/// that runs a command need not print anything; then its message ends with a colon, and nothing after it.
pub fn probe_words(message: &str) -> String {
    let message = within(&clipped(message));
    match message.strip_suffix(':') {
        Some(failed) => format!("{failed} and printed nothing"),
        None => message,
    }
}

/// A probe whose failure the kubelet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the container has started.
    Startup,
    /// Whether it is ready.
    Readiness,
    /// Whether it still works.
    Liveness,
}

/// The probe that an event of reason `Unhealthy` is about (`prober/prober.go:probe`), whether it failed or has no result.
pub fn probe(event: &Event) -> Option<Probe> {
    let (first, _) = event.text().split_once(' ').filter(|_| event.reason == "Unhealthy")?;
    match first {
        "Startup" => Some(Probe::Startup),
        "Readiness" => Some(Probe::Readiness),
        "Liveness" => Some(Probe::Liveness),
        _ => None,
    }
}

/// The same, if it failed. A probe that `errored` has no result, and kills nothing (`prober/worker.go:doProbe`).
pub fn failed_probe(event: &Event) -> Option<Probe> {
    let rest = event.text().split_once(' ').map_or("", |(_, rest)| rest);
    probe(event).filter(|_| rest.starts_with("probe failed:"))
}

/// The reason of events about containers that it stops.
pub const KILLING: &str = "Killing";

/// The probe for which a container is stopped, by an event of reason [`KILLING`]. The end of a pod, a changed container and a
/// failed hook are such events too.
pub fn killing_probe(event: &Event) -> Option<Probe> {
    let says = |words: &str| event.reason == KILLING && event.text().contains(words);
    match () {
        () if says(" failed liveness probe") => Some(Probe::Liveness),
        () if says(" failed startup probe") => Some(Probe::Startup),
        () => None,
    }
}

/// Whether a probe's words say that the application answers, and the answer is that it does not know or allow what the probe asks for.
pub fn is_wrong_question(said: &str) -> bool {
    ["statuscode: 400", "statuscode: 401", "statuscode: 403", "statuscode: 404", "statuscode: 405"]
        .iter()
        .any(|code| said.contains(code))
        || ["server gave HTTP response to HTTPS client", "malformed HTTP"].iter().any(|it| said.contains(it))
}

/// The status of an HTTP answer that a probe takes for a failure (`pkg/probe/http/http.go:DoHTTPProbe`).
pub fn status_code(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once("HTTP probe failed with statuscode: ")?;
    rest.get(..3)?.parse().ok()
}

/// Whether a probe's words say that nothing listens on its port.
pub fn refused(said: &str) -> bool {
    said.contains("connection refused")
}

/// Whether a probe that asked with TLS was answered without (`net/http/transport.go`).
pub fn answers_plainly(said: &str) -> bool {
    said.contains("server gave HTTP response to HTTPS client")
}

/// Whether a probe that asked without TLS was answered with a TLS alert: a record of type 21 of version 3.
pub fn answers_with_tls(said: &str) -> bool {
    said.contains(r#"malformed HTTP response "\x15\x03"#)
}

/// Whether the runtime did not find the program of a probe, or a shell did not.
pub fn lacks_program(said: &str) -> bool {
    ["executable file not found", "no such file or directory", ": not found", "command not found"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// Whether the runtime may not run the program of a probe.
pub fn lacks_right(said: &str) -> bool {
    said.contains("exec") && said.contains("permission denied")
}

/// Whether a probe's words say that no answer came in time.
pub fn timed_out(said: &str) -> bool {
    ["timeout", "timed out", "deadline exceeded"].iter().any(|word| said.contains(word))
}

/// Whether a warning only repeats the state of the container: `Error: ImagePullBackOff`.
pub fn is_state(event: &Event) -> bool {
    event.text().strip_prefix("Error: ").is_some_and(|state| !state.contains(' '))
}

/// Whether an event says that a container could not be started (`kuberuntime_container.go:startContainer`).
pub fn is_start_failure(event: &Event) -> bool {
    event.reason == "Failed" && event.text().starts_with("Error: failed ")
}

/// Whether an event says why this image could not be pulled. It can be of another image, or of an earlier refusal.
pub fn is_pull_failure(event: &Event, image: &str) -> bool {
    event.reason == "Failed"
        && event.text().starts_with("Failed to pull image")
        && event.message.contains(image)
}

/// Whether a message says what was wrong with an image: some versions say only that they wait.
pub fn tells(message: &str) -> bool {
    !message.starts_with("Back-off ") || message.contains("\": ")
}

/// Whether what was said of an image is trouble on the way to the registry, or at it, which mostly passes.
pub fn is_passing(gist: &str) -> bool {
    let signs = [
        "timeout",
        "timed out",
        "deadline exceeded",
        "connection refused",
        "connection reset",
        "temporary failure",
        "toomanyrequests",
        "Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "unexpected EOF",
    ];
    signs.iter().any(|sign| gist.contains(sign))
}

/// Whether it is what registries say to whom they do not know.
pub fn is_unauthorized(gist: &str) -> bool {
    let signs =
        ["401", "403", "nauthorized", "Forbidden", "forbidden", "denied", "authorization", "authentication"];
    signs.iter().any(|sign| gist.contains(sign))
}

/// Whether a registry refuses for some time whoever asks too often.
pub fn is_rate_limited(gist: &str) -> bool {
    gist.contains("toomanyrequests") || gist.contains("Too Many Requests")
}

/// Whether the name of a registry does not resolve.
pub fn is_unknown_host(gist: &str) -> bool {
    gist.contains("no such host")
}

/// Whether the runtime does not trust the registry, or the registry speaks no TLS.
pub fn is_untrusted(gist: &str) -> bool {
    gist.contains("x509:") || gist.contains("server gave HTTP response to HTTPS client")
}

/// Whether an image is not made for the architecture of the node.
pub fn is_for_another_platform(gist: &str) -> bool {
    ["no match for platform", "no matching manifest for", "does not match the specified platform"]
        .iter()
        .any(|sign| gist.contains(sign))
}

/// Whether the disk of the node is full.
pub fn is_disk_full(gist: &str) -> bool {
    gist.contains("no space left on device")
}

/// Whether the registry was reached, and has no such repository or tag.
pub fn is_unknown_image(gist: &str) -> bool {
    ["not found", "manifest unknown", "name unknown"].iter().any(|sign| gist.contains(sign))
}

/// The image pull secrets that the kubelet asks for in vain (`kubelet_pods.go:getPullSecretsForPod`).
pub fn pull_secrets(event: &Event) -> Option<Vec<&str>> {
    let event = Some(event).filter(|event| event.reason == "FailedToRetrieveImagePullSecret")?;
    let (_, rest) = event.message.split_once("image pull secrets (")?;
    let (names, _) = rest.split_once(')')?;
    Some(names.split(", ").filter(|name| !name.is_empty()).collect())
}

/// Whether an event says that a volume is not there. The kubelet that has yet to get its copy of a ConfigMap or Secret
/// asks again.
pub fn is_mount_failure(event: &Event) -> bool {
    matches!(event.reason.as_str(), "FailedMount" | "FailedAttachVolume" | "FailedMapVolume")
        && !is_syncing(&event.message)
}

/// Whether the kubelet has not got its copy of a ConfigMap or Secret yet, and asks again.
pub fn is_syncing(message: &str) -> bool {
    message.contains("failed to sync")
}

/// Whether it is the sum that the kubelet draws every 2 minutes while a volume is not there, whatever the reason
/// (`volumemanager/volume_manager.go:WaitForAttachAndMount`). The failure of one volume says more.
pub fn is_sum(message: &str) -> bool {
    message.starts_with("Unable to attach or mount volumes")
}

/// Whether an object of the user's is not there, which is a fault at once; anything else may pass, as a driver does that
/// has yet to register on a new node, and the ConfigMap that every new namespace gets.
pub fn is_absence(message: &str) -> bool {
    let object = message.contains("configmap") || message.contains("secret");
    let absent = message.contains("\" not found") || message.contains("non-existent");
    object && absent && !message.contains("kube-root-ca.crt")
}

/// What a pod needs and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Missing<'a> {
    /// Which kind of object.
    pub object: Object,
    /// Its name.
    pub name: &'a str,
    /// The key that it lacks; without, the object itself is not there.
    pub key: Option<&'a str>,
}

/// What holds configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Object {
    /// `kind` as written in manifests.
    pub fn kind(self) -> &'static str {
        match self {
            Object::ConfigMap => "ConfigMap",
            Object::Secret => "Secret",
        }
    }

    /// As kubectl names one.
    pub fn singular(self) -> &'static str {
        match self {
            Object::ConfigMap => "configmap",
            Object::Secret => "secret",
        }
    }

    /// As kubectl names many.
    pub fn plural(self) -> &'static str {
        match self {
            Object::ConfigMap => "configmaps",
            Object::Secret => "secrets",
        }
    }
}

/// The object the kubelet misses, by its wording (`kubelet_pods.go:makeEnvironmentVariables`, `volume/configmap`,
/// `volume/secret`, `volume/util.go`).
pub fn missing<'a>(pod: &'a Pod, message: &'a str) -> Option<Missing<'a>> {
    for (object, word) in [(Object::ConfigMap, "configmap \""), (Object::Secret, "secret \"")] {
        if let Some((before, rest)) = message.split_once(word)
            && !before.ends_with(|c: char| c.is_alphanumeric())
            && let Some((name, rest)) = rest.split_once('"')
            && rest.starts_with(" not found")
        {
            return Some(Missing { object, name, key: None });
        }
        if let Some((_, rest)) = message.split_once("couldn't find key ")
            && let Some((key, rest)) = rest.split_once(&format!(" in {} ", object.kind()))
        {
            let path = rest.split([' ', ',', ';']).next().unwrap_or(rest);
            let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
            return Some(Missing { object, name, key: Some(key) });
        }
    }
    for (object, word) in [
        (Object::ConfigMap, "references non-existent config key: "),
        (Object::Secret, "references non-existent secret key: "),
    ] {
        if let Some((before, key)) = message.split_once(word) {
            let volume = before.split_once("volume \"").and_then(|(_, rest)| rest.split_once('"'))?.0;
            let volume = pod.spec.volumes.iter().find(|it| it.name == volume)?;
            let name = match (&volume.config_map, &volume.secret) {
                (Some(map), _) => map.name.as_str(),
                (None, Some(secret)) => secret.secret_name.as_str(),
                (None, None) => return None,
            };
            return Some(Missing { object, name, key: Some(key.trim_end()) });
        }
    }
    None
}

/// A message of a container that could not be made, without the pod's own name, which differs between pods with the same
/// fault.
pub fn without_pod(message: &str) -> &str {
    message.split(" (pod: ").next().unwrap_or(message)
}

/// Whether it is the network that a sandbox lacks.
pub fn lacks_network(message: &str) -> bool {
    let lower = message.to_lowercase();
    ["network", "cni", "plugin type=", "address", "ipam"].iter().any(|word| lower.contains(word))
}

/// Whether it says that it is changing the owner of the files of a volume: from 30 seconds on, and then once a minute
/// (`pkg/volume/volume_linux.go:monitorProgress`).
pub fn is_owner_change(event: &Event) -> bool {
    event.reason == "VolumePermissionChangeInProgress"
}

/// How far it is with the owner of the files, without the address of a page of documentation that follows.
pub fn owner_progress(event: &Event) -> &str {
    event.text().split(", consider using").next().unwrap_or_default()
}

/// Whether it ended a pod, or did not take it (`eviction_manager.go`, `predicate.go`, `topologymanager`), so that its phase
/// is Failed and the StatefulSet makes another.
pub fn ends_pod(event: &Event) -> bool {
    matches!(
        event.reason.as_str(),
        "Evicted"
            | "UnexpectedAdmissionError"
            | "NodeAffinity"
            | "NodePorts"
            | "TopologyAffinityError"
            | "PodOSNotSupported"
            | "PodOSSelectorNodeLabelDoesNotMatch"
            | "SysctlForbidden"
            | "AppArmor"
            | "Terminated"
            | "NodeShutdown"
    ) || event.reason.starts_with("OutOf")
        || event.message.starts_with("Pod was rejected")
}

#[cfg(test)]
mod tests {
    use super::{gist, probe_words};

    #[test]
    fn a_probe_without_words_leaves_no_colon() {
        for (message, said) in [
            ("Liveness probe failed: ", "liveness probe failed and printed nothing"),
            ("Startup probe failed:\n", "startup probe failed and printed nothing"),
            (
                "Readiness probe failed: dial tcp 10.9.0.1:80: connect: connection refused",
                "readiness probe failed: dial tcp 10.9.0.1:80: connect: connection refused",
            ),
        ] {
            assert_eq!(probe_words(message), said);
        }
    }

    #[test]
    fn the_innermost_error_is_what_matters() {
        for (message, said) in [
            (
                "Failed to pull image \"postgres:17-apline\": rpc error: code = NotFound desc = failed to pull and \
                 unpack image \"docker.io/library/postgres:17-apline\": failed to resolve reference \
                 \"docker.io/library/postgres:17-apline\": docker.io/library/postgres:17-apline: not found",
                "not found",
            ),
            (
                "Back-off pulling image \"me/db:1\": ErrImagePull: failed to pull and unpack image \
                 \"docker.io/me/db:1\": failed to resolve reference \"docker.io/me/db:1\": pull access denied, \
                 repository does not exist or may require authorization: authorization failed: no basic auth \
                 credentials",
                "pull access denied, repository does not exist or may require authorization: authorization failed: \
                 no basic auth credentials",
            ),
            ("Back-off pulling image \"me/db:1\"", ""),
            (
                "Failed to pull image \"r.example/db:1\": rpc error: code = Unknown desc = failed to resolve reference \
                 \"r.example/db:1\": failed to do request: Head \"https://r.example/v2/db/manifests/1\": dial tcp: \
                 lookup r.example on 10.96.0.10:53: no such host",
                "dial tcp: lookup r.example on 10.96.0.10:53: no such host",
            ),
            (
                "Failed to pull image \"quay.io/a/b:c\": initializing source docker://quay.io/a/b:c: reading manifest \
                 c in quay.io/a/b: manifest unknown",
                "manifest unknown",
            ),
            (
                "Failed to apply default image tag \"a b\": couldn't parse image name \"a b\": invalid reference format",
                "invalid reference format",
            ),
            (
                "Failed to pull image \"db:1\": failed to pull and unpack image \"docker.io/library/db:1\": failed to \
                 copy: httpReadSeeker: failed open: unexpected status code https://r.example/v2/db: 429 Too Many \
                 Requests - Server message: toomanyrequests: You have reached your pull rate limit.",
                "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit",
            ),
        ] {
            assert_eq!(gist(message), said);
        }
    }
}
