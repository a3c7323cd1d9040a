//! Which pods a command names and waits for.

use serde::{Deserialize, Serialize};

use super::wire::{Field, Malformed, Wire};

/// Of a command or its arguments only the host names that look like those of replicas (`web-1.web`), and the words that say
/// that it waits. Everything else can hold secrets, and is dropped while it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Peers(Vec<String>);

/// Words of shells for a loop that ends with a condition. Programs that wait have names such as `wait-for-it`.
const LOOPS: [&str; 2] = ["until", "while"];

impl Peers {
    fn add(&mut self, text: &str) {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-._".contains(c)));
        for word in words.map(|word| word.trim_matches(['-', '.', '_'])) {
            let kept = match word {
                _ if LOOPS.contains(&word) => word,
                _ if word.starts_with("wait") && !word.contains('.') => "wait",
                // What is called by its path or has an ending.
                "wait-for-it.sh" | "wait-for.sh" | "wait.sh" => "wait",
                _ if parse(word).is_some() => word,
                _ => continue,
            };
            if !self.0.iter().any(|word| word == kept) {
                self.0.push(kept.to_owned());
            }
        }
    }

    /// Whether one of its words says that it waits.
    pub fn waits(&self) -> bool {
        self.0.iter().any(|word| word == "wait" || LOOPS.contains(&word.as_str()))
    }

    /// The host names: the pod's, its ordinal, and what follows the first dot.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, i32, &str)> {
        self.0.iter().filter_map(|word| parse(word))
    }

    /// Keeps only hosts whose pods have names that begin like this, and the words of waiting.
    pub(super) fn keep(&mut self, stem: &str) {
        let is_own = |host: &str| host.strip_prefix(stem).is_some_and(|rest| rest.starts_with('-'));
        self.0.retain(|word| parse(word).is_none_or(|(pod, ..)| is_own(pod)));
    }
}

/// `web-1.web.shop.svc`: the pod, its ordinal, and the rest.
fn parse(word: &str) -> Option<(&str, i32, &str)> {
    let (pod, rest) = word.split_once('.')?;
    let (stem, digits) = pod.rsplit_once('-')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !stem.is_empty() && !rest.is_empty()).then_some(())?;
    Some((pod, digits.parse().ok()?, rest))
}

impl From<Vec<String>> for Peers {
    fn from(texts: Vec<String>) -> Peers {
        let mut peers = Peers::default();
        for text in &texts {
            peers.add(text);
        }
        peers
    }
}

impl From<Peers> for Vec<String> {
    fn from(peers: Peers) -> Vec<String> {
        peers.0
    }
}

impl Wire for Peers {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        self.add(&value.text()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Peers {
        Peers::from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_names_of_replicas_and_the_words_of_waiting_are_kept() {
        let script = "until nslookup web-1.web.shop.svc && nc -z web-2.web:2379; do sleep 1; done";
        let mut peers =
            of(&["sh", "-c", script, "--password=s3cret-1", "https://me:pw@example.com/x", "other-1.web"]);
        let all: Vec<String> = peers.clone().into();
        assert_eq!(all, ["until", "web-1.web.shop.svc", "web-2.web", "other-1.web"]);
        assert!(peers.waits());
        peers.keep("web");
        let hosts: Vec<_> = peers.hosts().collect();
        assert_eq!(hosts, [("web-1", 1, "web.shop.svc"), ("web-2", 2, "web")]);
        assert_eq!(Peers::from(Vec::from(peers.clone())), peers, "what is written is read as the same");
    }

    #[test]
    fn a_list_of_members_is_no_wait() {
        assert!(
            !of(&["etcd", "--initial-cluster=web-0=https://web-0.web:2380,web-1=https://web-1.web:2380"])
                .waits()
        );
        assert!(of(&["/scripts/wait-for-it.sh", "web-1.web:5432"]).waits());
        assert!(of(&["dockerize", "-wait", "tcp://web-1.web:80"]).waits());
        assert_eq!(of(&["awaited", "v-1.x-", "1.2", "-1.a", "web-9999999999.web"]), of(&["v-1.x"]));
    }
}
