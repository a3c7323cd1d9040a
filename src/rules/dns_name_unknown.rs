//! DNS does not know the name of a replica that it has to know.

use super::dns::{Group, Lag, Verdict, called, change_corefile, checked, grouped, ready, recreate, time};
use super::prelude::*;
use crate::snapshot::{DnsCode, DnsProbe};

pub const RULE: Rule = Rule {
    code: "STS108",
    name: "dns-name-unknown",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/dns-name-unknown.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some(probe) = snapshot.dns() else { return Ok(Vec::new()) };
    snapshot.replicas()?;
    snapshot.service()?;
    let all = checked(snapshot);
    let mut findings = Vec::new();
    let groups = grouped(probe, &all, Verdict::Unknown);
    // Inside a pod nothing is known that the DNS pods do not know.
    let is_covered = |group: &Group<'_, '_>| {
        group.pods().is_empty()
            && groups.iter().any(|other| {
                !other.pods().is_empty()
                    && other.names.iter().any(|it| group.names.iter().any(|own| own.name == it.name))
            })
    };
    for group in groups.iter().filter(|group| !is_covered(group)) {
        let first = group.names[0];
        let verb = if group.names.len() == 1 { "does" } else { "do" };
        let what = match first.replica {
            Some(_) => format!("the DNS names of {} {verb} not resolve", group.subjects()),
            None => format!("the DNS name of Service {} does not resolve", snapshot.set.spec.service_name),
        };
        let what = if group.names.len() == 1 { what.replace("DNS names", "DNS name") } else { what };
        let (who, code) = (group.who(), first.answer.code.word());
        let is_so = match first.answer.code {
            DnsCode::Failed => {
                format!("{who} {} for {}: {}", group.verb("fails", "fail"), first.name, first.answer.why)
            }
            _ => format!("{who} {} {code} for {}", group.verb("answers", "answer"), first.name),
        };
        let finding = group.finding(&RULE, snapshot, what);
        findings.push(if let Some(finding) = configured(snapshot, probe, &finding, &is_so) {
            finding
        } else if first.pod.is_some_and(|pod| pod.spec.hostname.is_empty() || pod.spec.subdomain.is_empty()) {
            let finding = finding.because(format!(
                "{is_so}: the pod has no hostname and subdomain, so it was not created by the StatefulSet"
            ));
            let names = group.names.iter().filter_map(|it| it.replica).take(4);
            names.fold(finding, |finding, name| {
                finding.remedy(kubectl("delete pod").name(name).namespace(home(snapshot)))
            })
        } else if first.answer.code == DnsCode::Failed && !group.pods().is_empty() {
            let because = format!("{is_so}; other questions are answered");
            recreate(finding.only(Severity::Warning).because(because), &group.pods())
        } else if group.pods().is_empty() {
            inside(snapshot, probe, group, finding, &is_so)
        } else {
            cached(group, finding, &is_so)
        });
    }
    Ok(findings)
}

/// The configuration of DNS leaves the name out.
fn configured(snapshot: &Snapshot<'_>, probe: &DnsProbe, finding: &Finding, is_so: &str) -> Option<Finding> {
    let corefile = probe.corefile.as_ref()?;
    let own = home(snapshot);
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    if corefile.no_endpoints {
        let because =
            format!("{is_so}: the Corefile has noendpoints, so no pod behind a headless Service has a name");
        return Some(change_corefile(finding.clone().because(because), "/^ *noendpoints/d".to_owned()));
    }
    if !corefile.namespaces.is_empty() && !corefile.namespaces.iter().any(|it| it == own) {
        let because = format!(
            "{is_so}: the Corefile serves only the namespaces {}",
            words::list(&corefile.namespaces, 4)
        );
        let edit = format!("s/^\\( *namespaces .*\\)/\\1 {own}/");
        let finding = finding.clone().because(because);
        return Some(if is_plain(own) { change_corefile(finding, edit) } else { finding });
    }
    let zone = corefile.zones.first()?;
    if !corefile.zones.contains(&probe.domain) {
        let because = format!(
            "{is_so}: {} gives pods the cluster domain {}, but the Corefile serves {zone}",
            probe.domain_source, probe.domain
        );
        // Pods of other nodes may have the other one.
        let edit = format!("s/^\\( *kubernetes\\) {zone}/& {}/", probe.domain);
        let finding = finding.clone().because(because);
        let is_plain = is_plain(zone) && is_plain(&probe.domain);
        return Some(if is_plain { change_corefile(finding, edit) } else { finding });
    }
    None
}

