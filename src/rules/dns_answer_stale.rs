//! DNS gives out an address that the pod does not have.

use std::net::IpAddr;

use super::dns::{Lag, Verdict, checked, grouped, ready, recreate, time};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS107",
    name: "dns-answer-stale",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/dns-answer-stale.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some(probe) = snapshot.dns() else { return Ok(Vec::new()) };
    snapshot.replicas()?;
    snapshot.service()?;
    let all = checked(snapshot);
    let groups = grouped(probe, &all, Verdict::Stale);
    Ok(groups
        .iter()
        .map(|group| {
            let first = group.names[0];
            let own = first.pod.map(Pod::addresses).unwrap_or_default();
            let strange: Vec<IpAddr> =
                first.answer.addresses.iter().copied().filter(|address| !own.contains(address)).collect();
            let given = written(&strange);
            let what = match group.names.len() {
                1 => format!(
                    "DNS gives {} the address {given}, but the pod has {}",
                    group.subjects(),
                    written(&own)
                ),
                _ => format!("DNS gives {} addresses that the pods do not have", group.subjects()),
            };
            let who = group.who();
            let is_so = format!(
                "{who} {} {given} for {}; the pod has been published{}",
                group.verb("answers", "answer"),
                first.name,
                ready(first)
            );
            let finding = group.finding(&RULE, snapshot, what).only(group.severity);
            let pods = group.pods();
            match group.lag {
                Lag::Passing(left) => {
                    let finding = finding.because(format!(
                        "{is_so}; this is a cached answer, and it ends by itself in {} at most",
                        time(left)
                    ));
                    if group.severity == Severity::Note { finding } else { recreate(finding, &pods) }
                }
                Lag::Lasting(_) if is_in_slices(snapshot, &strange) => finding
                    .because(format!(
                        "{is_so}; the EndpointSlice has that address too, so the EndpointSlice controller does not follow the pods"
                    ))
                    .remedy(kubectl("-n kube-system get lease kube-controller-manager")),
                Lag::Lasting(most) => {
                    let kept = match most {
                        0 => "answers are not cached".to_owned(),
                        most => format!("answers are cached for {} at most", time(most)),
                    };
                    let finding = finding.because(format!(
                        "{is_so}, and {kept}: {who} no longer {} the API server",
                        group.verb("follows", "follow")
                    ));
                    recreate(finding, &pods)
                }
            }
        })
        .collect())
}

fn written(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    words::list(&all, 3)
}

/// Whether all of them stand in EndpointSlices.
fn is_in_slices(snapshot: &Snapshot<'_>, addresses: &[IpAddr]) -> bool {
    let slices = snapshot.slices().unwrap_or_default().iter();
    let own = slices.filter(|slice| slice.service() == snapshot.set.spec.service_name);
    let listed: Vec<&String> = own.flat_map(|slice| &slice.endpoints).flat_map(|it| &it.addresses).collect();
    addresses.iter().all(|address| listed.contains(&&address.to_string()))
}
