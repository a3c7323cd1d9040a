//! The manifests that are written before a claim is deleted, and how they bring it back.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::claims::{claim_path, get, volume_path};
use crate::cluster::connect::Connection;
use crate::error::{Error, Result};
use crate::plan::prune::LeftOver;
use crate::render::yaml;

/// The claim and the volume these manifests were taken from.
pub const CLAIM_UID: &str = "kubectl-sts/claim-uid";
pub const VOLUME_UID: &str = "kubectl-sts/volume-uid";

/// A folder of manifests.
pub(super) struct Backup {
    /// Where it is.
    pub folder: PathBuf,
}

impl Backup {
    /// Makes the folder, which may exist only if it was named.
    pub(super) fn open(named: Option<&Path>) -> Result<Backup> {
        let (folder, made) = if let Some(folder) = named {
            (folder.to_owned(), fs::create_dir_all(folder))
        } else {
            let now = Timestamp::now().strftime("%Y%m%d-%H%M%S");
            let first = PathBuf::from(format!("./kubectl-sts-backup-{now}"));
            let more = (2..100).map(|number| PathBuf::from(format!("./kubectl-sts-backup-{now}-{number}")));
            let mut made = (first.clone(), fs::create_dir(&first));
            // Another one may have begun in the same second.
            for folder in more {
                if !matches!(&made.1, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
                    break;
                }
                made = (folder.clone(), fs::create_dir(folder));
            }
            made
        };
        made.map_err(|error| {
            Error::refused(format!("could not make {}; nothing was deleted", folder.display())).because(error)
        })?;
        Ok(Backup { folder })
    }

    /// Writes the manifests of a claim and its volume as they are on the server now.
    pub(super) async fn write(&self, connection: &Connection, left: &LeftOver) -> Result<PathBuf> {
        let meta = &left.claim.metadata;
        let gone =
            || Error::refused(format!("claim {} is not as it was shown; nothing was deleted", meta.name));
        let claim = get(connection, &claim_path(&meta.namespace, &meta.name)).await?.ok_or_else(gone)?;
        if claim["metadata"]["uid"] != meta.uid.as_str() {
            return Err(gone());
        }
        let volume = match left.claim.spec.volume_name.as_str() {
            "" => None,
            name => Some(get(connection, &volume_path(name)).await?.ok_or_else(gone)?),
        };
        let volume_uid = volume.as_ref().map(|volume| volume["metadata"]["uid"].clone());
        let mut plain = stripped(claim, "v1", "PersistentVolumeClaim");
        plain["metadata"]["annotations"][CLAIM_UID] = meta.uid.as_str().into();
        if let Some(uid) = volume_uid {
            plain["metadata"]["annotations"][VOLUME_UID] = uid;
        }
        let stem = format!("{}.{}", meta.namespace, meta.name);
        let path = self.file(&format!("{stem}.pvc.yaml"), &yaml(&plain)?)?;
        if let Some(volume) = volume {
            let mut plain = stripped(volume, "v1", "PersistentVolume");
            if let Some(reference) = plain["spec"]["claimRef"].as_object_mut() {
                reference.remove("uid");
                reference.remove("resourceVersion");
            }
            self.file(&format!("{stem}.pv.yaml"), &yaml(&plain)?)?;
        }
        Ok(path)
    }

    /// Says how to bring the claims back.
    pub(super) fn readme(&self, files: &[PathBuf], doomed: &[LeftOver]) -> Result<()> {
        let mut text = "# Claims deleted by kubectl sts prune-pvcs\n\n\
            Each claim is in a file NAMESPACE.CLAIM.pvc.yaml, its volume in NAMESPACE.CLAIM.pv.yaml. As long as the volume is\n\
            there (phase Released, reclaim policy Retain), the claim can be bound to it again. If the volume was destroyed\n\
            with the claim (reclaim policy Delete), these files do not bring the data back.\n"
            .to_owned();
        for (file, left) in files.iter().zip(doomed) {
            let meta = &left.claim.metadata;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            text.push_str(&format!(
                "\n## {} of {} in {}\n\n    kubectl sts restore-pvc {name} -n {}\n",
                meta.name, left.set, meta.namespace, meta.namespace
            ));
            if !left.claim.spec.volume_name.is_empty() {
                text.push_str(&format!(
                    "\nor, without this plugin:\n\n    kubectl patch pv {} --type=merge -p \
                     '{{\"spec\":{{\"claimRef\":{{\"uid\":null,\"resourceVersion\":null}}}}}}'\n    kubectl create -f {name}\n",
                    left.claim.spec.volume_name
                ));
            }
        }
        self.file("README.md", &text).map(|_| ())
    }

    /// An earlier backup is never written over.
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let written = fs::File::create_new(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| {
            Error::refused(format!("could not write {}; nothing was deleted", path.display()))
                .because(error)
                .hint("give another folder: --backup DIR")
        })?;
        Ok(path)
    }
}

/// The object as it can be created again.
fn stripped(mut object: Value, version: &str, kind: &str) -> Value {
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            // With these the volume controller takes the claim for bound, and for lost.
            annotations.remove("pv.kubernetes.io/bind-completed");
            annotations.remove("pv.kubernetes.io/bound-by-controller");
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    object
}
