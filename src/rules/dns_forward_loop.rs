//! DNS pods send questions to themselves.

use super::prelude::*;
use crate::messages::coredns::looping_zone;

pub const RULE: Rule = Rule {
    code: "STS111",
    name: "dns-forward-loop",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/dns-forward-loop.md"),
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "the signature of every check")]
fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some(probe) = snapshot.dns() else { return Ok(Vec::new()) };
    let looping = probe.servers.iter().filter_map(|server| {
        let zone = server.log.iter().find_map(|line| looping_zone(line))?;
        Some((server, zone))
    });
    let all: Vec<_> = looping.collect();
    let Some((first, zone)) = all.first() else { return Ok(Vec::new()) };
    let names: Vec<&str> = all.iter().map(|(server, _)| server.pod.as_str()).collect();
    let verb = if names.len() == 1 { "DNS pod" } else { "DNS pods" };
    let ends = if names.len() == 1 {
        "ends, because its questions come back to it"
    } else {
        "end, because their questions come back to them"
    };
    let upstream = probe.corefile.as_ref().and_then(|corefile| corefile.forwards.first());
    let upstream = upstream.map_or("/etc/resolv.conf", String::as_str);
    let because = format!(
        "the log says that a loop was detected for zone {}: the Corefile forwards to {upstream}, and that leads back to \
         CoreDNS; replace {upstream} there with the address of a DNS server outside the cluster, or set resolvConf of the \
         kubelets to a file that names one (/run/systemd/resolve/resolv.conf with systemd-resolved)",
        crate::text::one_line(zone, 100)
    );
    let finding = RULE
        .about(Kind::Pod, &first.pod, format!("{verb} {} {ends}", words::list(&names, 3)))
        .because(because);
    let finding = names[1..].iter().fold(finding, |finding, name| finding.also(Kind::Pod, *name));
    Ok(vec![
        finding
            .remedy(kubectl("-n kube-system edit configmap coredns"))
            .remedy(kubectl("-n kube-system rollout restart deployment coredns")),
    ])
}
