//! What the components of Kubernetes write for people, in events, conditions and statuses, and what follows from it. Their
//! wording is known here and nowhere else, one file for each author; where it changes with a version of Kubernetes, all
//! wordings are read.

pub mod admission;
pub mod attach;
pub mod container;
pub mod coredns;
pub mod eviction;
pub mod kubelet;
pub mod mount;
pub mod provisioner;
pub mod quota;
pub mod scheduler;

/// At most as long as two lines of a finding; the end is kept too, as messages are wrapped from the outside.
pub fn clipped(text: &str) -> String {
    const HEAD: usize = 90;
    const TAIL: usize = 110;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches(['.', ' ']);
    let all = text.chars().count();
    if all <= HEAD + TAIL {
        return text.to_owned();
    }
    let head: String = text.chars().take(HEAD).collect();
    let tail: String = text.chars().skip(all - TAIL).collect();
    // Not within a word, where there are words.
    let head = head.rsplit_once(' ').map_or(head.as_str(), |(head, _)| head);
    let tail = tail.split_once(' ').map_or(tail.as_str(), |(_, tail)| tail);
    format!("{head} … {tail}")
}
