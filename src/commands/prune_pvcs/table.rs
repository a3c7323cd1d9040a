//! What is left over, before anything is written.

use serde_json::{Value, json};

use super::Args;
use super::consent::Missing;
use crate::cli::Observation;
use crate::commands::act::stopped;
use crate::error::Error;
use crate::kinds::{CLAIM_UID, EARLIER_POLICY};
use crate::paste::{Command, kubectl, sts};
use crate::plan::Plan;
use crate::plan::prune::{Found, Held, LeftOver, Unfinished, race};
use crate::render::{Column, Page, Table, View, plan, plan_json};
use crate::snapshot::attribution::{ClaimUsers, Class, ReasonCode};
use crate::words;

/// The claims of the chosen sets, sorted out.
#[expect(clippy::struct_excessive_bools, reason = "each is a way to show it")]
pub(super) struct Listing {
    found: Found,
    retain: bool,
    show_kept: bool,
    several: bool,
    place: String,
    taken_at: String,
    /// Whether claims are about to be deleted.
    pub acts: bool,
    /// Whether it was only asked what would be done.
    pub dry: bool,
    /// What is done, where it is all that is shown.
    pub plan: Option<Plan>,
    /// What the server would say to each deletion.
    pub checked: Vec<(String, String)>,
    pub missing: Missing,
    accept_race: bool,
    unread: Vec<(String, String)>,
    /// Whether it is of a recording, which nothing can be deleted from.
    pub(super) recorded: bool,
}

impl Listing {
    pub(super) fn new(
        args: &Args,
        sight: &Observation,
        found: Found,
        around: Option<&ClaimUsers>,
        missing: Missing,
    ) -> Listing {
        let observed = &sight.observed;
        let unseen = [
            observed.pods.as_ref().err(),
            observed.claims.as_ref().err(),
            observed.volumes.as_ref().err(),
            observed.autoscalers.as_ref().err(),
        ];
        let unseen = unseen.into_iter().flatten().map(|it| (it.kind.plural().to_owned(), it.why.to_string()));
        let unread = match around {
            Some(around) => {
                around.unread.iter().map(|(kind, why)| ((*kind).to_owned(), why.to_string())).collect()
            }
            None => ["pod templates of other workloads", "volumeattachments", "volumesnapshots"]
                .map(|kind| (kind.to_owned(), "not in a recording".to_owned()))
                .to_vec(),
        };
        let mut namespaces: Vec<&str> =
            observed.sets.iter().map(|set| set.metadata.namespace.as_str()).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        Listing {
            found,
            retain: args.retain,
            show_kept: args.show_kept,
            several: namespaces.len() > 1,
            place: sight.place.clone(),
            taken_at: observed.taken_at.to_string(),
            acts: false,
            dry: false,
            plan: None,
            checked: Vec::new(),
            missing,
            accept_race: args.accept_race,
            unread: unseen.chain(unread).collect(),
            recorded: false,
        }
    }

    /// Why nothing is deleted, where a permission is missing.
    pub(super) fn refusal(&self) -> Option<Error> {
        let needed = &self.missing.needed;
        let Some(first) = needed.first() else {
            let is_refused = self.missing.may_not_guard && !self.accept_race;
            return is_refused.then(|| {
                let why = "you are not allowed to patch persistentvolumes; nothing was changed";
                stopped(race(why.to_owned()).into())
            });
        };
        Some(
            Error::refused(format!("you are not allowed to {}; nothing was changed", words::list(needed, 4)))
                .reason("forbidden")
                .hint(
                    first
                        .split(' ')
                        .fold(kubectl("auth can-i"), Command::value)
                        .after("check your permissions"),
                ),
        )
    }

    fn left_over(&self, page: &mut Page) {
        let mut columns = vec![
            Column::new("PVC"),
            Column::optional("STATEFULSET"),
            Column::optional("ORDINAL"),
            Column::new("SIZE"),
            Column::optional("CLASS"),
            Column::optional("AGE"),
            Column::new("UNUSED FOR"),
            Column::prose("IF DELETED"),
        ];
        if self.several {
            columns.insert(0, Column::new("NAMESPACE"));
        }
        let mut table = Table::new(&columns);
        for left in &self.found.left_over {
            let claim = &left.claim;
            let mut cells = vec![
                claim.metadata.name.clone(),
                left.set.clone(),
                left.ordinal.to_string(),
                claim.size().to_owned(),
                claim.class().unwrap_or_default().to_owned(),
                left.age.map_or_else(String::new, words::age),
                left.unused.map_or_else(|| "unknown".to_owned(), words::age),
                left.fate_in_short(self.retain).to_owned(),
            ];
            if self.several {
                cells.insert(0, claim.metadata.namespace.clone());
            }
            table.row(None, cells);
        }
        page.table(&table);
    }

