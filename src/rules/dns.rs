//! What DNS answers about the names of replicas, against what it has to answer.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::prelude::*;
use crate::paste::tool;
use crate::snapshot::{DnsAnswer, DnsCode, DnsProbe, DnsServer, Replica};

/// How long EndpointSlices and DNS may take to follow a pod.
const FOLLOW: SignedDuration = SignedDuration::from_secs(30);
/// What CoreDNS keeps answers for at most (`plugin/cache`: `maxTTL`; `plugin/backend_lookup.go:SOA`), where its configuration
/// is not known.
const POSITIVE: u32 = 3600;
const NEGATIVE: u32 = 300;
/// What is over sooner needs no remedy.
const SOON: u32 = 60;
/// How many names are listed.
const NAMED: usize = 4;

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The addresses are those of the pod.
    Right,
    /// There are addresses that the pod does not have.
    Stale,
    /// There is no such name, and there should be.
    Unknown,
    /// There is no such name until the pod is ready.
    NotReady,
    /// There is no such name, and there cannot be: there is no pod, or a finding about the Service says why.
    NoName,
    /// There is no answer.
    Failed,
}

impl Verdict {
    /// What is not right.
    pub const WRONG: [Verdict; 5] =
        [Verdict::Stale, Verdict::Unknown, Verdict::NotReady, Verdict::NoName, Verdict::Failed];

    /// In a sentence, after a number.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Stale => "stale",
            Verdict::Unknown => "without the address of the pod",
            Verdict::NotReady => "not published, as the pod is not ready",
            Verdict::NoName => "not published, as there is no pod or no Service for it",
            Verdict::Failed => "failed",
        }
    }

    /// As programs read it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Stale => "stale",
            Verdict::Unknown => "unknown",
            Verdict::NotReady => "not-ready",
            Verdict::NoName => "no-name",
            Verdict::Failed => "failed",
        }
    }
}

/// An answer about the name of a replica, or about that of the Service.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The whole name.
    pub name: String,
    /// The replica; `None` for the Service.
    pub replica: Option<&'a str>,
    /// Its pod.
    pub(super) pod: Option<&'a Pod>,
    /// Who was asked.
    pub server: &'a DnsServer,
    /// What it answered.
    pub answer: &'a DnsAnswer,
    /// What that is worth.
    pub verdict: Verdict,
    /// For how long it should have been right.
    since: Option<SignedDuration>,
}

/// Whether DNS has to know a pod.
enum Publication {
    /// For so long.
    Published(Option<SignedDuration>),
    /// Not before it is ready.
    Unready,
    /// It has no hostname under the Service, and nothing else says so.
    Nameless,
    /// It need not.
    No,
}

/// The answers about a StatefulSet, by server and ordinal.
pub fn checked<'a>(snapshot: &'a Snapshot<'a>) -> Vec<Checked<'a>> {
    let Some(probe) = snapshot.dns() else { return Vec::new() };
    let service = &snapshot.set.spec.service_name;
    let home = probe.home(self::home(snapshot));
    let mut all = Vec::new();
    if service.is_empty() || probe.domain.is_empty() {
        return all;
    }
    let replicas = snapshot.replicas().unwrap_or_default();
    let states: Vec<Publication> = replicas.iter().map(|replica| publication(snapshot, replica)).collect();
    for server in probe.servers.iter().filter(|server| server.silent.is_none()) {
        let name = format!("{service}.{home}");
        if let Some(answer) = server.answers.get(&name) {
            let (verdict, since) = of_service(snapshot, &states, answer);
            all.push(Checked { name, replica: None, pod: None, server, answer, verdict, since });
        }
        for (replica, state) in replicas.iter().zip(&states) {
            let name = format!("{}.{service}.{home}", replica.name);
            let Some(answer) = server.answers.get(&name) else { continue };
            let (verdict, since) = of_replica(server, replica, state, answer);
            let (pod, replica) = (replica.pod, Some(replica.name.as_str()));
            all.push(Checked { name, replica, pod, server, answer, verdict, since });
        }
    }
    all
}

