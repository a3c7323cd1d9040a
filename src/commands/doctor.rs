//! `doctor`: every rule over every set.

mod baseline;
mod manifests;

use std::collections::{BTreeMap, HashSet};
use std::mem::ManuallyDrop;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::logs::{self, LogArgs};
use super::probe::{self, ProbeArgs};
use super::trials::{self, Untried};
use super::{explain, notes};
use crate::cli::{Answer, Global, SetFilter, heading};
use crate::cluster::inventory::Want;
use crate::cluster::recorded;
use crate::error::{Exit, Result};
use crate::kinds::{PersistentVolumeClaim, StatefulSet};
use crate::paste::sts;
use crate::render::{
    Case, Page, Report as PipelineReport, View, finding, finding_json, skipped, skipped_json, unread_logs,
};
use crate::rules::{Diagnosis, Filter, Finding, RULES, Rule, Severity, Skipped, Verdict, diagnose};
use crate::snapshot::{Clock, DnsProbe, Observed, Snapshot, parse_pod_name};
use crate::words;
use baseline::{Baseline, Compared};

/// Diagnose StatefulSets and suggest fixes
///
/// Each finding says what is wrong, why, and which command fixes it.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Diagnose all StatefulSets of a namespace"
    "  kubectl sts doctor -n shop"
    ""
    "  # Diagnose one in a pipeline, and fail on warnings too"
    "  kubectl sts doctor postgres --fail-on warning"
    ""
    "  # Diagnose a recording"
    "  kubectl sts doctor --from shop.yaml -o json"
    ""
    "  # Diagnose manifests in a GitHub workflow, before they are applied"
    "  kubectl kustomize overlays/prod | kubectl sts doctor -f - -o github"
    ""
    "  # Save a diagnosis, and later show only what is new"
    "  kubectl sts doctor -n shop -o json --fail-on never > before.json"
    "  kubectl sts doctor -n shop --baseline before.json"
    ""
    "  # Ask the DNS pods of the cluster whether the names of the replicas resolve"
    "  kubectl sts doctor postgres --probe-dns"
    ""
    "Reads what `status` reads, and the last lines of the logs of failing containers. Where no event says why a pod is missing, it asks the API server for a dry run of the pod. With --probe-dns it also connects to the DNS pods of the cluster. Changes nothing. Names what it may not read, and skips the rules that need it."
))]
pub struct Args {
    /// StatefulSets to diagnose; without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    choice: SetFilter,
    /// Diagnose the manifests in this file or folder instead of a cluster; - is standard input
    #[arg(short, long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath, conflicts_with = "from",
          help_heading = heading::WHICH)]
    filename: Vec<String>,
    /// With -f, read the folders in folders too
    #[arg(short = 'R', long, requires = "filename", help_heading = heading::WHICH)]
    recursive: bool,
    /// Run only these rules, by code or name
    #[arg(long, value_name = "RULE", value_delimiter = ',', help_heading = heading::RULES)]
    only: Vec<String>,
    /// Skip these rules, by code or name
    #[arg(long, value_name = "RULE", value_delimiter = ',', help_heading = heading::RULES)]
    skip: Vec<String>,
    /// Exit with code 1 on findings of this severity or worse
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY", help_heading = heading::RULES)]
    fail_on: FailOn,
    /// Show only what is new since this diagnosis, saved with -o json
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = heading::RULES)]
    baseline: Option<String>,
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    probe: ProbeArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors
    #[default]
    Error,
    /// Warnings and errors
    Warning,
    /// Any finding
    Note,
    /// Never
    Never,
}

impl FailOn {
    fn fails(self, severity: Severity) -> bool {
        match self {
            FailOn::Error => severity >= Severity::Error,
            FailOn::Warning => severity >= Severity::Warning,
            FailOn::Note => true,
            FailOn::Never => false,
        }
    }
}