    /// What an interrupted run has left: volumes that are kept, though their PVC is gone.
    fn unfinished(&self, page: &mut Page) {
        for left in &self.found.unfinished {
            let Unfinished { claim, namespace, earlier, volume, .. } = left;
            let (name, size) = (&volume.metadata.name, volume.size());
            let place = if self.several { format!(" in {namespace}") } else { String::new() };
            let becomes =
                if self.retain { "stays Retain".to_owned() } else { format!("Retain → {earlier}") };
            let text = format!(
                "PV {name} ({size}) of {claim}{place}, which an interrupted run deleted: reclaim policy {becomes}; {}",
                left.fate(self.retain)
            );
            page.prose(&format!("finish: {text}"), 8);
        }
        for held in &self.found.held {
            let Held { volume, namespace, claim, earlier, reason, .. } = held;
            let place = if self.several { format!(" in {namespace}") } else { String::new() };
            let text = format!(
                "PV {volume} of {claim}{place} has had reclaim policy Retain since an interrupted run ({earlier} before), \
                 and keeps it: {}",
                reason.text
            );
            page.prose(&format!("kept: {text}"), 6);
            // In a recording a name can be anything, and a command must be safe to paste.
            let is_name = |name: &String| {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
                name.bytes().all(is_plain) && !name.starts_with('-')
            };
            if ![volume, claim, namespace].into_iter().all(is_name) {
                continue;
            }
            if held.is_bound && reason.code == ReasonCode::Bound {
                page.command("  restore policy:", 20, &put_back(volume, earlier).to_string());
            } else {
                let restore = sts("restore-pvc").path(&format!("{namespace}.{claim}.pvc.yaml"));
                page.command("  restore PVC:", 20, &restore.namespace(namespace).to_string());
            }
        }
    }

    fn kept(&self, page: &mut Page) {
        let mut columns = vec![
            Column::new("PVC"),
            Column::optional("STATEFULSET"),
            Column::new("VERDICT"),
            Column::prose("REASON"),
        ];
        if self.several {
            columns.insert(0, Column::new("NAMESPACE"));
        }
        let mut table = Table::new(&columns);
        for rest in &self.found.rest {
            let mut cells = vec![
                rest.claim.clone(),
                rest.set.clone().unwrap_or_default(),
                rest.class.word().replace('-', " "),
                rest.class.reason().map_or_else(String::new, |reason| reason.text.clone()),
            ];
            if self.several {
                cells.insert(0, rest.namespace.clone());
            }
            table.row(None, cells);
        }
        page.gap();
        page.table(&table);
    }

