//! What every command does before its first write: the plan is shown, permissions are asked for, the server checks it where
//! that is wanted, and somebody agrees.

use crate::cli::{Ui, heading};
use crate::cluster::Performed;
use crate::cluster::claims::denied;
use crate::cluster::connect::Connection;
use crate::error::{Error, Exit, Result};
use crate::paste::kubectl;
use crate::plan::{Permission, Plan, Step, Stop};
use crate::reconcile::Cluster;
use crate::render::live::show;
use crate::render::{Output, View, ask, render_beside};

/// The flags of every command that writes.
#[derive(clap::Args, Clone, Debug)]
pub struct Agree {
    /// Skip the confirmation prompt
    #[arg(short, long, help_heading = heading::SAFETY)]
    pub(in crate::commands) yes: bool,
    /// Only show the plan; --dry-run=server also lets the API server check each change
    #[arg(long, value_enum, default_value_t, value_name = "MODE", num_args = 0..=1, require_equals = true,
          default_missing_value = "client", help_heading = heading::SAFETY)]
    pub(in crate::commands) dry_run: DryRun,
}

/// `--dry-run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DryRun {
    /// Change the cluster
    #[default]
    None,
    /// Show the plan
    Client,
    /// Show the plan, and have the API server check each change
    Server,
}

impl Agree {
    /// Whether it was only asked what would be done.
    pub(in crate::commands) fn is_dry(&self) -> bool {
        self.dry_run != DryRun::None
    }

    /// Asks, unless it was agreed to beforehand.
    pub(in crate::commands) fn confirm(&self, question: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if !ask::somebody() {
            return Err(Error::refused(
                "confirmation required, but stdin is not a terminal; nothing was changed",
            )
            .reason("nobody-agreed")
            .hint("use --yes to confirm, or --dry-run=client to show the plan only"));
        }
        if ask::confirm(question)? { Ok(()) } else { Err(declined("cancelled")) }
    }
}

/// Shows what will be done: nothing is written that was not shown, not even with `--yes`.
pub(in crate::commands) fn show_plan(plan: &dyn View, output: Output, streams: &Ui) -> Result<()> {
    show(&render_beside(plan, output, streams.look)?, output)
}

/// Somebody said no.
pub(in crate::commands) fn declined(what: &str) -> Error {
    Error::cancelled(format!("{what}; nothing was changed")).reason("declined")
}

/// Why there is no plan, as an error; the reason is a stable word for programs.
pub(in crate::commands) fn stopped(stop: Stop) -> Error {
    match stop {
        Stop::Refused(refusal) => {
            let error = Error::refused(refusal.because).reason(refusal.reason);
            if refusal.hint.is_empty() { error } else { error.hint(refusal.hint) }
        }
        Stop::Unseen(unseen) => Error::cluster(format!("could not read {unseen}; nothing was changed")),
    }
}

/// What all writes of a plan need to be allowed, each once.
pub(in crate::commands) fn permissions(steps: &[Step]) -> Vec<Permission> {
    let mut all: Vec<Permission> = Vec::new();
    for permission in steps.iter().filter_map(Step::permission) {
        if !all.contains(&permission) {
            all.push(permission);
        }
    }
    all
}

/// Whether all writes of the plan are allowed, asked before the first one.
pub(in crate::commands) async fn permitted(connection: &Connection, plan: &Plan) -> Result<()> {
    let denied = denied(connection, &permissions(&plan.agreed())).await;
    let Some(Permission { verb, resource, subresource, namespace, .. }) = denied.first() else {
        return Ok(());
    };
    let what = match *subresource {
        "" => (*resource).to_owned(),
        subresource => format!("{resource}/{subresource}"),
    };
    let namespace = namespace.as_deref().unwrap_or(&connection.namespace);
    let mut ask = kubectl("auth can-i").with(verb).value(&what);
    if !namespace.is_empty() {
        ask = ask.namespace(namespace);
    }
    Err(Error::refused(format!("you are not allowed to {verb} {what}; nothing was changed"))
        .reason("forbidden")
        .hint(ask.after("check your permissions")))
}

/// What the server said to each write.
#[derive(Debug, Default)]
pub(in crate::commands) struct Checks {
    /// The steps in words, and what was said.
    pub(in crate::commands) results: Vec<(String, String)>,
    /// Whether it refuses any of them.
    is_refused: bool,
}

impl Checks {
    /// How the process ends.
    pub(in crate::commands) fn exit(&self) -> Exit {
        if self.is_refused { Exit::Refused } else { Exit::Good }
    }
}

/// Has the server check each write, without effect.
pub(in crate::commands) async fn checked<C: Cluster>(cluster: &mut C, plan: &Plan) -> Result<Checks> {
    let mut checks = Checks::default();
    for step in plan.writes().filter(|step| step.can_be_checked()) {
        let performed = match cluster.perform(step, true).await {
            Ok(performed) => performed,
            Err(failure) => match failure.forbidden {
                Some(message) => Performed::Forbidden(message.into()),
                None => return Err(failure.error),
            },
        };
        let result = match performed {
            Performed::Done => "accepted by the server".to_owned(),
            Performed::AlreadyGone => "it is already gone".to_owned(),
            Performed::Conflict(message)
            | Performed::TooManyRequests(message)
            | Performed::Forbidden(message) => {
                checks.is_refused = true;
                format!("refused by the server: {message}")
            }
        };
        checks.results.push((step.text(), result));
    }
    Ok(checks)
}
