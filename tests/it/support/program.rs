//! The program under test, run as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A folder with a configuration, from which the program is run.
pub struct Program {
    home: PathBuf,
    environment: Vec<(String, String)>,
    /// Everything that was ever printed: no canary may stand in it.
    pub printed: std::cell::RefCell<Vec<u8>>,
}

impl Program {
    /// Initialises `home` and gives it this configuration.
    pub fn new(home: &Path, configuration: &str, environment: Vec<(String, String)>) -> Self {
        let program = Self { home: home.to_owned(), environment, printed: Vec::new().into() };
        program.run(&["init"]).success();
        std::fs::write(home.join("lacuna.toml"), configuration).expect("a configuration");
        program
    }

    /// The folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The command, ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lacuna"));
        command
            .args(arguments)
            .current_dir(&self.home)
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().expect("the program is started");
        let mut printed = self.printed.borrow_mut();
        printed.extend_from_slice(&output.stdout);
        printed.extend_from_slice(&output.stderr);
        Run { output, command: arguments.iter().map(ToString::to_string).collect() }
    }

    /// Starts the command and kills it after a while; says whether it had ended before.
    pub fn kill(&self, arguments: &[&str], after: Duration) -> bool {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program is started");
        std::thread::sleep(after);
        let ended = child.try_wait().expect("a child").is_some();
        child.kill().expect("a child can be killed");
        child.wait().expect("a child");
        ended
    }

    /// Starts the command and kills it as soon as `is_reached` says so, unless it ends before.
    pub fn kill_when(&self, arguments: &[&str], is_reached: impl Fn() -> bool) {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program is started");
        while !is_reached() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("a child can be killed");
        child.wait().expect("a child");
    }
}

/// A command that ended.
pub struct Run {
    output: Output,
    command: Vec<String>,
}

impl Run {
    /// Its exit code.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            Some(code),
            "lacuna {}\n{}\n{}",
            self.command.join(" "),
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Demands exit code 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Standard output as a JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| {
            panic!(
                "lacuna {}: {error}\n{}\n{}",
                self.command.join(" "),
                self.stdout(),
                self.stderr()
            )
        })
    }
}
