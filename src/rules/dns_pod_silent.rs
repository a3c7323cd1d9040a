//! A DNS pod does not answer.

use super::prelude::*;
use crate::messages::clipped;
use crate::messages::coredns::looping_zone;
use crate::snapshot::{DnsCode, DnsServer};

pub const RULE: Rule = Rule {
    code: "STS110",
    name: "dns-pod-silent",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/dns-pod-silent.md"),
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "the signature of every check")]
fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some(probe) = snapshot.dns() else { return Ok(Vec::new()) };
    let servers = || probe.servers.iter().filter(|server| !server.is_inside());
    let others = servers().filter(|server| server.ready && reason(server).is_none()).count();
    Ok(servers()
        .filter(|server| !server.log.iter().any(|line| looping_zone(line).is_some()))
        .filter_map(|server| Some((server, reason(server)?)))
        .map(|(server, why)| {
            let DnsServer { namespace, pod, .. } = server;
            let what = format!("DNS pod {namespace}/{pod} does not answer");
            let sent = match (server.ready, others) {
                (true, _) => "; it is Ready, so questions of clients still go to it and are lost",
                (false, 0) => "; no other DNS pod answers",
                (false, _) => "; it is not Ready, so clients are sent to the other DNS pods",
            };
            let severity = if server.ready || others == 0 { Severity::Error } else { Severity::Warning };
            let last = server.log.last().filter(|_| !server.ready);
            let said = last.map_or(String::new(), |line| format!("; its log ends with: {}", clipped(line)));
            let finding =
                RULE.about(Kind::Pod, pod, what).only(severity).because(format!("{why}{sent}{said}"));
            // Another one would end as this one did.
            match last {
                Some(_) => finding
                    .remedy(kubectl("logs").name(pod).namespace(namespace).with("--previous --tail=20")),
                None => finding.remedy(super::dns::recreated(server)),
            }
        })
        .collect())
}

/// Why it counts as silent.
fn reason(server: &DnsServer) -> Option<String> {
    if let Some(why) = &server.silent {
        return Some(why.clone());
    }
    let mut failed = server.answers.values().filter(|answer| answer.code == DnsCode::Failed);
    let all = failed.clone().count() == server.answers.len();
    let first = failed.next().filter(|_| all)?;
    Some(format!("each question fails: {}", first.why))
}
