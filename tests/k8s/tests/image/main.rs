//! The filter's image: the same bytes from the same filter, valid, and what Istio and Envoy Gateway get from a registry.

mod fetch;
mod registry;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use pointsman_k8s::image::{Image, PLUGIN, Tag};
use pointsman_tests::render;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fetch::{fetch, sha256};
use crate::registry::Registry;

/// The smallest module there is.
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn tag(tag: &str) -> Tag {
    tag.parse().expect("a tag")
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Runs the binary of `make image` under a umask.
fn run(umask: &str, wasm: &Path, output: &Path, options: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", "umask $1; shift; exec \"$@\"", "sh", umask])
        .arg(env!("CARGO_BIN_EXE_image"))
        .arg("--wasm")
        .arg(wasm)
        .arg("--output")
        .arg(output)
        .args(options)
        .output()
        .expect("it runs")
}

/// Every file under a folder, by its path in it.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).expect("under it");
            let bytes = fs::read(&path).expect("a file");
            found.insert(name.display().to_string(), bytes);
        }
    }
    found
}

#[test]
fn the_same_filter_is_the_same_image() {
    let dir = folder();
    let (one, two) = (dir.path().join("one.wasm"), dir.path().join("two.wasm"));
    let image = |name: &str| dir.path().join(name);
    fs::write(&one, EMPTY).expect("a file");
    fs::write(&two, EMPTY).expect("a file");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::options().write(true).open(&two).expect("a file");
    file.set_modified(long_ago).expect("another time");
    for (umask, wasm, output, options) in [
        ("022", &one, "first", &[][..]),
        ("077", &two, "second", &[]),
        // In the place of one that is there, of which nothing is left.
        ("022", &one, "third", &["--tag", "other"]),
        ("022", &one, "third", &[]),
    ] {
        let run = run(umask, wasm, &image(output), options);
        assert!(run.status.success(), "{output}: {run:?}");
    }
    let first = files(&image("first"));
    assert_eq!(first.len(), 5);
    assert_eq!(first, files(&image("second")));
    assert_eq!(first, files(&image("third")));
}

#[test]
fn what_cannot_be_an_image_is_refused() {
    let dir = folder();
    let wasm = dir.path().join("filter.wasm");
    let taken = dir.path().join("taken");
    fs::write(&wasm, EMPTY).expect("a file");
    fs::create_dir(&taken).expect("a folder");
    fs::write(taken.join("mine"), "").expect("a file");
    let text = dir.path().join("text.wasm");
    fs::write(&text, "no module").expect("a file");
    let free = dir.path().join("free");
    let missing = dir.path().join("missing.wasm");
    for (wasm, output, options, says) in [
        (&wasm, &taken, &[][..], "something else there"),
        (&text, &free, &[], "not a WebAssembly module"),
        (&missing, &free, &[], "`make build`"),
        (&wasm, &free, &["--tag", "a/b"], "a tag is a letter"),
        (&wasm, &free, &["--tag", ""], "a tag is a letter"),
    ] {
        let run = run("022", wasm, output, options);
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains(says), "{said}");
    }
    assert_eq!(files(&taken).len(), 1);
    assert!(!free.exists());
}

