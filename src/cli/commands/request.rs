//! `lacuna request …`: what was asked, and everything that became of it. It reads and writes the
//! ledger alone.

use jiff::civil::Date;

use crate::cli::args::request::{Add, Extend, Hold, List, Named, Part, Release, Request};
use crate::cli::args::request::{RequestCommand, Show};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, csv, documents, requests};
use crate::config::Config;
use crate::domain::dataset::DatasetName;
use crate::domain::deadline::day_of;
use crate::domain::register::{
    Actor, Extent, Happening, Refusal, RegisteredRequest, RequestEntry, RequestReference,
    RequestState,
};
use crate::wire::{self, Ledger, Register, RegisterError};

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Request) -> Result<Answer, Failure> {
    let desk = Desk::open(context).await?;
    match &arguments.command {
        RequestCommand::Add(it) => desk.enter(&it.named, received(it)).await,
        RequestCommand::List(it) => desk.list(it).await,
        RequestCommand::Show(it) => desk.show(it).await,
        RequestCommand::Acknowledge(named) => desk.enter(named, Happening::Acknowledged {}).await,
        RequestCommand::Verify(named) => desk.enter(named, Happening::Verified {}).await,
        RequestCommand::Extend(it) => desk.enter(&it.named, extended(it, desk.today())).await,
        RequestCommand::Hold(it) => desk.hold(it).await,
        RequestCommand::Release(it) => desk.release(it).await,
        RequestCommand::Exempt(it) => {
            let extent = desk.extent(Some(&it.dataset), &it.part)?;
            let (basis, until) = (it.basis, it.part.until);
            desk.enter(&it.named, Happening::Exempted { extent, basis, until }).await
        }
        RequestCommand::Deny(it) => {
            let (reason, text) = (it.reason, it.text.clone());
            desk.enter(&it.named, Happening::Denied { reason, text }).await
        }
        RequestCommand::Withdraw(named) => desk.enter(named, Happening::Withdrawn {}).await,
        RequestCommand::Close(named) => desk.enter(named, Happening::Closed {}).await,
        RequestCommand::Reopen(named) => desk.enter(named, Happening::Reopened {}).await,
    }
}

/// `lacuna status --due`: what is open, and 15 where something is overdue.
pub(super) async fn due(context: &Context, within: Option<u16>) -> Result<Answer, Failure> {
    let desk = Desk::open(context).await?;
    let document = desk.listed(|entry| entry.is_within(within)).await?;
    let is_overdue = document.requests.iter().any(RequestEntry::is_overdue);
    let exit = if is_overdue { Exit::Overdue } else { exit_of(&document) };
    Ok(Answer::new(requests::list(&document), &document)?.exit(exit))
}

/// How many requests of the ledger are open and overdue.
pub(super) fn counts(register: &Register, today: Date) -> documents::RequestCounts {
    let requests = &register.requests;
    let is_open = |request: &&RegisteredRequest| request.state == RequestState::Open;
    documents::RequestCounts {
        open: requests.iter().filter(is_open).count() as u64,
        overdue: requests.iter().filter(|request| request.is_overdue(today)).count() as u64,
        damaged: register.damaged.len() as u64,
    }
}

/// Where requests are entered and looked up.
struct Desk<'a> {
    context: &'a Context,
    config: Config,
    ledger: Ledger,
}

impl<'a> Desk<'a> {
    async fn open(context: &'a Context) -> Result<Self, Failure> {
        let config = context.config()?;
        let ledger = wire::ledger(&config, context.clock.clone()).await?;
        Ok(Self { context, config, ledger })
    }

    fn today(&self) -> Date {
        day_of(self.context.clock.now())
    }

    /// Stores what happened, and shows the request as it stands then.
    async fn enter(&self, named: &Named, happened: Happening) -> Result<Answer, Failure> {
        let by = self.actor(named)?;
        let (request, history) = self.ledger.register(&named.reference, &by, &happened).await?;
        let document = documents::Request::new(request, history, self.today());
        Answer::new(requests::one(&document), &document)
    }

    async fn show(&self, arguments: &Show) -> Result<Answer, Failure> {
        let (request, history) = self.found(&arguments.reference).await?;
        let document = documents::Request::new(request, history, self.today());
        Answer::new(requests::one(&document), &document)
    }

