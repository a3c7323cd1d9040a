//! Pods that the controller should create and has not, without a word of why: events expire after an hour. Whether the API
//! server would take them can be asked.

use super::NotRead;

/// A pod to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The namespace of its StatefulSet.
    pub namespace: String,
    /// Its StatefulSet.
    pub set: String,
    /// The uid of that.
    pub uid: String,
    /// The pod's name.
    pub pod: String,
    /// Its ordinal.
    pub ordinal: i32,
    /// The revision that it would be made from.
    pub revision: String,
}

/// What became of asking.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The pod.
    pub pod: Wanted,
    /// The words of the API server where it refuses the pod; or why it was not asked.
    pub refusal: Result<Option<String>, NotRead>,
}
