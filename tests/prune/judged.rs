//! One PVC that is to be deleted, judged again before each write: whatever has changed since the plan speaks against it.

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::kinds::{PersistentVolume, PersistentVolumeClaim, StatefulSet};
use kubectl_sts::plan::prune::phase::{Claim, Volume};
use kubectl_sts::plan::prune::{Item, Reading, Wanted, find};
use kubectl_sts::snapshot::Observed;
use kubectl_sts::snapshot::attribution::ClaimUsers;
use serde_json::{Value, json};

/// A namespace in which data-web-2 is left over, and what is read of it again.
struct World {
    set: Value,
    /// The set as the list has it.
    listed: Option<Value>,
    claim: Option<Value>,
    /// The PVCs as the list has them.
    claims: Vec<Value>,
    volume: Option<Value>,
    pods: Vec<Value>,
    /// Whether PVCs cannot be listed.
    blind: bool,
    wanted: Wanted,
}

fn meta(name: &str, uid: &str) -> Value {
    json!({"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "7", "generation": 3,
        "creationTimestamp": "2026-11-01T00:00:00Z"})
}

fn claim(ordinal: i32) -> Value {
    let name = format!("data-web-{ordinal}");
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta(&name, &format!("claim-{ordinal}")),
        "spec": {"volumeName": format!("pv-{ordinal}"), "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Bound"},
    });
    claim["metadata"]["labels"] = json!({"app": "web"});
    claim
}

fn volume() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-2", "uid": "pv-2"},
        "spec": {
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": "shop", "name": "data-web-2", "uid": "claim-2"},
        },
        "status": {"phase": "Bound"},
    })
}

fn pod(name: &str, claim: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, name), "status": {"phase": "Running"},
        "spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
}

/// What is known where nothing but a StatefulSet could be read.
fn unseen(now: Timestamp) -> Observed {
    recorded::read(&[("set".to_owned(), World::new().set.to_string())], Absent::Unseen, now).unwrap()
}

impl World {
    fn new() -> World {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("web", "set"),
            "spec": {
                "replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            },
            "status": {"replicas": 2, "observedGeneration": 3},
        });
        World {
            listed: Some(set.clone()),
            set,
            claim: Some(claim(2)),
            claims: (0..3).map(claim).collect(),
            volume: Some(volume()),
            pods: Vec::new(),
            blind: false,
            wanted: Wanted::default(),
        }
    }

    /// What is judged: the PVC and its volume, what speaks against the deletion, and whether it is found again.
    fn judge(&self, item: &Item) -> (Claim, Volume, String, bool) {
        let objects = self.listed.iter().chain(&self.claims).chain(&self.volume).chain(&self.pods);
        let text = objects.map(Value::to_string).collect::<Vec<_>>().join("\n");
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let mut observed = recorded::read(&[("world".to_owned(), text)], Absent::Empty, now).unwrap();
        if self.blind {
            observed.claims = unseen(now).claims;
        }
        let (claim, volume, set) = (
            self.claim
                .as_ref()
                .map(|it| serde_json::from_value::<PersistentVolumeClaim>(it.clone()).unwrap()),
            self.volume.as_ref().map(|it| serde_json::from_value::<PersistentVolume>(it.clone()).unwrap()),
            Some(&self.set).filter(|set| !set.is_null()),
        );
        let set = set.map(|it| serde_json::from_value::<StatefulSet>(it.clone()).unwrap());
        let reading = Reading {
            claim: claim.as_ref(),
            volume: volume.as_ref(),
            observed: &observed,
            around: &ClaimUsers::default(),
            set: set.as_ref(),
        };
        let (state, fresh) = reading.judge(item, &self.wanted);
        let against = state.against.map_or(String::new(), |why| format!("{}: {}", why.code.word(), why.text));
        assert!(!state.pending);
        (state.claim, state.volume, against, fresh.is_some())
    }

    fn item(&self) -> Item {
        let objects = self.listed.iter().chain(&self.claims).chain(&self.volume);
        let text = objects.map(Value::to_string).collect::<Vec<_>>().join("\n");
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let observed = recorded::read(&[("world".to_owned(), text)], Absent::Empty, now).unwrap();
        let found = find(&observed, Some(&ClaimUsers::default()), &Wanted::default(), |_| true, true);
        let left = found.left_over.iter().find(|left| left.claim.metadata.name == "data-web-2").unwrap();
        Item::of(left, false, &observed)
    }
}

