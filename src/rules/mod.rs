//! What can be wrong: one file a rule, each a pure function of a snapshot, with its page in `docs/rules`.

mod amounts;
mod claims;
mod creations;
mod diagnose;
mod dns;
mod drivers;
mod finalizers;
mod fold;
mod gates;
mod hints;
mod limits;
mod log;
mod loops;
mod managers;
mod misspelt;
mod mounts;
mod nodes;
mod old_data;
mod page;
mod peers;
mod placement;
mod pods;
mod prelude;
mod probed;
mod provision;
mod pulls;
mod refusals;
mod refused;
mod resizes;
mod rollouts;
mod scheduling;
mod security;
mod services;
mod stuck;
mod trials;
mod volumes;
mod webhooks;

mod autoscaler_conflict;
mod budget_blocks_all;
mod claim_class_missing;
mod claim_lost;
mod claim_name_collision;
mod claim_no_default_class;
mod claim_no_matching_volume;
mod claim_node_not_chosen;
mod claim_older_than_set;
mod claim_provisioning_failed;
mod claim_quota_exceeded;
mod claim_resize_failed;
mod claim_resize_pending;
mod claim_terminating;
mod claim_waiting_for_consumer;
mod claim_zone_mismatch;
mod config_missing;
mod crash_loop;
mod dns_answer_stale;
mod dns_forward_loop;
mod dns_name_not_published;
mod dns_name_unknown;
mod dns_pod_silent;
mod evicted_repeatedly;
mod fix_above_partition;
mod grace_period_zero;
mod image_pull;
mod init_failing;
mod liveness_killed;
mod name_too_long;
mod never_ready;
mod node_lost;
mod on_delete_pending;
mod orphaned_claims;
mod out_of_memory;
mod parallel_not_ordered;
mod partition_above_replicas;
mod partition_left_behind;
mod pod_creation_failed;
mod pod_deletion_refused;
mod pod_name_taken;
mod pod_update_refused;
mod replica_without_endpoint;
mod retention_gap;
mod rollback_trap;
mod rolling_update_nil;
mod rollout_blocked;
mod scale_down_deadlock;
mod service_missing;
mod service_name_empty;
mod service_name_misspelt;
mod service_not_headless;
mod service_selector_mismatch;
mod set_deletion_held;
mod stale_claim_wait;
mod stuck_terminating;
mod unschedulable;
mod volume_mount_failed;
mod volume_multi_attach;
mod volume_released;
mod volume_terminating;

use crate::kinds::Kind;
use crate::paste::Command;
use crate::snapshot::{LogOf, Snapshot, Unseen};
use crate::words;

pub use diagnose::{Diagnosis, Filter, Skipped, diagnose, of_set, order, skipped};
pub use dns::{Checked, Verdict, checked as dns_checked, summary as dns_summary};
pub use hints::{Hint, all as hints};
pub use log::{LogHint, LogTail};
pub use page::Explanation;
pub use stuck::{Stuck, said_of, stuck, stuck_by};
pub use trials::pods_to_try;

/// Every rule, by code.
pub const RULES: &[&Rule] = &[
    &service_missing::RULE,
    &service_not_headless::RULE,
    &service_selector_mismatch::RULE,
    &service_name_empty::RULE,
    &service_name_misspelt::RULE,
    &replica_without_endpoint::RULE,
    &dns_answer_stale::RULE,
    &dns_name_unknown::RULE,
    &dns_name_not_published::RULE,
    &dns_pod_silent::RULE,
    &dns_forward_loop::RULE,
    &claim_class_missing::RULE,
    &claim_no_default_class::RULE,
    &claim_no_matching_volume::RULE,
    &claim_provisioning_failed::RULE,
    &claim_waiting_for_consumer::RULE,
    &claim_zone_mismatch::RULE,
    &claim_lost::RULE,
    &claim_terminating::RULE,
    &claim_quota_exceeded::RULE,
    &orphaned_claims::RULE,
    &volume_multi_attach::RULE,
    &volume_mount_failed::RULE,
    &retention_gap::RULE,
    &claim_name_collision::RULE,
    &claim_resize_failed::RULE,
    &volume_terminating::RULE,
    &claim_node_not_chosen::RULE,
    &claim_resize_pending::RULE,
    &claim_older_than_set::RULE,
    &volume_released::RULE,
    &rollback_trap::RULE,
    &rollout_blocked::RULE,
    &partition_left_behind::RULE,
    &partition_above_replicas::RULE,
    &scale_down_deadlock::RULE,
    &parallel_not_ordered::RULE,
    &pod_deletion_refused::RULE,
    &pod_update_refused::RULE,
    &set_deletion_held::RULE,
    &fix_above_partition::RULE,
    &on_delete_pending::RULE,
    &budget_blocks_all::RULE,
    &autoscaler_conflict::RULE,
    &name_too_long::RULE,
    &grace_period_zero::RULE,
    &rolling_update_nil::RULE,
    &image_pull::RULE,
    &crash_loop::RULE,
    &init_failing::RULE,
    &never_ready::RULE,
    &unschedulable::RULE,
    &config_missing::RULE,
    &out_of_memory::RULE,
    &stuck_terminating::RULE,
    &node_lost::RULE,
    &pod_name_taken::RULE,
    &pod_creation_failed::RULE,
    &stale_claim_wait::RULE,
    &evicted_repeatedly::RULE,
    &liveness_killed::RULE,
];

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is broken.
    Note,
    /// Something will break, or costs.
    Warning,
    /// Something is broken and will not mend itself.
    Error,
}

