//! The manifests that are written before a PVC is deleted, and how they bring it back.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::{Failed, Folder};
use crate::cluster::claims::{claim_path, get, volume_path};
use crate::cluster::connect::Connection;
use crate::cluster::decode;
use crate::error::{Error, Result};
use crate::kinds::{CLAIM_UID, EARLIER_POLICY, RETAIN};
use crate::paste::{kubectl, sts};
use crate::plan::prune::{LeftOver, Unfinished};
use crate::render::yaml;

/// The annotation that says of which volume, by uid, a manifest is.
pub const VOLUME_UID: &str = "kubectl-sts/volume-uid";
/// The field of a volume that says what becomes of it.
const POLICY: &str = "persistentVolumeReclaimPolicy";

/// How a README of ours begins.
const HEAD: &str = "# PVCs deleted by kubectl sts prune-pvcs

Each PVC is in a file NAMESPACE.PVC.pvc.yaml, its PV in NAMESPACE.PVC.pv.yaml. As long as the PV exists (phase
Released, reclaim policy Retain), the PVC can be bound to it again. If the PV was destroyed with the PVC (reclaim
policy Delete), these files do not bring the data back.
";
const README: &str = "README.md";

/// A folder of manifests.
pub(super) struct Backup {
    folder: Folder,
    /// Whether the volumes are kept for good.
    retain: bool,
    /// What each file has to hold.
    files: Vec<(String, String)>,
    /// What the README has to say.
    sections: Vec<Section>,
}

struct Section {
    heading: String,
    body: String,
}

impl Backup {
    /// Opens the folder, which may exist only if it was named.
    pub(super) fn open(named: Option<&Path>, retain: bool) -> Result<Backup> {
        let folder = Folder::open(named).map_err(|failed| unwritten("could not create", failed))?;
        Ok(Backup { folder, retain, files: Vec::new(), sections: Vec::new() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Writes the manifests of a PVC and its volume as they are on the server now.
    pub(super) async fn write(&mut self, connection: &Connection, left: &LeftOver) -> Result<PathBuf> {
        let meta = &left.claim.metadata;
        let gone =
            || Error::refused(format!("PVC {} changed after it was shown; nothing was changed", meta.name));
        let claim = get(connection, &claim_path(&meta.namespace, &meta.name)).await?.ok_or_else(gone)?;
        let volume_name = &left.claim.spec.volume_name;
        let bound_to = claim["spec"]["volumeName"].as_str().unwrap_or_default();
        if claim["metadata"]["uid"] != meta.uid.as_str() || bound_to != volume_name {
            return Err(gone());
        }
        let volume = match volume_name.as_str() {
            "" => None,
            name => Some(get(connection, &volume_path(name)).await?.ok_or_else(gone)?),
        };
        let volume_uid = volume.as_ref().map(|volume| volume["metadata"]["uid"].clone());
        let mut plain = stripped(claim, "PersistentVolumeClaim");
        plain["metadata"]["annotations"][CLAIM_UID] = meta.uid.as_str().into();
        if let Some(uid) = volume_uid {
            plain["metadata"]["annotations"][VOLUME_UID] = uid;
        }
        let stem = format!("{}.{}", meta.namespace, meta.name);
        let name = format!("{stem}.pvc.yaml");
        self.file(&name, &plain)?;
        if let Some(volume) = volume {
            self.file(&format!("{stem}.pv.yaml"), &self.volume(volume, &meta.uid))?;
        }
        let restore = sts("restore-pvc").path(&name).namespace(&meta.namespace).line_to_keep();
        let mut body = format!("\n    {restore}\n");
        if !volume_name.is_empty() {
            let patch = kubectl("patch pv").name(volume_name).with("--type=merge");
            let patch = patch.patch(&json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}}));
            let (patch, create) = (patch.line_to_keep(), kubectl("create -f").path(&name).line_to_keep());
            body.push_str(&format!("\nor, without this plugin:\n\n    {patch}\n    {create}\n"));
        }
        let heading = format!("\n## {} of {} in {}\n", meta.name, left.set, meta.namespace);
        self.sections.push(Section { heading, body });
        Ok(self.folder.path.join(name))
    }

    /// Writes the manifest of a volume whose PVC is gone; that of the PVC is in the backup of the run that deleted it.
    pub(super) async fn write_volume(&mut self, connection: &Connection, left: &Unfinished) -> Result<()> {
        let name = &left.volume.metadata.name;
        let gone = || Error::refused(format!("PV {name} changed after it was shown; nothing was changed"));
        let volume = get(connection, &volume_path(name)).await?.ok_or_else(gone)?;
        if volume["metadata"]["uid"] != left.volume.metadata.uid.as_str() {
            return Err(gone());
        }
        let volume = self.volume(volume, &left.claim_uid);
        self.file(&format!("{}.{}.pv.yaml", left.namespace, left.claim), &volume)
    }

