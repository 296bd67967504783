//! `make k8s-check`: every manifest against its schema, without a cluster.
//!
//! Ends with 0 if nothing is wrong, 1 if something is, 2 if it was called wrongly.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pointsman_k8s::builtin;
use pointsman_k8s::check::Checker;
use pointsman_k8s::crds::{self, Crds};
use pointsman_k8s::kustomize::{folders, shown};
use pointsman_k8s::report::Total;
use pointsman_tests::k8s::kustomize::build;
use pointsman_tests::render::root;

const USAGE: &str = "\
k8s-check [--crds DIR] [FOLDER…]

Builds each FOLDER's kustomization and checks every resource: unknown fields, types, enums, CEL rules.
Without FOLDER: every one under k8s/. Without --crds: CRDS of the environment, or ../shared/data/crds beside the checkout.";

struct Args {
    crds: Option<PathBuf>,
    folders: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match parse(args).and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("k8s-check: {e}");
            ExitCode::from(2)
        }
    }
}

fn parse(args: Vec<String>) -> Result<Args, String> {
    let mut crds = None;
    let mut named = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match &*arg {
            "--crds" => crds = Some(args.next().ok_or("--crds needs a folder")?.into()),
            option if option.starts_with('-') => {
                return Err(format!("unknown option {option}\n\n{USAGE}"));
            }
            folder if Path::new(folder).is_dir() => named.push(PathBuf::from(folder)),
            other => return Err(format!("{other} is no folder")),
        }
    }
    if named.is_empty() {
        let all = root().join("k8s");
        named = folders(&all).map_err(|e| format!("{}: {e}", all.display()))?;
    }
    Ok(Args {
        crds,
        folders: named,
    })
}

/// Whether nothing is wrong.
fn run(args: Args) -> Result<bool, String> {
    let folder = crds::folder(args.crds)?;
    let crds = folder.as_deref().map(Crds::read).transpose()?;
    let mut checker = Checker::new(crds, builtin::tool());
    let mut total = Total::default();
    for folder in &args.folders {
        let name = shown(folder);
        match build(folder) {
            Ok(resources) => {
                let report = checker.check(&resources);
                println!("   {name:<30} {}", report.kinds());
                for problem in &report.problems {
                    eprintln!("{name}: {problem}");
                }
                total.add(report);
            }
            Err(e) => {
                eprintln!("{name}: {e}");
                total.add_unbuilt();
            }
        }
    }
    print!("{}", total.shown(folder.is_some()));
    Ok(total.problems() == 0)
}