impl Severity {
    /// As written in output and flags.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }

    /// Reads [`Severity::word`].
    pub fn parse(word: &str) -> Option<Severity> {
        [Severity::Note, Severity::Warning, Severity::Error].into_iter().find(|it| it.word() == word)
    }
}

/// One thing that can be wrong with a set.
pub struct Rule {
    /// Printed and searched for; never given to another rule.
    pub code: &'static str,
    /// Named for the problem; also the name of its file and page.
    pub name: &'static str,
    /// How bad its findings are at most.
    pub severity: Severity,
    /// From which severity on a finding says that its replica, if the controller waits for it, will not come by itself;
    /// `None` where that does not follow.
    pub stuck_from: Option<Severity>,
    /// What `explain` prints; its examples are tests.
    pub page: &'static str,
    /// Looks for it. An [`Unseen`] skips the rule, by name.
    pub check: fn(&Snapshot<'_>) -> Result<Vec<Finding>, Unseen>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.name)
    }
}

impl Rule {
    /// Finds the rule by code or name, in any case.
    pub fn find(text: &str) -> Option<&'static Rule> {
        RULES
            .iter()
            .copied()
            .find(|rule| rule.code.eq_ignore_ascii_case(text) || rule.name.eq_ignore_ascii_case(text))
    }

    /// A finding about an object of the set's namespace, or a cluster-wide one. `what` is an affirmative sentence that
    /// names the object, without a period.
    pub fn about(&'static self, kind: Kind, name: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding {
            rule: self,
            severity: self.severity,
            subject: Subject::new(kind, name),
            also: Vec::new(),
            what: what.into(),
            because: String::new(),
            remedy: Vec::new(),
            instead: Vec::new(),
            absorbs: Vec::new(),
            follows: Vec::new(),
            stands_alone: true,
            blocks: None,
            way_out: Vec::new(),
            run: None,
            log: None,
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its namespace, where that is another than the set's.
    pub namespace: Option<String>,
}

impl Subject {
    /// An object of the set's namespace, or of none.
    pub fn new(kind: Kind, name: impl Into<String>) -> Subject {
        Subject { kind, name: name.into(), namespace: None }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Something wrong with a set.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which rule found it.
    pub rule: &'static Rule,
    /// How bad it is; at most what the rule says.
    pub severity: Severity,
    /// The object it is about.
    pub subject: Subject,
    /// Further objects it is about.
    pub also: Vec<Subject>,
    /// What is wrong.
    pub what: String,
    /// The evidence.
    pub because: String,
    /// Commands to paste, in order.
    pub remedy: Vec<Command>,
    /// Other ways out, each of which helps alone: the way forward where the remedy is the way back.
    pub instead: Vec<Command>,
    /// Objects whose other findings are only consequences of this one, and not shown.
    pub absorbs: Vec<Subject>,
    /// Objects at fault: where each has a finding of its own, this one only follows from those, and is not shown.
    pub follows: Vec<Subject>,
    /// Whether it is shown where they have none. What is none of it tells only what such a finding would mean.
    pub stands_alone: bool,
    /// What cannot happen as long as this lasts.
    pub blocks: Option<Blocked>,
    /// Commands that help whatever the cause is, for a cause that has none but such that show something.
    pub way_out: Vec<Command>,
    /// The run of a container whose log may say why.
    pub run: Option<LogOf>,
    /// What that log says, once it was read.
    pub log: Option<LogTail>,
}

/// What the controller does not do to which pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What it does not do: `update`, `creation` or `deletion`.
    pub action: &'static str,
    /// The pods, lowest first; never empty.
    pub pods: Vec<String>,
}

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} of {}", self.action, words::list(&self.pods, 3))
    }
}

impl Finding {
    /// Says on what evidence.
    #[must_use]
    pub fn because(mut self, evidence: impl Into<String>) -> Finding {
        self.because = evidence.into();
        self
    }

    /// Adds a command to paste. It must work as printed.
    #[must_use]
    pub fn remedy(mut self, command: Command) -> Finding {
        self.remedy.push(command);
        self
    }

    /// Adds another way out, which helps without the remedy.
    #[must_use]
    pub fn instead(mut self, command: Command) -> Finding {
        self.instead.push(command);
        self
    }

    /// Is less bad than the rule at its worst.
    #[must_use]
    pub fn only(mut self, severity: Severity) -> Finding {
        self.severity = severity.min(self.rule.severity);
        self
    }

    /// Is about another object too.
    #[must_use]
    pub fn also(mut self, kind: Kind, name: impl Into<String>) -> Finding {
        self.also.push(Subject::new(kind, name));
        self
    }

    /// Makes findings of other rules about this object consequences of this one.
    #[must_use]
    pub fn absorbs(mut self, kind: Kind, name: impl Into<String>) -> Finding {
        self.absorbs.push(Subject::new(kind, name));
        self
    }

    /// Only follows from what is wrong with this object, where another finding says what that is.
    #[must_use]
    pub fn follows(mut self, kind: Kind, name: impl Into<String>) -> Finding {
        self.follows.push(Subject::new(kind, name));
        self
    }

    /// Says what cannot happen meanwhile.
    #[must_use]
    pub fn blocking(mut self, blocked: Blocked) -> Finding {
        self.blocks = Some(blocked);
        self
    }

    /// Whether it says that its replica, if the controller waits for it, will not come by itself.
    pub fn is_stuck(&self) -> bool {
        self.rule.stuck_from.is_some_and(|from| self.severity >= from)
    }
}
