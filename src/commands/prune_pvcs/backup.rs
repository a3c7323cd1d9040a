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
        // What a run that was interrupted has left tells of the time before it, when the volume had its own policy.
        let is_kept = |name: &str| fs::exists(self.folder.join(name)).unwrap_or(false);
        let (claim_file, volume_file) = (format!("{stem}.pvc.yaml"), format!("{stem}.pv.yaml"));
        let before = fs::read_to_string(self.folder.join(&claim_file)).unwrap_or_default();
        let kept = before.contains(&format!("{CLAIM_UID}: {}\n", meta.uid));
        let path = match kept {
            true => self.folder.join(&claim_file),
            false => self.file(&claim_file, &yaml(&plain)?)?,
        };
        if let Some(volume) = volume.filter(|_| !(kept && is_kept(&volume_file))) {
            let mut plain = stripped(volume, "v1", "PersistentVolume");
            if let Some(reference) = plain["spec"]["claimRef"].as_object_mut() {
                reference.remove("uid");
                reference.remove("resourceVersion");
            }
            self.file(&volume_file, &yaml(&plain)?)?;
        }
        Ok(path)
    }

    /// Says how to bring the claims back.
    pub(super) fn readme(&self, files: &[PathBuf], doomed: &[LeftOver]) -> Result<()> {
        let head = "# Claims deleted by kubectl sts prune-pvcs\n\n\
            Each claim is in a file NAMESPACE.CLAIM.pvc.yaml, its volume in NAMESPACE.CLAIM.pv.yaml. As long as the volume is\n\
            there (phase Released, reclaim policy Retain), the claim can be bound to it again. If the volume was destroyed\n\
            with the claim (reclaim policy Delete), these files do not bring the data back.\n";
        let path = self.folder.join("README.md");
        let before = fs::read_to_string(&path).unwrap_or_default();
        let mut text = if before.is_empty() { head.to_owned() } else { String::new() };
        for (file, left) in files.iter().zip(doomed) {
            let meta = &left.claim.metadata;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if before.contains(&format!("restore-pvc {name} ")) {
                continue;
            }
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
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|file| written(file, &text)).map_err(|error| unwritten(&path, error))
    }

    /// Another backup is never written over.
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let file = fs::File::create_new(&path).and_then(|file| written(file, text));
        file.map(|()| path.clone()).map_err(|error| unwritten(&path, error))
    }
}

fn written(mut file: fs::File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn unwritten(path: &Path, error: std::io::Error) -> Error {
    Error::refused(format!("could not write {}; nothing was deleted", path.display()))
        .because(error)
        .hint("give another folder: --backup DIR")
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