fn its(released: bool) -> Volume {
    Volume::Its { policy: "Delete".to_owned(), noted: None, released }
}

#[test]
fn what_has_changed_since_the_plan_speaks_against_a_deletion() {
    let item = World::new().item();
    let judged = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        world.judge(&item)
    };
    let against = |change: &dyn Fn(&mut World)| {
        let (claim, _, against, is_fresh) = judged(change);
        assert!(!is_fresh, "{against}");
        (claim, against)
    };
    assert_eq!(judged(&|_| ()), (Claim::There, its(false), String::new(), true));
    for (change, wanted) in [
        // It is not left over any more.
        (
            &(|world: &mut World| world.pods.push(pod("web-2", "data-web-2"))) as &dyn Fn(&mut World),
            "in-range: web-2 uses it",
        ),
        (&|world| world.claims.truncate(2), "gone: it no longer exists"),
        (
            &|world| {
                world.claims[2]["metadata"]["uid"] = "another".into();
                world.volume.as_mut().unwrap()["spec"]["claimRef"]["uid"] = "another".into();
            },
            "another: it is not the PVC that was shown, but another one of the same name",
        ),
        // The set is not as it was when the lists were read.
        (
            &|world| world.set["metadata"]["generation"] = 4.into(),
            "set-changed: web was changed in the meantime",
        ),
        (
            &|world| world.set["metadata"]["uid"] = "another".into(),
            "set-changed: web was changed in the meantime",
        ),
        (&|world| world.set["status"]["replicas"] = 3.into(), "set-changed: web was changed in the meantime"),
        (&|world| world.set = Value::Null, "set-changed: web was changed in the meantime"),
        // The list is that of another set, of which data-web-2 is left over, too.
        (
            &|world| {
                world.listed.as_mut().unwrap()["metadata"]["uid"] = "another".into();
                world.set["metadata"]["uid"] = "another".into();
            },
            "another: it is not the PVC that was shown, but another one of the same name",
        ),
    ] {
        let (claim, against) = against(change);
        assert_eq!(claim, Claim::There, "{against}");
        assert!(
            against.contains(wanted) || wanted.starts_with("in-range") && against.contains("web-2"),
            "{against} instead of {wanted}"
        );
    }
}

/// Scales the set to 0, and it has come to that.
fn asleep(world: &mut World) {
    for path in ["/spec/replicas", "/status/replicas"] {
        *world.set.pointer_mut(path).unwrap() = 0.into();
    }
    world.listed = Some(world.set.clone());
}

#[test]
fn what_needs_a_pvc_that_is_leaving_or_gone_is_seen() {
    let item = World::new().item();
    let judged = |claim: Option<Value>, change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        world.claims.truncate(2);
        world.claims.extend(claim.clone());
        world.claim = claim;
        change(&mut world);
        world.judge(&item)
    };
    let mut leaving = claim(2);
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z".into();
    let mut replaced = claim(2);
    replaced["metadata"]["uid"] = "another".into();
    for (seen, claim) in
        [(Claim::Leaving, Some(leaving)), (Claim::Gone, None), (Claim::Replaced, Some(replaced))]
    {
        let (is, volume, against, is_fresh) = judged(claim.clone(), &|_| ());
        assert_eq!((is, volume, is_fresh), (seen, its(false), false));
        let nothing =
            if seen == Claim::Replaced { "replaced: a new PVC of its name exists, on PV pv-2" } else { "" };
        assert_eq!(against, nothing);
        for (change, wanted) in [
            (
                &(|world: &mut World| world.set = Value::Null) as &dyn Fn(&mut World),
                "set-gone: StatefulSet web was deleted in the meantime",
            ),
            (
                &|world| world.set["metadata"]["uid"] = "another".into(),
                "set-gone: StatefulSet web was deleted and recreated in the meantime",
            ),
            (&|world| world.blind = true, "unchecked: could not be checked: "),
            (&|world| world.pods.push(pod("other", "data-web-2")), "other"),
            (&|world| world.set["spec"]["replicas"] = 3.into(), "web"),
            (&asleep, if seen == Claim::Replaced { nothing } else { "web is scaled to 0" }),
        ] {
            let (_, _, against, _) = judged(claim.clone(), change);
            assert!(against.contains(wanted), "{seen:?}: {against:?} instead of {wanted}");
        }
        let wanted = |zero: &[&str]| {
            let (.., against, _) = judged(claim.clone(), &|world| {
                asleep(world);
                world.wanted.zero = Some(zero.iter().map(|name| (*name).to_owned()).collect());
            });
            against
        };
        if seen != Claim::Replaced {
            assert!(wanted(&["other"]).contains("web is scaled to 0"), "{}", wanted(&["other"]));
            assert_eq!([wanted(&[]), wanted(&["web"])], ["", ""], "it was asked for");
        }
        let (.., against, _) = judged(claim.clone(), &|world| {
            world.listed.as_mut().unwrap()["metadata"]["namespace"] = "other".into();
            (world.claims, world.volume) = (Vec::new(), None);
        });
        assert!(against.contains("is missing in the list of StatefulSets"), "{against}");
    }
}