/// Whether the EndpointSlice controller publishes the pod (`endpointslice/utils.go:podToEndpoint`), and CoreDNS what that
/// writes (`plugin/kubernetes/object/endpoint.go`).
fn publication(snapshot: &Snapshot<'_>, replica: &Replica<'_>) -> Publication {
    let (Ok(Some(service)), Some(pod)) = (snapshot.service(), replica.pod) else { return Publication::No };
    let is_its =
        !service.spec.selector.is_empty() && matches_labels(&service.spec.selector, &pod.metadata.labels);
    if !service.is_headless() || !is_its || pod.metadata.is_terminating() || pod.addresses().is_empty() {
        return Publication::No;
    }
    if pod.spec.hostname.is_empty() || pod.spec.subdomain.is_empty() {
        return Publication::Nameless;
    }
    if pod.spec.subdomain != service.metadata.name || pod.spec.hostname != pod.metadata.name {
        return Publication::No;
    }
    let ready = snapshot.since(pod.ready_since());
    let since = match (service.spec.publish_not_ready_addresses, ready) {
        (true, ready) => ready.or_else(|| snapshot.since(pod.metadata.creation_timestamp)),
        (false, Some(ready)) => Some(ready),
        (false, None) => return Publication::Unready,
    };
    let age = snapshot.since(service.metadata.creation_timestamp);
    let since = since.map(|since| age.map_or(since, |age| since.min(age)));
    if since.is_some_and(|since| since < FOLLOW) || !is_listed(snapshot, service, pod) {
        return Publication::No;
    }
    Publication::Published(since)
}

/// Whether an EndpointSlice of the Service lists the pod as ready; another finding says where it does not.
fn is_listed(snapshot: &Snapshot<'_>, service: &Service, pod: &Pod) -> bool {
    let Ok(slices) = snapshot.slices() else { return true };
    let slices = slices.iter().filter(|slice| slice.service() == service.metadata.name);
    let is_it = |endpoint: &Endpoint| {
        endpoint.target_ref.as_ref().is_some_and(|target| target.name == pod.metadata.name)
            && endpoint.conditions.ready != Some(false)
    };
    slices.flat_map(|slice| &slice.endpoints).any(is_it)
}

fn of_replica(
    server: &DnsServer,
    replica: &Replica<'_>,
    state: &Publication,
    answer: &DnsAnswer,
) -> (Verdict, Option<SignedDuration>) {
    let own = replica.pod.map(Pod::addresses).unwrap_or_default();
    let is_own = answer.addresses.iter().all(|address| own.contains(address));
    let verdict = match (answer.code.is_negative(), answer.addresses.is_empty(), state) {
        (true, _, Publication::Published(_) | Publication::Nameless) => Verdict::Unknown,
        (true, _, Publication::Unready) => Verdict::NotReady,
        (true, _, Publication::No) => Verdict::NoName,
        // Whatever it is that keeps the pod from an answer, or the server from this one alone.
        (false, true, Publication::Published(_)) if server.is_inside() || answers_others(server) => {
            Verdict::Unknown
        }
        (false, true, _) => Verdict::Failed,
        _ if is_own => Verdict::Right,
        (_, _, Publication::Published(_)) => Verdict::Stale,
        // The address of a pod that is gone, or of one that is not there yet: only that it is not known.
        (_, _, Publication::Unready) => Verdict::NotReady,
        (_, _, Publication::Nameless | Publication::No) => Verdict::NoName,
    };
    let since = if let Publication::Published(since) = state { *since } else { None };
    (verdict, since)
}

/// Whether a server answers some question at all: if not, that is what is wrong with it.
fn answers_others(server: &DnsServer) -> bool {
    server.answers.values().any(|answer| answer.code != DnsCode::Failed)
}

fn of_service(
    snapshot: &Snapshot<'_>,
    states: &[Publication],
    answer: &DnsAnswer,
) -> (Verdict, Option<SignedDuration>) {
    let published = states.iter().filter_map(|state| match state {
        Publication::Published(since) => Some(*since),
        _ => None,
    });
    let since = published.clone().flatten().max();
    if !matches!(snapshot.service(), Ok(Some(_))) {
        return (Verdict::NoName, None);
    }
    if answer.code.is_negative() {
        let is_unready = states.iter().any(|state| matches!(state, Publication::Unready));
        return match (published.count(), is_unready) {
            (0, true) => (Verdict::NotReady, None),
            (0, false) => (Verdict::NoName, None),
            _ => (Verdict::Unknown, since),
        };
    }
    if answer.addresses.is_empty() {
        return (Verdict::Failed, None);
    }
    // Whose addresses these are is told by the names of the replicas: other pods may be behind it too.
    (Verdict::Right, since)
}

/// Whether an answer that is not right is a kept one, and how long it may be kept yet.
pub(super) enum Lag {
    /// For so many seconds.
    Passing(u32),
    /// It was to be right long ago.
    Lasting(u32),
}

