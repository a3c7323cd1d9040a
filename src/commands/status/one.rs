//! One set on a screen.

use std::collections::HashSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::probe;
use super::super::trials::Untried;
use super::row::{Row, Volume, left_over, mixed, summary};
use crate::controller::{self, Idle, Next};
use crate::kinds::{Pod, StatefulSet, Strategy};
use crate::render::{
    Column, Glyph, Page, Table, View, baking, finding, finding_json, outlook, revision_word, short_outlook,
    skipped, unread_logs,
};
use crate::rules::{Finding, Rule, Severity, Skipped, Stuck, dns_summary, order, stuck_by};
use crate::snapshot::{DnsProbe, Replica, Snapshot, Unseen};
use crate::words;

/// How many columns stand before those of a PVC.
const BEFORE_PVC: usize = 7;

/// What is shown of one set.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) set: StatefulSet,
    pub(super) available: Option<usize>,
    pub(super) rollout: Rollout,
    pub(super) next: String,
    pub(super) next_word: String,
    pub(super) resting: bool,
    stuck_on: Option<String>,
    waits_for: Option<String>,
    updated: Option<usize>,
    pub(super) age: Option<SignedDuration>,
    pub(super) findings: Vec<Finding>,
    taken_at: String,
    service: String,
    /// What DNS answers: how many names resolve, what was not asked, and the same for programs.
    pub(super) dns: Option<(String, DnsProbe, Value)>,
    rows: Vec<Row>,
    /// Wanted replicas without a row.
    unlisted: usize,
    left_over: Vec<Volume>,
    pub(super) skipped: Vec<Skipped>,
    untried: Untried,
}

