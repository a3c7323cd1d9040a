//! A quota leaves no room for the claim of a replica.

use std::collections::BTreeMap;

use serde_json::json;

use super::amounts;
use super::prelude::*;
use crate::messages::quota::Refusal;

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
    // A quota that is gone leaves room for anything.
    let has_room = amounts::has_room(snapshot, refusal.quota, &refusal.lacking).unwrap_or(true);
    if snapshot.quotas().is_ok() && has_room {
        return Ok(Vec::new());
    }
    let each: Vec<String> = (refusal.lacking.iter())
        .map(|lack| {
            format!(
                "{} is at {} of {}, and {} more is requested",
                lack.resource, lack.used, lack.hard, lack.asked
            )
        })
        .collect();
    // Room for this claim alone would end at the next replica.
    let times = missing.iter().filter(|(.., other)| other == template).count();
    let hard: BTreeMap<&str, String> = (refusal.lacking.iter())
        .filter_map(|lack| Some((lack.resource, amounts::enough(lack, times)?.to_string())))
        .collect();
    let finding = RULE
        .about(
            Kind::ResourceQuota,
            refusal.quota,
            format!("ResourceQuota {} leaves no room for PVC {claim}", refusal.quota),
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
