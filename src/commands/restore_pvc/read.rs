//! The manifests that prune-pvcs wrote, from files and folders: what they are is told from what they contain.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::decode;
use crate::commands::prune_pvcs::{LONGEST, VOLUME_UID, read_manifest};
use crate::error::{Error, Result};
use crate::kinds::CLAIM_UID;
use crate::plan::Pvc;
use crate::plan::restore::Deleted;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Backup {
    /// The PVCs that can be brought back, each once.
    pub(super) all: Vec<Deleted>,
    /// What was left out: a file or an object, and why.
    pub(super) skipped: Vec<String>,
}

/// How to give what is needed.
const HINT: &str = "give the backup folder of prune-pvcs, or its files NAMESPACE.PVC.pvc.yaml";

/// A file that is to be read.
struct File {
    path: PathBuf,
    /// Whether it was found in a folder that was given: then no link is followed.
    is_found: bool,
}

/// Reads all PVCs in files, and in the files of folders. `asked` is the namespace that was asked for, `default` that of PVCs
/// which name none.
///
/// # Errors
/// When there is no PVC to bring back, or two PVCs of one name differ, or a manifest cannot be read.
pub(super) fn read(paths: &[String], asked: Option<&str>, default: &str) -> Result<Backup> {
    let mut reading = Reading { asked, default, ..Reading::default() };
    for path in paths {
        for file in files(Path::new(path))? {
            reading.file(&file)?;
        }
    }
    reading.end()
}

