//! `prune-pvcs` and `restore-pvc`: never a wrong claim, in random namespaces and on the real control plane.

mod allowed;
mod belief;
mod data;
mod effects;
mod folders;
mod judged;
mod kills;
mod live;
mod namespaces;
mod phases;
mod race;
mod returned;
mod simulated;
mod terminal;
mod told;

use std::collections::BTreeSet;

use jiff::Timestamp;
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::kinds::{VolumeAttachment, VolumeSnapshot, Workload};
use kubectl_sts::plan::prune::{Wanted, find};
use kubectl_sts::snapshot::NotRead;
use kubectl_sts::snapshot::attribution::ClaimUsers;
use namespaces::Namespace;
use serde_json::Value;

fn all<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<T> {
    values.iter().map(|value| serde_json::from_value(value.clone()).unwrap()).collect()
}

/// What the program would offer to delete; each claim is there exactly once, in one class.
fn offered(namespace: &Namespace) -> BTreeSet<String> {
    let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let observed = recorded::read(&[("random".to_owned(), namespace.text())], Absent::Empty, now).unwrap();
    let around = ClaimUsers {
        workloads: all::<Workload>(&namespace.workloads),
        attachments: all::<VolumeAttachment>(&namespace.attachments),
        snapshots: all::<VolumeSnapshot>(&namespace.snapshots),
        unread: Vec::new(),
    };
    let found = find(&observed, Some(&around), &Wanted::default(), |_| true, true);
    let claims = observed.claims.as_ref().unwrap().len();
    assert_eq!(found.left_over.len() + found.rest.len(), claims, "a claim has no class, or two");
    // Without permission to read templates nothing is offered at all.
    let blind = ClaimUsers { unread: vec![("cronjobs", NotRead::Forbidden(None))], ..around };
    let blind = find(&observed, Some(&blind), &Wanted::default(), |_| true, true);
    assert!(blind.left_over.is_empty(), "{:?}", blind.left_over);
    found.left_over.into_iter().map(|left| left.claim.metadata.name).collect()
}

fn hold(seeds: std::ops::Range<u64>) {
    let mut orphans = 0;
    for seed in seeds.clone() {
        let namespace = namespaces::make(seed);
        let offered = offered(&namespace);
        if offered != namespace.orphans {
            let wrong: Vec<_> = offered.difference(&namespace.orphans).collect();
            let missed: Vec<_> = namespace.orphans.difference(&offered).collect();
            let text = namespace.text();
            panic!("seed {seed}: wrongly offered {wrong:?}, missed {missed:?}\n{text}");
        }
        orphans += offered.len();
    }
    // A test in which nothing is left over proves nothing.
    let seeds = usize::try_from(seeds.end - seeds.start).unwrap();
    assert!(orphans > seeds, "{orphans} claims left over in {seeds} namespaces");
}

#[test]
fn only_claims_left_over_are_offered_and_all_of_them() {
    hold(0..3000);
}

#[test]
#[ignore = "some minutes; cargo test -- --ignored hundred_thousand"]
fn only_claims_left_over_are_offered_in_a_hundred_thousand_namespaces() {
    hold(0..100_000);
}
