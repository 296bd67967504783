//! What runs until it is done, or is told to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Runs on this thread. Ended early by SIGINT or SIGTERM it still ends its Envoys: their owners are dropped with it.
///
/// # Errors
/// Those of `work`; it was ended early; the runtime could not be built.
pub fn done_or_told<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: for<'a> From<&'a str>,
{
    let fail = |e: io::Error| E::from(&e.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(fail)?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).map_err(fail)?;
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminated.recv() => Err("terminated".into()),
        }
    })
}