pub(super) async fn run(global: &Global, args: &Args, warn: fn(&str)) -> Result<Answer> {
    let codes = |names: &[String]| -> Result<Vec<&'static str>> {
        names
            .iter()
            .map(|name| Rule::find(name).map(|rule| rule.code).ok_or_else(|| explain::unknown(name)))
            .collect()
    };
    let filter = Filter { only: codes(&args.only)?, skip: codes(&args.skip)? };
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    // A large cluster takes longer to be let go of than the process takes to end.
    let mut sight = ManuallyDrop::new(if args.filename.is_empty() {
        global.observe(args.choice.all_namespaces, Want::Diagnosis, warn).await?
    } else {
        let files = manifests::read(&args.filename, args.recursive)?;
        let list = args.filename.iter().fold(sts("doctor"), |list, path| list.with("-f").path(path));
        global.of_files(recorded::read_manifests(&files, Timestamp::now())?, list)
    });
    let chosen = sight.choose(&args.names, &args.choice)?;
    trials::ask(&mut sight, &chosen).await;
    args.probe.ask(&mut sight, &chosen).await?;
    let Diagnosis { mut findings, skipped } = diagnose(&sight.observed, &chosen, &filter);
    let compared = baseline.map(|baseline| baseline.keep_new(&mut findings));
    logs::add(&sight, &mut findings, args.logs.lines(global.output)).await;
    let fail_on = args.fail_on;
    let bad = findings.iter().any(|(_, finding)| fail_on.fails(finding.severity));
    let sets: Vec<&StatefulSet> = sight.observed.sets.iter().filter(|set| chosen(set)).collect();
    let mut namespaces: Vec<&str> = sets.iter().map(|set| set.metadata.namespace.as_str()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let dns = sight.observed.dns.as_ref().map(|probe| {
        let namespaces = sight.observed.namespaces();
        let own = sets.iter().copied();
        let snapshots: Vec<Snapshot<'_>> = own
            .filter_map(|set| {
                let namespace = namespaces.get(set.metadata.namespace.as_str())?;
                Some(Snapshot::of(&sight.observed, namespace, set))
            })
            .collect();
        let value = probe::json(probe, &snapshots);
        (probe.clone(), value)
    });
    let exit = match () {
        () if bad => Exit::Bad,
        () if Skipped::any_failure(&skipped) => Exit::Cluster,
        () => Exit::Good,
    };
    let report = Report {
        dns,
        taken_at: sight.observed.taken_at,
        clock: sight.observed.clock,
        looked_at: LookedAt::of(&sight.observed, &sets),
        several: namespaces.len() > 1,
        place: sight.place.clone(),
        findings: findings.into_iter().map(|(set, finding)| (set.clone(), finding)).collect(),
        skipped,
        compared,
        fail_on,
        sets: sets.into_iter().cloned().collect(),
        files: sight.observed.files.clone(),
        untried: Untried::of(&sight.observed.trials),
    };
    Ok(Answer { view: Box::new(report), exit })
}

/// The namespace and the name.
fn key(set: &StatefulSet) -> (&str, &str) {
    (&set.metadata.namespace, &set.metadata.name)
}

struct LookedAt {
    sets: usize,
    pods: Option<usize>,
    claims: Option<usize>,
}

impl LookedAt {
    fn of(observed: &Observed, sets: &[&StatefulSet]) -> LookedAt {
        let chosen: HashSet<(&str, &str)> = sets.iter().map(|set| key(set)).collect();
        let namespaces = observed.namespaces();
        let pods = observed.pods.as_ref().ok().map(|pods| {
            let parents = pods.iter().filter_map(|pod| {
                let (parent, _) = parse_pod_name(&pod.metadata.name)?;
                Some((pod.metadata.namespace.as_str(), parent))
            });
            parents.filter(|parent| chosen.contains(parent)).count()
        });
        let claims = observed.claims.as_ref().ok().map(|claims| {
            let of_set = |claim: &&PersistentVolumeClaim| {
                let namespace = namespaces.get(claim.metadata.namespace.as_str());
                let makers = namespace.map(|namespace| namespace.makers(&claim.metadata.name));
                makers.into_iter().flatten().any(|(set, _)| chosen.contains(&key(set)))
            };
            claims.iter().filter(of_set).count()
        });
        LookedAt { sets: sets.len(), pods, claims }
    }

    fn words(&self) -> String {
        let mut parts = vec![words::count(self.sets, "StatefulSet")];
        parts.extend(self.pods.map(|pods| words::count(pods, "pod")));
        parts.extend(self.claims.map(|claims| words::count(claims, "PVC")));
        words::list(&parts, usize::MAX)
    }
}

struct Report {
    taken_at: Timestamp,
    clock: Clock,
    looked_at: LookedAt,
    several: bool,
    place: String,
    findings: Vec<(StatefulSet, Finding)>,
    skipped: Vec<Skipped>,
    compared: Option<Compared>,
    fail_on: FailOn,
    sets: Vec<StatefulSet>,
    files: BTreeMap<(String, String), String>,
    untried: Untried,
    /// What DNS answered, and the same for programs.
    dns: Option<(DnsProbe, Value)>,
}

impl Report {
    /// How much was checked and found.
    fn summary(&self) -> String {
        let count = |severity: Severity| words::count(self.count(severity), severity.word());
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let notes = match self.count(Severity::Note) {
            0 => String::new(),
            _ => format!(", {}", count(Severity::Note)),
        };
        let seen = self.looked_at.words();
        let skipped = Skipped::count(&self.skipped);
        let text = match (self.findings.is_empty(), self.compared) {
            (true, None) if skipped > 0 => {
                format!("no problems found by the rules that could run: {seen} checked")
            }
            (true, Some(_)) if skipped > 0 => {
                format!("no new problems found by the rules that could run: {seen} checked")
            }
            (true, None) => match self.wrong_answers() {
                0 => format!("no problems found: {seen} checked"),
                wrong => {
                    let answers = words::count(wrong, "DNS answer");
                    let are = if wrong == 1 { "is" } else { "are" };
                    format!("no problems found, but {answers} {are} not right: {seen} checked")
                }
            },
            (true, Some(_)) => format!("no new problems found: {seen} checked"),
            (false, None) => format!("{seen} checked: {errors}, {warnings}{notes}"),
            (false, Some(_)) => format!("{seen} checked; new: {errors}, {warnings}{notes}"),
        };
        match skipped {
            0 => text,
            count => format!("{text}; {count} of {} rules skipped", RULES.len()),
        }
    }

