//! What a release consists of: Cargo.toml, deploy/ and the workflow name the same files, and these are there.

mod krew;
mod man;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).current_dir(repository()).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The package of Cargo.toml, as cargo reads it.
fn package() -> Value {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    metadata["packages"][0].clone()
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The targets that deploy/release makes archives for.
fn targets() -> BTreeSet<String> {
    let script = read("deploy/release");
    let (_, rest) = script.split_once("targets=(\n").expect("a list of targets");
    let (list, _) = rest.split_once(")\n").unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

/// The archives that deploy/release makes, as the script itself names them.
fn archives() -> BTreeSet<String> {
    let script = read("deploy/release");
    let functions: Vec<&str> = script
        .lines()
        .filter(|line| ["archive() ", "ending() "].iter().any(|name| line.starts_with(name)))
        .collect();
    assert_eq!(functions.len(), 2, "deploy/release has no archive() or no ending()");
    let names = targets().into_iter().map(|target| {
        let line = format!(
            "version={VERSION}\n{}\necho \"$(archive {target}).$(ending {target})\"",
            functions.join("\n")
        );
        let output = Command::new("bash").args(["-euc", &line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    names.collect()
}

/// The names of archives that are downloaded by what the text says.
fn downloads(text: &str) -> BTreeSet<String> {
    let base = format!("{}/releases/download/v{VERSION}/", env!("CARGO_PKG_REPOSITORY"));
    let urls =
        text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| word.starts_with("https://"));
    urls.filter_map(|url| url.strip_prefix(&base)).map(str::to_owned).collect()
}

/// The template filled in, with archives that have these names.
fn fill(template: &str, block: &str, archives: &BTreeSet<String>) -> String {
    let folder = tempfile::tempdir().unwrap();
    for name in archives {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let mut command = Command::new("python3");
    command.current_dir(repository()).args([
        "deploy/fill-in",
        template,
        block,
        VERSION,
        env!("CARGO_PKG_REPOSITORY"),
    ]);
    let output = command.arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const KREW: (&str, &str) = (".krew.yaml", "- selector:");
const FORMULA: (&str, &str) = ("deploy/kubectl-sts.rb", "on_(arm|intel) do");

#[test]
fn the_script_fills_in_the_templates_as_it_is_done_here() {
    let script = read("deploy/release");
    for (template, block) in [KREW, FORMULA] {
        assert!(script.contains(&format!("fill {template} '{block}'")), "deploy/release: {template}");
    }
}

#[test]
fn cargo_toml_says_what_registries_ask_for() {
    let package = package();
    for field in
        ["description", "license", "repository", "homepage", "documentation", "readme", "rust_version"]
    {
        assert!(package[field].as_str().is_some_and(|text| !text.is_empty()), "Cargo.toml has no {field}");
    }
    for field in ["keywords", "categories"] {
        let count = package[field].as_array().unwrap().len();
        assert!((1..=5).contains(&count), "{count} {field}: crates.io takes 1 to 5");
    }
    // The book, where GitHub publishes it for this repository.
    let path = package["repository"].as_str().unwrap().strip_prefix("https://github.com/").unwrap();
    let (owner, name) = path.split_once('/').unwrap();
    for field in ["homepage", "documentation"] {
        assert_eq!(package[field], format!("https://{owner}.github.io/{name}/"));
    }
}

/// The repository has one address: that of Cargo.toml.
#[test]
fn no_file_names_another_repository() {
    let own = env!("CARGO_PKG_REPOSITORY");
    let mut waiting: Vec<PathBuf> =
        ["src", "docs", "deploy", "completions", ".github"].map(|folder| repository().join(folder)).into();
    let top = fs::read_dir(repository()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = top.filter(|path| path.is_file()).collect();
    while let Some(folder) = waiting.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { waiting.push(path) } else { files.push(path) }
        }
    }
    let mut found = BTreeSet::new();
    for path in files {
        let file = path.strip_prefix(repository()).unwrap().display().to_string();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        // As roff writes it.
        let text = text.replace("\\-", "-");
        for (at, _) in text.match_indices("/kubectl-sts") {
            let Some(start) = text[..at].rfind("https://github.com/") else { continue };
            let owner = &text[start + "https://github.com/".len()..at];
            if owner.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
                continue;
            }
            assert_eq!(&text[start..at + "/kubectl-sts".len()], own, "{file}");
            found.insert(file.clone());
        }
    }
    for file in ["Cargo.toml", ".krew.yaml", "README.md", "docs/man/kubectl-sts.1"] {
        assert!(found.contains(file), "{file} does not name the repository");
    }
}

#[test]
fn what_is_built_is_what_is_downloaded() {
    let archives = archives();
    assert_eq!(archives.len(), 5, "{archives:?}");
    let (template, block) = FORMULA;
    let formula = downloads(&fill(template, block, &archives));
    let unix: BTreeSet<String> = archives.iter().filter(|name| name.ends_with(".tar.gz")).cloned().collect();
    assert_eq!(formula, unix, "the Homebrew formula");
    let (template, block) = KREW;
    assert_eq!(downloads(&fill(template, block, &archives)), archives, "the krew manifest");
    let readme = read("README.md");
    let named = readme.split(|c: char| c.is_whitespace() || "`()*".contains(c));
    let named: Vec<&str> = named.filter(|word| word.starts_with("kubectl-sts-v")).collect();
    for name in &named {
        let name =
            name.trim_end_matches(['.', ',']).replace("$VERSION", VERSION).replace("${VERSION}", VERSION);
        let is_folder = archives.iter().any(|archive| archive.starts_with(&format!("{name}.")));
        assert!(archives.contains(&name) || is_folder, "README.md: {name} is none of {archives:?}");
    }
    assert!(!named.is_empty(), "README.md names no archive");
}

/// Its patterns, for each target: https://github.com/cargo-bins/cargo-binstall/blob/main/SUPPORT.md
#[test]
fn cargo_binstall_finds_the_archives() {
    let package = package();
    let binstall = &package["metadata"]["binstall"];
    let wanted = targets().into_iter().chain(["x86_64-pc-windows-msvc".to_owned()]);
    let mut found = BTreeSet::new();
    for target in wanted {
        let of = |name: &str| {
            let own = &binstall["overrides"][&target][name];
            let text = if own.is_null() { &binstall[name] } else { own }.as_str().unwrap().to_owned();
            let suffix = if target.contains("windows") { ".exe" } else { "" };
            let text =
                text.replace("{ repo }", env!("CARGO_PKG_REPOSITORY")).replace("{ name }", "kubectl-sts");
            let text = text.replace("{ version }", VERSION).replace("{ target }", &target);
            text.replace("{ bin }", "kubectl-sts").replace("{ binary-ext }", suffix)
        };
        let suffix = match of("pkg-fmt").as_str() {
            "tgz" => ".tar.gz",
            "zip" => ".zip",
            other => panic!("{other}"),
        };
        let url = of("pkg-url").replace("{ archive-suffix }", suffix);
        assert!(url.ends_with(suffix) && !url.contains(['{', '}']), "{target}: {url}");
        let archive = downloads(&url).pop_first().unwrap_or_else(|| panic!("{target}: {url}"));
        let folder = archive.trim_end_matches(suffix);
        let program = if target.contains("windows") { "kubectl-sts.exe" } else { "kubectl-sts" };
        assert_eq!(of("bin-dir"), format!("{folder}/{program}"), "{target}");
        found.insert(archive);
    }
    assert_eq!(found, archives());
}

/// Sources and destinations of the files in the packages of Debian and of Red Hat.
fn assets(package: &Value, format: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let assets = package["metadata"][format]["assets"].as_array().unwrap().iter().map(|asset| match asset {
        Value::Array(asset) => (text(&asset[0]), format!("/{}", text(&asset[1]))),
        asset => (text(&asset["source"]), text(&asset["dest"])),
    });
    assets.collect()
}

#[test]
fn all_files_of_the_packages_are_there() {
    let package = package();
    for format in ["deb", "generate-rpm"] {
        let assets = assets(&package, format);
        for (source, _) in &assets {
            let made = ["target/release/kubectl-sts", "target/packages/third-party-licenses.txt"];
            let is_there = match source.split_once('*') {
                Some((folder, ending)) => fs::read_dir(repository().join(folder)).is_ok_and(|mut files| {
                    files.any(|file| file.unwrap().path().display().to_string().ends_with(ending))
                }),
                None => repository().join(source).is_file(),
            };
            assert!(made.contains(&source.as_str()) || is_there, "{format}: there is no {source}");
        }
        let at = |wanted: &str| {
            assets.iter().any(|(source, dest)| {
                let name = source.rsplit('/').next().unwrap();
                let dest = if dest.ends_with('/') { format!("{dest}{name}") } else { dest.clone() };
                dest == wanted
            })
        };
        // Where the shells of a distribution look: zsh has another folder on Debian.
        let zsh = if format == "deb" { "vendor-completions" } else { "site-functions" };
        for wanted in [
            "/usr/bin/kubectl-sts",
            "/usr/bin/kubectl_complete-sts",
            "/usr/share/bash-completion/completions/kubectl-sts",
            &format!("/usr/share/zsh/{zsh}/_kubectl-sts"),
            "/usr/share/fish/vendor_completions.d/kubectl-sts.fish",
            "/usr/share/man/man1/*.1",
        ] {
            assert!(at(wanted), "{format}: {wanted} is not installed");
        }
    }
}

/// What cargo publishes is what the program is built from, and not the tests.
#[test]
fn the_crate_has_the_sources_and_little_else() {
    let list = cargo(&["package", "--list", "--locked", "--offline", "--allow-dirty"]);
    let list: BTreeSet<&str> = list.lines().collect();
    for file in ["Cargo.lock", "LICENSE", "README.md", "src/main.rs", "docs/man/kubectl-sts.1"] {
        assert!(list.contains(file), "{file} is not in the package");
    }
    let mut size = 0;
    for file in &list {
        assert!(
            !["tests/", "benches/", ".", "deploy/"].iter().any(|start| file.starts_with(start))
                || *file == ".cargo_vcs_info.json",
            "{file} is in the package"
        );
        size += fs::metadata(repository().join(file)).map_or(0, |file| file.len());
    }
    assert!(size < 4 << 20, "the package has {size} bytes");
    let mut included = 0;
    let is_source = |file: &&&str| Path::new(file).extension().is_some_and(|ending| ending == "rs");
    for file in list.iter().filter(is_source) {
        let text = read(file);
        for part in text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1)) {
            let path = Path::new(file).parent().unwrap().join(part.split('"').next().unwrap());
            let path = repository().join(path).canonicalize().unwrap();
            let path = path.strip_prefix(repository().canonicalize().unwrap()).unwrap().display().to_string();
            assert!(list.contains(path.as_str()), "{file} needs {path}, which is not in the package");
            included += 1;
        }
    }
    assert!(included > 50, "only {included} included files");
}

#[test]
fn the_workflow_runs_the_script_for_every_target_and_has_few_rights() {
    let text = read(".github/workflows/release.yml");
    let workflow: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(workflow["on"]["push"]["tags"], serde_json::json!(["v*"]));
    assert_eq!(workflow["permissions"], serde_json::json!({}), "a job takes what it needs");
    let jobs = workflow["jobs"].as_object().unwrap();
    let rows = jobs["build"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let built: Vec<&str> = rows.iter().flat_map(|row| row["targets"].as_str().unwrap().split(' ')).collect();
    assert_eq!(built.iter().map(|target| (*target).to_owned()).collect::<BTreeSet<_>>(), targets());
    assert_eq!(built.len(), targets().len(), "a target is built twice");
    for row in rows {
        let is_apple = row["targets"].as_str().unwrap().contains("apple");
        assert_eq!(row["os"].as_str().unwrap().starts_with("macos"), is_apple, "{row}");
    }
    let steps = |job: &Value| job["steps"].as_array().unwrap().clone();
    for (name, job) in jobs {
        let rights =
            job["permissions"].as_object().unwrap_or_else(|| panic!("{name} has the rights of the workflow"));
        // Where something is published or signed, nothing of the repository is run or compiled.
        let can_write = rights.values().any(|right| right == "write");
        let runs: Vec<String> =
            steps(job).iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect();
        let compiles = runs
            .iter()
            .any(|run| run.contains("deploy/") && !run.contains("Containerfile") || run.contains("cargo"));
        assert!(!(can_write && compiles), "{name} compiles with the right to write");
        for step in steps(job)
            .iter()
            .filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("checkout")))
        {
            assert_eq!(step["with"]["persist-credentials"], false, "{name}");
        }
    }
    let has = |job: &str, what: &str| {
        steps(&jobs[job]).iter().any(|step| {
            ["run", "uses"].iter().any(|key| step[key].as_str().is_some_and(|text| text.contains(what)))
        })
    };
    for (job, what) in [
        ("build", "deploy/release build"),
        ("finish", "deploy/release finish"),
        ("publish", "actions/attest-build-provenance@"),
        ("publish", "cosign sign-blob"),
        ("publish", "SHA256SUMS"),
        ("publish", "--draft"),
        ("image", "deploy/Containerfile"),
        ("image", "cosign sign "),
    ] {
        assert!(has(job, what), "{job} does not have: {what}");
    }
}

#[test]
fn the_image_has_no_user_and_no_shell() {
    let file = read("deploy/Containerfile");
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(lines[0], "FROM scratch");
    let user = lines.iter().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    let ids: Vec<u32> =
        user.split(':').map(|id| id.parse().expect("a number, which a cluster can check")).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id > 0), "{user}");
    assert!(lines.contains(&"ENTRYPOINT [\"/usr/local/bin/kubectl-sts\"]"));
    assert!(!lines.iter().any(|line| line.starts_with("RUN")), "nothing can run in it");
    let script = read("deploy/release");
    assert!(
        script.contains("$out/image/$(architecture \"$target\")/kubectl-sts"),
        "deploy/release makes no such file"
    );
    assert!(file.contains("image/${TARGETARCH}/kubectl-sts"));
}