/// As OCI's image-spec 1.1 says; skopeo reads it by the same specification's own types.
#[test]
fn the_layout_is_valid() {
    let dir = folder();
    let image = Image::of(EMPTY, tag("1.2.3")).expect("a module");
    image.write(dir.path()).expect("written");
    let file = |name: &str| json(&fs::read(dir.path().join(name)).expect("a file"));
    assert_eq!(file("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));

    // What a descriptor names is there, with that digest and size.
    let blob = |descriptor: &Value, media_type: &str| {
        assert_eq!(descriptor["mediaType"], media_type);
        let digest = descriptor["digest"].as_str().expect("a digest");
        let name = digest.strip_prefix("sha256:").expect("its algorithm");
        let bytes = fs::read(dir.path().join("blobs/sha256").join(name)).expect("a blob");
        assert_eq!(
            (sha256(&bytes).as_str(), &json!(bytes.len())),
            (digest, &descriptor["size"])
        );
        bytes
    };
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    let index = file("index.json");
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    let [entry] = list(&index["manifests"]) else {
        panic!("{index}");
    };
    assert_eq!(entry["digest"], image.digest());
    assert_eq!(entry["platform"], amd64);
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        "1.2.3"
    );

    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json(&blob(entry, media_type));
    assert_eq!(
        (&manifest["schemaVersion"], &manifest["mediaType"]),
        (&json!(2), &json!(media_type))
    );
    assert_eq!(
        manifest["annotations"]["module.wasm.image/variant"],
        "compat"
    );
    let [layer] = list(&manifest["layers"]) else {
        panic!("{manifest}");
    };
    let packed = blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip");
    let mut tar = Vec::new();
    std::io::copy(&mut GzDecoder::new(&*packed), &mut tar).expect("gzip");
    // No clock: neither in the header of gzip nor in that of the one file.
    assert_eq!(
        GzDecoder::new(&*packed)
            .header()
            .map(|header| header.mtime()),
        Some(0)
    );
    let mut archive = tar::Archive::new(&*tar);
    let entries = archive.entries().expect("a tar");
    let headers: Vec<(u64, u64, u32)> = entries
        .map(|entry| entry.expect("a file").header().clone())
        .map(|h| (h.mtime().unwrap(), h.uid().unwrap(), h.mode().unwrap()))
        .collect();
    assert_eq!(headers, [(0, 0, 0o644)]);

    let config = blob(
        &manifest["config"],
        "application/vnd.oci.image.config.v1+json",
    );
    let config = json(&config);
    assert_eq!(
        (&config["os"], &config["architecture"]),
        (&amd64["os"], &amd64["architecture"])
    );
    assert_eq!(
        config["rootfs"],
        json!({"type": "layers", "diff_ids": [sha256(&tar)]})
    );
}

#[tokio::test]
async fn a_registry_gives_istio_and_envoy_gateway_the_filter() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let wasm = render::wasm().expect("a path");
    let wasm = fs::read(&wasm).unwrap_or_else(|e| panic!("{}: {e}; `make build`", wasm.display()));
    let image = Image::of(&wasm, tag("1")).expect("a module");
    let dir = folder();
    image.write(dir.path()).expect("written");

    registry.push(dir.path(), "llm/pointsman", "1", &[]);
    for reference in ["1", image.digest()] {
        let fetched = fetch(&registry, "llm/pointsman", reference).await;
        let fetched = fetched.expect("the filter");
        assert!(fetched.wasm == wasm, "other bytes than the filter's");
        // A registry keeps the digest that `make image` printed.
        assert_eq!(fetched.digest, image.digest());
    }
    // For a registry that knows Docker's types only; its digest is another one.
    registry.push(dir.path(), "docker", "1", &["--format", "v2s2"]);
    let fetched = fetch(&registry, "docker", "1").await.expect("the filter");
    assert!(fetched.wasm == wasm, "other bytes than the filter's");
    assert_ne!(fetched.digest, image.digest());
}

/// Changes the manifest of a layout.
fn alter(dir: &Path, change: impl FnOnce(&mut Value)) {
    let blobs = dir.join("blobs/sha256");
    let at = dir.join("index.json");
    let mut index = json(&fs::read(&at).expect("its index"));
    let entry = &mut index["manifests"][0];
    let name = |digest: &str| blobs.join(digest.trim_start_matches("sha256:"));
    let manifest = fs::read(name(entry["digest"].as_str().expect("text"))).expect("its manifest");
    let mut manifest = json(&manifest);
    change(&mut manifest);
    let manifest = manifest.to_string();
    let digest = sha256(manifest.as_bytes());
    fs::write(name(&digest), &manifest).expect("a blob");
    entry["digest"] = digest.into();
    entry["size"] = manifest.len().into();
    fs::write(at, index.to_string()).expect("its index");
}

/// What the fetchers would not take, our reader does not take either.
#[tokio::test]
async fn another_image_is_refused() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let other = [("filter.wasm", EMPTY), ("README.md", b"read")];
    let twice = |manifest: &mut Value| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = Value::from(vec![layer.clone(), layer]);
    };
    let artifact = |manifest: &mut Value| {
        manifest["layers"][0]["mediaType"] = "application/wasm".into();
    };
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    type Change<'a> = &'a dyn Fn(&mut Value);
    let plugin = [(PLUGIN, EMPTY)];
    let cases: [(&str, Files<'_>, Change<'_>, Option<&str>); 5] = [
        ("right", &plugin, &|_| {}, None),
        ("names", &other, &|_| {}, Some("no plugin.wasm")),
        (
            "text",
            &[(PLUGIN, b"no module")],
            &|_| {},
            Some("is no module"),
        ),
        ("layers", &plugin, &twice, Some("2 layers")),
        ("artifact", &plugin, &artifact, Some("application/wasm")),
    ];
    for (name, files, change, refused) in cases {
        let dir = folder();
        let image = Image::holding(files, tag(name)).expect("an image");
        image.write(dir.path()).expect("written");
        alter(dir.path(), change);
        registry.push(dir.path(), "other", name, &[]);
        match (fetch(&registry, "other", name).await, refused) {
            (Ok(_), None) => {}
            (Err(why), Some(expected)) if why.contains(expected) => {}
            (got, _) => panic!("{name}: {:?}", got.map(|fetched| fetched.digest)),
        }
    }
    let missing = fetch(&registry, "other", "missing").await;
    assert!(missing.is_err_and(|why| why.ends_with("404")));
}
