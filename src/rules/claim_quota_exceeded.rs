//! A quota leaves no room for the claim of a replica.

use std::collections::BTreeMap;

use serde_json::json;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS209",
    name: "claim-quota-exceeded",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-quota-exceeded.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let missing = missing(snapshot)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let refusal = snapshot.events_about(snapshot.set)?.into_iter().rev().find_map(|event| {
        let refusal = Refusal::parse(&event.message).filter(|_| event.reason == "FailedCreate")?;
        missing.iter().find(|(_, claim, _)| claim == refusal.claim).map(|wanted| (wanted, refusal))
    });
    let Some(((pod, claim, template), refusal)) = refusal else { return Ok(Vec::new()) };
    if has_room(snapshot, &refusal) {
        return Ok(Vec::new());
    }
    let each: Vec<String> = (refusal.lacking.iter())
        .map(|lack| {
            format!(
                "{} is at {} of {}, and {} more is asked for",
                lack.resource, lack.used, lack.hard, lack.asked
            )
        })
        .collect();
    // Room for this claim alone would end at the next replica.
    let times = missing.iter().filter(|(.., other)| other == template).count();
    let hard: BTreeMap<&str, String> = (refusal.lacking.iter())
        .filter_map(|lack| Some((lack.resource, lack.enough(times)?.to_string())))
        .collect();
    let finding = RULE
        .about(
            Kind::ResourceQuota,
            refusal.quota,
            format!("Quota {} leaves no room for {claim}", refusal.quota),
        )
        .because(words::list(&each, 3))
        .remedy(
            kubectl("patch resourcequota")
                .name(refusal.quota)
                .with("--type=merge")
                .patch(&json!({"spec": {"hard": hard}}))
                .namespace(home(snapshot)),
        )
        .also(Kind::PersistentVolumeClaim, claim)
        .absorbs(Kind::Pod, pod);
    Ok(vec![finding])
}

/// Claims of wanted replicas that do not exist, with their pods and templates.
fn missing<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<(String, String, &'a str)>, Unseen> {
    snapshot.claims()?;
    let slots = snapshot.replicas()?.iter().flat_map(|replica| {
        let slots = replica.slots.iter().filter(|slot| slot.claim.is_none());
        slots.map(|slot| (replica.name.clone(), slot.name.clone(), slot.template.metadata.name.as_str()))
    });
    Ok(slots.collect())
}

/// What the quota admission says (`apiserver/pkg/admission/plugin/resourcequota/controller.go`):
/// `… persistentvolumeclaims "data-db-1" is forbidden: exceeded quota: storage, requested: requests.storage=10Gi, used:
/// requests.storage=20Gi, limited: requests.storage=20Gi`.
struct Refusal<'e> {
    claim: &'e str,
    quota: &'e str,
    lacking: Vec<Lack<'e>>,
}

struct Lack<'e> {
    resource: &'e str,
    asked: &'e str,
    used: &'e str,
    hard: &'e str,
}

impl<'e> Refusal<'e> {
    fn parse(message: &'e str) -> Option<Refusal<'e>> {
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

impl Lack<'_> {
    /// A limit with room for this many claims.
    fn enough(&self, times: usize) -> Option<Quantity> {
        let (used, asked) = (Quantity::parse(self.used)?, Quantity::parse(self.asked)?);
        Some(std::iter::once(used).chain(std::iter::repeat_n(asked, times)).sum())
    }
}

/// Whether the quota has room by now: then the next try, which may be minutes away, succeeds.
fn has_room(snapshot: &Snapshot<'_>, refusal: &Refusal<'_>) -> bool {
    let Ok(quotas) = snapshot.quotas() else { return false };
    let Some(quota) = quotas.iter().find(|quota| quota.metadata.name == refusal.quota) else { return true };
    let status = &quota.status;
    refusal.lacking.iter().all(|lack| {
        let parse = |map: &Map| Quantity::parse(map.get(lack.resource)?);
        let (Some(hard), Some(used)) = (parse(&status.hard), parse(&status.used)) else {
            return !status.hard.contains_key(lack.resource);
        };
        Quantity::parse(lack.asked).is_some_and(|asked| [used, asked].into_iter().sum::<Quantity>() <= hard)
    })
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