impl Screen {
    pub(super) fn of(
        snapshot: &Snapshot<'_>,
        findings: Vec<Finding>,
        unseen: &[(&'static Rule, Unseen)],
        untried: Untried,
    ) -> Screen {
        let set = snapshot.set;
        let mut findings = findings;
        findings.sort_by(|a, b| order((set, a), (set, b)));
        let next = controller::next(snapshot);
        let mut rollout = Rollout::of(snapshot, next.as_ref().ok());
        let stuck = stuck_by(snapshot, &findings);
        if let Some(stuck) = &stuck {
            rollout.word = stuck_word(snapshot, stuck);
            rollout.state = "stuck";
        }
        let mut rows: Vec<Row> = Vec::new();
        let mixed = mixed(snapshot);
        for replica in snapshot.replicas().unwrap_or_default() {
            rows.push(Row::of(snapshot, replica, true, mixed));
        }
        for replica in snapshot.condemned().unwrap_or_default() {
            rows.push(Row::of(snapshot, replica, false, mixed));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.ordinal));
        let available = snapshot.replicas().ok().map(|replicas| {
            let available =
                |replica: &&Replica<'_>| replica.pod.is_some_and(|pod| snapshot.is_available(pod));
            replicas.iter().filter(available).count()
        });
        Screen {
            set: set.clone(),
            available,
            rollout,
            next: next.as_ref().map_or_else(not_known, |next| outlook(snapshot, next, stuck.as_ref())),
            next_word: next
                .as_ref()
                .map_or_else(not_known, |next| short_outlook(snapshot, next, stuck.as_ref())),
            resting: matches!(next, Ok(Next::Settled(Idle::Done | Idle::Partition | Idle::OnDelete))),
            stuck_on: stuck.map(|stuck| stuck.on),
            waits_for: match &next {
                Ok(Next::Wait { on, .. }) => Some(set.pod_name(*on)),
                _ => None,
            },
            updated: snapshot.replicas().ok().map(|replicas| {
                let pods = replicas.iter().filter_map(|replica| replica.pod);
                pods.filter(|pod| pod.revision() == set.status.update_revision).count()
            }),
            age: snapshot.since(set.metadata.creation_timestamp),
            findings,
            taken_at: snapshot.taken_at.to_string(),
            service: service(snapshot),
            dns: snapshot.dns().map(|probe| {
                let text = dns_summary(snapshot).unwrap_or_default();
                (text, probe.clone(), probe::json(probe, [snapshot]))
            }),
            rows,
            unlisted: snapshot.unlisted(),
            left_over: left_over(snapshot),
            skipped: crate::rules::skipped(snapshot.unseen(), unseen),
            untried,
        }
    }

    /// The worst severity found.
    pub(super) fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// The images of the template.
    pub(super) fn images(&self) -> String {
        let containers = &self.set.spec.template.spec.containers;
        containers.iter().map(|container| container.image.as_str()).collect::<Vec<_>>().join(",")
    }

    /// `6/6`: right answers of all, where DNS was asked.
    pub(super) fn dns_word(&self) -> Option<String> {
        let (.., dns) = self.dns.as_ref()?;
        Some(format!("{}/{}", dns["right"], dns["names"].as_array().map_or(0, Vec::len)))
    }

    /// `2/3`: available of wanted replicas.
    pub(super) fn ready(&self) -> String {
        let available = self.available.map_or("?".to_owned(), |available| available.to_string());
        format!("{available}/{}", self.set.replicas())
    }

    fn table(&self, is_wide: bool) -> Table {
        let mut table = Table::new(&[
            Column::new("POD"),
            Column::new("READY"),
            Column::new("STATE"),
            Column::optional("RESTARTS"),
            Column::optional("REVISION"),
            Column::optional("AGE"),
            Column::optional("NODE"),
            Column::optional("PVC"),
            Column::optional("SIZE"),
            Column::optional("CLASS"),
            Column::wide("PV"),
            Column::wide("ZONE"),
            Column::wide("IP"),
            Column::wide("IMAGE"),
        ]);
        let boundary = self.set.boundary();
        let has_boundary = self.set.partition() > 0 && self.set.partition() < self.set.replicas();
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let bad: HashSet<&str> = errors.map(|finding| finding.subject.name.as_str()).collect();
        let mut above = false;
        let mut condemned_above = false;
        if self.unlisted > 0 {
            table.ruler(format!("{} without a pod or a PVC", words::count(self.unlisted, "more replica")));
        }
        for row in &self.rows {
            if condemned_above && row.wanted {
                table.ruler(format!("scaling to {}: the pods above are deleted", self.set.replicas()));
            }
            condemned_above = !row.wanted && row.ordinal >= self.set.start();
            if has_boundary && above && row.ordinal < boundary {
                table.ruler(format!("partition {}", self.set.partition()));
            }
            above = row.wanted && row.ordinal >= boundary;
            let short = self.set.short_revision(&row.revision);
            let revision = match row.is_new {
                Some(is_updated) => format!("{:8} {short}", revision_word(is_updated)),
                None => short.to_owned(),
            };
            let restarts = if row.restarts > 0 { row.restarts.to_string() } else { "–".to_owned() };
            let glyph = match (row.exists, row.is_available) {
                (true, true) => Glyph::Good,
                (false, _) => Glyph::Empty,
                (true, false) if bad.contains(row.name.as_str()) => Glyph::Bad,
                (true, false) => Glyph::Moving,
            };
            let none = Volume::none();
            let first = row.volumes.first().unwrap_or(&none);
            let (name, ready, state) = (row.name.clone(), row.ready(), row.state.clone());
            let pod = [name, ready, state, restarts, revision, row.age_text(), row.node.clone()];
            let rest = [row.zone.clone(), row.ip.clone(), row.image.clone()];
            table.row(Some(glyph), pod.into_iter().chain(first.cells()).chain(rest).collect());
            for volume in row.volumes.iter().skip(1) {
                let blank = || std::iter::repeat_n(String::new(), BEFORE_PVC);
                table.row(None, blank().chain(volume.cells()).chain(blank().take(3)).collect());
            }
        }
        // Where columns may be left out these rows could be empty: then they are a line below the table.
        if !self.left_over.is_empty() && is_wide {
            table.ruler("PVCs without a replica");
            for volume in &self.left_over {
                let blank = || std::iter::repeat_n(String::new(), BEFORE_PVC);
                table.row(None, blank().chain(volume.cells()).chain(blank().take(3)).collect());
            }
        }
        table
    }

    fn headline(&self) -> String {
        let set = &self.set;
        let replicas = words::count(set.replicas(), "replica");
        let start = if set.start() > 0 { format!(" from ordinal {}", set.start()) } else { String::new() };
        let strategy = match (set.strategy(), set.partition()) {
            (Strategy::RollingUpdate, 0) => "RollingUpdate".to_owned(),
            (Strategy::RollingUpdate, partition) => format!("RollingUpdate (partition {partition})"),
            _ => set.spec.update_strategy.r#type.clone(),
        };
        let policy = if set.is_parallel() { "Parallel" } else { "OrderedReady" };
        let deleted = if set.metadata.is_terminating() { ", being deleted" } else { "" };
        format!("StatefulSet in {}, {replicas}{start}, {strategy}, {policy}{deleted}", set.metadata.namespace)
    }
}

impl View for Screen {
    fn text(&self, page: &mut Page) {
        let label = self.set.metadata.name.len().clamp(8, 17) + 3;
        page.field(&self.set.metadata.name, label, &self.headline());
        page.field("rollout", label, &self.rollout.text);
        page.field("next", label, &self.next);
        page.field("service", label, &self.service);
        if let Some((text, ..)) = &self.dns {
            page.field("dns", label, text);
        }
        page.gap();
        let is_wide = page.look.wide;
        let has_orphans = !self.left_over.is_empty();
        if !self.rows.is_empty() || has_orphans && is_wide {
            page.table(&self.table(is_wide));
            page.gap();
        }
        if has_orphans && !is_wide {
            page.field("PVCs without a replica:", 24, &summary(&self.left_over));
            page.gap();
        }
        if self.findings.is_empty() {
            let is_unread = Skipped::any_failure(&self.skipped);
            page.field(
                "findings",
                label,
                if is_unread { "none by the rules that could run" } else { "none" },
            );
        } else {
            let count =
                |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
            let parts: Vec<_> = [Severity::Error, Severity::Warning, Severity::Note]
                .into_iter()
                .filter(|severity| count(*severity) > 0)
                .map(|severity| words::count(count(severity), severity.word()))
                .collect();
            page.field("findings", label, &parts.join(", "));
            for found in &self.findings {
                page.gap();
                finding(page, &self.set, found, false);
            }
        }
        let probe = self.dns.as_ref().map(|(_, probe, _)| probe);
        let is_all = self.skipped.is_empty() && self.untried.is_empty();
        if !is_all || probe.is_some_and(|probe| !probe.not_asked.is_empty()) {
            page.gap();
        }
        skipped(page, &self.skipped);
        self.untried.text(page);
        unread_logs(page, &self.findings);
        probe::not_asked(page, probe);
    }

