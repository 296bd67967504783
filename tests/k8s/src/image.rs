//! The filter as an OCI image: what the fetchers of Istio and of Envoy Gateway unpack.
//!
//! The variant that both call *compat*: one layer, a gzipped tar, that holds `plugin.wasm` at its root. Pure but for
//! [`Image::write`], and reproducible: the same bytes and the same tag are the same image, byte for byte. No clock, owner or mode
//! of a file comes in.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The file that both fetchers look for.
pub const PLUGIN: &str = "plugin.wasm";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The name of a layout's marker (OCI image layout, 1.0.0).
const MARKER: &str = "oci-layout";

/// How a module begins: `\0asm`, version 1. A component has another version, and no proxy takes it.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("not a WebAssembly module: both fetchers would refuse it")]
    NoModule,
    #[error(
        "tag {0:?}: a tag is a letter, digit or `_`, then at most 127 letters, digits, `_`, `.` or `-`"
    )]
    Tag(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an image is called in its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

/// A file of a layout's `blobs`, named by its digest.
#[derive(Debug)]
struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

/// An image, ready to be written.
#[derive(Debug)]
pub struct Image {
    layer: Blob,
    config: Blob,
    manifest: Blob,
    tag: Tag,
}

// === impl Tag ===

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Tag {
    type Err = ImageError;

    fn from_str(tag: &str) -> Result<Self, ImageError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_tag = tag.starts_with(is_word)
            && tag.len() <= 128
            && tag.chars().all(|c| is_word(c) || c == '.' || c == '-');
        match is_tag {
            true => Ok(Self(tag.to_owned())),
            false => Err(ImageError::Tag(tag.to_owned())),
        }
    }
}

// === impl Blob ===

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: sha256(&bytes),
            bytes,
        }
    }

    fn json(media_type: &'static str, document: &Value) -> Self {
        Self::new(media_type, document.to_string().into_bytes())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

// === impl Image ===

impl Image {
    /// The image of a filter.
    ///
    /// # Errors
    /// It is no WebAssembly module.
    pub fn of(wasm: &[u8], tag: Tag) -> Result<Self, ImageError> {
        if !wasm.starts_with(MODULE) {
            return Err(ImageError::NoModule);
        }
        Self::holding(&[(PLUGIN, wasm)], tag)
    }

    /// An image of one layer with these files, whatever they are.
    ///
    /// # Errors
    /// A name does not fit into a tar's header.
    pub fn holding(files: &[(&str, &[u8])], tag: Tag) -> Result<Self, ImageError> {
        let tar = tar(files)?;
        // What differs between machines is left out of the header: the time, the file's name, the system.
        let header = GzBuilder::new().mtime(0).operating_system(255);
        let mut gzip = header.write(Vec::new(), Compression::best());
        gzip.write_all(&tar)?;
        let layer = Blob::new(LAYER, gzip.finish()?);
        let config = Blob::json(
            CONFIG,
            &json!({
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]},
            }),
        );
        let manifest = Blob::json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
                "annotations": {
                    "module.wasm.image/variant": "compat",
                    "org.opencontainers.image.title": "pointsman",
                    "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                    "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                },
            }),
        );
        Ok(Self {
            layer,
            config,
            manifest,
            tag,
        })
    }

    /// `sha256:…` of the manifest: what a registry knows the image by, and what Istio and Envoy Gateway compare with the `sha256`
    /// that a user sets.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Bytes that a registry stores.
    pub fn size(&self) -> usize {
        self.blobs().iter().map(|blob| blob.bytes.len()).sum()
    }

    /// Writes an OCI image layout, in the place of one that is there.
    ///
    /// # Errors
    /// Something else is there, and stays; it could not be written.
    pub fn write(&self, dir: &Path) -> Result<(), ImageError> {
        make_way(dir)?;
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        for blob in self.blobs() {
            let name = blob.digest.trim_start_matches("sha256:");
            fs::write(blobs.join(name), &blob.bytes)?;
        }
        let mut manifest = self.manifest.descriptor();
        manifest["platform"] = json!({"architecture": "amd64", "os": "linux"});
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": self.tag.as_str()});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        fs::write(dir.join("index.json"), index.to_string())?;
        let marker = json!({"imageLayoutVersion": "1.0.0"});
        fs::write(dir.join(MARKER), marker.to_string())?;
        Ok(())
    }

    fn blobs(&self) -> [&Blob; 3] {
        [&self.layer, &self.config, &self.manifest]
    }
}

/// `sha256:` and the digest in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    let hex = hex.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// A tar of these files: root's, readable by everyone, from 1970.
fn tar(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, name, *bytes)?;
    }
    tar.into_inner()
}

/// Removes the layout that is at `dir`, and nothing else.
fn make_way(dir: &Path) -> io::Result<()> {
    let is_free = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    if is_free {
        return Ok(());
    }
    if !dir.join(MARKER).is_file() {
        return Err(io::Error::other(
            "there is something else there than an OCI image layout, and it stays: name another folder",
        ));
    }
    fs::remove_dir_all(dir)
}
