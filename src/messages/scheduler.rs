//! The scheduler, about the nodes that it refuses: `0/4 nodes are available: 1 node(s) had untolerated taint(s), 3
//! Insufficient cpu.` (`framework/types.go:FitError`, and each plugin of `framework/plugins` for its own words.)

/// Why some of the nodes do not take a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// How many nodes; 0 where the scheduler does not count them.
    pub nodes: usize,
    /// For what reason.
    pub reason: Reason<'a>,
}

/// A reason of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// Too little of this resource is free.
    Insufficient(&'a str),
    /// The node has as many pods as it may have.
    TooManyPods,
    /// A taint.
    Taint {
        /// The taint of a node with a role, such as that of the control plane.
        of_role: bool,
    },
    /// The node is cordoned.
    Cordoned,
    /// The pod's nodeSelector, or its node affinity.
    Selector,
    /// Anti-affinity, of the pod or of another one.
    AntiAffinity,
    /// The pod's affinity to other pods.
    Affinity,
    /// A topology spread constraint.
    Spread {
        /// The node lacks the label that the constraint goes by.
        unlabelled: bool,
    },
    /// A host port.
    Ports,
    /// A volume of the pod can be used on other nodes only.
    VolumeNode,
    /// The node has as many volumes of a driver as it takes.
    VolumeLimit,
    /// A driver has too little free space for a volume that is to be made.
    FreeStorage,
    /// Another pod uses a PVC that one pod may use at a time.
    OncePod,
    /// Devices that the pod claims (`framework/plugins/dynamicresources`).
    Device(Device<'a>),
    /// Anything else.
    Other,
}

/// Why the devices that a pod claims cannot be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device<'a> {
    /// The DeviceClass of that name does not exist.
    NoClass(&'a str),
    /// The ResourceClaim of that name does not exist, or is not made yet.
    NoClaim(&'a str),
    /// No node has free devices that fit.
    NoneFree,
}

impl<'a> Device<'a> {
    fn parse(text: &'a str) -> Option<Device<'a>> {
        let between = |start: &str, end: &str| {
            let (name, _) = text.split_once(start)?.1.split_once(end)?;
            Some(name).filter(|name| !name.is_empty() && !name.contains(' '))
        };
        if let Some(class) = between("device class ", " does not exist") {
            return Some(Device::NoClass(class));
        }
        let quoted = || between("resourceclaim \"", "\"").or_else(|| between("resource.k8s.io \"", "\""));
        let missing = text.contains("to create the resourceclaim") || text.contains("\" not found");
        match () {
            () if text.contains("resourceclaim") && missing => quoted().map(Device::NoClaim),
            () if text.contains("cannot allocate all ") => Some(Device::NoneFree),
            () if text.contains("resourceclaim not available on the node") => Some(Device::NoneFree),
            () => None,
        }
    }
}

impl<'r> Reason<'r> {
    fn parse(text: &'r str) -> Reason<'r> {
        let says = |words: &str| text.contains(words);
        if let Some(resource) = text.strip_prefix("Insufficient ") {
            return Reason::Insufficient(resource);
        }
        if let Some(device) = Device::parse(text) {
            return Reason::Device(device);
        }
        match () {
            () if says("Too many pods") => Reason::TooManyPods,
            () if says("taint") => Reason::Taint { of_role: says("taint {node-role.kubernetes.io/") },
            () if says("were unschedulable") => Reason::Cordoned,
            () if says("node affinity/selector") => Reason::Selector,
            () if says("anti-affinity") => Reason::AntiAffinity,
            () if says("topology spread constraints") => {
                Reason::Spread { unlabelled: says("missing required label") }
            }
            () if says("pod affinity rules") => Reason::Affinity,
            () if says("free ports") => Reason::Ports,
            () if has_volume_conflict(text) || says("no available volume zone") => Reason::VolumeNode,
            () if says("exceed max volume count") => Reason::VolumeLimit,
            () if says("did not have enough free storage") => Reason::FreeStorage,
            () if says("ReadWriteOncePod") => Reason::OncePod,
            () => Reason::Other,
        }
    }
}

impl Refusal<'_> {
    /// Whether it is about nodes that take no pods, or only certain ones.
    pub fn is_closed(&self) -> bool {
        matches!(self.reason, Reason::Taint { .. } | Reason::Cordoned)
    }

    /// The nodes it counts for, where most of them decide: nodes of a role are in every cluster.
    fn weight(&self) -> usize {
        if self.reason == (Reason::Taint { of_role: true }) { 0 } else { self.nodes }
    }
}

/// The reasons in a message.
pub fn refusals(message: &str) -> Vec<Refusal<'_>> {
    let Some((_, reasons)) = without_preemption(message).split_once("nodes are available: ") else {
        return Vec::new();
    };
    let each = reasons.trim_end_matches(['.', ' ']).split(", ");
    each.map(|text| {
        let counted = text.split_once(' ').and_then(|(count, reason)| Some((count.parse().ok()?, reason)));
        let (nodes, reason) = counted.unwrap_or((0, text));
        Refusal { nodes, reason: Reason::parse(reason) }
    })
    .collect()
}

/// The reason that matters: the one for most of the nodes that would take the pod otherwise. That a node is tainted or
/// cordoned says nothing about the pod, as every cluster has such nodes, and often more of them than of others.
pub fn decisive<'a>(all: &[Refusal<'a>]) -> Option<Refusal<'a>> {
    let (closed, others): (Vec<_>, Vec<_>) = all.iter().copied().partition(Refusal::is_closed);
    // Nor does it that the pod's labels or volumes leave a node out: the nodes that they leave are refused for another reason.
    let (foreign, own): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|it| matches!(it.reason, Reason::Selector | Reason::VolumeNode));
    // The first of the largest: the scheduler sorts them by their words.
    let largest = |some: &[Refusal<'a>]| {
        some.iter().copied().reduce(|best, next| if next.weight() > best.weight() { next } else { best })
    };
    largest(&own).or_else(|| largest(&foreign)).or_else(|| largest(&closed))
}

