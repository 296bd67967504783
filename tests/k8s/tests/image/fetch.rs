//! Reads an image from a registry as Istio (`pkg/wasm`) and Envoy Gateway (`internal/wasm`) do.
//!
//! One reader stands for both: the second's fetcher began as the first's, and decides alike. Where releases differ, this one
//! has the strictest: older ones took one layer and the file's plain name only, newer ones take the last layer and any folder.
//! Neither looks at the variant's annotation nor at the platform of an image that is not in an index.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::registry::Registry;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// What both ask for; with an index they would go on to its linux/amd64 image.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json,\
    application/vnd.oci.image.manifest.v1+json,\
    application/vnd.docker.distribution.manifest.list.v2+json,\
    application/vnd.oci.image.index.v1+json";
/// Envoy Gateway unpacks no more.
const UNPACKED: u64 = 256 << 20;

/// What a proxy would be given.
#[derive(Debug)]
pub struct Fetched {
    pub wasm: Vec<u8>,
    /// Of the manifest: both compare it, and not the module's, with the `sha256` that a user sets.
    pub digest: String,
}

pub fn sha256(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    let hex = hex.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// By a tag, or by a digest.
pub async fn fetch(
    registry: &Registry,
    repository: &str,
    reference: &str,
) -> Result<Fetched, String> {
    get(registry, "/v2/", "*/*").await?;
    let path = format!("/v2/{repository}/manifests/{reference}");
    let manifest = get(registry, &path, ACCEPT).await?;
    let digest = sha256(&manifest);
    if reference.starts_with("sha256:") && reference != digest {
        return Err(format!("asked for {reference}, got {digest}"));
    }
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|e| e.to_string())?;
    let layer = layer(&manifest)?;
    let named = layer["digest"].as_str().ok_or("a layer without a digest")?;
    let path = format!("/v2/{repository}/blobs/{named}");
    let packed = get(registry, &path, "*/*").await?;
    if layer["size"] != packed.len() || named != sha256(&packed) {
        return Err(format!("{named}: other bytes"));
    }
    let wasm = plugin(&packed)?;
    if wasm.len() < 8 || !wasm.starts_with(b"\0asm") {
        return Err("plugin.wasm is no module".into());
    }
    Ok(Fetched { wasm, digest })
}

async fn get(registry: &Registry, path: &str, accept: &str) -> Result<Vec<u8>, String> {
    let reply = registry.get(path, accept).await;
    let reply = reply.map_err(|e| format!("{path}: {e}"))?;
    match reply.status {
        200 => Ok(reply.body().to_vec()),
        status => Err(format!("{path}: {status}")),
    }
}

/// The manifest's one layer, which has the type that goes with the manifest's.
fn layer(manifest: &Value) -> Result<&Value, String> {
    let expected = match manifest["mediaType"].as_str() {
        Some(DOCKER_MANIFEST) => DOCKER_LAYER,
        _ => OCI_LAYER,
    };
    let layers = manifest["layers"].as_array().ok_or("no layers")?;
    let [layer] = layers.as_slice() else {
        return Err(format!("{} layers", layers.len()));
    };
    match layer["mediaType"].as_str() {
        Some(got) if got == expected => Ok(layer),
        got => Err(format!("a layer of {got:?}, not {expected}")),
    }
}

/// `plugin.wasm` of a gzipped tar.
fn plugin(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(packed).take(UNPACKED));
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        if &*entry.path_bytes() == b"plugin.wasm" {
            let mut wasm = Vec::new();
            entry.read_to_end(&mut wasm).map_err(|e| e.to_string())?;
            return Ok(wasm);
        }
    }
    Err("no plugin.wasm in the layer".into())
}