    fn json(&self) -> Value {
        let set = &self.set;
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Status",
            "takenAt": self.taken_at,
            "metadata": {"name": set.metadata.name, "namespace": set.metadata.namespace, "uid": set.metadata.uid},
            "replicas": set.replicas(),
            "availableReplicas": self.available,
            "start": set.start(),
            "partition": set.partition(),
            "updateStrategy": if set.spec.update_strategy.r#type.is_empty() { "RollingUpdate" } else { &set.spec.update_strategy.r#type },
            "podManagementPolicy": if set.is_parallel() { "Parallel" } else { "OrderedReady" },
            "currentRevision": set.status.current_revision,
            "updateRevision": set.status.update_revision,
            "updatedReplicas": self.updated,
            "ageSeconds": self.age.map(|age| age.as_secs()),
            "rollout": self.rollout.text,
            "rolloutState": self.rollout.state,
            "next": self.next,
            "waitsFor": self.waits_for,
            "stuckOn": self.stuck_on,
            "service": self.service,
            "pods": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "claimsWithoutReplica": self.left_over.iter().map(Volume::json).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(|finding| finding_json(set, finding)).collect::<Vec<_>>(),
            "notLookedAt": self.skipped.iter().map(not_looked_at).collect::<Vec<_>>(),
            "notTried": self.untried.json(),
        });
        if let Some((.., dns)) = &self.dns {
            value["dns"] = dns.clone();
        }
        value
    }

    fn names(&self) -> Vec<String> {
        vec![format!("statefulset.apps/{}", self.set.metadata.name)]
    }
}