/// Whether more nodes are closed than refuse the pod for other reasons; nodes of a role do not count.
pub fn is_mostly_closed(all: &[Refusal<'_>]) -> bool {
    let (closed, others): (Vec<_>, Vec<_>) = all.iter().partition(|refusal| refusal.is_closed());
    let nodes = |some: &[&Refusal<'_>]| some.iter().map(|refusal| refusal.weight()).sum::<usize>();
    nodes(&closed) > nodes(&others)
}

/// The message without its last part: what the plugins say that would make room (`PostFilter`), of which preemption repeats the
/// rest. `0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: …`
/// (`framework/types.go:FitError`). The parts before it end with a full stop.
pub fn without_preemption(message: &str) -> &str {
    let (before, has_others) = match message.split_once(" preemption: ") {
        Some((before, _)) => (before, before.ends_with(',')),
        None => (message, message.contains("nodes are available: ") && !message.ends_with(['.', '…'])),
    };
    let reasons = before.rfind(". ").filter(|_| has_others).and_then(|end| before.get(..=end));
    reasons.unwrap_or(before)
}

/// Whether Karpenter says why it adds no node, in an event with the reason of the scheduler's
/// (`controllers/provisioning/scheduling/events.go:PodFailedToScheduleEvent`).
pub fn is_of_karpenter(message: &str) -> bool {
    message.starts_with("Failed to schedule pod")
}

/// Whether the pod waits for a PVC to be bound.
pub fn waits_for_binding(message: &str) -> bool {
    message.contains("unbound immediate PersistentVolumeClaims")
}

/// Whether a PVC that the pod names is not there.
pub fn lacks_claim(message: &str) -> bool {
    message.contains("persistentvolumeclaim \"") && message.contains("not found")
}

/// The name of that PVC.
pub fn missing_claim(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("persistentvolumeclaim \"")?;
    let (name, rest) = rest.split_once('"')?;
    rest.starts_with(" not found").then_some(name)
}

/// Whether a volume cannot be used on some of the nodes (`volumebinding/binder.go:ErrReasonNodeConflict`), in its older and
/// newer words.
pub fn has_volume_conflict(message: &str) -> bool {
    let signs = ["volume node affinity conflict", "didn't match PersistentVolume's node affinity"];
    signs.iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart() {
        let message = "0/9 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu, 3 node(s) had untolerated \
                       taint {node-role.kubernetes.io/control-plane: }, 3 node(s) didn't match pod anti-affinity rules. \
                       preemption: 0/9 nodes are available: 9 Preemption is not helpful for scheduling.";
        let all = refusals(message);
        let refusal = |nodes, reason| Refusal { nodes, reason };
        assert_eq!(
            all,
            [
                refusal(1, Reason::Cordoned),
                refusal(2, Reason::Insufficient("cpu")),
                refusal(3, Reason::Taint { of_role: true }),
                refusal(3, Reason::AntiAffinity),
            ]
        );
        assert_eq!(decisive(&all), Some(refusal(3, Reason::AntiAffinity)));
        assert!(!is_mostly_closed(&all));
        // The nodes that the labels leave out are not those that matter.
        let pinned = refusals(
            "0/5 nodes are available: 1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already \
             in-use by another pod, 4 node(s) didn't match Pod's node affinity/selector.",
        );
        assert_eq!(decisive(&pinned), Some(refusal(1, Reason::OncePod)));
        assert_eq!(refusals("0/1 nodes are available: pod has unbound PVCs.")[0], refusal(0, Reason::Other));
        assert!(refusals("no such message").is_empty());
        // Up to 1.36 the plugin for devices speaks before preemption, or alone; of others too.
        let reasons = "0/2 nodes are available: 2 Insufficient cpu.";
        let preemption = "0/2 nodes are available: 2 No preemption victims found for incoming pod.";
        for more in [
            String::new(),
            format!(" preemption: {preemption}"),
            format!(" no new claims to deallocate, preemption: {preemption}"),
            format!(" plugin disabled, still not schedulable, preemption: {preemption}"),
            " no new claims to deallocate".to_owned(),
            " All PostFilter plugins are skipped".to_owned(),
        ] {
            let message = format!("{reasons}{more}");
            assert_eq!(without_preemption(&message), reasons, "{message}");
            assert_eq!(refusals(&message), [refusal(2, Reason::Insufficient("cpu"))], "{message}");
        }
        // An event that was cut off.
        let cut = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a.b/c: d…";
        assert_eq!(without_preemption(cut), cut);
        for (message, device) in [
            (
                "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) had untolerated taint(s).",
                Device::NoneFree,
            ),
            (
                "0/2 nodes are available: request gpu: device class gpu.example.com does not exist.",
                Device::NoClass("gpu.example.com"),
            ),
            (
                "0/2 nodes are available: waiting for dynamic resource controller to create the resourceclaim \"web-0-gpu\".",
                Device::NoClaim("web-0-gpu"),
            ),
            (
                "0/2 nodes are available: resourceclaim.resource.k8s.io \"shared\" not found.",
                Device::NoClaim("shared"),
            ),
        ] {
            let decisive = decisive(&refusals(message)).map(|it| it.reason);
            assert_eq!(decisive, Some(Reason::Device(device)), "{message}");
        }
        assert_eq!(
            missing_claim("0/3 nodes are available: persistentvolumeclaim \"backup\" not found."),
            Some("backup")
        );
    }
}
