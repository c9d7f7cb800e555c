//! The outermost ring: the only code that prints. Data goes to standard output, everything else to
//! standard error.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::args::{Color, Global};
use super::exit::Exit;
use super::failure::Failure;

pub(super) mod csv;
pub(super) mod documents;
pub(super) mod findings;
pub(super) mod human;
pub(super) mod preview;
pub(super) mod progress;
pub(super) mod requests;

/// What a command has to say at its end.
pub(super) struct Answer {
    /// For people; ends in a line ending unless it is empty.
    pub text: String,
    /// For programs.
    pub document: serde_json::Value,
    /// How the command ended.
    pub exit: Exit,
}

impl Answer {
    /// The answer of a command that did what was asked.
    pub fn new(text: impl Into<String>, document: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self { text: text.into(), document: serde_json::to_value(document)?, exit: Exit::Done })
    }

    /// The same answer with another exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// The terminal, or what stands in its place.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    /// Whether standard output is a JSON document.
    pub json: bool,
    quiet: bool,
    verbose: u8,
    colors: bool,
    asks: bool,
    bars: bool,
}

impl Terminal {
    /// The terminal as the flags want it.
    pub fn new(global: &Global, no_color: bool) -> Self {
        let colors = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !no_color && io::stderr().is_terminal(),
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            colors,
            asks: !global.no_input && io::stdin().is_terminal() && io::stderr().is_terminal(),
            bars: !global.quiet && io::stderr().is_terminal(),
        }
    }

    /// Whether progress bars can be drawn.
    pub fn has_bars(&self) -> bool {
        self.bars
    }

    /// Whether messages other than errors are wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether somebody can be asked.
    pub fn can_ask(&self) -> bool {
        self.asks
    }

    /// A message for people.
    pub fn say(&self, message: &str) {
        if !self.quiet {
            to_stderr(message);
        }
    }

    /// A message for people who asked for more of them.
    pub fn detail(&self, message: &str) {
        if self.verbose > 0 {
            to_stderr(message);
        }
    }

    /// A warning.
    pub fn warn(&self, message: &str) {
        self.say(&format!("{} {message}", self.painted("warning:", "33;1")));
    }

    /// Shows data before the command's end, where a question follows it.
    pub fn show(&self, text: &str) -> io::Result<()> {
        if self.json {
            to_stderr(text.trim_end());
            return Ok(());
        }
        to_stdout(text)
    }

    /// Asks for a line; `None` at the end of input.
    pub fn ask(&self, question: &str) -> io::Result<Option<String>> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} ")?;
        stderr.flush()?;
        let mut line = String::new();
        let length = io::stdin().read_line(&mut line)?;
        Ok((length > 0).then(|| line.trim().to_owned()))
    }

    /// The same for a line that nobody should see: the terminal does not echo it.
    pub fn ask_secret(&self, question: &str) -> io::Result<Option<String>> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        let line = self.ask(question);
        tcsetattr(&stdin, OptionalActions::Flush, &before)?;
        to_stderr("");
        line
    }

    /// Prints a command's answer, and tells how the process ends.
    pub fn answer(&self, answer: &Answer) -> Exit {
        let printed = if self.json {
            let text = serde_json::to_string_pretty(&answer.document).unwrap_or_default();
            to_stdout(&format!("{text}\n"))
        } else {
            to_stdout(&answer.text)
        };
        match printed {
            Ok(()) => answer.exit,
            // Whoever read it has enough; what the command did is done all the same.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => answer.exit,
            Err(error) => {
                to_stderr(&format!("error: standard output cannot be written: {error}"));
                Exit::Failed
            }
        }
    }

    /// Prints why a command failed, and tells how the process ends.
    pub fn failure(&self, failure: &Failure) -> Exit {
        let chain = failure.chain();
        if self.json {
            let document = documents::Failed {
                schema: documents::FAILED,
                error: chain.first().cloned().unwrap_or_default(),
                causes: chain.iter().skip(1).cloned().collect(),
                remedies: failure.remedies().to_vec(),
                exit_code: failure.exit().code(),
            };
            let text = serde_json::to_string_pretty(&document).unwrap_or_default();
            let _ = to_stdout(&format!("{text}\n"));
        }
        let mut lines = Vec::new();
        for (position, text) in chain.iter().enumerate() {
            let head =
                if position == 0 { self.painted("error:", "31;1") } else { "  because".into() };
            lines.push(format!("{head} {text}"));
        }
        lines.extend(failure.remedies().iter().map(|remedy| format!("  {remedy}")));
        to_stderr(&lines.join("\n"));
        failure.exit()
    }

    /// The text in a colour (SGR parameters), where colours are wanted.
    fn painted(&self, text: &str, parameters: &str) -> String {
        if self.colors { format!("\x1b[{parameters}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line on standard error. Where that is gone, nobody is left to tell.
pub(super) fn to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Text on standard output, as it is.
pub(super) fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
