//! `make test CONFIG=istio-gateway`: writes what that mesh's proxy is served, for the suite to run on.

use std::path::Path;
use std::process::ExitCode;

use pointsman_tests::k8s;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, dir] = arguments.as_slice() else {
        eprintln!("config <name> <folder to make>");
        return ExitCode::FAILURE;
    };
    match k8s::write(name, Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("config: {error}");
            ExitCode::FAILURE
        }
    }
}
