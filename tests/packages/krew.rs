//! The krew manifest, by krew's own rules.
//!
//! They are in `internal/index/validation/validate.go` (ValidatePlugin, validatePlatform, validateFiles, validateSelector) and
//! `cmd/validate-krew-manifest/main.go` (validateManifestFile, validateLicenseFileExists) of kubernetes-sigs/krew at v0.5.0,
//! and on the page `developer-guide/develop/naming-guide`. `deploy/try-packages krew` runs krew itself.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{KREW, VERSION, archives, fill, read};

/// `allPlatforms` of validate-krew-manifest.
const PLATFORMS: [(&str, &str); 11] = [
    ("windows", "386"),
    ("windows", "amd64"),
    ("windows", "arm64"),
    ("linux", "386"),
    ("linux", "amd64"),
    ("linux", "arm"),
    ("linux", "arm64"),
    ("linux", "ppc64le"),
    ("darwin", "386"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
];

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// `v1.2.3`, as `internal/installation/semver` reads it.
fn is_version(version: &str) -> bool {
    let numbers: Option<Vec<&str>> = version.strip_prefix('v').map(|version| version.split('.').collect());
    numbers.is_some_and(|numbers| {
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
    })
}

fn wrong_platform(platform: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let uri = text(platform, "uri");
    if !(uri.starts_with("https://") && [".tar.gz", ".zip"].iter().any(|ending| uri.ends_with(ending))) {
        wrong.push(format!("uri {uri:?}"));
    }
    let sum = text(platform, "sha256");
    if sum.len() != 64 || sum.bytes().any(|byte| !matches!(byte, b'a'..=b'f' | b'0'..=b'9')) {
        wrong.push(format!("sha256 {sum:?}"));
    }
    let bin = text(platform, "bin");
    let files = platform["files"].as_array().cloned().unwrap_or_default();
    if files.iter().any(|file| text(file, "from").is_empty() || text(file, "to").is_empty()) {
        wrong.push("files without from or to".to_owned());
    }
    let has = |name: &str| files.iter().any(|file| text(file, "from").rsplit('/').next() == Some(name));
    if bin.is_empty() || !has(bin) {
        wrong.push(format!("bin {bin:?} is not among the files"));
    }
    if !has("LICENSE") {
        wrong.push("no license among the files".to_owned());
    }
    let labels = platform["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
    if labels.is_empty() || labels.keys().any(|key| key != "os" && key != "arch") {
        wrong.push(format!("selector {labels:?}"));
    }
    let is_exe = Path::new(bin).extension().is_some_and(|ending| ending == "exe");
    if (labels.get("os").and_then(Value::as_str) == Some("windows")) != is_exe {
        wrong.push(format!("bin {bin:?} for {labels:?}"));
    }
    wrong
}

fn selects(platform: &Value, os: &str, arch: &str) -> bool {
    let labels = &platform["selector"]["matchLabels"];
    [("os", os), ("arch", arch)].iter().all(|(key, own)| labels[key].is_null() || labels[key] == *own)
}

/// What krew, or its reviewers, would say against a manifest in `NAME.yaml`.
fn wrong(name: &str, manifest: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |is_good: bool, what: &str| {
        if !is_good {
            wrong.push(what.to_owned());
        }
    };
    let spec = &manifest["spec"];
    check(text(manifest, "apiVersion") == "krew.googlecontainertools.github.com/v1alpha2", "apiVersion");
    check(text(manifest, "kind") == "Plugin", "kind");
    check(text(&manifest["metadata"], "name") == name, "the name is not that of the file");
    let is_kebab = !name.is_empty()
        && name.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    check(is_kebab, "the name is not in kebab-case");
    let words: Vec<&str> = name.split('-').collect();
    check(words.len() > 1, "the name is not specific");
    check(!words.iter().any(|word| word.starts_with("kube") || *word == "k8s"), "the name repeats kube");
    check(
        !words.iter().any(|word| ["sts", "svc", "po", "pvc", "cm", "ing", "deploy"].contains(word)),
        "an abbreviation",
    );
    let short = text(spec, "shortDescription");
    check(!short.is_empty() && !short.contains(['\r', '\n']), "shortDescription");
    // Longer ones are cut in `kubectl krew search`: developer-guide/plugin-manifest.
    check(short.len() <= 50 && !short.ends_with('.'), "shortDescription is long, or a sentence");
    check(is_version(text(spec, "version")), "version");
    check(text(spec, "homepage").starts_with("https://"), "homepage");
    let platforms = spec["platforms"].as_array().cloned().unwrap_or_default();
    check(!platforms.is_empty(), "no platform");
    let mut matched = BTreeSet::new();
    for (os, arch) in PLATFORMS {
        let those: Vec<usize> =
            (0..platforms.len()).filter(|at| selects(&platforms[*at], os, arch)).collect();
        check(those.len() < 2, "two platforms for the same machine");
        matched.extend(those);
    }
    check(matched.len() == platforms.len(), "a platform that no machine has");
    wrong.extend(platforms.iter().flat_map(wrong_platform));
    wrong
}

const NAME: &str = "statefulset-ops";

fn manifest() -> Value {
    let (template, block) = KREW;
    serde_saphyr::from_str(&fill(template, block, &archives())).unwrap()
}

#[test]
fn krew_accepts_the_manifest() {
    let manifest = manifest();
    assert_eq!(wrong(NAME, &manifest), Vec::<String>::new());
    assert_eq!(manifest["spec"]["version"], format!("v{VERSION}"));
    assert_eq!(manifest["spec"]["homepage"], env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(manifest["spec"]["platforms"].as_array().unwrap().len(), 5);
    assert!(read("deploy/release").contains(&format!("$out/{NAME}.yaml")));
    let workflow = read(".github/workflows/release.yml");
    assert!(workflow.contains(&format!(" {NAME}.yaml ")), "the manifest is not part of the release");
    // krew's link has the name of the plugin, with underscores.
    let caveats = manifest["spec"]["caveats"].as_str().unwrap();
    assert!(caveats.contains(&format!("ln -s kubectl-{} ", NAME.replace('-', "_"))), "{caveats}");
}

/// What was not built is not offered.
#[test]
fn a_missing_archive_is_left_out() {
    let (template, block) = KREW;
    let built: BTreeSet<String> = archives().into_iter().filter(|name| !name.contains("apple")).collect();
    let manifest: Value = serde_saphyr::from_str(&fill(template, block, &built)).unwrap();
    assert_eq!(wrong(NAME, &manifest), Vec::<String>::new());
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let systems: Vec<&Value> =
        platforms.iter().map(|platform| &platform["selector"]["matchLabels"]["os"]).collect();
    assert_eq!(systems, ["linux", "linux", "windows"]);
    let (template, block) = super::FORMULA;
    let formula = fill(template, block, &built);
    assert!(!formula.contains("apple") && formula.matches("sha256 \"").count() == 2, "{formula}");
    let opened = formula.lines().filter(|line| {
        line.ends_with(" do") || ["class ", "def "].iter().any(|word| line.trim_start().starts_with(word))
    });
    let closed = formula.lines().filter(|line| line.trim() == "end").count();
    assert_eq!(opened.count(), closed, "{formula}");
}

/// Each rule notices what it is for.
#[test]
fn krew_refuses_what_it_refuses() {
    let change = |pointer: &str, value: Value| {
        let mut manifest = manifest();
        *manifest.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        wrong(NAME, &manifest)
    };
    for (pointer, value) in [
        ("/apiVersion", json!("v1")),
        ("/kind", json!("Pod")),
        ("/metadata/name", json!("sts")),
        ("/spec/shortDescription", json!("two\nlines")),
        ("/spec/shortDescription", json!("")),
        ("/spec/version", json!("0.1.0")),
        ("/spec/version", json!("v0.1")),
        ("/spec/homepage", json!("")),
        ("/spec/platforms", json!([])),
        ("/spec/platforms/0/uri", json!("https://example.com/a.tar.xz")),
        ("/spec/platforms/0/sha256", json!("ABC")),
        ("/spec/platforms/0/bin", json!("sts")),
        ("/spec/platforms/0/bin", json!("")),
        ("/spec/platforms/0/files/0/to", json!("")),
        ("/spec/platforms/0/files/1/from", json!("README.md")),
        ("/spec/platforms/0/selector/matchLabels", json!({"cpu": "amd64"})),
        ("/spec/platforms/0/selector/matchLabels", json!({"os": "linux"})),
        ("/spec/platforms/0/selector/matchLabels/arch", json!("riscv64")),
    ] {
        assert!(!change(pointer, value.clone()).is_empty(), "{pointer} may be {value}");
    }
    for name in
        ["sts", "statefulset", "StatefulSet-ops", "kube-statefulset", "sts-ops", "statefulset_ops", ""]
    {
        let mut manifest = manifest();
        manifest["metadata"]["name"] = json!(name);
        assert!(!wrong(name, &manifest).is_empty(), "{name} is a name");
    }
}
