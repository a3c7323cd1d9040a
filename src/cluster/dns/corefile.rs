//! What the configuration of CoreDNS says of the cluster's domain, as its own parser reads it (`corefile/parse.go` and
//! `plugin/*/setup.go` of CoreDNS).

use crate::snapshot::{Corefile, DnsCache};

/// The defaults of CoreDNS: `plugin/kubernetes` `defaultTTL`; `plugin/cache` `maxTTL`, `maxNTTL`, and an hour of `serve_stale`.
const TTL: u32 = 5;
const POSITIVE: u32 = 3600;
const NEGATIVE: u32 = 1800;
const STALE: u32 = 3600;
/// `plugin/cache`: `minTTL` and `minNTTL`.
const LEAST: u32 = 5;
/// `plugin/backend_lookup.go:SOA`: a record of that kind is kept no longer.
const SOA: u32 = 300;
/// A Corefile is no longer.
const LINES: usize = 2000;

/// The words of a line, and whether a block begins behind them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut is_word) = (String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '"' => (quoted, is_word) = (!quoted, true),
            '#' if !quoted && !is_word => break,
            letter if letter.is_whitespace() && !quoted => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            letter => {
                word.push(letter);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// A server block: the zones it is for, and its plugins with their arguments and options.
#[derive(Default)]
struct Block {
    zones: Vec<String>,
    plugins: Vec<(Vec<String>, Vec<Vec<String>>)>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    let mut heads: Vec<String> = Vec::new();
    let mut is_within = false;
    for line in text.lines().take(LINES) {
        let mut words = words(line);
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
        }
        let closes = words.first().is_some_and(|word| word == "}");
        match &mut open {
            None => {
                heads.extend(words.into_iter().map(|word| word.trim_end_matches(',').to_owned()));
                // A snippet is no server.
                if opens {
                    open = Some(Block { zones: std::mem::take(&mut heads), ..Block::default() });
                }
            }
            Some(block) if is_within => match (closes, block.plugins.last_mut()) {
                (true, _) => is_within = false,
                (false, Some((_, options))) if !words.is_empty() => options.push(words),
                _ => {}
            },
            Some(_) if closes => all.extend(open.take()),
            Some(block) if !words.is_empty() => {
                block.plugins.push((words, Vec::new()));
                is_within = opens;
            }
            Some(_) => {}
        }
    }
    all
}

/// The name of a zone as a domain: without the protocol, the port and the final dot.
fn domain(zone: &str) -> Option<String> {
    let zone = zone.split_once("://").map_or(zone, |(_, rest)| rest);
    let zone = zone.split_once(':').map_or(zone, |(zone, _)| zone).trim_end_matches('.').to_lowercase();
    let is_name = !zone.is_empty()
        && zone.len() < 254
        && zone.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_');
    let is_reverse = zone.rsplit('.').next() == Some("arpa");
    (is_name && !is_reverse).then_some(zone)
}

/// Seconds: a number of them, or a duration of Go such as `1h`.
fn seconds(text: &str) -> Option<u32> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(factor)
}