    /// The volume as it can be created again, with the reclaim policy that it had before any run of ours; with `--retain`
    /// with the one it will have, so that it is the same before and after.
    fn volume(&self, volume: Value, claim_uid: &str) -> Value {
        let mut plain = stripped(volume, "PersistentVolume");
        if let Some(annotations) = plain["metadata"]["annotations"].as_object_mut() {
            let is_its = annotations.get(CLAIM_UID).is_some_and(|uid| *uid == claim_uid);
            annotations.remove(CLAIM_UID);
            let earlier = annotations.remove(EARLIER_POLICY);
            if let Some(earlier) = earlier.filter(|_| is_its) {
                plain["spec"][POLICY] = earlier;
            }
        }
        if self.retain {
            plain["spec"][POLICY] = RETAIN.into();
        }
        if let Some(reference) = plain["spec"]["claimRef"].as_object_mut() {
            reference.remove("uid");
            reference.remove("resourceVersion");
        }
        plain
    }

    /// Says how to bring the PVCs back; then everything is read again, and compared. Only what is on the disk counts.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.readme()?;
        self.folder.sync().map_err(|failed| unwritten("could not write", failed))?;
        for (name, text) in &self.files {
            let found = self.folder.read(name).map_err(|failed| unwritten("could not read back", failed))?;
            if found.as_ref() != Some(text) {
                let path = self.folder.path.join(name);
                return Err(Error::refused(format!(
                    "{} does not contain what was written to it; nothing was changed",
                    path.display()
                ))
                .reason("backup"));
            }
        }
        Ok(())
    }

    fn readme(&mut self) -> Result<()> {
        let before = self.folder.read(README).map_err(|failed| unwritten("could not read", failed))?;
        let mut text = before.clone().unwrap_or_else(|| HEAD.to_owned());
        let differs = || self.differs(README);
        if !text.strip_prefix(HEAD).is_some_and(is_whole) {
            return Err(differs());
        }
        for Section { heading, body } in &self.sections {
            match text.split_once(heading.as_str()) {
                Some((_, rest)) if rest.starts_with(body.as_str()) => {}
                Some(_) => return Err(differs()),
                None => text.push_str(&format!("{heading}{body}")),
            }
        }
        if before.as_ref() != Some(&text) {
            let written = self.folder.replace(README, &text);
            written.map_err(|failed| unwritten("could not write", failed))?;
        }
        self.files.push((README.to_owned(), text));
        Ok(())
    }

    /// Writes a manifest. One that is there counts only if it says the same: it can be of another PVC, of another time, or
    /// half a file.
    fn file(&mut self, name: &str, object: &Value) -> Result<()> {
        let text = yaml(object)?;
        let kept = self.folder.read(name).map_err(|failed| unwritten("could not read", failed))?;
        let text = match kept {
            Some(kept) if kept == text || is_same(&kept, &text) => kept,
            Some(_) => return Err(self.differs(name)),
            None => {
                let written = self.folder.create(name, &text);
                written.map_err(|failed| unwritten("could not write", failed))?;
                text
            }
        };
        self.files.push((name.to_owned(), text));
        Ok(())
    }

    fn differs(&self, name: &str) -> Error {
        let path = self.folder.path.join(name);
        Error::refused(format!("{} already exists with other content; nothing was changed", path.display()))
            .reason("backup")
            .hint("give another folder: --backup DIR")
    }
}

fn unwritten(what: &str, (path, error): Failed) -> Error {
    Error::refused(format!("{what} {}; nothing was changed", path.display()))
        .because(error)
        .reason("backup")
        .hint("give another folder: --backup DIR")
}

/// Whether these are sections of a README, each of them whole.
fn is_whole(sections: &str) -> bool {
    let mut parts = sections.split("\n## ");
    let is_section = |part: &str| {
        let (title, body) = part.split_once(&format!("\n\n    {} ", sts("restore-pvc").line_to_keep()))?;
        let (file, rest) = body.split_once(" -n ")?;
        let (_, rest) = rest.split_once('\n')?;
        let ends = rest.is_empty()
            || rest.ends_with(&format!("\n    {}\n", kubectl("create -f").path(file).line_to_keep()));
        Some(ends && !title.contains('\n'))
    };
    parts.next() == Some("") && parts.all(|part| is_section(part) == Some(true))
}

/// Whether two manifests say the same, however they are written.
fn is_same(one: &str, other: &str) -> bool {
    let read = |text: &str| decode::documents("backup", text).ok();
    read(one).is_some_and(|one| one.len() == 1 && read(other) == Some(one))
}

/// The object as it can be created again.
fn stripped(mut object: Value, kind: &str) -> Value {
    object["apiVersion"] = "v1".into();
    object["kind"] = kind.into();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            // With these the volume controller takes the PVC for bound, and for lost.
            annotations.remove("pv.kubernetes.io/bind-completed");
            annotations.remove("pv.kubernetes.io/bound-by-controller");
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    object
}