fn not_known(unseen: &Unseen) -> String {
    format!("unknown: {unseen}")
}

/// `stuck 14m`: for how long the pod at fault has not been ready, where it is there.
fn stuck_word(snapshot: &Snapshot<'_>, stuck: &Stuck) -> String {
    let pod = snapshot.pods().unwrap_or_default().iter().find(|pod| pod.metadata.name == stuck.on);
    let since = pod.and_then(|pod| snapshot.since(snapshot.trouble(pod)?.since));
    format!("stuck{}", since.map_or(String::new(), |since| format!(" {}", words::age(since))))
}

/// How far the rollout is.
#[derive(Debug)]
pub(super) struct Rollout {
    /// A sentence, for one set's screen.
    pub(super) text: String,
    /// A word or two, for one line of many.
    pub(super) word: String,
    /// A word that stays the same, for programs.
    pub(super) state: &'static str,
}

impl Rollout {
    fn of(snapshot: &Snapshot<'_>, next: Option<&Next>) -> Rollout {
        let rollout = |state, text: String, word: String| Rollout { text, word, state };
        let set = snapshot.set;
        let (current, update) = (&set.status.current_revision, &set.status.update_revision);
        let Ok(replicas) = snapshot.replicas() else {
            return rollout("unknown", "unknown: pods were not seen".to_owned(), "?".to_owned());
        };
        if update.is_empty() {
            let text = "not started: the controller has not read the StatefulSet yet";
            return rollout("not-started", text.to_owned(), "–".to_owned());
        }
        let pods: Vec<&Pod> = replicas.iter().filter_map(|replica| replica.pod).collect();
        let total = pods.len();
        let new = pods.iter().filter(|pod| pod.revision() == update).count();
        if new == total {
            return Rollout::of_one_revision(snapshot, &pods);
        }
        let counts = format!("{new} of {} updated", words::count(total, "pod"));
        let by_hand = set.strategy() == Strategy::OnDelete;
        let (state, word) = if by_hand {
            ("on-delete", format!("{new}/{total} OnDelete"))
        } else {
            ("updating", format!("{new}/{total} updated"))
        };
        let end = if by_hand { ", OnDelete" } else { "" };
        if current == update {
            return rollout(state, format!("{}{end}", strays(snapshot, &pods)), word);
        }
        let way = format!("{current} → {update}, {counts}{end}");
        if !by_hand && matches!(next, Some(Next::Settled(Idle::Partition))) {
            let began = snapshot.mark().flatten().map(|mark| mark.at);
            let newest = pods.iter().filter(|pod| pod.revision() == update);
            let since = began.or_else(|| newest.filter_map(|pod| pod.metadata.creation_timestamp).max());
            let since = snapshot
                .since(since)
                .map_or(String::new(), |since| format!(", canary started {} ago", words::age(since)));
            let observed = baking(snapshot).map(|healthy| format!(", observed for {healthy}"));
            let text = format!("{way}{since}{}", observed.unwrap_or_default());
            return rollout("paused", text, format!("canary {new}/{total}"));
        }
        rollout(state, way, word)
    }