    async fn list(&self, arguments: &List) -> Result<Answer, Failure> {
        let is_wanted =
            |entry: &RequestEntry| arguments.all || entry.is_within(arguments.due_within);
        let document = self.listed(is_wanted).await?;
        if !arguments.csv {
            return Ok(Answer::new(requests::list(&document), &document)?.exit(exit_of(&document)));
        }
        for damaged in &document.damaged {
            self.context.terminal.warn(damaged);
        }
        let text = csv::requests(&document);
        Ok(Answer::new(text, &document)?.exit(exit_of(&document)))
    }

    /// The requests that are wanted, the most pressing first: overdue, then by due day, then the rest.
    async fn listed(
        &self,
        is_wanted: impl Fn(&RequestEntry) -> bool,
    ) -> Result<documents::Requests, Failure> {
        let (register, today) = (self.ledger.register_of_all().await?, self.today());
        let mut requests = RequestEntry::list(register.requests, today);
        requests.retain(is_wanted);
        let schema = documents::REQUESTS;
        Ok(documents::Requests { schema, today, requests, damaged: register.damaged })
    }

    async fn hold(&self, arguments: &Hold) -> Result<Answer, Failure> {
        let extent = self.extent(arguments.dataset.as_deref(), &arguments.part)?;
        let (basis, until) = (arguments.basis.clone(), arguments.part.until);
        self.enter(&arguments.named, Happening::Held { extent, basis, until }).await
    }

    /// Lifts the hold of the given number, or the one that stands.
    async fn release(&self, arguments: &Release) -> Result<Answer, Failure> {
        let named = &arguments.named;
        let hold = match arguments.hold {
            Some(number) => number,
            None => {
                let (request, _) = self.found(&named.reference).await?;
                let standing: Vec<u32> =
                    request.standing_holds(self.today()).map(|hold| hold.number).collect();
                the_one(&standing)?
            }
        };
        self.enter(named, Happening::Released { hold }).await
    }

    async fn found(
        &self,
        reference: &RequestReference,
    ) -> Result<(RegisteredRequest, Vec<crate::domain::register::RequestEvent>), Failure> {
        let found = self.ledger.request(reference).await?;
        Ok(found.ok_or(RegisterError::Refused(Refusal::Unknown))?)
    }

    /// What a hold or an exemption is about; a dataset has to be a configured one.
    fn extent(&self, dataset: Option<&str>, part: &Part) -> Result<Extent, Failure> {
        let Some(dataset) = dataset else { return Ok(Extent::Request {}) };
        self.config.select(&[dataset.to_owned()])?;
        let dataset = DatasetName::new(dataset);
        let Some(column) = &part.column else { return Ok(Extent::Dataset { dataset }) };
        let column = column.parse().map_err(|_| {
            Failure::new(Exit::Usage, "--column: this is not the path to a field")
                .remedy("write it as the configuration does, such as contact.email")
        })?;
        Ok(Extent::Column { dataset, column })
    }

    fn actor(&self, named: &Named) -> Result<Actor, Failure> {
        let login = || self.context.environment.login_name()?.parse().ok();
        named.by.clone().or_else(login).ok_or_else(|| {
            Failure::new(Exit::Usage, "the system does not tell who is logged in")
                .remedy("say who enters this: --by WHO")
        })
    }
}

fn received(arguments: &Add) -> Happening {
    Happening::Received {
        jurisdiction: arguments.jurisdiction,
        days: arguments.days,
        ground: arguments.ground.clone(),
        channel: arguments.channel.clone(),
        received_on: arguments.received,
    }
}

fn extended(arguments: &Extend, today: Date) -> Happening {
    let noticed_on = arguments.noticed.unwrap_or(today);
    Happening::Extended { reason: arguments.reason.clone(), noticed_on }
}

/// The only hold that stands.
fn the_one(standing: &[u32]) -> Result<u32, Failure> {
    match standing {
        [number] => Ok(*number),
        [] => Err(Failure::new(Exit::Usage, "no hold of the request stands")
            .remedy("`lacuna request show REF` tells what became of its holds")),
        several => {
            let numbers: Vec<String> = several.iter().map(u32::to_string).collect();
            Err(Failure::new(Exit::Usage, "several holds of the request stand")
                .remedy(format!("say which: --hold NUMBER, one of {}", numbers.join(", "))))
        }
    }
}

/// A request that cannot be read may be due: a list without it must not look whole.
fn exit_of(document: &documents::Requests) -> Exit {
    if document.damaged.is_empty() { Exit::Done } else { Exit::Failed }
}
