//! The kubelet, where it evicts a pod (`pkg/kubelet/eviction/helpers.go`).

/// What a pod used too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess<'a> {
    /// A container uses more than it requests, on a node that runs out.
    Request {
        /// The container.
        container: &'a str,
        /// What the node runs out of.
        resource: &'a str,
        /// What the container used.
        used: &'a str,
    },
    /// A container used more local disk than its limit.
    Limit {
        /// The container.
        container: &'a str,
        /// The limit.
        limit: &'a str,
    },
    /// The containers together used more local disk than their limits.
    Limits,
    /// An emptyDir is larger than its limit.
    EmptyDir {
        /// The volume.
        volume: &'a str,
        /// The limit.
        limit: &'a str,
    },
}

/// What the message says that was used too much; `None` where it names no part of the pod.
pub fn excess(message: &str) -> Option<Excess<'_>> {
    let word = |text: &'_ str| !text.is_empty() && !text.contains(' ');
    if message.contains("Pod ephemeral local storage usage exceeds the total limit") {
        return Some(Excess::Limits);
    }
    if let Some((_, rest)) = message.split_once("Usage of EmptyDir volume \"") {
        let (volume, rest) = rest.split_once("\" exceeds the limit \"")?;
        let (limit, _) = rest.split_once('"')?;
        return Some(Excess::EmptyDir { volume, limit });
    }
    let (_, rest) = message.split_once("Container ")?;
    if let Some((container, rest)) = rest.split_once(" exceeded its local ephemeral storage limit \"") {
        let (limit, _) = rest.split_once('"')?;
        return Some(Excess::Limit { container, limit }).filter(|_| word(container));
    }
    let (container, rest) = rest.split_once(" was using ")?;
    let (used, rest) = rest.split_once(", request is ")?;
    let (_, rest) = rest.split_once("has larger consumption of ")?;
    let resource = rest.split('.').next()?;
    Some(Excess::Request { container, resource, used }).filter(|_| word(container) && word(resource))
}

/// The conditions of a node for which its kubelet does not take a pod (`eviction_manager.go:Admit`).
pub fn pressures(message: &str) -> Vec<&str> {
    let list = message.split_once("The node had condition: [").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.map_or("", |(list, _)| list);
    list.split([' ', ',']).filter(|word| !word.is_empty()).collect()
}

/// The taint by which the scheduler keeps pods from a node with such a condition
/// (`node_lifecycle_controller.go:nodeConditionToTaintKeyStatusMap`).
pub fn taint_of(condition: &str) -> Option<&'static str> {
    match condition {
        "DiskPressure" => Some("node.kubernetes.io/disk-pressure"),
        "MemoryPressure" => Some("node.kubernetes.io/memory-pressure"),
        "PIDPressure" => Some("node.kubernetes.io/pid-pressure"),
        _ => None,
    }
}

/// The sysctl that the kubelet does not allow (`kubelet/sysctl/allowlist.go:Admit`).
pub fn forbidden_sysctl(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("forbidden sysctl: \"")?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_pod_from_its_node_is_read() {
        assert_eq!(pressures("The node had condition: [DiskPressure]. "), ["DiskPressure"]);
        assert_eq!(
            pressures("The node had condition: [MemoryPressure DiskPressure]. "),
            ["MemoryPressure", "DiskPressure"]
        );
        assert_eq!(pressures("The node was low on resource: memory."), [""; 0]);
        let said = "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted";
        assert_eq!(forbidden_sysctl(said), Some("kernel.msgmax"));
        assert_eq!(forbidden_sysctl("The node was low on resource: memory."), None);
    }

    #[test]
    fn every_form_is_read() {
        for (message, read) in [
            (
                "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container db was using \
                 3421328Ki, request is 0, has larger consumption of memory. ",
                Some(Excess::Request { container: "db", resource: "memory", used: "3421328Ki" }),
            ),
            (
                "Container db exceeded its local ephemeral storage limit \"1Gi\". ",
                Some(Excess::Limit { container: "db", limit: "1Gi" }),
            ),
            (
                "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Gi\". ",
                Some(Excess::EmptyDir { volume: "tmp", limit: "1Gi" }),
            ),
            (
                "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
                Some(Excess::Limits),
            ),
            ("The node had condition: [DiskPressure]. ", None),
        ] {
            assert_eq!(excess(message), read, "{message}");
        }
    }
}
