//! The API server, where it refuses a request of a controller.

/// What refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuser<'a> {
    /// A ResourceQuota.
    Quota,
    /// A LimitRange.
    LimitRange,
    /// Pod security, by the labels of the namespace.
    PodSecurity,
    /// A ValidatingAdmissionPolicy, by this binding.
    Policy(&'a str),
    /// An admission webhook.
    Webhook,
    /// A ServiceAccount that is not there.
    ServiceAccount,
    /// Anything else.
    Other,
}

/// What refuses, by the words of the API server.
pub fn refuser(said: &str) -> Refuser<'_> {
    let says = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    match () {
        () if says(&["exceeded quota", "failed quota"]) => Refuser::Quota,
        () if says(&["LimitRange", "per Pod", "per Container"]) => Refuser::LimitRange,
        () if says(&["violates PodSecurity"]) => Refuser::PodSecurity,
        () => match binding(said) {
            Some(binding) => Refuser::Policy(binding),
            None if says(&["admission webhook", "failed calling webhook"]) => Refuser::Webhook,
            None if says(&["serviceaccount"]) => Refuser::ServiceAccount,
            None => Refuser::Other,
        },
    }
}

/// The binding of the policy that refuses: `ValidatingAdmissionPolicy 'freeze' with binding 'all' denied request: …`
/// (`admission/plugin/policy/validating/dispatcher.go`).
fn binding(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("ValidatingAdmissionPolicy '")?;
    let (_, rest) = rest.split_once("' with binding '")?;
    rest.split_once('\'').map(|(binding, _)| binding)
}

/// Whether the words do not depend on what a pod is like, so that another template is refused as well.
pub fn is_whatever_the_template(said: &str) -> bool {
    let signs = ["exceeded quota", "failed calling webhook", "being terminated", "Internal error"];
    signs.iter().any(|sign| said.contains(sign))
}

/// Whether another write came first; who was refused tries again at once.
pub fn is_conflict(said: &str) -> bool {
    said.contains("the object has been modified")
}

/// Whether the StatefulSet controller waits for a PVC to go before it makes the pod
/// (`stateful_pod_control.go:createPersistentVolumeClaims`).
pub fn waits_for_claim(said: &str) -> bool {
    said.starts_with("pvc ") && said.contains(" is being deleted")
}

/// The first line, without the diff of the whole object that follows where a pod would be changed.
pub fn without_diff(said: &str) -> &str {
    let said = said.split(" core.PodSpec{").next().unwrap_or(said);
    said.split('\n').next().unwrap_or(said)
}

/// What was said, without which request it was about: `delete Pod web-2 in StatefulSet web failed error: …`, capitalised
/// since 1.35 (`stateful_pod_control.go:recordPodEvent`).
pub fn reason(message: &str) -> &str {
    message.split_once("error: ").map_or(message, |(_, said)| said)
}

/// Whether the request was about the pod of that name.
pub fn is_about(message: &str, pod: &str) -> bool {
    let head = message.split("error: ").next().unwrap_or_default();
    head.split_whitespace().any(|word| word == pod)
}
