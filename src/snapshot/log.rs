//! The end of what a container has written.

use serde::{Deserialize, Serialize};

use super::NotRead;
use crate::kinds::{ContainerStatus, Pod, Said};
use crate::text::clean;

/// A run of a container, whose log may be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogOf {
    /// The namespace of its pod.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Whether it is the run before the one that the kubelet shows first.
    #[serde(default)]
    pub previous: bool,
    /// Whether the container had ended when it was looked at, and was not started again: how a run is read then, not which it is.
    #[serde(skip)]
    pub has_ended: bool,
}

impl PartialEq for LogOf {
    fn eq(&self, other: &LogOf) -> bool {
        self.which() == other.which()
    }
}

impl LogOf {
    /// The run of a container that ended last. While the container runs again it is the previous one. While it waits for the
    /// next run it is both, and asked for as the previous one it stays the same if the next run begins meanwhile
    /// (`kubelet_pods.go:validateContainerLogStatus`). While it has just ended, the previous run is an older one, which has been
    /// removed (`pod_container_deletor.go`).
    pub fn last(namespace: &str, pod: &str, container: &str, status: Option<&ContainerStatus>) -> LogOf {
        let has_ended = status.is_some_and(|status| status.state.terminated.is_some());
        LogOf {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            previous: !has_ended && status.is_some_and(|status| status.last_state.terminated.is_some()),
            has_ended,
        }
    }

    fn which(&self) -> (&str, &str, &str, bool) {
        (&self.namespace, &self.pod, &self.container, self.previous)
    }
}

/// The end of the log of a run, or why it was not read.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which run.
    pub of: LogOf,
    /// The last lines, without escapes, credentials and empty lines.
    pub lines: Result<Vec<Said>, NotRead>,
    /// Whether they are too long to be read as a whole, so that the very last ones are not among them.
    pub is_cut: bool,
    /// What the container left as its termination message.
    pub message: Vec<Said>,
}

/// The last lines of a termination message that are kept. The kubelet keeps 80 lines or 2048 bytes of a log there, and 4096 bytes
/// of what the container writes itself (`kuberuntime_container.go`).
const MESSAGE: usize = 80;

/// The termination message of a run: what the container wrote to its `terminationMessagePath`, or the end of its log with the
/// policy `FallbackToLogsOnError`. Without escapes, credentials and empty lines.
pub fn termination_message(pod: &Pod, of: &LogOf) -> Vec<Said> {
    let mut all = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    let status = all.find(|status| status.name == of.container);
    let state = status.map(|status| if of.previous { &status.last_state } else { &status.state });
    // That of a container that never ran is the runtime's.
    let end = state.and_then(|state| state.terminated.as_ref()).filter(|end| !end.never_ran());
    let text = end.map_or("", |end| end.message.as_str());
    let lines = text.lines().map(|line| clean(line).trim_end().to_owned());
    let mut lines: Vec<Said> = lines.filter(|line| !line.is_empty()).map(Said::from).collect();
    lines.split_off(lines.len().saturating_sub(MESSAGE))
}

/// Whether an answer is no log, but says that there is none. The kubelet finds that out after it has begun to answer, so that
/// the request succeeds (`kubelet_pods.go:GetKubeletContainerLogs`, `kuberuntime_container.go:GetContainerLogs`, and
/// `logs.go:ReadLogs` in `cri-client`).
pub fn is_no_log(text: &str) -> bool {
    let text = text.trim_end();
    let says = |start| text.get(..str::len(start)).is_some_and(|head| head.eq_ignore_ascii_case(start));
    says("unable to retrieve container logs for ") || says("failed to try resolving symlinks in path ")
}
