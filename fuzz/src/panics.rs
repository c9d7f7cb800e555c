//! Which panic is a finding. The fuzzer's runtime ends the process at any; but decoders of others are
//! known to panic on damage, and Lacuna catches that and answers with an error, as it has promised.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

/// Takes a panic for a finding unless it happens in a decoder that Lacuna guards. To be called when a
/// target begins.
pub fn only_ours() {
    let findings = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_guarded(panic) {
            findings(panic);
        }
    }));
}

fn is_guarded(panic: &PanicHookInfo<'_>) -> bool {
    let Some(place) = panic.location() else { return false };
    if is_guarded_crate(place.file()) {
        return true;
    }
    // The standard library panics where it is called from.
    place.file().starts_with("/rustc/") && {
        let trace = Backtrace::force_capture().to_string();
        let mut functions = trace.lines().map(str::trim_start).filter_map(|line| {
            let (_, function) = line.split_once(": ")?;
            let own = ["std::", "core::", "alloc::", "<alloc::", "<core::", "<std::", "__rust"];
            let ours = function.contains("lacuna");
            (ours || !own.iter().any(|name| function.starts_with(name))).then_some(function)
        });
        // The first functions are this hook's.
        functions
            .find(|name| !name.contains("panics::") && !name.starts_with("rust_"))
            .is_some_and(|name| name.contains("parquet::") && !name.contains("lacuna"))
    }
}

fn is_guarded_crate(file: &str) -> bool {
    ["/parquet-", "/bytes-", "/snap-", "/lz4_flex-", "/brotli"]
        .iter()
        .any(|name| file.contains(name))
}
