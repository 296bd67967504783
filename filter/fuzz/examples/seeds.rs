//! Writes the targets' seeds: `seeds <repository> <corpus>` makes `<corpus>/<target>/`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use pointsman_fuzz::seeds::seeds;

fn main() -> Result<(), Box<dyn Error>> {
    let mut folders = env::args_os().skip(1).map(PathBuf::from);
    let (Some(root), Some(corpus)) = (folders.next(), folders.next()) else {
        return Err("usage: seeds <repository> <corpus>".into());
    };
    for seed in seeds(&root)? {
        let folder = corpus.join(&seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(&seed.name), &seed.bytes)?;
    }
    Ok(())
}
