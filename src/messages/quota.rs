//! The quota admission of the API server (`apiserver/pkg/admission/plugin/resourcequota/controller.go`).

/// A quota without room: `… is forbidden: exceeded quota: storage, requested: requests.storage=10Gi, used:
/// requests.storage=20Gi, limited: requests.storage=20Gi`. Only what is exceeded is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded<'e> {
    /// The quota.
    pub quota: &'e str,
    /// What there is too little of; never empty.
    pub lacking: Vec<Lack<'e>>,
}

/// A PVC that a quota leaves no room for: `persistentvolumeclaims "data-db-1" is forbidden: exceeded quota: …`.
pub struct Refusal<'e> {
    /// The PVC that was refused.
    pub claim: &'e str,
    /// The quota.
    pub quota: &'e str,
    /// What there is too little of; never empty.
    pub lacking: Vec<Lack<'e>>,
}

/// One resource that a quota has too little of, amounts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack<'e> {
    /// As in `requests.storage`.
    pub resource: &'e str,
    /// What was asked for.
    pub asked: &'e str,
    /// What is used already.
    pub used: &'e str,
    /// The limit.
    pub hard: &'e str,
}

impl<'e> Exceeded<'e> {
    /// Reads the message; `None` where it is another one, or holds what is no name.
    pub fn parse(message: &'e str) -> Option<Exceeded<'e>> {
        let (_, rest) = message.split_once("exceeded quota: ")?;
        let (quota, rest) = rest.split_once(", requested: ")?;
        let (asked, rest) = rest.split_once(", used: ")?;
        let (used, hard) = rest.split_once(", limited: ")?;
        let of = |list: &'e str, resource: &str| {
            list.split(',').filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == resource)
        };
        let lacking = asked.split(',').filter_map(|pair| {
            let (resource, asked) = pair.trim().split_once('=')?;
            Some(Lack { resource, asked, used: of(used, resource)?.1, hard: of(hard, resource)?.1 })
        });
        let lacking: Vec<_> = lacking.collect();
        let is_sane =
            is_name(quota) && !lacking.is_empty() && lacking.iter().all(|lack| is_name(lack.resource));
        is_sane.then_some(Exceeded { quota, lacking })
    }
}

/// Whoever may write events writes this text.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(&byte))
}

impl<'e> Refusal<'e> {
    /// Reads the message; `None` where it is another one, or holds what is no name.
    pub fn parse(message: &'e str) -> Option<Refusal<'e>> {
        let (_, rest) = message.split_once("persistentvolumeclaims \"")?;
        let (claim, rest) = rest.split_once('"')?;
        let Exceeded { quota, lacking } = Exceeded::parse(rest)?;
        Some(Refusal { claim, quota, lacking })
    }
}

/// A quota that counts a resource which a container must therefore state: `failed quota: team: must specify limits.cpu for:
/// web,sidecar; requests.memory for: web` (`pkg/quota/v1/evaluator/core/pods.go:Constraints`). Servers before 1.24 name
/// the resources alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand<'e> {
    /// The quota.
    pub quota: &'e str,
    /// Resources as the quota names them, each with the containers that do not state it; no containers are all of them.
    pub missing: Vec<(&'e str, Vec<&'e str>)>,
}

impl<'e> Demand<'e> {
    /// Reads the message; `None` where it is another one, or holds what is no name.
    pub fn parse(message: &'e str) -> Option<Demand<'e>> {
        let (_, rest) = message.split_once("failed quota: ")?;
        let (quota, rest) = rest.split_once(": must specify ")?;
        let separator = if rest.contains(" for: ") { ';' } else { ',' };
        let each = rest.split(separator).map(|part| match part.trim().split_once(" for: ") {
            Some((resource, names)) => (resource, names.split(',').map(str::trim).collect()),
            None => (part.trim(), Vec::new()),
        });
        let missing: Vec<(&str, Vec<&str>)> = each.collect();
        let is_sane = |(resource, names): &(&str, Vec<&str>)| {
            is_name(resource) && names.iter().all(|name| is_name(name))
        };
        (is_name(quota) && missing.iter().all(is_sane)).then_some(Demand { quota, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::{Demand, Refusal};

    #[test]
    fn what_a_quota_requires_is_read_in_both_wordings() {
        let said =
            |text: &str| format!("pods \"web-0\" is forbidden: failed quota: team: must specify {text}");
        for (text, missing) in [
            (
                "limits.cpu for: side,web; requests.memory for: web",
                vec![("limits.cpu", vec!["side", "web"]), ("requests.memory", vec!["web"])],
            ),
            ("cpu,memory", vec![("cpu", vec![]), ("memory", vec![])]),
        ] {
            assert_eq!(Demand::parse(&said(text)), Some(Demand { quota: "team", missing }), "{text}");
        }
        assert_eq!(Demand::parse(&said("limits.cpu for: $(reboot)")), None);
        assert_eq!(Demand::parse("exceeded quota: team"), None);
    }

    #[test]
    fn only_names_come_out_of_an_event() {
        let message = |quota: &str, resource: &str| {
            format!(
                "create Pod db-1 in StatefulSet db failed error: failed to create PVC data-db-1: \
                 persistentvolumeclaims \"data-db-1\" is forbidden: exceeded quota: {quota}, requested: {resource}=1, \
                 used: {resource}=2, limited: {resource}=2"
            )
        };
        for (quota, resource, is_read) in [
            ("storage", "persistentvolumeclaims", true),
            ("storage", "ssd.storageclass.storage.k8s.io/requests.storage", true),
            ("storage'; reboot; '", "requests.storage", false),
            ("storage", "$(reboot)", false),
        ] {
            assert_eq!(Refusal::parse(&message(quota, resource)).is_some(), is_read, "{quota} {resource}");
        }
    }
}