#[test]
fn only_what_was_unused_for_as_long_as_asked_is_offered() {
    let mut world = World::new();
    world.claims[2]["status"]["conditions"] =
        json!([{"type": "Unused", "status": "True", "lastTransitionTime": "2026-11-02T00:00:00Z"}]);
    let objects = world.listed.iter().chain(&world.claims).chain(&world.volume);
    let text = objects.map(Value::to_string).collect::<Vec<_>>().join("\n");
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let mut observed = recorded::read(&[("world".to_owned(), text)], Absent::Empty, now).unwrap();
    (observed.clock.now, observed.clock.certain) = (now, Some(now));
    let offered = |days: i64| {
        let unused_for = Some(SignedDuration::from_hours(24 * days));
        let wanted = Wanted { unused_for, ..Wanted::default() };
        let found = find(&observed, Some(&ClaimUsers::default()), &wanted, |_| true, true);
        let rest = found.rest.iter().find(|rest| rest.claim == "data-web-2");
        let why = rest.and_then(|rest| rest.class.reason()).map(|why| why.text.clone());
        (found.left_over.len(), why.unwrap_or_default())
    };
    assert_eq!(offered(20), (1, String::new()));
    assert_eq!(offered(21), (0, "it has been unused for 20d only".to_owned()));
}

#[test]
fn the_volume_of_a_pvc_is_seen_as_it_is() {
    let item = World::new().item();
    let volume = |change: &dyn Fn(&mut Value)| {
        let mut world = World::new();
        change(world.volume.as_mut().unwrap());
        let (_, volume, ..) = world.judge(&item);
        volume
    };
    assert_eq!(volume(&|it| it["status"]["phase"] = "Released".into()), its(true));
    for change in [
        &(|it: &mut Value| it["spec"]["claimRef"]["uid"] = "another".into()) as &dyn Fn(&mut Value),
        &|it| it["spec"]["claimRef"]["name"] = "another".into(),
        &|it| it["spec"]["claimRef"]["namespace"] = "another".into(),
        &|it| it["spec"]["claimRef"] = Value::Null,
    ] {
        assert_eq!(volume(change), Volume::Elsewhere);
    }
    for change in
        [&(|it: &mut Value| it["metadata"]["name"] = "another".into()) as &dyn Fn(&mut Value), &|it| {
            it["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z".into();
        }]
    {
        assert_eq!(volume(change), Volume::Missing);
    }
    // One that never had a volume, and one whose volume was not seen.
    let mut world = World::new();
    world.claims[2]["spec"]["volumeName"] = "".into();
    world.claims[2]["status"]["phase"] = "Pending".into();
    world.claim = Some(world.claims[2].clone());
    world.volume = None;
    let never = Item { volume: String::new(), ..item.clone() };
    assert_eq!(world.judge(&never).1, Volume::Never);
    assert_eq!(world.item().shown.volume, Volume::Never);
    let gone = World { volume: None, ..World::new() };
    assert_eq!(gone.judge(&item).1, Volume::Missing);
}
