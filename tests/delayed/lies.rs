//! A write that is answered with success, and was never done: nothing here believes an answer alone.

use super::scene::{After, Before, Scene};
use crate::support::proxy::{Proxy, Then, Upstream};
use crate::support::{self, Binding};

/// After so many honest ones, a write of a command is answered with success and not done: it says so and ends with 3.
fn disbelieved(args: &[&str], honest: usize, before: Before, object: &str, unchanged: &After) {
    let Some(cluster) = support::cluster() else { return };
    let upstream = Upstream::of(cluster);
    let class = cluster.storage_class("lies", Binding::WaitForFirstConsumer, false);
    std::thread::scope(|scope| {
        for then in [Then::Pretend, Then::Blank] {
            let (upstream, class) = (&upstream, &class);
            scope.spawn(move || {
                let scene = Scene::prepare(&format!("lies-{}", args[0]), upstream, class, before);
                let proxy = Proxy::of(&scene.ns, move |count| if count < honest { Then::Pass } else { then });
                let own = ["--yes", "--timeout", "45s", "--server", &proxy.server];
                let run = scene.ns.sts(&[args, &own].concat()).code(3);
                assert!(proxy.has_stopped(), "{run}");
                assert!(run.to_string().contains(object), "{then:?}: it names what was not done\n{run}");
                let said = if then == Then::Blank { "cannot be understood" } else { "no effect" };
                assert!(run.to_string().contains(said), "{then:?}: it says what happened\n{run}");
                assert!(!run.stdout.contains(": done"), "{then:?}\n{run}");
                assert_eq!(proxy.writes().len(), honest + 1, "{then:?}: {:?}\n{run}", proxy.writes());
                let wrong = scene.compare(unchanged);
                // web-2 is as bad as it was.
                let state: Vec<_> = wrong.iter().filter(|line| !line.starts_with("web-2 ")).collect();
                assert!(state.is_empty(), "{then:?}: {state:?}\n{run}");
            });
        }
    });
    let _ = cluster.plane.kubectl().args(["delete", "storageclass", &class]).output();
}

#[test]
fn a_patch_without_effect_is_not_believed() {
    let unchanged = After { restarted: &[], partition: 0, canary: false, image: "web:1", writes: 0 };
    let args = &["canary", "web", "--partition", "2", "--image", "web=web:2"];
    disbelieved(args, 0, Before::Healthy, "StatefulSet web", &unchanged);
}

#[test]
fn a_promotion_without_effect_is_not_believed() {
    let unchanged = After { restarted: &[], partition: 2, canary: true, image: "web:2", writes: 0 };
    disbelieved(&["promote", "web", "--full"], 0, Before::Canary, "StatefulSet web", &unchanged);
}

#[test]
fn a_deletion_without_effect_is_not_believed() {
    let unchanged = After { restarted: &[], partition: 0, canary: false, image: "web:1", writes: 0 };
    disbelieved(&["recover", "web"], 0, Before::Trapped, "pod web-2", &unchanged);
    // The budgets are asked first, by an eviction that has no effect for good reason.
    disbelieved(&["recover", "web", "--evict"], 1, Before::Trapped, "pod web-2", &unchanged);
}