#[test]
fn the_scripts_end_at_the_first_failure() {
    for script in ["deploy/release", "deploy/try-packages"] {
        let text = read(script);
        assert!(
            text.starts_with("#!/usr/bin/env bash\n") && text.contains("\nset -euo pipefail\n"),
            "{script}"
        );
        let output = Command::new("bash").arg("-n").arg(repository().join(script)).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The entry for kubectl that the packages install answers, and `completion --install` knows it.
#[cfg(unix)]
#[test]
fn the_packaged_entry_for_kubectl_completes() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let entry = repository().join("completions/kubectl_complete-sts");
    assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o111, 0o111, "it cannot be run");
    let bin = tempfile::tempdir().unwrap();
    let name = bin.path().join("kubectl_complete-sts");
    fs::copy(&entry, &name).unwrap();
    let program = bin.path().join("kubectl-sts");
    symlink(env!("CARGO_BIN_EXE_kubectl-sts"), &program).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let output = Command::new(&name).args(["can"]).env("PATH", &path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("canary\t") && said.ends_with(":4\n"), "{said}");
    let install =
        || Command::new(&program).args(["completion", "--install"]).env("PATH", &path).output().unwrap();
    let output = install();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("already exists for"), "{said}");
    // Another file of that name is somebody else's.
    fs::write(&name, "#!/bin/sh\n").unwrap();
    assert_eq!(install().status.code(), Some(4));
}