    /// `kept: 2 in use, 1 ambiguous`.
    fn summary(&self) -> String {
        let count = |belongs: &dyn Fn(&Class) -> bool| {
            self.found.rest.iter().filter(|rest| belongs(&rest.class)).count()
        };
        let parts = [
            (
                count(&|class| matches!(class, Class::Kept(reason) if reason.code == ReasonCode::InRange)),
                "in use",
            ),
            (
                count(&|class| matches!(class, Class::Kept(reason) if reason.code != ReasonCode::InRange)),
                "for other reasons",
            ),
            (count(&|class| matches!(class, Class::Ambiguous(_))), "ambiguous"),
            (count(&|class| matches!(class, Class::NotOurs(_))), "of no StatefulSet"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        parts.join(", ")
    }
}

impl View for Listing {
    fn text(&self, page: &mut Page) {
        let left = &self.found.left_over;
        if left.is_empty() && self.found.unfinished.is_empty() {
            page.prose(&format!("no orphaned PVCs found {}", self.place), 2);
        } else if !left.is_empty() {
            let belong = match left.len() {
                1 => "belongs to a replica that no longer exists",
                _ => "belong to replicas that no longer exist",
            };
            let count = words::count(left.len(), "PVC");
            page.prose(&format!("{count} ({}) {belong}:", self.found.size()), 2);
            self.left_over(page);
            for left in left {
                for warning in &left.warnings {
                    page.field("! note", 8, &format!("{}: {warning}", left.claim.metadata.name));
                }
            }
        }
        self.unfinished(page);
        if self.show_kept && !self.found.rest.is_empty() {
            self.kept(page);
        } else if !self.found.rest.is_empty() {
            page.prose(&format!("kept: {} (list them with --show-kept)", self.summary()), 6);
        }
        for (kind, why) in &self.unread {
            page.prose(&format!("not checked: {kind} ({why})"), 13);
        }
        for missing in &self.missing.needed {
            page.prose(&format!("missing permission: {missing}; nothing is deleted without it"), 20);
        }
        if self.missing.may_not_guard {
            let race = "missing permission: patch persistentvolumes; without it, a PV cannot be kept until its PVC is gone: \
                a pod that starts to use a PVC at the moment of its deletion loses its data";
            let needs =
                if self.accept_race { " (--accept-race)" } else { "; use --accept-race to delete anyway" };
            page.prose(&format!("{race}{needs}"), 20);
        }
        if let Some(all) = &self.plan {
            page.gap();
            plan(page, all, None);
        }
        for (step, result) in &self.checked {
            page.field("  check", 13, &format!("{step}: {result}"));
        }
        if !self.found.is_empty() && !self.acts && !self.recorded {
            page.prose(
                if self.dry {
                    "dry run: nothing was changed"
                } else {
                    "nothing was changed; run it on a terminal to select PVCs, or delete all of them with --yes"
                },
                0,
            );
        }
        if self.acts {
            page.gap();
        }
    }

    fn json(&self) -> Value {
        let left = self.found.left_over.iter().map(|left| left_json(left, self.retain));
        let rest = self.found.rest.iter().map(|rest| {
            json!({
                "namespace": rest.namespace, "name": rest.claim, "set": rest.set, "class": rest.class.word(),
                "reason": rest.class.reason().map(|reason| reason.code.word()),
                "because": rest.class.reason().map(|reason| &reason.text),
            })
        });
        let unfinished = self.found.unfinished.iter().map(|left| {
            json!({
                "namespace": left.namespace, "claim": left.claim, "volume": left.volume.metadata.name,
                "set": left.set, "ordinal": left.ordinal, "size": left.volume.size(),
                "reclaimPolicy": left.earlier, "ifFinished": left.fate(self.retain),
            })
        });
        let held = self.found.held.iter().map(|held| {
            json!({
                "namespace": held.namespace, "claim": held.claim, "volume": held.volume,
                "reclaimPolicy": held.earlier, "reason": held.reason.code.word(), "because": held.reason.text,
            })
        });
        let unread = self.unread.iter().map(|(kind, why)| json!({"kind": kind, "why": why}));
        let checks = self.checked.iter().map(|(step, result)| json!({"step": step, "result": result}));
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "ClaimList",
            "takenAt": self.taken_at,
            "prunable": left.collect::<Vec<_>>(),
            "others": rest.collect::<Vec<_>>(),
            "size": self.found.size().to_string(),
            "notLookedAt": unread.collect::<Vec<_>>(),
            "notAllowed": self.missing.needed,
            "mayNotKeepVolumes": self.missing.may_not_guard,
            "unfinished": unfinished.collect::<Vec<_>>(),
            "held": held.collect::<Vec<_>>(),
            "checks": checks.collect::<Vec<_>>(),
        });
        if let Some(plan) = &self.plan {
            value["plan"] = plan_json(plan);
        }
        value
    }

    fn names(&self) -> Vec<String> {
        let name = |left: &LeftOver| format!("persistentvolumeclaim/{}", left.claim.metadata.name);
        let volume = |left: &Unfinished| format!("persistentvolume/{}", left.volume.metadata.name);
        let finished = self.found.unfinished.iter().map(volume);
        self.found.left_over.iter().map(name).chain(finished).collect()
    }

    fn is_streamed(&self) -> bool {
        self.acts
    }
}

/// The command that gives a volume its reclaim policy again, without our notes.
fn put_back(volume: &str, policy: &str) -> Command {
    let change = json!({
        "metadata": {"annotations": {EARLIER_POLICY: null, CLAIM_UID: null}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
    });
    kubectl("patch pv").name(volume).with("--type=merge").patch(&change)
}

fn left_json(left: &LeftOver, retain: bool) -> Value {
    let meta = &left.claim.metadata;
    json!({
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "set": left.set,
        "ordinal": left.ordinal,
        "size": left.claim.size(),
        "storageClass": left.claim.class(),
        "volume": left.claim.spec.volume_name,
        "ageSeconds": left.age.map(|age| age.as_secs()),
        "unusedSeconds": left.unused.map(|unused| unused.as_secs()),
        "evidence": left.evidence(),
        "ifDeleted": left.fate(retain),
        "warnings": left.warnings,
    })
}