/// What of an answer that is not right is due to caches.
pub(super) fn lag(probe: &DnsProbe, checked: &Checked<'_>) -> Lag {
    let is_negative = checked.verdict == Verdict::Unknown;
    let known = probe.corefile.as_ref().map(|corefile| match (&corefile.cache, is_negative) {
        (None, _) => 0,
        (Some(cache), true) => cache.negative,
        (Some(cache), false) => cache.positive.saturating_add(cache.stale),
    });
    let most = known.unwrap_or(if is_negative { NEGATIVE } else { POSITIVE });
    // Inside a pod, a cache of the node may stand between.
    let most = if checked.server.is_inside() { most.saturating_add(SOON) } else { most };
    let kept = SignedDuration::from_secs(i64::from(most)).saturating_add(FOLLOW);
    let is_over = |since: SignedDuration| since > kept;
    match checked.since {
        Some(since) if is_over(since) => Lag::Lasting(most),
        _ => Lag::Passing(checked.answer.ttl.unwrap_or(most).min(most.max(SOON))),
    }
}

/// How bad it is, and what is said of the caches.
pub(super) fn weigh(lag: &Lag) -> Severity {
    match lag {
        Lag::Lasting(_) => Severity::Error,
        Lag::Passing(left) if *left > SOON => Severity::Warning,
        Lag::Passing(_) => Severity::Note,
    }
}

/// For how long, in words.
pub(super) fn time(seconds: u32) -> String {
    words::age(SignedDuration::from_secs(i64::from(seconds)))
}

/// For how long it should have been right, in words.
pub(super) fn ready(checked: &Checked<'_>) -> String {
    checked.since.map_or(String::new(), |since| format!(" for {}", words::age(since)))
}

/// Answers of one kind about replicas: of the same servers, and as bad as each other.
pub(super) struct Group<'c, 'a> {
    pub(super) severity: Severity,
    /// The servers, and what is said of the first answer of each.
    pub(super) servers: Vec<&'a DnsServer>,
    /// One for each name.
    pub(super) names: Vec<&'c Checked<'a>>,
    pub(super) lag: Lag,
}

/// Puts the answers with this verdict together. That of the Service counts only where those of replicas are right.
pub(super) fn grouped<'c, 'a>(
    probe: &DnsProbe,
    all: &'c [Checked<'a>],
    verdict: Verdict,
) -> Vec<Group<'c, 'a>> {
    let mut names: Vec<Vec<&'c Checked<'a>>> = Vec::new();
    let has_replicas = all.iter().any(|it| it.verdict == verdict && it.replica.is_some());
    for checked in all.iter().filter(|it| it.verdict == verdict && (it.replica.is_some() || !has_replicas)) {
        match names.iter_mut().find(|of_name| of_name[0].name == checked.name) {
            Some(of_name) => of_name.push(checked),
            None => names.push(vec![checked]),
        }
    }
    let mut groups: Vec<Group<'c, 'a>> = Vec::new();
    for of_name in names {
        // The worst of them.
        let worst = |it: &&&'c Checked<'a>| match lag(probe, it) {
            Lag::Passing(left) => (0, left),
            Lag::Lasting(most) => (1, most),
        };
        let Some(first) = of_name.iter().max_by_key(worst) else { continue };
        let lag = lag(probe, first);
        let severity = weigh(&lag);
        let servers: Vec<&DnsServer> = of_name.iter().map(|it| it.server).collect();
        let same = groups.iter_mut().find(|group| group.severity == severity && group.servers == servers);
        match same {
            Some(group) => group.names.push(first),
            None => groups.push(Group { severity, servers, names: vec![first], lag }),
        }
    }
    groups
}

impl<'a> Group<'_, 'a> {
    /// The replicas, for a sentence: `db-0 and db-1`; the Service where it is about that.
    pub(super) fn subjects(&self) -> String {
        let names: Vec<&str> = self.names.iter().filter_map(|it| it.replica).collect();
        if names.is_empty() { "the Service".to_owned() } else { words::list(&names, NAMED) }
    }

    /// Those who answer: `coredns-a and coredns-b`.
    pub(super) fn who(&self) -> String {
        let names: Vec<String> = self.servers.iter().map(|server| called(server)).collect();
        words::list(&names, NAMED)
    }

    /// The form of a verb for them.
    pub(super) fn verb(&self, one: &'static str, many: &'static str) -> &'static str {
        if self.servers.len() == 1 { one } else { many }
    }

    /// A finding about all of them.
    pub(super) fn finding(&self, rule: &'static Rule, snapshot: &Snapshot<'_>, what: String) -> Finding {
        let service = &snapshot.set.spec.service_name;
        let mut pods = self.names.iter().filter_map(|it| it.replica);
        let finding = match pods.next() {
            Some(first) => rule.about(Kind::Pod, first, what),
            None => rule.about(Kind::Service, service, what),
        };
        pods.fold(finding, |finding, pod| finding.also(Kind::Pod, pod))
    }

    /// The DNS pods among them.
    pub(super) fn pods(&self) -> Vec<&'a DnsServer> {
        self.servers.iter().copied().filter(|server| !server.is_inside()).collect()
    }
}