/// What it says of the domain that is served from the API server; `None` where nothing is.
pub(super) fn read(text: &str) -> Option<Corefile> {
    let blocks = blocks(text);
    let all = |block: &Block, name: &str| {
        let found = block.plugins.iter().filter(|(words, _)| words.first().is_some_and(|word| word == name));
        found.cloned().collect::<Vec<_>>()
    };
    let forwards = blocks.iter().flat_map(|block| all(block, "forward"));
    let forwards = forwards.flat_map(|(words, _)| words.into_iter().skip(2)).collect();
    let block = blocks.iter().find(|block| !all(block, "kubernetes").is_empty())?;
    let (_, options) = all(block, "kubernetes").into_iter().next()?;
    let mut zones = Vec::new();
    for block in &blocks {
        for (words, _) in all(block, "kubernetes") {
            let own: Vec<String> = words.iter().skip(1).filter_map(|zone| domain(zone)).collect();
            let of_block = || block.zones.iter().filter_map(|zone| domain(zone)).collect();
            zones.extend(if own.is_empty() { of_block() } else { own });
        }
    }
    let option = |name: &str| options.iter().find(|words| words.first().is_some_and(|word| word == name));
    let ttl = option("ttl").and_then(|words| seconds(words.get(1)?)).unwrap_or(TTL);
    let cache = all(block, "cache").into_iter().next().map(|(words, options)| {
        let most = words.get(1).and_then(|word| seconds(word));
        // `success CAPACITY [TTL] [MINTTL]`, and so `denial`.
        let of = |name: &str, default: u32| {
            let own = options.iter().find(|words| words.first().is_some_and(|word| word == name));
            own.and_then(|words| seconds(words.get(2)?))
                .or(most.map(|most| most.min(default)))
                .unwrap_or(default)
        };
        let stale = options.iter().find(|words| words.first().is_some_and(|word| word == "serve_stale"));
        DnsCache {
            positive: ttl.max(LEAST).min(of("success", POSITIVE)),
            negative: ttl.clamp(LEAST, SOA).min(of("denial", NEGATIVE)),
            stale: stale.map_or(0, |words| words.get(1).and_then(|word| seconds(word)).unwrap_or(STALE)),
        }
    });
    Some(Corefile {
        zones,
        namespaces: option("namespaces").map_or(Vec::new(), |words| words[1..].to_vec()),
        no_endpoints: option("noendpoints").is_some(),
        ttl,
        cache,
        forwards,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_kubeadm_is_understood() {
        let text = ".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n    kubernetes corp.test in-addr.arpa ip6.arpa {\n       \
            pods insecure\n       fallthrough in-addr.arpa ip6.arpa\n       ttl 30\n    }\n    prometheus :9153\n    forward . /etc/resolv.conf {\n       \
            max_concurrent 1000\n    }\n    cache 30 {\n       disable success corp.test\n       disable denial corp.test\n    }\n    loop\n    reload\n    loadbalance\n}\n";
        let corefile = read(text).expect("it serves Kubernetes");
        assert_eq!(corefile.zones, ["corp.test"]);
        assert_eq!(
            (corefile.ttl, corefile.forwards.as_slice()),
            (30, ["/etc/resolv.conf".to_owned()].as_slice())
        );
        assert_eq!(corefile.cache, Some(DnsCache { positive: 30, negative: 30, stale: 0 }));
    }

    #[test]
    fn zones_caches_and_limits_are_read_wherever_they_stand() {
        let text = "# kubernetes not.this\n(snippet) {\n  errors\n}\ndns://one.test.:1053, in-addr.arpa {\n  kubernetes {\n    namespaces shop \"other\"\n    \
            noendpoints # none\n    ttl 3600\n  }\n  cache {\n    success 9984 120\n    denial 9984 3600 60\n    serve_stale 2h immediate\n  }\n}\n. {\n  forward . 1.1.1.1 8.8.8.8\n}\n";
        let corefile = read(text).expect("it serves Kubernetes");
        assert_eq!(corefile.zones, ["one.test"]);
        assert_eq!(corefile.namespaces, ["shop", "other"]);
        assert!(corefile.no_endpoints);
        assert_eq!(corefile.cache, Some(DnsCache { positive: 120, negative: 300, stale: 7200 }));
        assert_eq!(corefile.forwards, ["1.1.1.1", "8.8.8.8"]);
        let two = read("a.test {\n kubernetes\n}\n. {\n kubernetes b.test 10.0.0.0/8 c.test.\n}")
            .expect("it serves Kubernetes");
        assert_eq!(two.zones, ["a.test", "b.test", "c.test"]);
        let plain = read(".:53 {\n kubernetes {$DOMAIN} cluster.test\n}").expect("it serves Kubernetes");
        assert_eq!(
            (plain.zones.as_slice(), plain.ttl, plain.cache),
            (["cluster.test".to_owned()].as_slice(), 5, None)
        );
    }

    #[test]
    fn what_is_no_such_file_says_nothing() {
        for text in [
            "",
            "{",
            "}}}}",
            ". {\n forward . 1.1.1.1\n}",
            "kubernetes cluster.local {",
            "\"",
            "\u{0}{\n{\n}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