    /// The answers of DNS, by what they are worth.
    fn answers(&self) -> Vec<&str> {
        let names = self.dns.iter().flat_map(|(_, value)| value["names"].as_array().into_iter().flatten());
        names.filter_map(|name| name["verdict"].as_str()).collect()
    }

    fn wrong_answers(&self) -> usize {
        self.answers().iter().filter(|verdict| **verdict != Verdict::Right.word()).count()
    }

    /// How many names resolve, where DNS was asked, and why others do not.
    fn asked(&self) -> Option<String> {
        let (probe, value) = self.dns.as_ref()?;
        let all = self.answers();
        let who = words::count(probe.servers.len(), "DNS server");
        let wrong: Vec<String> = Verdict::WRONG
            .iter()
            .map(|verdict| (all.iter().filter(|word| **word == verdict.word()).count(), verdict))
            .filter(|(count, _)| *count > 0)
            .map(|(count, verdict)| format!("{count} {}", verdict.words()))
            .collect();
        let wrong = match wrong.is_empty() {
            true => String::new(),
            false => format!(" ({})", words::list(&wrong, usize::MAX)),
        };
        (!probe.servers.is_empty()).then(|| {
            format!(
                "DNS: {} of {} right{wrong}, {who} asked, cluster domain {}",
                value["right"],
                words::count(all.len(), "answer"),
                probe.domain
            )
        })
    }

    /// How that compares with the baseline.
    fn comparison(&self) -> Option<String> {
        let Compared { known, gone } = self.compared?;
        let gone = match gone {
            0 => String::new(),
            gone => format!("; gone since then: {}", words::count(gone, "problem")),
        };
        Some(format!("not shown, as the baseline has them: {}{gone}", words::count(known, "finding")))
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|(_, finding)| finding.severity == severity).count()
    }
}

impl View for Report {
    fn text(&self, page: &mut Page) {
        if self.looked_at.sets == 0 {
            return;
        }
        for (set, found) in &self.findings {
            page.gap();
            finding(page, set, found, self.several);
        }
        page.gap();
        page.prose(&self.summary(), 2);
        if let Some(comparison) = self.comparison() {
            page.prose(&comparison, 2);
        }
        if let Some(asked) = self.asked() {
            page.prose(&asked, 2);
        }
        skipped(page, &self.skipped);
        self.untried.text(page);
        unread_logs(page, self.findings.iter().map(|(_, finding)| finding));
        probe::not_asked(page, self.dns.as_ref().map(|(probe, _)| probe));
        if let Some(trouble) = self.clock.trouble() {
            page.prose(&format!("note: {trouble}"), 2);
        }
    }

    fn report(&self) -> Option<PipelineReport<'_>> {
        let comparison = self.comparison().map_or(String::new(), |text| format!(" ({text})"));
        let cases = self.findings.iter();
        Some(PipelineReport {
            checked: self.sets.iter().collect(),
            cases: cases
                .map(|(set, finding)| Case { set, finding, fails: self.fail_on.fails(finding.severity) })
                .collect(),
            skipped: &self.skipped,
            files: &self.files,
            summary: self.summary() + &comparison,
            read_at: self.taken_at,
        })
    }

    fn nothing(&self) -> Option<String> {
        (self.looked_at.sets == 0).then(|| format!("no StatefulSets found {}", self.place))
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Diagnosis",
            "takenAt": self.taken_at.to_string(),
            "clock": {
                "source": self.clock.source.word(),
                "aheadSeconds": self.clock.ahead.map(|ahead| ahead.as_secs()),
                "trouble": self.clock.trouble(),
            },
            "findings": self.findings.iter().map(|(set, finding)| finding_json(set, finding)).collect::<Vec<_>>(),
            "notLookedAt": skipped_json(&self.skipped),
            "notTried": self.untried.json(),
            "lookedAt": {
                "statefulSets": self.looked_at.sets,
                "pods": self.looked_at.pods,
                "claims": self.looked_at.claims,
            },
            "summary": {
                "errors": self.count(Severity::Error),
                "warnings": self.count(Severity::Warning),
                "notes": self.count(Severity::Note),
                "skippedRules": Skipped::count(&self.skipped),
                "wrongDnsAnswers": self.dns.as_ref().map(|_| self.wrong_answers()),
            },
        });
        if let Some(Compared { known, gone }) = self.compared {
            value["baseline"] = json!({"known": known, "gone": gone});
        }
        if let Some((_, dns)) = &self.dns {
            value["dns"] = dns.clone();
        }
        value
    }

    fn names(&self) -> Vec<String> {
        self.findings
            .iter()
            .map(|(_, finding)| {
                let (kind, name) = (finding.subject.kind, &finding.subject.name);
                match kind.api_version().split_once('/') {
                    Some((group, _)) => format!("{}.{group}/{name}", kind.name().to_lowercase()),
                    None => format!("{}/{name}", kind.name().to_lowercase()),
                }
            })
            .collect()
    }
}
