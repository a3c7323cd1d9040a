//! `-f`: manifests, as kubectl takes them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::read_file;
use crate::cluster::recorded::{Manifests, STANDARD_INPUT};
use crate::error::{Error, Result};

/// What kubectl reads of a folder (`resource.FileExtensions` of cli-runtime).
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Reads files, the manifests in folders, and standard input.
///
/// # Errors
/// When something cannot be read, or a folder has no manifests.
pub(super) fn read(paths: &[String], recursive: bool) -> Result<Vec<Manifests>> {
    let mut all: Vec<Manifests> = Vec::new();
    for path in paths {
        if path.starts_with("http://") || path.starts_with("https://") {
            return Err(Error::usage(format!("-f reads files and folders, not {}", site(path)))
                .hint("download it first, for example: curl -L URL | kubectl sts doctor -f -"));
        }
        let is_folder = path != "-" && Path::new(path).is_dir();
        if !is_folder {
            let name = if path == "-" { STANDARD_INPUT } else { path };
            all.push(Manifests { name: name.to_owned(), text: read_file(path)?, is_found: false });
            continue;
        }
        let mut found = Vec::new();
        search(Path::new(path), recursive, &mut found)?;
        if found.is_empty() {
            let error = Error::cluster(format!("{path} has no files that end in .yaml, .yml or .json"));
            return Err(if recursive { error } else { error.hint("use -R to read its folders too") });
        }
        for file in found {
            let name = file.display().to_string();
            let text = fs::read(&file)
                .map_err(|error| error.to_string())
                .and_then(|bytes| crate::cluster::decode::text(bytes).map_err(str::to_owned))
                .map_err(|why| Error::cluster(format!("could not read {name}")).because(why))?;
            all.push(Manifests { name, text, is_found: true });
        }
    }
    Ok(all)
}

/// The manifests of a folder, in the order of their paths. Links to folders are not followed, so that it ends.
fn search(folder: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| Error::cluster(format!("could not read {}", folder.display())).because(error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir())));
    }
    entries.sort();
    for (path, is_folder) in entries {
        if is_folder {
            if recursive {
                search(&path, recursive, found)?;
            }
        } else if path.extension().is_some_and(|it| EXTENSIONS.iter().any(|known| it == *known))
            && path.is_file()
        {
            found.push(path);
        }
    }
    Ok(())
}

/// A URL without what may be secret in it: user, password and query.
fn site(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{}", crate::text::one_line(host, 80))
}
