//! One file a command. Each asks the configuration and the workflows, and returns an [`Answer`];
//! nothing here prints.

use std::sync::Arc;

use crate::config::{Config, Environment};
use crate::domain::identifier::DigestKey;
use crate::domain::observe::{Observer, Stop};
use crate::wire::{self, Clock, Metastore};

use super::args::{Command, Global};
use super::failure::Failure;
use super::signals;
use super::view::progress::Progress;
use super::view::{Answer, Terminal};

mod approve;
mod audit;
mod certificate;
mod completions;
mod demo;
mod digest;
mod doctor;
mod erase;
mod find;
mod index;
mod init;
mod link;
mod man;
mod metastore;
mod notify;
mod password;
mod plan;
mod plans;
mod preview;
mod request;
mod serve;
mod show;
mod status;
mod subjects;
mod vacuum;
mod verify;
mod workshop;

/// What a command works with.
pub(super) struct Context {
    pub global: Global,
    pub terminal: Terminal,
    pub environment: Environment,
    pub clock: Clock,
    pub stop: Stop,
}

impl Context {
    /// The context of a run.
    pub fn new(global: Global, terminal: Terminal, environment: Environment) -> Self {
        let (clock, stop) = (Clock::system(), Stop::default());
        Self { global, terminal, environment, clock, stop }
    }

    fn config(&self) -> Result<Config, Failure> {
        let config = Config::load(self.global.config.as_deref(), &self.environment)?;
        self.terminal.detail(&format!("configuration: {}", config.file.display()));
        Ok(config)
    }

    fn key(&self, config: &Config) -> Result<DigestKey, Failure> {
        Ok(config.digest_key(&self.environment)?)
    }

    async fn metastore(&self, config: &Config) -> Result<Arc<dyn Metastore>, Failure> {
        Ok(wire::metastore(config, &self.key(config)?).await?)
    }

    fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Progress::new(self.terminal.clone(), self.clock.clone()))
    }
}

/// Runs a command, and stops it at a safe boundary where a signal asks for it.
///
/// # Errors
///
/// Why it failed.
pub(super) async fn run(context: &Context, command: Command) -> Result<Answer, Failure> {
    signals::listen(context.stop.clone())?;
    dispatch(context, command).await
}

async fn dispatch(context: &Context, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Init(arguments) => init::run(context, &arguments),
        Command::Demo(arguments) => demo::run(context, &arguments).await,
        Command::Doctor(arguments) => doctor::run(context, &arguments).await,
        Command::Index(arguments) => index::run(context, &arguments).await,
        Command::Status(arguments) => status::run(context, &arguments).await,
        Command::Request(arguments) => request::run(context, &arguments).await,
        Command::Plan(arguments) => plan::run(context, &arguments).await,
        Command::Show(arguments) => show::run(context, &arguments).await,
        Command::Preview(arguments) => preview::run(context, &arguments).await,
        Command::Approve(arguments) => approve::run(context, &arguments).await,
        Command::Reject(arguments) => approve::reject(context, &arguments).await,
        Command::Find(arguments) => find::run(context, &arguments).await,
        Command::Metastore(arguments) => metastore::run(context, &arguments).await,
        Command::Serve(arguments) => serve::run(context, &arguments).await,
        Command::Password(arguments) => password::run(context, &arguments),
        Command::Digest(arguments) => digest::run(context, &arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::Notify => notify::run(context).await,
        Command::Link(arguments) => link::run(context, &arguments).await,
        Command::Erase(arguments) => erase::run(context, &arguments).await,
        Command::Verify(arguments) => verify::run(context, &arguments).await,
        Command::Certificate(arguments) => certificate::run(context, &arguments).await,
        Command::Audit(arguments) => audit::run(context, &arguments).await,
        Command::Vacuum(arguments) => vacuum::run(context, &arguments).await,
    }
}
