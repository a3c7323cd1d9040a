//! What the file of the hints has to say of each sentence, and what only looks like one.

use kubectl_sts::rules::hints;

use crate::logs::told;

/// Whether a source names a file in a revision of a repository: `OWNER/NAME@REVISION FILE (function)`.
fn is_file(source: &str) -> bool {
    let Some((repository, file)) = source.split_once(' ') else { return false };
    let Some((name, revision)) = repository.split_once('@') else { return false };
    name.split('/').filter(|part| !part.is_empty()).count() == 2 && !revision.is_empty() && file.contains('.')
}

/// Whether a source names programs and their versions that were run.
fn is_program(source: &str) -> bool {
    let what = source.rsplit_once(", as printed by").map(|(what, _)| what);
    what.is_some_and(|what| what.chars().any(|c| c.is_ascii_digit()))
}

/// A sentence from memory helps nobody: for each one it can be looked up again where it was read.
#[test]
fn every_hint_was_read_in_a_revision_of_its_source() {
    for hint in hints() {
        assert!(hint.sources.iter().any(|source| is_file(source)), "{} was read nowhere", hint.name);
        for source in &hint.sources {
            let is_page = source.starts_with("https://");
            assert!(is_page || is_file(source) || is_program(source), "{}: {source}", hint.name);
        }
    }
    for vague in ["postgres/postgres, src/backend/libpq/auth.c", "etcd 3.5", "a@b", "a/b@ c.go", "musl"] {
        assert!(!is_file(vague) && !is_program(vague), "{vague}");
    }
}

/// What these applications write while all is well, or of another matter.
#[test]
fn what_only_looks_like_a_known_sentence_is_no_hint() {
    for line in [
        // A quorum was found, and the election follows.
        "[es-0] master not discovered or elected yet, an election requires at least 2 nodes with ids from [a, b, c], have \
         discovered possible quorum [{es-0}, {es-1}]; discovery will continue",
        "[os-0] cluster-manager not discovered or elected yet, an election requires a node with id [a], have discovered \
         [{os-0}] which is a quorum; discovery will continue",
        // A seed of Cassandra that starts first.
        "INFO  Unable to gossip with any peers but continuing anyway since node is in its own seed list",
        // The first answer of a primary with a password, where the replica has one.
        "1:S 20 Nov 2026 12:13:00.656 * Master replied to PING, replication can continue...",
        "1:S 20 Nov 2026 12:13:00.656 # !!! Warning: short read while loading the AOF file appendonly.aof.1.incr.aof!!!",
        "1:M 20 Nov 2026 12:13:00.656 * Ready to accept connections",
        "2026-11-20 12:13:00 [info] Mnesia: node 'rabbit@a' thinks it's clustered with nobody",
        // It joins again by itself.
        "2026-11-20 12:13:00 [info] <0.1.0> Mnesia: node 'rabbit@a' thinks it's clustered with node 'rabbit@b', but 'rabbit@b' \
         disagrees. 'rabbit@b' will ask to leave the cluster and try again.",
        "[2026-11-20 12:13:00,780] INFO Unable to register broker 1 because the controller returned error \
         DUPLICATE_BROKER_REGISTRATION",
        "[2026-11-20 12:13:00,780] INFO [raft-manager] Unexpected error NOT_LEADER_OR_FOLLOWER in FETCH response",
        "{\"level\":\"warn\",\"msg\":\"request sent was ignored by remote peer due to server version incompatibility\"}",
        "2026-11-20 12:13:00.519 UTC [28] LOG:  starting backup recovery with redo LSN 0/2000028, on timeline ID 3",
        "2026-11-20 12:13:00.519 UTC [28] LOG:  invalid resource manager ID in checkpoint record",
        "2026-11-20T12:13:00.211528Z 0 [Warning] [MY-010075] [Server] No existing UUID has been found, so we assume that \
         this is the first time that this server has been started.",
        "Permissions 0644 for '/root/.ssh/id_ed25519' are too open.",
        "2026-11-20 12:13:00,780 [myid:1] - WARN  Cannot open channel to 2 at election address zk-1/10.1.1.2:3888",
    ] {
        let (text, log) = told(&[line], None);
        assert!(log.hint.is_none(), "{line}: {text}");
    }
}
