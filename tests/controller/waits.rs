//! What the controller waits for, where scenario files have no word for the state.

use kubectl_sts::controller::{Action, Blocker, Next, World};
use kubectl_sts::kinds::OwnerReference;

use super::scenario::Case;

fn world(policy: &str, pods: &str, claims: &str, when_scaled: &str) -> World {
    let case = format!(
        r#"{{"policy": "{policy}", "strategy": {{"type": "RollingUpdate", "rollingUpdate": {{"partition": 0}}}},
            "replicas": 2, "current": "A", "update": "A", "currentReplicas": 2, "pods": {pods}, "claims": {claims},
            "whenScaled": "{when_scaled}", "writes": "nothing"}}"#
    );
    serde_json::from_str::<Case>(&case).unwrap().world("v1.37.1")
}

fn wait(on: i32, because: Blocker) -> Next {
    Next::Wait { on, because }
}

/// `stateful_pod_control.go:PodClaimIsStale`
#[test]
fn only_an_earlier_pod_of_the_name_makes_a_claim_stale() {
    let owner = |api_version: &str, kind: &str, name: &str| OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..OwnerReference::default()
    };
    for (owner, is_stale) in [
        (owner("v1", "Pod", "web-1"), true),
        (owner("v1", "Pod", "web-10"), false),
        (owner("v1", "ConfigMap", "web-1"), false),
        (owner("example.com/v1", "Pod", "web-1"), false),
    ] {
        let mut world = world("OrderedReady", r#"["0 A ready"]"#, r#"["0", "1"]"#, "Delete");
        world.claims_mut().unwrap()[1].metadata.owner_references = vec![owner.clone()];
        let wanted = match is_stale {
            true => wait(1, Blocker::ClaimEnding),
            false => Next::Act(vec![Action::Create(1)]),
        };
        assert_eq!(world.next(), wanted, "{owner:?}");
    }
}

/// `stateful_set_control.go:processReplica` waits in an ordered set before it looks at volumes.
#[test]
fn an_ordered_set_waits_for_a_pod_before_it_misses_its_volume() {
    for (policy, pod, wanted) in [
        ("OrderedReady", "0 A unready", Blocker::NotReady),
        ("OrderedReady", "0 A ready", Blocker::VolumeMissing),
        ("Parallel", "0 A unready", Blocker::VolumeMissing),
        ("Parallel", "0 A ready", Blocker::VolumeMissing),
    ] {
        let pods = format!(r#"["{pod}", "1 A ready"]"#);
        let mut world = world(policy, &pods, r#"["0", "1"]"#, "Retain");
        for pod in world.pods_mut().iter_mut().filter(|pod| pod.metadata.name == "web-0") {
            "uid".clone_into(&mut pod.metadata.uid);
        }
        assert_eq!(world.next(), wait(0, wanted), "{policy} {pod}");
    }
}