/// The DNS pods know it, and the pod that was asked in does not.
fn inside(
    snapshot: &Snapshot<'_>,
    probe: &DnsProbe,
    group: &Group<'_, '_>,
    finding: Finding,
    is_so: &str,
) -> Finding {
    let Some(server) = group.servers.first() else { return finding };
    let wanted = probe.home(home(snapshot));
    let has_path = server.search.iter().any(|domain| domain.trim_end_matches('.') == wanted);
    if server.namespace == home(snapshot) && !has_path {
        let path = match server.search.as_slice() {
            [] => "is empty".to_owned(),
            search => format!("is {}", words::list(search, 4)),
        };
        let pods = snapshot.pods().unwrap_or_default();
        let pod = pods.iter().find(|pod| pod.metadata.name == server.pod);
        // On the network of the node, ClusterFirst is Default (`dns.go:getPodDNSType` of the kubelet).
        let policy = match pod.is_some_and(|pod| pod.spec.host_network) {
            true => "ClusterFirstWithHostNet",
            false => "ClusterFirst",
        };
        let patch = serde_json::json!({"spec": {"template": {"spec": {"dnsPolicy": policy}}}});
        let patch = kubectl("patch statefulset")
            .name(&snapshot.set.metadata.name)
            .namespace(home(snapshot))
            .patch(&patch);
        let because = format!(
            "{is_so}: the search path of {} {path}, without {wanted}: its dnsPolicy is not {policy}",
            server.pod
        );
        let of_set = snapshot.replicas().unwrap_or_default().iter().any(|replica| replica.name == server.pod);
        let finding = finding.because(because);
        return if of_set { finding.remedy(patch) } else { finding.only(Severity::Warning) };
    }
    if group.names[0].answer.code == DnsCode::Failed {
        let because = format!(
            "{is_so}, although the DNS pods know it: a NetworkPolicy or the resolver of the node may keep {} from them",
            server.pod
        );
        let policies = kubectl("get networkpolicies").namespace(&server.namespace);
        return finding.only(Severity::Warning).because(because).remedy(policies);
    }
    cached(group, finding, &format!("{is_so}, although the DNS pods know it"))
}

/// A kept answer, or a server that does not follow.
fn cached(group: &Group<'_, '_>, finding: Finding, is_so: &str) -> Finding {
    let first = group.names[0];
    let finding = finding.only(group.severity);
    let pods = group.pods();
    match group.lag {
        Lag::Passing(left) => {
            let finding = finding.because(format!(
                "{is_so}, but the pod has been published{}: a client asked before that, and the negative answer is cached; \
                 the name resolves by itself in {} at most",
                ready(first),
                time(left)
            ));
            if group.severity == Severity::Note { finding } else { recreate(finding, &pods) }
        }
        Lag::Lasting(most) => {
            let kept = match most {
                0 => "negative answers are not cached".to_owned(),
                most => format!("negative answers are cached for {} at most", time(most)),
            };
            let who = group.servers.iter().map(|server| called(server)).collect::<Vec<_>>();
            let finding = finding.because(format!(
                "{is_so}, but the pod has been published{}, and {kept}: {} no longer {} the API server",
                ready(first),
                words::list(&who, 4),
                group.verb("follows", "follow")
            ));
            recreate(finding, &pods)
        }
    }
}