    /// Where all pods have the revision of the template.
    fn of_one_revision(snapshot: &Snapshot<'_>, pods: &[&Pod]) -> Rollout {
        let (set, update) = (snapshot.set, &snapshot.set.status.update_revision);
        let wanted = set.replicas();
        let available = pods.iter().filter(|pod| snapshot.is_available(pod)).count();
        let surplus = snapshot.condemned().unwrap_or_default().len();
        if surplus > 0 {
            let pods = words::count(surplus, "more pod");
            return Rollout {
                text: format!("{update}, scaling to {wanted}: {pods} to delete"),
                word: format!("scaling to {wanted}"),
                state: "scaling",
            };
        }
        if usize::try_from(wanted).is_ok_and(|wanted| available < wanted) {
            return Rollout {
                text: format!("{update}, starting: {available} of {} available", words::count(wanted, "pod")),
                word: format!("starting {available}/{wanted}"),
                state: "starting",
            };
        }
        let text = match wanted {
            0 => format!("complete: {update}, scaled to 0"),
            1 => format!("complete: {update} on its pod"),
            many => format!("complete: {update} on all {many} pods"),
        };
        Rollout { text, word: "complete".to_owned(), state: "complete" }
    }
}

/// Where the controller counts no update as under way, and there are pods of other revisions.
fn strays(snapshot: &Snapshot<'_>, pods: &[&Pod]) -> String {
    let update = &snapshot.set.status.update_revision;
    let mut strays: Vec<&str> =
        pods.iter().map(|pod| pod.revision()).filter(|revision| revision != update).collect();
    let count = words::count(strays.len(), "pod");
    strays.sort_unstable();
    strays.dedup();
    let back =
        if strays.iter().any(|stray| is_rolled_back(snapshot, stray)) { "rolled back to " } else { "" };
    format!("{back}{update}, {count} still on {}", words::list(&strays, 3))
}

/// Whether the template was put back from this revision to the one it has now. A revision that is used again gets a new
/// number, and stays as old as it is (`stateful_set_control.go:getStatefulSetRevisions`). Pods can be on another revision
/// for other reasons: the set was created again over them, or an older server never moves `currentRevision` with OnDelete.
fn is_rolled_back(snapshot: &Snapshot<'_>, from: &str) -> bool {
    let revisions = snapshot.revisions().unwrap_or_default();
    let find = |name: &str| revisions.iter().find(|revision| revision.metadata.name == name);
    let (Some(now), Some(from)) = (find(&snapshot.set.status.update_revision), find(from)) else {
        return false;
    };
    now.revision > from.revision && now.metadata.creation_timestamp < from.metadata.creation_timestamp
}

/// The Service in a sentence: how many pods have a DNS name.
fn service(snapshot: &Snapshot<'_>) -> String {
    let set = snapshot.set;
    let name = &set.spec.service_name;
    if name.is_empty() {
        return "–, pods have no DNS names of their own".to_owned();
    }
    let service = match snapshot.service() {
        Ok(Some(service)) => service,
        Ok(None) => return format!("{name} does not exist: pods have no DNS names"),
        Err(unseen) => return format!("{name}, not checked: {unseen}"),
    };
    if !service.is_headless() {
        return format!("{name}, not headless: pods have no DNS names of their own");
    }
    let pattern = format!("{}-N.{name}.{}.svc", set.metadata.name, set.metadata.namespace);
    let Ok(slices) = snapshot.slices() else { return format!("{name}, headless, DNS: {pattern}") };
    let endpoints = slices.iter().filter(|slice| slice.service() == *name).flat_map(|slice| &slice.endpoints);
    let published: HashSet<&str> = endpoints
        .filter(|it| it.conditions.ready != Some(false) || service.spec.publish_not_ready_addresses)
        .map(|endpoint| endpoint.hostname.as_str())
        .collect();
    let replicas = snapshot.replicas().unwrap_or_default().iter();
    let count = replicas.filter(|replica| published.contains(replica.name.as_str())).count();
    format!("{name}, headless, DNS: {count} of {} pods as {pattern}", set.replicas())
}

/// A kind that was not seen, and the names of the rules that were skipped for it.
fn not_looked_at(skipped: &Skipped) -> Value {
    let rules: Vec<_> = skipped.rules.iter().map(|rule| rule.name).collect();
    json!({"what": skipped.unseen.to_string(), "rules": rules})
}
