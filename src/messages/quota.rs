//! The quota admission of the API server (`apiserver/pkg/admission/plugin/resourcequota/controller.go`).

/// A PVC that a quota leaves no room for: `… persistentvolumeclaims "data-db-1" is forbidden: exceeded quota: storage, requested: requests.storage=10Gi, used:
/// requests.storage=20Gi, limited: requests.storage=20Gi`.
pub struct Refusal<'e> {
    /// The PVC that was refused.
    pub claim: &'e str,
    /// The quota.
    pub quota: &'e str,
    /// What there is too little of; never empty.
    pub lacking: Vec<Lack<'e>>,
}

/// One resource that a quota has too little of, amounts as written.
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

impl<'e> Refusal<'e> {
    /// Reads the message; `None` where it is another one, or holds what is no name.
    pub fn parse(message: &'e str) -> Option<Refusal<'e>> {
        let (_, rest) = message.split_once("persistentvolumeclaims \"")?;
        let (claim, rest) = rest.split_once('"')?;
        let (_, rest) = rest.split_once("exceeded quota: ")?;
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
        // Whoever may write events writes this text.
        let is_name =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(&byte));
        let is_sane =
            is_name(quota) && !lacking.is_empty() && lacking.iter().all(|lack| is_name(lack.resource));
        is_sane.then_some(Refusal { claim, quota, lacking })
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

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
