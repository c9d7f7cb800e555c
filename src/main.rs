//! The command: parse, run, exit.

fn main() -> std::process::ExitCode {
    lacuna::cli::main().into()
}
