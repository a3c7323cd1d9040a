//! A pod's state in one word, as kubectl shows it.

use crate::kinds::{Container, ContainerStatus, Pod};

/// The STATUS column of `kubectl get pods` (`pkg/printers/internalversion/printers.go:printPod`).
pub fn pod_state(pod: &Pod) -> String {
    let status = &pod.status;
    let mut state = if status.reason.is_empty() { status.phase.clone() } else { status.reason.clone() };
    if state.is_empty() {
        "Pending".clone_into(&mut state);
    }
    if let Some(scheduled) = pod.condition("PodScheduled")
        && scheduled.reason == "SchedulingGated"
    {
        scheduled.reason.clone_into(&mut state);
    }
    let initializing = initialization(pod);
    if let Some(init) = &initializing {
        state.clone_from(init);
    }
    if initializing.is_none() || pod.condition("Initialized").is_some_and(|done| done.status == "True") {
        let mut running = false;
        for container in status.container_statuses.iter().rev() {
            if let Some(reason) = not_running(container) {
                state = reason;
            } else if container.ready && container.state.running.is_some() {
                running = true;
            }
        }
        if state == "Completed" && running {
            let ready = pod.condition("Ready").is_some_and(|ready| ready.status == "True");
            (if ready { "Running" } else { "NotReady" }).clone_into(&mut state);
        }
    }
    if pod.metadata.is_terminating() {
        if status.reason == "NodeLost" {
            "Unknown".clone_into(&mut state);
        } else if !pod.is_finished() {
            "Terminating".clone_into(&mut state);
        }
    }
    state
}

/// The RESTARTS column: those of the init containers until they are done.
pub fn pod_restarts(pod: &Pod) -> i32 {
    let done = pod.condition("Initialized").is_some_and(|done| done.status == "True");
    if done || initialization(pod).is_none() {
        return pod.restarts();
    }
    let inits = pod.status.init_container_statuses.iter();
    inits.fold(0, |sum, status| sum.saturating_add(status.restart_count))
}

/// Which init container is at work or has failed; `None` when all are done.
fn initialization(pod: &Pod) -> Option<String> {
    for (index, container) in pod.status.init_container_statuses.iter().enumerate() {
        if container.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0) {
            continue;
        }
        let spec = pod.spec.init_containers.iter().find(|init| init.name == container.name);
        if spec.is_some_and(is_sidecar) && container.started == Some(true) {
            continue;
        }
        return Some(match (&container.state.terminated, &container.state.waiting) {
            (Some(end), _) if !end.reason.is_empty() => format!("Init:{}", end.reason),
            (Some(end), _) if end.signal != 0 => format!("Init:Signal:{}", end.signal),
            (Some(end), _) => format!("Init:ExitCode:{}", end.exit_code),
            (None, Some(waiting)) if !waiting.reason.is_empty() && waiting.reason != "PodInitializing" => {
                format!("Init:{}", waiting.reason)
            }
            _ => format!("Init:{index}/{}", pod.spec.init_containers.len()),
        });
    }
    None
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy == "Always"
}

fn not_running(container: &ContainerStatus) -> Option<String> {
    match (&container.state.waiting, &container.state.terminated) {
        (Some(waiting), _) if !waiting.reason.is_empty() => Some(waiting.reason.clone()),
        (_, Some(end)) if !end.reason.is_empty() => Some(end.reason.clone()),
        (_, Some(end)) if end.signal != 0 => Some(format!("Signal:{}", end.signal)),
        (_, Some(end)) => Some(format!("ExitCode:{}", end.exit_code)),
        _ => None,
    }
}