/// A server, for a sentence.
pub(super) fn called(server: &DnsServer) -> String {
    if server.is_inside() { format!("{} in {}", server.command, server.pod) } else { server.pod.clone() }
}

/// The command after which a DNS pod has no cache, and has read the cluster again.
pub(super) fn recreated(server: &DnsServer) -> Command {
    kubectl("delete pod").name(&server.pod).namespace(&server.namespace)
}

/// The commands for all of them. Several are replaced one after another, so that DNS goes on.
pub(super) fn recreate(finding: Finding, servers: &[&DnsServer]) -> Finding {
    let is_coredns =
        |server: &&DnsServer| server.namespace == "kube-system" && server.pod.starts_with("coredns-");
    if servers.len() > 1 && servers.iter().all(is_coredns) {
        return finding.remedy(kubectl("-n kube-system rollout restart deployment coredns"));
    }
    servers.iter().take(NAMED).fold(finding, |finding, server| finding.remedy(recreated(server)))
}

/// The commands that change a line of the Corefile, and make CoreDNS read it; `edit` is one of sed.
pub(super) fn change_corefile(finding: Finding, edit: String) -> Finding {
    let change = kubectl("-n kube-system get configmap coredns -o yaml")
        .piped_into(tool("sed").value(edit))
        .piped_into(kubectl("replace -f -"));
    finding.remedy(change).remedy(kubectl("-n kube-system rollout restart deployment coredns"))
}

/// Leaves one finding about a DNS pod, which all StatefulSets have in common.
pub(super) fn once(all: &mut Vec<(&StatefulSet, Finding)>) {
    let mut seen = BTreeSet::new();
    all.retain(|(_, finding)| {
        let is_common = ["dns-pod-silent", "dns-forward-loop"].contains(&finding.rule.name);
        !is_common || seen.insert((finding.rule.code, finding.subject.name.clone()))
    });
}

/// The findings that say why names do not resolve.
const OF_SERVICES: [&str; 4] =
    ["service-missing", "service-not-headless", "service-selector-mismatch", "replica-without-endpoint"];

/// Says in a finding about the Service what DNS answers.
pub(super) fn heed(snapshot: &Snapshot<'_>, finding: &mut Finding) {
    if snapshot.dns().is_none() || !OF_SERVICES.contains(&finding.rule.name) {
        return;
    }
    let all = checked(snapshot);
    let is_it = |name: &str| finding.subject.kind != Kind::Pod || finding.subject.name == name;
    let mut about = all.iter().filter(|it| it.replica.is_some_and(is_it));
    let negative = about.clone().find(|it| it.answer.code.is_negative());
    let said = match (negative, about.next()) {
        (Some(it), _) => format!("{} answers {} for {}", called(it.server), it.answer.code.word(), it.name),
        (None, Some(it)) if !it.answer.addresses.is_empty() => {
            format!("the DNS server of this cluster still answers for {}", it.name)
        }
        _ => return,
    };
    finding.because = if finding.because.is_empty() { said } else { format!("{}; {said}", finding.because) };
}

/// In a sentence: how many answers of each server are right.
pub fn summary(snapshot: &Snapshot<'_>) -> Option<String> {
    let probe = snapshot.dns()?;
    let all = checked(snapshot);
    let mut parts: Vec<(Vec<String>, String)> = Vec::new();
    for server in &probe.servers {
        let own = || all.iter().filter(|it| std::ptr::eq(it.server, server));
        let state = match &server.silent {
            Some(_) => "no answer".to_owned(),
            None => {
                let right = own().filter(|it| it.verdict == Verdict::Right).count();
                format!("{right} of {} right", words::count(own().count(), "answer"))
            }
        };
        match parts.iter_mut().find(|(_, known)| *known == state) {
            Some((servers, _)) => servers.push(called(server)),
            None => parts.push((vec![called(server)], state)),
        }
    }
    let parts: Vec<String> =
        parts.iter().map(|(servers, state)| format!("{state} ({})", words::list(servers, NAMED))).collect();
    if parts.is_empty() {
        return Some("not asked".to_owned());
    }
    Some(format!("{}; cluster domain {}", parts.join(", "), probe.domain))
}
