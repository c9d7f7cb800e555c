//! `lacuna demo`: makes a small lake and runs the whole story on it, by the commands that people use.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use clap::Parser as _;

use crate::cli::args::{Arguments, Demo, Init};
use crate::cli::demo_lake;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents};
use crate::config::{Config, FILE_NAME};
use crate::domain::identifier::hex;
use crate::server::people::hash_password;
use crate::wire;

use super::{Context, dispatch, init};

pub(super) async fn run(context: &Context, arguments: &Demo) -> Result<Answer, Failure> {
    let folder = context.environment.folder().join(&arguments.dir);
    if folder.symlink_metadata().is_ok() {
        let message = format!("{} exists already; nothing was done", arguments.dir.display());
        return Err(Failure::new(Exit::Usage, message)
            .remedy("name a folder that does not exist: lacuna demo --dir DIR"));
    }
    init::run(context, &Init { dir: arguments.dir.clone() })?;
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("the lake cannot be written: {error}"))
    };
    demo_lake::write(&folder.join("lake")).map_err(failed)?;
    let configuration = folder.join(FILE_NAME);
    std::fs::write(&configuration, demo_lake::CONFIGURATION).map_err(failed)?;
    let told = format!("A lake of invented people, and a configuration: {}", shown(arguments));
    context.terminal.show(&format!("{told}\n"))?;
    let story = Story { context, configuration: &configuration };
    let mut steps = story.tell().await?;
    if arguments.serve {
        story.serve(&mut steps).await?;
    }
    let exit = steps.last().map_or(Exit::Done, |step| step.exit);
    let document = documents::Demo {
        schema: documents::DEMO,
        steps: steps.into_iter().map(|step| step.document).collect(),
    };
    let text = if exit == Exit::Done {
        format!("\nIt all stays in {}: look around, and remove it when done.\n", shown(arguments))
    } else {
        String::new()
    };
    Ok(Answer::new(text, &document)?.exit(exit))
}

fn shown(arguments: &Demo) -> std::path::Display<'_> {
    arguments.dir.display()
}

/// Sixteen random characters.
fn fresh_password() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| no_random_bytes())?;
    Ok(hex(&bytes))
}

fn no_random_bytes() -> Failure {
    Failure::new(Exit::Failed, "the system gave no random bytes")
}

/// The commands of the demonstration, one after another.
struct Story<'a> {
    context: &'a Context,
    configuration: &'a Path,
}

/// A command that was run.
struct Step {
    exit: Exit,
    document: documents::DemoStep,
}

impl Story<'_> {
    async fn tell(&self) -> Result<Vec<Step>, Failure> {
        let [ann, ben, cem] = &demo_lake::subjects();
        let request = ["--request", "DEMO-1"];
        let people = ["--subject", ann, "--subject", ben, "--subject", cem];
        let mut steps = Vec::new();
        self.step(&["index"], &mut steps).await?;
        self.step(&["find", ann], &mut steps).await?;
        self.step(&[&["plan"], &request[..], &people[..]].concat(), &mut steps).await?;
        let id = self.plan().await?;
        let approval = ["approve", &id, "--by", "the privacy officer", "--confirm", &id];
        self.step(&approval, &mut steps).await?;
        self.step(&["erase", &id], &mut steps).await?;
        self.step(&["verify", &id], &mut steps).await?;
        self.step(&[&["verify"], &people[..]].concat(), &mut steps).await?;
        self.step(&["find", ann], &mut steps).await?;
        self.step(&["certificate", &id], &mut steps).await?;
        Ok(steps)
    }

    /// Plans for somebody else, lets an invented officer sign in, and serves the pages until a stop is asked
    /// for.
    async fn serve(&self, steps: &mut Vec<Step>) -> Result<(), Failure> {
        let another = demo_lake::another_subject();
        self.step(&["plan", "--request", "DEMO-2", "--subject", &another], steps).await?;
        let password = fresh_password()?;
        let hash = hash_password(&password).ok_or_else(no_random_bytes)?;
        let user = format!(
            "\n[[server.user]]\nname = \"officer\"\nroles = [\"approver\"]\npassword_hash = \"{hash}\"\n"
        );
        let mut file = OpenOptions::new().append(true).open(self.configuration)?;
        file.write_all(user.as_bytes())?;
        self.context.terminal.show(&format!("\nSign in as `officer` with {password}\n"))?;
        self.step(&["serve", "--listen", "127.0.0.1:0"], steps).await
    }

    /// Runs a command, unless one before it failed, and shows it with its answer.
    async fn step(&self, words: &[&str], steps: &mut Vec<Step>) -> Result<(), Failure> {
        if steps.last().is_some_and(|step| step.exit != Exit::Done) {
            return Ok(());
        }
        let Context { global, terminal, environment, .. } = self.context;
        let command = format!("lacuna {}", words.join(" "));
        terminal.show(&format!("\n$ {command}\n"))?;
        let parsed = Arguments::try_parse_from(["lacuna"].iter().chain(words))
            .map_err(|_| Failure::new(Exit::Failed, format!("`{command}` is no command")))?;
        let mut global = global.clone();
        global.config = Some(self.configuration.to_owned());
        let context = Context::new(global, terminal.clone(), environment.clone());
        let context = Context { stop: self.context.stop.clone(), ..context };
        let answer = Box::pin(dispatch(&context, parsed.command)).await?;
        terminal.show(&answer.text)?;
        let document = documents::DemoStep {
            command,
            exit_code: answer.exit.code(),
            document: answer.document,
        };
        steps.push(Step { exit: answer.exit, document });
        Ok(())
    }

    /// The first characters of the only plan's id.
    async fn plan(&self) -> Result<String, Failure> {
        let Context { environment, clock, .. } = self.context;
        let config = Config::load(Some(self.configuration), environment)?;
        let plans = wire::ledger(&config, clock.clone()).await?.plans().await?;
        let missing = || Failure::new(Exit::Failed, "the plan is not in the ledger");
        plans.first().map(|plan| plan.id.prefix()).ok_or_else(missing)
    }
}