/// The files of a folder, or the one that was given.
fn files(path: &Path) -> Result<Vec<File>> {
    if !path.is_dir() {
        return Ok(vec![File { path: path.to_owned(), is_found: false }]);
    }
    let failed = |error| Error::cluster(format!("could not read {}", path.display())).because(error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder && !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(File { path: entry.path(), is_found: true });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[derive(Default)]
struct Reading<'a> {
    asked: Option<&'a str>,
    default: &'a str,
    all: Vec<Deleted>,
    /// PersistentVolumes: name, and the PVC they are bound to.
    volumes: BTreeSet<(String, String)>,
    skipped: Vec<String>,
    /// The first thing that was left out, as an error: what is said if nothing else was given.
    instead: Option<Error>,
}

impl Reading<'_> {
    fn file(&mut self, file: &File) -> Result<()> {
        let label = file.path.display().to_string();
        let failed =
            |why: &dyn std::fmt::Display| Error::cluster(format!("could not read {label}")).because(why);
        let text = match file.text() {
            Ok(text) => text,
            // What else is in a folder is not ours to complain of.
            Err(why) if file.is_found && !file.is_manifest() => {
                self.skip(&label, &why, failed(&why));
                return Ok(());
            }
            Err(why) => return Err(failed(&why)),
        };
        let documents = match decode::documents(&label, &text) {
            Ok(documents) => documents,
            Err(error) if file.is_manifest() => return Err(error),
            Err(_) => Vec::new(),
        };
        let mut is_used = false;
        for document in documents {
            is_used |= self.document(&label, document)?;
        }
        if !is_used {
            let what = format!("{label} is not the manifest of a PVC");
            self.skip(&label, "not the manifest of a PVC or PV", Error::usage(what).hint(HINT));
        }
        Ok(())
    }

    /// Takes a PVC or PV; false for anything else.
    fn document(&mut self, label: &str, document: Value) -> Result<bool> {
        let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("/apiVersion").as_str(), text("/kind").as_str()) {
            ("v1", "PersistentVolumeClaim") => self.claim(label, document)?,
            ("v1", "PersistentVolume") => {
                let holder = format!("{}/{}", text("/spec/claimRef/namespace"), text("/spec/claimRef/name"));
                self.volumes.insert((text("/metadata/name"), holder));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn claim(&mut self, label: &str, mut manifest: Value) -> Result<()> {
        let text = |path: &str| manifest.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, volume) = (text("/metadata/name"), text("/spec/volumeName"));
        let namespace = match text("/metadata/namespace") {
            none if none.is_empty() => self.default.to_owned(),
            some => some,
        };
        let usual =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        if name.is_empty() || ![&name, &volume, &namespace].iter().all(|name| usual(name)) {
            return Err(Error::usage(format!("{label} does not name a PVC and its PV")).hint(HINT));
        }
        if volume.is_empty() {
            let error = Error::usage(format!("{label} does not name a PVC and its PV"))
                .hint("a PVC without a PV needs no restore: its StatefulSet creates it again");
            self.skip(&format!("PVC {name} in {namespace}"), "it had no PV", error);
            return Ok(());
        }
        if self.asked.is_some_and(|asked| asked != namespace) {
            let what = format!("PVC {name} in {label} belongs to namespace {namespace}");
            let why = format!("not in namespace {}", self.asked.unwrap_or_default());
            self.skip(&format!("PVC {name} in {namespace}"), why, Error::usage(what));
            return Ok(());
        }
        let mut annotation = |key: &str| {
            let annotations = manifest["metadata"]["annotations"].as_object_mut();
            let value = annotations.and_then(|annotations| annotations.remove(key));
            value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (uid, volume_uid) = (annotation(CLAIM_UID), annotation(VOLUME_UID));
        manifest["metadata"]["namespace"] = namespace.clone().into();
        let one = Deleted { pvc: Pvc { namespace, name, uid }, volume, volume_uid, manifest };
        let same_name =
            |other: &&Deleted| (&other.pvc.namespace, &other.pvc.name) == (&one.pvc.namespace, &one.pvc.name);
        let Some(other) = self.all.iter().find(same_name) else {
            self.all.push(one);
            return Ok(());
        };
        let parts =
            |it: &Deleted| (it.pvc.clone(), it.volume.clone(), it.volume_uid.clone(), it.manifest.clone());
        if parts(other) == parts(&one) {
            return Ok(());
        }
        let Pvc { namespace, name, .. } = &one.pvc;
        Err(Error::usage(format!("PVC {name} in {namespace} is given twice, with different content"))
            .hint(format!("leave out the older one; the second is in {label}")))
    }

    fn skip(&mut self, what: &str, why: impl std::fmt::Display, instead: Error) {
        self.skipped.push(format!("{what} ({why})"));
        self.instead.get_or_insert(instead);
    }

    /// What was read; PVs belong to PVCs by what they contain.
    fn end(self) -> Result<Backup> {
        let Reading { all, volumes, mut skipped, instead, .. } = self;
        let is_alone = |(name, holder): &&(String, String)| {
            let is_its = |one: &Deleted| {
                one.volume == *name && format!("{}/{}", one.pvc.namespace, one.pvc.name) == *holder
            };
            !all.iter().any(is_its)
        };
        let alone: Vec<String> = volumes.iter().filter(is_alone).map(|(name, _)| name.clone()).collect();
        if all.is_empty() {
            let alone = alone.first().map(|name| {
                Error::usage(format!("PV {name} is given without the manifest of its PVC"))
                    .hint("give the backup folder, or the file NAMESPACE.PVC.pvc.yaml as well")
            });
            let none = || Error::usage("no manifest of a PVC was found").hint(HINT);
            return Err(alone.or(instead).unwrap_or_else(none));
        }
        skipped.extend(alone.iter().map(|name| format!("PV {name} (without the manifest of its PVC)")));
        Ok(Backup { all, skipped })
    }
}

impl File {
    fn text(&self) -> std::result::Result<String, String> {
        if self.is_found {
            return match read_manifest(&self.path) {
                Ok(text) => text.ok_or_else(|| "it no longer exists".to_owned()),
                Err(error) => Err(error.to_string()),
            };
        }
        let file = fs::File::open(&self.path).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.take(LONGEST.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
            return Err("it is too long to be a manifest".to_owned());
        }
        decode::text(bytes).map_err(str::to_owned)
    }

    /// Whether its name says that it is a manifest, so that it must be one.
    fn is_manifest(&self) -> bool {
        let extension = self.path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pvc(name: &str, volume: &str) -> String {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}, namespace: shop, annotations: \
             {{kubectl-sts/claim-uid: u-{name}}}}}\nspec: {{volumeName: {volume}}}\n"
        )
    }

    fn pv(name: &str, claim: &str) -> String {
        format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec: {{claimRef: {{name: {claim}, \
             namespace: shop}}}}\n"
        )
    }

    /// A folder with two PVCs, their PVs and a README.
    fn backup() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("README.md", "# PVCs deleted by kubectl sts prune-pvcs\n\nkey: [unclosed\n".to_owned()),
            ("shop.data-db-1.pvc.yaml", pvc("data-db-1", "pv-1")),
            ("shop.data-db-1.pv.yaml", pv("pv-1", "data-db-1")),
            ("shop.data-db-2.pvc.yaml", pvc("data-db-2", "pv-2")),
            ("shop.data-db-2.pv.yaml", pv("pv-2", "data-db-2")),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn names(backup: &Backup) -> Vec<&str> {
        backup.all.iter().map(|one| one.pvc.name.as_str()).collect()
    }

    fn path(folder: &tempfile::TempDir, name: &str) -> String {
        folder.path().join(name).display().to_string()
    }

    #[test]
    fn a_folder_and_all_of_its_files_are_the_same() {
        let folder = backup();
        let whole = path(&folder, "");
        let mut glob: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path().display().to_string()).collect();
        glob.sort();
        let both = [vec![whole.clone()], glob.clone()].concat();
        for paths in [vec![whole], glob, both] {
            let read = read(&paths, None, "default").unwrap();
            assert_eq!(names(&read), ["data-db-1", "data-db-2"], "{paths:?}");
            assert!(
                read.skipped.iter().all(|skipped| skipped.contains("README.md (not the manifest")),
                "{read:?}"
            );
            assert_eq!(read.all[0].pvc.uid, "u-data-db-1");
            assert_eq!(read.all[0].manifest["metadata"]["annotations"], serde_json::json!({}));
        }
    }

    #[test]
    fn what_is_alone_is_named() {
        let folder = backup();
        let read = |names: &[&str], asked| {
            let paths: Vec<String> = names.iter().map(|name| path(&folder, name)).collect();
            super::read(&paths, asked, "default").map_err(|error| error.to_string())
        };
        let error = read(&["shop.data-db-1.pv.yaml"], None).unwrap_err();
        assert!(error.contains("PV pv-1 is given without the manifest of its PVC"), "{error}");
        let error = read(&["README.md"], None).unwrap_err();
        assert!(error.contains("README.md is not the manifest of a PVC"), "{error}");
        let error = read(&["shop.data-db-1.pvc.yaml"], Some("other")).unwrap_err();
        assert!(error.contains("belongs to namespace shop"), "{error}");
        let both = read(&["shop.data-db-1.pvc.yaml", "shop.data-db-2.pv.yaml"], None).unwrap();
        assert_eq!(names(&both), ["data-db-1"]);
        assert_eq!(both.skipped, ["PV pv-2 (without the manifest of its PVC)"]);
    }

    #[test]
    fn what_is_damaged_or_contradicts_is_an_error() {
        let folder = backup();
        let all = || super::read(&[path(&folder, "")], None, "default").map_err(|error| error.to_string());
        fs::write(folder.path().join("again.yaml"), pvc("data-db-1", "pv-9")).unwrap();
        let error = all().unwrap_err();
        assert!(error.contains("PVC data-db-1 in shop is given twice, with different content"), "{error}");
        fs::write(folder.path().join("again.yaml"), "{kind: [").unwrap();
        let error = all().unwrap_err();
        assert!(error.contains("again.yaml"), "{error}");
        fs::remove_file(folder.path().join("again.yaml")).unwrap();
        fs::write(folder.path().join("notes.txt"), vec![0xff; 10]).unwrap();
        assert_eq!(all().unwrap().skipped.len(), 2);
        let long = usize::try_from(LONGEST).unwrap() + 1;
        fs::write(folder.path().join("long.yaml"), vec![b' '; long]).unwrap();
        for given in ["", "long.yaml"] {
            let error = super::read(&[path(&folder, given)], None, "default").unwrap_err().to_string();
            assert!(error.contains("it is too long to be a manifest"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_in_a_folder_is_followed() {
        let (folder, other) = (backup(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("x"), pvc("data-db-3", "pv-3")).unwrap();
        std::os::unix::fs::symlink(other.path().join("x"), folder.path().join("x.yaml")).unwrap();
        let error = super::read(&[path(&folder, "")], None, "default").unwrap_err().to_string();
        assert!(error.contains("x.yaml") && error.contains("it is a symbolic link"), "{error}");
    }
}
