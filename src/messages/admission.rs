//! The API server, where it refuses a request of a controller.

use super::quota::{Demand, Exceeded};

/// What refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refuser<'a> {
    /// A ResourceQuota without room.
    Quota(Exceeded<'a>),
    /// A ResourceQuota that counts what the pod does not state.
    QuotaDemand(Demand<'a>),
    /// A quota that pods of this PriorityClass need, and the namespace has none.
    QuotaScope(&'a str),
    /// A ResourceQuota in another way.
    OtherQuota,
    /// A LimitRange.
    LimitRange(Vec<Bound<'a>>),
    /// Pod security, by the labels of the namespace.
    PodSecurity(Vec<Control<'a>>),
    /// A ValidatingAdmissionPolicy, by this binding.
    Policy {
        /// The policy.
        policy: &'a str,
        /// Its binding.
        binding: &'a str,
    },
    /// An admission webhook that answers.
    Webhook(&'a str),
    /// An admission webhook that cannot be asked.
    WebhookDown(&'a str),
    /// A ServiceAccount that is not there.
    ServiceAccount(&'a str),
    /// A PriorityClass that is not there.
    PriorityClass(&'a str),
    /// A RuntimeClass that is not there.
    RuntimeClass(&'a str),
    /// The object itself is not valid: the first field it is about.
    Invalid(&'a str),
    /// The namespace is being deleted.
    Namespace,
    /// Anything else.
    Other,
}

/// What refuses, by the words of the API server.
pub fn refuser(said: &str) -> Refuser<'_> {
    let says = |sign: &str| said.contains(sign);
    if let Some(exceeded) = Exceeded::parse(said) {
        return Refuser::Quota(exceeded);
    }
    if let Some(demand) = Demand::parse(said) {
        return Refuser::QuotaDemand(demand);
    }
    // `insufficient quota to match these scopes: [{PriorityClass In [system-cluster-critical]}]` (`resourcequota/controller.go`).
    if let Some((_, rest)) = said.split_once("insufficient quota to match these scopes: [{PriorityClass In [")
        && let Some((class, _)) = rest.split_once([' ', ']'])
    {
        return Refuser::QuotaScope(class);
    }
    match () {
        () if says("exceeded quota") || says("failed quota") || says("insufficient quota") => {
            Refuser::OtherQuota
        }
        () if says("violates PodSecurity") => Refuser::PodSecurity(controls(said)),
        () if says("being terminated") => Refuser::Namespace,
        () => named(said),
    }
}

/// What refuses, where its name is in the words.
fn named(said: &str) -> Refuser<'_> {
    if let Some((policy, binding)) = policy(said) {
        return Refuser::Policy { policy, binding };
    }
    // `no PriorityClass with name high was found` (`plugin/pkg/admission/priority`), `pod rejected: RuntimeClass "gvisor" not
    // found` (`runtimeclass`), `error looking up service account shop/web: serviceaccount "web" not found`.
    let between = |start: &str, end: &str| {
        let (name, _) = said.split_once(start)?.1.split_once(end)?;
        Some(name).filter(|name| !name.is_empty())
    };
    if let Some(name) = between("admission webhook \"", "\" denied the request") {
        return Refuser::Webhook(name);
    }
    if let Some(name) = between("failed calling webhook \"", "\"") {
        return Refuser::WebhookDown(name);
    }
    if let Some(name) = between("no PriorityClass with name ", " was found") {
        return Refuser::PriorityClass(name);
    }
    if let Some(name) = between("RuntimeClass \"", "\" not found") {
        return Refuser::RuntimeClass(name);
    }
    if let Some(name) = between("serviceaccount \"", "\" not found") {
        return Refuser::ServiceAccount(name);
    }
    let bounds = bounds(said);
    if !bounds.is_empty() {
        return Refuser::LimitRange(bounds);
    }
    match between("\" is invalid: ", ": ") {
        Some(field) => Refuser::Invalid(field.trim_start_matches('[')),
        None => Refuser::Other,
    }
}

/// The policy that refuses, and its binding: `ValidatingAdmissionPolicy 'freeze' with binding 'all' denied request: …`
/// (`admission/plugin/policy/validating/dispatcher.go`).
fn policy(said: &str) -> Option<(&str, &str)> {
    let (_, rest) = said.split_once("ValidatingAdmissionPolicy '")?;
    let (policy, rest) = rest.split_once("' with binding '")?;
    rest.split_once('\'').map(|(binding, _)| (policy, binding))
}

/// Where a webhook was to be called: `Post "https://hooks.ops.svc:443/validate?timeout=10s": …` (`webhook.Client`); the
/// namespace and the name of its Service.
pub fn webhook_service(said: &str) -> Option<(&str, &str)> {
    let (_, rest) = said.split_once("https://")?;
    let host = rest.split([':', '/', '?', '"']).next()?;
    let (service, namespace) = host.strip_suffix(".svc")?.split_once('.')?;
    (!service.is_empty() && !namespace.is_empty()).then_some((namespace, service))
}

/// Whether a webhook could not be called because its Service does not exist.
pub fn lacks_webhook_service(said: &str) -> bool {
    said.contains("service \"") && said.contains("\" not found")
}

/// A limit of a LimitRange that a request does not keep (`plugin/pkg/admission/limitranger/admission.go`: `minConstraint`,
/// `maxConstraint`, `requestConstraint`, `limitRequestRatioConstraint`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// Which kind of limit.
    pub kind: BoundKind,
    /// As in `cpu`.
    pub resource: &'a str,
    /// `Container`, `Pod` or `PersistentVolumeClaim`.
    pub per: &'a str,
    /// The limit, as written.
    pub value: &'a str,
}

/// What a LimitRange limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKind {
    /// The least that must be requested.
    Min,
    /// The most that may be requested and used.
    Max,
    /// How many times the request the limit may be.
    Ratio,
}

/// All limits in the words: several are in brackets, separated by commas, which they also hold.
fn bounds(said: &str) -> Vec<Bound<'_>> {
    const FORMS: [(&str, BoundKind); 3] = [
        ("minimum ", BoundKind::Min),
        ("maximum ", BoundKind::Max),
        (" max limit to request ratio per ", BoundKind::Ratio),
    ];
    let mut found: Vec<(usize, Bound<'_>)> = Vec::new();
    for (form, kind) in FORMS {
        for (at, _) in said.match_indices(form) {
            let rest = &said[at + form.len()..];
            let parsed = if kind == BoundKind::Ratio {
                let resource = said[..at].rsplit([' ', '[']).next().unwrap_or_default();
                rest.split_once(" is ").map(|(per, rest)| (resource, per, rest))
            } else {
                rest.split_once(" usage per ").and_then(|(resource, rest)| {
                    let (per, rest) = rest.split_once(" is ")?;
                    Some((resource, per, rest))
                })
            };
            let Some((resource, per, rest)) = parsed else { continue };
            let value = rest.split([',', ' ']).next().unwrap_or_default().trim_end_matches('.');
            let is_word = |text: &str| !text.is_empty() && !text.contains(' ');
            if is_word(resource) && is_word(per) && is_word(value) {
                found.push((at, Bound { kind, resource, per, value }));
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, bound)| bound).collect()
}

/// A control of pod security that a pod violates (`pod-security-admission/policy/checks.go:ForbiddenDetail`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// Such as `allowPrivilegeEscalation != false`.
    pub reason: &'a str,
    /// Such as `container "db" must set securityContext.allowPrivilegeEscalation=false`; may be empty.
    pub detail: &'a str,
}

impl<'a> Control<'a> {
    /// The containers that its detail names.
    pub fn containers(&self) -> Vec<&'a str> {
        let Some((_, rest)) = self.detail.split_once("container") else { return Vec::new() };
        let end = [" must ", " use", " set"].iter().filter_map(|word| rest.find(word)).min();
        rest[..end.unwrap_or(rest.len())].split('"').skip(1).step_by(2).collect()
    }
}

/// The level of pod security that is enforced: `restricted` in `violates PodSecurity "restricted:latest": …`.
pub fn security_level(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("violates PodSecurity \"")?;
    rest.split([':', '"']).next()
}

/// The controls that a pod violates: `a (b), c (d)`, with commas in the parentheses.
fn controls(said: &str) -> Vec<Control<'_>> {
    let Some((_, list)) =
        said.split_once("violates PodSecurity \"").and_then(|(_, it)| it.split_once("\": "))
    else {
        return Vec::new();
    };
    let (mut all, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    all.push(&list[start..]);
    let each = all.into_iter().map(|text| match text.trim().split_once(" (") {
        Some((reason, detail)) => Control { reason, detail: detail.strip_suffix(')').unwrap_or(detail) },
        None => Control { reason: text.trim(), detail: "" },
    });
    each.collect()
}

/// Whether the words do not depend on what a pod is like, so that another template is refused as well.
pub fn is_whatever_the_template(said: &str) -> bool {
    let signs = ["exceeded quota", "failed calling webhook", "being terminated", "Internal error"];
    signs.iter().any(|sign| said.contains(sign))
}

/// Whether a label or a host name would be too long, which those made of the StatefulSet's name can be: characters until
/// 1.33, bytes since.
pub fn is_too_long(said: &str) -> bool {
    said.contains("must be no more than 63")
}

/// A request above a limit, which is mostly one that a LimitRange has added: the container's place among the containers, and
/// the resource (`Pod "web-0" is invalid: spec.containers[0].resources.requests: Invalid value: "2Gi": must be less than or
/// equal to memory limit of 512Mi`).
pub fn above_limit(said: &str) -> Option<(usize, &str)> {
    let (_, rest) = said.split_once("spec.containers[")?;
    let (index, rest) = rest.split_once("].resources.requests: ")?;
    let (_, rest) = rest.split_once("must be less than or equal to ")?;
    let (resource, _) = rest.split_once(" limit")?;
    Some((index.parse().ok()?, resource)).filter(|_| !resource.contains(' '))
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

/// Whether it was a PVC that was refused (`stateful_pod_control.go:createPersistentVolumeClaims`).
pub fn is_about_claim(said: &str) -> bool {
    said.contains("failed to create PVC ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_is_told_by_the_words() {
        for (said, refuser_is) in [
            (
                "pods \"web-2\" is forbidden: no PriorityClass with name high was found",
                Refuser::PriorityClass("high"),
            ),
            (
                "pods \"web-2\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
                Refuser::RuntimeClass("gvisor"),
            ),
            (
                "pods \"web-2\" is forbidden: error looking up service account shop/web: serviceaccount \"web\" not found",
                Refuser::ServiceAccount("web"),
            ),
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: no limits",
                Refuser::Webhook("validate.kyverno.svc-fail"),
            ),
            (
                "Internal error occurred: failed calling webhook \"pods.example.com\": failed to call webhook: Post \
                 \"https://hooks.ops.svc:443/?timeout=10s\": no endpoints available for service \"hooks\"",
                Refuser::WebhookDown("pods.example.com"),
            ),
            (
                "Pod \"web-0\" is invalid: metadata.labels: Invalid value: \"web-58d44dd8f\": must be no more than 63 bytes",
                Refuser::Invalid("metadata.labels"),
            ),
            (
                "Pod \"web-0\" is invalid: [spec.hostname: Invalid value: \"web-0\": must be no more than 63 bytes, spec.x: \
                 Required value]",
                Refuser::Invalid("spec.hostname"),
            ),
            (
                "pods \"web-0\" is forbidden: unable to create new content in namespace shop because it is being terminated",
                Refuser::Namespace,
            ),
            (
                "pods \"web-0\" is forbidden: insufficient quota to match these scopes: [{PriorityClass In \
                 [system-cluster-critical]}]",
                Refuser::QuotaScope("system-cluster-critical"),
            ),
            ("something else", Refuser::Other),
        ] {
            assert_eq!(refuser(said), refuser_is, "{said}");
        }
    }

    #[test]
    fn every_limit_of_a_limit_range_is_read() {
        let bound = |kind, resource, per, value| Bound { kind, resource, per, value };
        let said = "pods \"web-0\" is forbidden: [minimum memory usage per Container is 64Mi, but request is 32Mi, maximum cpu \
                    usage per Pod is 2, but limit is 4, cpu max limit to request ratio per Container is 2, but provided \
                    ratio is 4.000000]";
        let all = [
            bound(BoundKind::Min, "memory", "Container", "64Mi"),
            bound(BoundKind::Max, "cpu", "Pod", "2"),
            bound(BoundKind::Ratio, "cpu", "Container", "2"),
        ];
        assert_eq!(refuser(said), Refuser::LimitRange(all.to_vec()));
        let one = "persistentvolumeclaims \"data-web-0\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, \
                   but request is 2Gi";
        let one_is = bound(BoundKind::Max, "storage", "PersistentVolumeClaim", "1Gi");
        assert_eq!(refuser(one), Refuser::LimitRange(vec![one_is]));
        let none =
            "pods \"web-0\" is forbidden: maximum cpu usage per Container is 1.  No limit is specified";
        assert_eq!(refuser(none), Refuser::LimitRange(vec![bound(BoundKind::Max, "cpu", "Container", "1")]));
    }

    #[test]
    fn controls_of_pod_security_are_taken_apart() {
        let said = "pods \"db-0\" is forbidden: violates PodSecurity \"restricted:latest\": unrestricted capabilities (containers \
                    \"db\", \"side\" must set securityContext.capabilities.drop=[\"ALL\"]), seccompProfile (pod or container \
                    \"db\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"), host namespaces \
                    (hostNetwork=true)";
        let Refuser::PodSecurity(controls) = refuser(said) else { panic!("{said}") };
        let read: Vec<_> = controls.iter().map(|control| (control.reason, control.containers())).collect();
        assert_eq!(
            read,
            [
                ("unrestricted capabilities", vec!["db", "side"]),
                ("seccompProfile", vec!["db"]),
                ("host namespaces", vec![])
            ]
        );
        assert_eq!(security_level(said), Some("restricted"));
    }

    #[test]
    fn a_request_above_a_limit_names_its_container() {
        let said = "Pod \"web-0\" is invalid: spec.containers[1].resources.requests: Invalid value: \"2Gi\": must be less than \
                    or equal to memory limit of 512Mi";
        assert_eq!(above_limit(said), Some((1, "memory")));
        assert_eq!(above_limit("Pod \"web-0\" is invalid: spec.hostname: Invalid value"), None);
    }

    #[test]
    fn the_service_of_a_webhook_is_in_its_address() {
        let said = "failed calling webhook \"a\": failed to call webhook: Post \"https://hooks.ops.svc:443/v?timeout=10s\": EOF";
        assert_eq!(webhook_service(said), Some(("ops", "hooks")));
        assert_eq!(webhook_service("Post \"https://hooks.example.com/v\": EOF"), None);
    }
}
