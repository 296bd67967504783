//! `make image`: the filter as an OCI image layout.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use pointsman_k8s::image::{Image, Tag};

/// Writes the filter as an OCI image layout, which Istio and Envoy Gateway take from any registry it is copied to
#[derive(Debug, Parser)]
#[command(name = "image", version)]
struct Args {
    /// The filter, as `make build` builds it
    #[arg(long)]
    wasm: PathBuf,
    /// The folder to write; an image that is there is replaced
    #[arg(long)]
    output: PathBuf,
    /// What the image is called in its repository
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: Tag,
}

fn main() -> anyhow::Result<()> {
    let Args { wasm, output, tag } = Args::parse();
    let (filter, layout, name) = (wasm.display(), output.display(), tag.as_str().to_owned());
    let bytes = std::fs::read(&wasm)
        .with_context(|| format!("{filter}: `make build` writes the filter"))?;
    let image = Image::of(&bytes, tag).with_context(|| filter.to_string())?;
    image.write(&output).with_context(|| layout.to_string())?;
    let (kib, digest) = (image.size().div_ceil(1024), image.digest());
    println!("   {layout}, {kib} KiB, reproducible: the same filter is the same digest");
    println!("   {digest}");
    println!();
    println!("Next: skopeo copy oci:{layout}:{name} docker://registry.example/pointsman:{name}");
    println!("The mesh then names it by what cannot change: registry.example/pointsman@{digest}");
    println!("(Envoy Gateway as it stands, Istio with oci:// before it)");
    Ok(())
}
