//! What the API server refused the StatefulSet controller, by the controller's own events.

use jiff::Timestamp;

use super::{Replica, Snapshot, Unseen};
use crate::kinds::Pod;
use crate::messages::admission;

/// A write of the controller, about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Creates the pod.
    Create,
    /// Deletes it.
    Delete,
    /// Changes it in place, where it does not fit the set's identity or storage.
    Update,
}

impl Verb {
    /// `stateful_pod_control.go:recordPodEvent`.
    fn reason(self) -> &'static str {
        match self {
            Verb::Create => "FailedCreate",
            Verb::Delete => "FailedDelete",
            Verb::Update => "FailedUpdate",
        }
    }
}

/// A request that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// What was asked for.
    pub verb: Verb,
    /// The API server's words.
    pub said: &'a str,
    /// When it was seen last; unknown of a dry run, which was just now.
    pub at: Option<Timestamp>,
    /// Whether it was a dry run of ours, and not a request of the controller.
    pub is_trial: bool,
    /// All that was said: of an event it names the pod.
    message: &'a str,
}

impl Refused<'_> {
    /// Whether it is about the pod of that name.
    pub fn is_about(&self, pod: &str) -> bool {
        admission::is_about(self.message, pod)
    }

    /// Whether the words do not depend on what the pod is like, so that another template is refused as well.
    pub fn is_whatever_the_template(&self) -> bool {
        admission::is_whatever_the_template(self.said)
    }
}

impl<'a> Snapshot<'a> {
    /// What was refused the controller and may still be, the newest first. Whether it still is, the pods tell.
    ///
    /// # Errors
    /// [`Unseen`] when events could not be read.
    pub fn refused(&self, verb: Verb) -> Result<Vec<Refused<'a>>, Unseen> {
        let events = self.events_about(self.set)?;
        // However old: the controller tries again every 17 minutes or sooner, but events may not get through.
        let of_verb = events.into_iter().rev().filter(|event| event.reason == verb.reason());
        Ok(of_verb
            .map(|event| Refused {
                verb,
                said: admission::reason(&event.message),
                at: event.last_seen(),
                is_trial: false,
                message: &event.message,
            })
            .collect())
    }

    /// The refusal that keeps a replica from being created: the replica has no pod, and no pod of the StatefulSet was
    /// created since.
    ///
    /// # Errors
    /// [`Unseen`] when pods or events could not be read.
    pub fn creation_refused(&self) -> Result<Option<(Refused<'a>, &Replica<'a>)>, Unseen> {
        let replicas = self.replicas()?;
        let is_missing = |replica: &&Replica<'_>| replica.pod.is_none() && replica.foreign_pod.is_none();
        let Some(first) = replicas.iter().find(is_missing).filter(|_| !self.set.metadata.is_terminating())
        else {
            return Ok(None);
        };
        let pods = replicas.iter().chain(self.condemned()?).filter_map(|replica| replica.pod);
        let succeeded = pods.filter_map(|pod| pod.metadata.creation_timestamp).max();
        let is_unanswered =
            |refused: &Refused<'_>| succeeded.zip(refused.at).is_none_or(|(made, refused)| refused > made);
        let trial = self.trial().and_then(|trial| match &trial.refusal {
            Ok(Some(said)) => {
                let said = said.as_str();
                let pod = replicas.iter().find(|replica| replica.name == trial.pod.pod).filter(is_missing)?;
                Some((Refused { verb: Verb::Create, said, at: None, is_trial: true, message: said }, pod))
            }
            _ => None,
        });
        // Where events were not seen, the trial is all there is.
        let refused = match self.refused(Verb::Create) {
            Err(_) if trial.is_some() => Vec::new(),
            refused => refused?,
        };
        let refused = refused.into_iter().find(is_unanswered);
        if refused.is_none() && trial.is_some() {
            return Ok(trial);
        }
        Ok(refused.map(|refused| {
            let about = |replica: &&Replica<'_>| is_missing(replica) && refused.is_about(&replica.name);
            (refused, replicas.iter().find(about).unwrap_or(first))
        }))
    }

    /// The refusal that keeps the controller from deleting this pod, or from changing it: it is about this very pod, which
    /// is there and is not going.
    ///
    /// # Errors
    /// [`Unseen`] when events could not be read.
    pub fn refused_for(&self, verb: Verb, pod: &Pod) -> Result<Option<Refused<'a>>, Unseen> {
        let meta = &pod.metadata;
        let later = |refused: &Refused<'_>| {
            // Of the same second it is about the pod before, which the controller has just replaced.
            refused.at.zip(meta.creation_timestamp).is_none_or(|(refused, made)| refused > made)
        };
        let all = self.refused(verb)?.into_iter();
        let mut about = all.filter(|refused| refused.is_about(&meta.name) && later(refused));
        Ok(about.next().filter(|_| !meta.is_terminating()))
    }
}
