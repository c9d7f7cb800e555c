//! The command line: reads it, runs a command, prints what came of it.

use std::panic::AssertUnwindSafe;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::config::Environment;

mod args;
mod commands;
mod demo_lake;
mod exit;
mod failure;
mod signals;
mod usage;
mod view;

use args::Arguments;
use commands::Context;
use exit::Exit;
use view::{Terminal, to_stderr};

/// Runs the command line of this process and answers with its exit code.
pub fn main() -> u8 {
    keep_memory_private();
    std::panic::set_hook(Box::new(|panic| {
        // The payload may hold anything, also personal data: only the place is told.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        to_stderr(&format!(
            "internal error: lacuna {} came to a state that it should never be in, at {place}; \
             please report this line",
            env!("CARGO_PKG_VERSION")
        ));
    }));
    let exit = std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Exit::Failed);
    exit.code()
}

/// Raw identifiers live in memory: it is not written to a file when the process crashes.
fn keep_memory_private() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Where the system refuses, its own setting stands.
    let _ = setrlimit(Resource::Core, none);
}

fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let Arguments { global, command } = arguments;
    let environment = match Environment::of_process() {
        Ok(environment) => environment,
        Err(problem) => return Terminal::new(&global, true).failure(&problem.into()),
    };
    let no_color = !matches!(environment.text("NO_COLOR"), Ok(None));
    let terminal = Terminal::new(&global, no_color);
    let context = Context::new(global, terminal.clone(), environment);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let answer = match runtime {
        Ok(runtime) => {
            let answer = runtime.block_on(commands::run(&context, command));
            // A read that hangs in a store must not keep the process once the answer is there.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            answer
        }
        Err(error) => Err(error.into()),
    };
    match answer {
        Ok(answer) => terminal.answer(&answer),
        Err(failure) => terminal.failure(&failure),
    }
}

fn usage(error: &clap::Error) -> Exit {
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_asked_for || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Where nobody reads it any more, nobody is left to tell.
        let _ = error.print();
        return if is_asked_for { Exit::Done } else { Exit::Usage };
    }
    to_stderr(&usage::message(error));
    Exit::Usage
}
