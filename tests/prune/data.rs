//! The data on a volume: a file that is written before, and read after.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{self, Cluster, Namespace};

/// A volume of the hostPath provisioner, with a file on it.
pub struct Data {
    cluster: &'static Cluster,
    /// The volume's name.
    pub volume: String,
    file: PathBuf,
    text: String,
}

impl Data {
    /// Writes to the volume of a PVC that is bound.
    pub fn of(ns: &Namespace, claim: &str) -> Data {
        let found = ns.kubectl_json(&["get", "pvc", claim]);
        let volume = found["spec"]["volumeName"].as_str().unwrap().to_owned();
        let text = format!("{} of {}", found["metadata"]["uid"], ns.name);
        let pv = ns.kubectl_json(&["get", "pv", &volume]);
        let file = PathBuf::from(pv["spec"]["hostPath"]["path"].as_str().unwrap()).join("data");
        std::fs::write(&file, &text).unwrap();
        Data { cluster: ns.cluster, volume, file, text }
    }

    /// Whether the file is there, whole.
    pub fn is_there(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.text)
    }

    /// The volume, if there is one.
    pub fn find(&self) -> Option<Value> {
        let run =
            self.cluster.kubectl(&["get", "pv", &self.volume, "-o", "json", "--ignore-not-found"]).code(0);
        (!run.stdout.is_empty()).then(|| serde_json::from_str(&run.stdout).unwrap())
    }

    /// `Retain`, or `Retain, noted Delete`; `gone` if there is no volume.
    #[track_caller]
    pub fn policy(&self) -> String {
        let Some(volume) = self.find() else { return "gone".to_owned() };
        let policy = volume["spec"]["persistentVolumeReclaimPolicy"].as_str().unwrap();
        let annotations = &volume["metadata"]["annotations"];
        let (noted, of) = (&annotations["kubectl-sts/reclaim-policy"], &annotations["kubectl-sts/claim-uid"]);
        assert_eq!(noted.is_null(), of.is_null(), "{annotations}");
        noted.as_str().map_or_else(|| policy.to_owned(), |noted| format!("{policy}, noted {noted}"))
    }

    /// The PVC is bound to this volume, and its data is there.
    #[track_caller]
    pub fn is_in(&self, ns: &Namespace, claim: &str) {
        let found = ns.kubectl_json(&["get", "pvc", claim]);
        assert_eq!(found["spec"]["volumeName"], self.volume.as_str(), "{found}");
        assert_eq!(found["status"]["phase"], "Bound", "{found}");
        assert!(self.is_there(), "{} has another text, or none", self.file.display());
    }

    /// Waits until Kubernetes has destroyed the volume, the folder too.
    #[track_caller]
    pub fn wait_destroyed(&self) {
        support::wait(&format!("{} to be destroyed", self.volume), support::PATIENCE, || {
            match (self.find(), self.file.parent().is_some_and(std::path::Path::exists)) {
                (None, false) => Ok(()),
                (volume, folder) => Err(format!("volume {volume:?}, folder {folder}")),
            }
        });
    }
}
