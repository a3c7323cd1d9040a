//! `canary`: a new template for some pods first.

mod climb;
mod good;

use serde_json::Value;

use super::act::Consent;
use super::notes;
use crate::cli::{Answer, Global, Ui, heading, read_file};
use crate::cluster::decode;
use crate::error::{Error, Result};
use crate::kinds::StatefulSet;
use crate::plan::{Canary, Change, Stop, edited};
use crate::snapshot::Snapshot;

pub(super) use climb::{climb, current, managed, stamp};
pub(super) use good::Verification;

/// Update some pods first (canary)
///
/// It checks these pods, and leaves the others until you promote or abort the canary. The template and the partition change in one patch, so no pod outside the canary restarts. Pods are updated from the highest ordinal down. Without a new template, only the partition is set, and the next command is shown. The annotation kubectl-sts/canary of the StatefulSet records what `abort` needs. After an interruption, run the same command again.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Update pods 4 and 3 of 5"
    "  kubectl sts canary postgres --partition 3 --image postgres=postgres:17.1"
    ""
    "  # Update every fifth pod, which must then stay healthy for 10 minutes"
    "  kubectl sts canary postgres --pods 20% -f patch.yaml --bake 10m"
    ""
    "  # Update in three steps, and run a check after each"
    "  kubectl sts canary postgres --steps 4,2,0 -f patch.yaml --check ./smoke.sh"
    ""
    "Reads what `watch` reads. Patches the StatefulSet once for each step, after showing the plan and asking."
))]
#[command(group = clap::ArgGroup::new("how far").args(["partition", "pods", "steps"]).required(true))]
pub struct Args {
    /// StatefulSet to update
    #[arg(value_name = "NAME")]
    name: String,
    /// New image of a container (repeatable)
    #[arg(long, value_name = "CONTAINER=IMAGE", value_parser = image, help_heading = heading::CHANGES)]
    image: Vec<(String, String)>,
    /// File with a strategic merge patch of the pod template; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = heading::CHANGES)]
    filename: Option<String>,
    /// Strategic merge patch of the pod template, in JSON or YAML
    #[arg(long, value_name = "PATCH", conflicts_with = "filename", help_heading = heading::CHANGES)]
    patch: Option<String>,
    /// Update pods with this index and above, counted from the first ordinal
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), help_heading = heading::HOW_FAR)]
    partition: Option<i32>,
    /// Update this number or percentage of pods, rounded up
    #[arg(long, value_name = "K|P%", value_parser = share, help_heading = heading::HOW_FAR)]
    pods: Option<Share>,
    /// Go through these partitions in turn, checking the pods at each: 4,2,0
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..), help_heading = heading::HOW_FAR)]
    steps: Vec<i32>,
    /// Start even if a pod is not available
    #[arg(long, help_heading = heading::SAFETY)]
    allow_unhealthy: bool,
    /// How well the pods have to do.
    #[command(flatten)]
    looking: Verification,
    /// What is agreed to.
    #[command(flatten)]
    consent: Consent,
}

/// `--pods`.
#[derive(Clone, Copy, Debug)]
enum Share {
    Count(i32),
    Percent(i32),
}

fn share(text: &str) -> std::result::Result<Share, String> {
    let number = |text: &str| text.parse::<i32>().ok().filter(|number| *number >= 0);
    match text.strip_suffix('%') {
        Some(percent) => number(percent).filter(|percent| *percent <= 100).map(Share::Percent),
        None => number(text).map(Share::Count),
    }
    .ok_or_else(|| "give a number of pods or a percentage such as 20%".to_owned())
}

fn image(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((container, image)) if !container.is_empty() && !image.is_empty() => {
            Ok((container.to_owned(), image.to_owned()))
        }
        _ => Err("give a container and its image, such as postgres=postgres:17.1".to_owned()),
    }
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    if !args.steps.is_sorted_by(|a, b| a > b) {
        return Err(Error::usage("--steps must go down: each partition must be lower than the one before")
            .hint("give them such as --steps 4,2,0"));
    }
    let patch = match (&args.filename, &args.patch) {
        (Some(file), _) => Some((file.clone(), read_file(file)?)),
        (None, Some(text)) => Some(("--patch".to_owned(), text.clone())),
        (None, None) => None,
    };
    let patch = patch.map(|(label, text)| one_document(&label, &text)).transpose()?;
    let make = |now: &Snapshot<'_>, raw: Option<&Value>| -> Result<Canary> {
        let set = now.set;
        // Of a recording what is known of the template has to do.
        let known = raw.is_none().then(|| serde_json::to_value(&set.spec.template).unwrap_or_default());
        let template = raw.map(|raw| &raw["spec"]["template"]).or(known.as_ref()).unwrap_or(&Value::Null);
        let change = Change::of(&args.image, patch.clone(), &set.spec.template, template)
            .map_err(|refusal| super::act::stopped(Stop::Refused(refusal)))?;
        if let Some(refusal) = change.as_ref().and_then(|change| edited(now, change, template)) {
            return Err(super::act::stopped(Stop::Refused(refusal)));
        }
        let steps = args.partitions(set)?;
        Ok(Canary {
            facts: Vec::new(),
            change,
            ladder: steps.clone(),
            steps,
            goes_on: false,
            allow_unhealthy: args.allow_unhealthy,
            finish: true,
            stamp: stamp(now),
            warnings: managed(set, raw),
        })
    };
    Box::pin(climb(global, &args.name, &args.consent, &args.looking, streams, make)).await
}

impl Args {
    fn partitions(&self, set: &StatefulSet) -> Result<Vec<i32>> {
        let replicas = set.replicas();
        let pods = match (self.partition, self.pods) {
            (Some(partition), _) => return Ok(vec![partition]),
            (None, None) => return Ok(self.steps.clone()),
            (None, Some(Share::Count(count))) => count,
            (None, Some(Share::Percent(percent))) => {
                let pods = (i64::from(replicas) * i64::from(percent) + 99) / 100;
                i32::try_from(pods).unwrap_or(replicas)
            }
        };
        if pods > replicas && replicas > 0 {
            return Err(Error::usage(format!("{} has only {replicas} replicas", set.metadata.name)));
        }
        Ok(vec![(replicas - pods).max(0)])
    }
}

fn one_document(label: &str, text: &str) -> Result<Value> {
    let mut documents = decode::documents(label, text)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Error::usage(format!("{label} must contain exactly one patch in YAML or JSON"))),
    }
}
