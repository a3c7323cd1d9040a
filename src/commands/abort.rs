//! `abort`: a canary goes back.

use super::act::{Consent, Consented, confirm_plan, idle, recorded, see_through, stopped};
use super::canary::{current, managed, stamp};
use super::notes;
use crate::cli::{Answer, Global, Ui, bare};
use crate::cluster::connect::connect;
use crate::cluster::live::Live;
use crate::error::{Error, Result};
use crate::kinds::Kind;
use crate::paste::kubectl;
use crate::plan::{Abort, Agreement, Stop, plan_in_full, stable};
use crate::snapshot::Snapshot;

/// Cancel a canary and restore template, pods and partition
///
/// It restores the stable template, deletes pods that are stuck on the revision of the canary, and restores the partition once every pod is available on the stable revision. Only pods that were updated restart. For a canary made by hand, without the annotation kubectl-sts/canary, it works out what it can and says what it cannot know.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Cancel a canary, after showing the plan and asking"
    "  kubectl sts abort postgres"
    ""
    "  # In a pipeline"
    "  kubectl sts abort postgres --yes --timeout 10m"
    ""
    "Reads what `watch` reads, and the stable ControllerRevision. Patches the template and the partition of the \
     StatefulSet, deletes pods that are stuck on the revision of the canary, and removes the annotation kubectl-sts/canary."
))]
pub struct Args {
    /// StatefulSet to restore
    #[arg(value_name = "NAME")]
    name: String,
    /// What is agreed to.
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let (name, consent) = (bare(&args.name)?, &args.consent);
    let refused = |refusal| stopped(Stop::Refused(refusal));
    if !global.from.is_empty() {
        return recorded(global, name, streams, |now| {
            let stable = stable(now).map_err(refused)?;
            let warnings = managed(now.set, None);
            let goal = Abort { stable, data: None, stamp: stamp(now), warnings };
            plan_in_full(&goal, now).map_err(stopped)
        })
        .await;
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = connection.namespace.clone();
    let mut live = Live::start(connection, &namespace, name).await?;
    loop {
        live.catch_up().await?;
        let raw = live.raw(Kind::StatefulSet, name).await?;
        let (stable, uid) = current(&live, name, |now| (stable(now), now.set.metadata.uid.clone()))?;
        let stable = stable.map_err(refused)?;
        let revision = live.raw(Kind::ControllerRevision, &stable).await?;
        let own = revision.filter(|revision| {
            let owners = revision["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid.as_str()))
        });
        let Some(revision) = own else {
            return Err(Error::refused(format!("revision {stable} no longer exists"))
                .reason("revision-gone")
                .hint(
                    kubectl("rollout history")
                        .joined("statefulset/", name)
                        .namespace(&namespace)
                        .after("see which revisions exist"),
                ));
        };
        let data = Some(revision["data"].clone());
        let goal = current(&live, name, |now| {
            let warnings = managed(now.set, raw.as_ref());
            Abort { stable, data, stamp: stamp(now), warnings }
        })?;
        let plan = match confirm_plan(&mut live, name, &goal, consent, global, streams).await? {
            Consented::To(plan) => plan,
            Consented::Nothing(plan) => return Ok(idle(&live, plan, name)),
            Consented::Answered(answer) => return Ok(answer),
        };
        let agreement = Agreement::to(&plan);
        let none = |_: Option<&Snapshot<'_>>| Vec::new();
        let done = see_through(&mut live, name, &goal, &agreement, consent, global, streams, none).await?;
        if let Some(answer) = done {
            return Ok(answer);
        }
    }
}
