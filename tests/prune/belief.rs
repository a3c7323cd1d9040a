//! A write that is answered with success and was never done is not believed.

use super::data::Data;
use super::live::{claims, scale, set};
use crate::support;
use crate::support::proxy::{Proxy, Then};

#[test]
fn a_write_without_effect_is_not_believed() {
    let Some(cluster) = support::cluster() else { return };
    // Keep the volume, delete the PVC, hand the volume back.
    for (write, policy) in [(0, "Delete"), (1, "Retain, noted Delete"), (2, "Retain, noted Delete")] {
        for then in [Then::Pretend, Then::Blank] {
            let ns = cluster.namespace(&format!("belief-{write}"));
            set(&ns, "db", 2);
            let data = Data::of(&ns, "data-db-1");
            scale(&ns, "db", 1);
            let before = claims(&ns);
            let proxy = Proxy::of(&ns, move |count| if count == write { then } else { Then::Pass });
            let folder = tempfile::tempdir().unwrap();
            let backup = folder.path().to_str().unwrap();
            let run =
                ns.sts(&["prune-pvcs", "db", "--yes", "--backup", backup, "--server", &proxy.server]).code(3);
            // An answer that is no object is refused as such; one that is the old object is compared.
            let said =
                if then == Then::Blank { "cannot be understood" } else { "the API server reported success" };
            let text = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(said), "{write} {then:?} {run}");
            assert!(run.stdout.contains("left     data-db-1"), "{write} {then:?} {run}");
            assert!(data.is_there(), "{write} {then:?} {run}");
            assert_eq!(data.policy(), policy, "{write} {then:?} {run}");
            assert!(write == 2 || claims(&ns) == before, "{write} {then:?} {run}");
            ns.sts(&["prune-pvcs", "db", "--yes", "--backup", backup]).code(0);
            data.wait_destroyed();
        }
    }
}
