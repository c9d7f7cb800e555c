//! What the events of a request add up to, and which may follow.

use jiff::civil::Date;
use jiff::tz::Offset;
use serde::Serialize;

use super::{
    Actor, DenialReason, Exempting, Extent, Happening, Label, Remark, RequestEvent,
    RequestReference,
};
use crate::domain::Timestamp;
use crate::domain::dataset::DatasetName;
use crate::domain::deadline::{Deadline, Jurisdiction, NotATerm, Term, day_of};
use crate::domain::plan::Reason;

/// A request as it stands after all its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegisteredRequest {
    /// What people know it by.
    pub reference: RequestReference,
    /// How it came in.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// Who entered that it came in; its first event says the same.
    #[serde(skip)]
    pub registered_by: Actor,
    /// Whether something is still to be done.
    pub state: RequestState,
    /// When the person was told that it came in.
    pub acknowledged_at: Option<Timestamp>,
    /// When the person was found to be who they say.
    pub verified_at: Option<Timestamp>,
    /// The extension of its term.
    pub extension: Option<Extension>,
    /// All holds, also released ones, in the order in which they were set.
    pub holds: Vec<Hold>,
    /// All exemptions, in the order in which they were entered.
    pub exemptions: Vec<Exemption>,
    /// Why it was refused; `None` again after it was reopened.
    pub denial: Option<Denial>,
    /// How many events it has; the next one has this sequence.
    pub events: u32,
}

/// How a request came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Whose law sets the term.
    pub jurisdiction: Jurisdiction,
    /// The term in days where that law is [`Jurisdiction::Other`].
    pub days: Option<u16>,
    /// The ground that the person relies on.
    pub ground: Option<Label>,
    /// How it came in.
    pub channel: Option<Label>,
    /// The day on which it came in.
    pub received_on: Date,
    #[serde(skip)]
    term: Term,
}

/// Whether something is still to be done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// It waits for an answer.
    Open,
    /// It was refused.
    Denied,
    /// The person no longer asks for it.
    Withdrawn,
    /// It is done.
    Closed,
}

impl RequestState {
    /// As documents and messages spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Closed => "closed",
        }
    }
}

/// The extension of a term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Why.
    pub reason: Remark,
    /// The day on which the person was told.
    pub noticed_on: Date,
}

/// Something that must not be erased for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Its number: the sequence of the event that set it.
    pub number: u32,
    /// What.
    pub extent: Extent,
    /// Why, as a code of the house.
    pub basis: Label,
    /// The last day of the hold; `None`: until it is released.
    pub until: Option<Date>,
    /// Who set it.
    pub by: Actor,
    /// Who lifted it, and when; `None` where nobody did.
    pub release: Option<Release>,
}

impl Hold {
    /// Whether it is on the whole request.
    pub fn is_of_all(&self) -> bool {
        self.extent == (Extent::Request {})
    }

    /// Whether it applies on a day: neither released nor past its last day.
    pub fn stands(&self, today: Date) -> bool {
        self.release.is_none() && self.until.is_none_or(|until| today <= until)
    }
}

/// The end of a hold by a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// A part that is kept because the law exempts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exemption {
    /// Which part.
    pub extent: Extent,
    /// The exemption.
    pub basis: Exempting,
    /// The last day on which it applies; `None`: until further notice.
    pub until: Option<Date>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The kind of reason.
    pub reason: DenialReason,
    /// The reason in words.
    pub text: Remark,
}

/// What an open request waits for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// What is due.
    pub kind: DueKind,
    /// Until when.
    pub deadline: Deadline,
}

/// What can be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DueKind {
    /// Telling the person that the request came in.
    Acknowledgement,
    /// Erasing, and telling the person so; or refusing.
    Answer,
}

impl DueKind {
    /// As documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledgement => "acknowledgement",
            Self::Answer => "answer",
        }
    }
}

/// An event that may not follow the ones before it. The message says what may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such request.
    #[error("no request of this reference is registered; `lacuna request list --all` shows them")]
    Unknown,
    /// The reference is taken.
    #[error("a request of this reference is registered already; use another reference")]
    Registered,
    /// Days and jurisdiction do not go together.
    #[error(transparent)]
    Term(#[from] NotATerm),
    /// A day that has not come yet.
    #[error("the day {0} has not come yet; give the day on which it happened")]
    Future(Date),
    /// The request is no longer open.
    #[error("the request is {}; it can be {possible}", state.as_str())]
    NotOpen {
        /// What it is.
        state: RequestState,
        /// What may follow.
        possible: &'static str,
    },
    /// It was done before.
    #[error("the request is {0} already; once is enough")]
    Again(&'static str),
    /// The law knows no extension.
    #[error(
        "the term of jurisdiction `{0}` cannot be extended; answer, deny or withdraw the request"
    )]
    NoExtension(Jurisdiction),
    /// The notice of an extension came too early or too late.
    #[error(
        "the person has to be told of an extension from {from} to {until}, within the first term; \
         answer, deny or withdraw the request"
    )]
    NoticeOutOfTerm {
        /// The day of receipt.
        from: Date,
        /// The legal end of the first term.
        until: Date,
    },
    /// The last day of a hold or an exemption is past.
    #[error("the last day {0} is past; give a later one, or none")]
    Ended(Date),
    /// No such hold stands.
    #[error("no hold of the number {number} stands; {}", standing_holds(standing))]
    NoHold {
        /// The number that was given.
        number: u32,
        /// The ones that can be released.
        standing: Vec<u32>,
    },
    /// A hold is lifted by a second person.
    #[error("who set a hold does not release it; somebody else has to")]
    SamePerson,
    /// The whole of a request cannot be exempt in part.
    #[error(
        "an exemption is for a dataset or a column; deny the request where all of it is exempt"
    )]
    WholeExempted,
    /// The exemption is one of another law.
    #[error(
        "the exemption is not one of jurisdiction `{jurisdiction}`; {}",
        exemptions_of(*jurisdiction)
    )]
    ForeignExemption {
        /// That of the request.
        jurisdiction: Jurisdiction,
    },
    /// Something is on hold, so it is not done.
    #[error(
        "a hold stands, so the request is not done; release hold {0} first, or deny or withdraw the \
         request"
    )]
    OnHold(u32),
    /// The event is not the next one of this request: a stored document is out of place.
    #[error("the event is out of place; restore the ledger")]
    OutOfPlace,
}

fn standing_holds(standing: &[u32]) -> String {
    let numbers: Vec<String> = standing.iter().map(u32::to_string).collect();
    match numbers.as_slice() {
        [] => "none stands".to_owned(),
        numbers => format!("those that stand: {}", numbers.join(", ")),
    }
}

fn exemptions_of(jurisdiction: Jurisdiction) -> String {
    let codes = Exempting::ALL.into_iter().filter(|basis| basis.is_of(jurisdiction));
    match codes.map(Exempting::as_str).collect::<Vec<_>>().as_slice() {
        [] => "none of its exemptions is known: hold a part, or deny the request".to_owned(),
        codes => format!("possible are: {}", codes.join(", ")),
    }
}

impl RegisteredRequest {
    /// What these events add up to.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where one may not follow the ones before it: somebody changed what was stored.
    pub fn of(events: &[RequestEvent]) -> Result<Option<Self>, Refusal> {
        let mut request = None;
        for event in events {
            request = Some(Self::after(request, event)?);
        }
        Ok(request)
    }

    /// The request after one more event.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the event may not follow.
    pub fn after(before: Option<Self>, event: &RequestEvent) -> Result<Self, Refusal> {
        let Some(mut request) = before else { return Self::received(event) };
        if event.reference != request.reference || event.sequence != request.events {
            return Err(Refusal::OutOfPlace);
        }
        request.happen(event)?;
        request.events += 1;
        Ok(request)
    }

    /// What it waits for next; `None` where it is not open.
    pub fn due(&self) -> Option<Due> {
        let receipt = &self.receipt;
        let answer = receipt.term.answer(receipt.received_on, self.extension.is_some());
        let acknowledgement = receipt.term.acknowledgement(receipt.received_on);
        let due = match acknowledgement {
            Some(deadline) if self.acknowledged_at.is_none() => {
                Due { kind: DueKind::Acknowledgement, deadline }
            }
            _ => Due { kind: DueKind::Answer, deadline: answer },
        };
        (self.state == RequestState::Open).then_some(due)
    }

    /// Whether its term can be extended: once, where the law knows an extension.
    pub fn can_be_extended(&self) -> bool {
        self.extension.is_none() && self.receipt.term.can_be_extended()
    }

    /// Whether it is open, and the legal end of what is due has passed.
    pub fn is_overdue(&self, today: Date) -> bool {
        self.due().is_some_and(|due| due.deadline.is_overdue(today))
    }

    /// Why the rows of a dataset are not to be erased on a day: a hold that stands on it, or else an
    /// exemption that applies; of several the one that lasts longest. A row goes as a whole or not at all,
    /// so what is said of a column counts for its dataset.
    pub fn restraint(&self, dataset: &DatasetName, today: Date) -> Option<Reason> {
        let lasting = |until: &Option<Date>| (until.is_none(), *until);
        let holds = self.standing_holds(today).filter(|hold| hold.extent.is_on(dataset));
        let hold = holds.max_by_key(|hold| lasting(&hold.until));
        let exemptions = self
            .exemptions
            .iter()
            .filter(|it| it.extent.is_on(dataset) && it.until.is_none_or(|until| today <= until));
        let exempt = exemptions.max_by_key(|it| lasting(&it.until));
        hold.map(|hold| Reason::OnHold { basis: hold.basis.clone(), until: hold.until })
            .or_else(|| exempt.map(|it| Reason::Exempt { basis: it.basis, until: it.until }))
    }

    /// The holds that apply on a day.
    pub fn standing_holds(&self, today: Date) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter(move |hold| hold.stands(today))
    }

    fn received(event: &RequestEvent) -> Result<Self, Refusal> {
        let Happening::Received { jurisdiction, days, ground, channel, received_on } =
            &event.happened
        else {
            return Err(Refusal::Unknown);
        };
        if event.sequence != 0 {
            return Err(Refusal::OutOfPlace);
        }
        let term = Term::new(*jurisdiction, *days)?;
        not_in_future(*received_on, event.at)?;
        let receipt = Receipt {
            jurisdiction: *jurisdiction,
            days: *days,
            ground: ground.clone(),
            channel: channel.clone(),
            received_on: *received_on,
            term,
        };
        Ok(Self {
            reference: event.reference.clone(),
            receipt,
            registered_by: event.by.clone(),
            state: RequestState::Open,
            acknowledged_at: None,
            verified_at: None,
            extension: None,
            holds: Vec::new(),
            exemptions: Vec::new(),
            denial: None,
            events: 1,
        })
    }

    fn happen(&mut self, event: &RequestEvent) -> Result<(), Refusal> {
        match &event.happened {
            Happening::Received { .. } => return Err(Refusal::Registered),
            Happening::Released { hold } => return self.release(*hold, event),
            Happening::Reopened {} => return self.reopen(),
            Happening::Closed {} => return self.close(event),
            _ if self.state != RequestState::Open => return Err(self.not_open()),
            Happening::Acknowledged {} => {
                once(&mut self.acknowledged_at, event.at, "acknowledged")?
            }
            Happening::Verified {} => once(&mut self.verified_at, event.at, "verified")?,
            Happening::Extended { reason, noticed_on } => {
                not_in_future(*noticed_on, event.at)?;
                let extension = Extension { reason: reason.clone(), noticed_on: *noticed_on };
                self.extend(extension)?;
            }
            Happening::Held { extent, basis, until } => {
                not_ended(*until, event.at)?;
                self.holds.push(Hold {
                    number: event.sequence,
                    extent: extent.clone(),
                    basis: basis.clone(),
                    until: *until,
                    by: event.by.clone(),
                    release: None,
                });
            }
            Happening::Exempted { extent, basis, until } => {
                not_ended(*until, event.at)?;
                let extent = extent.clone();
                self.exempt(Exemption { extent, basis: *basis, until: *until })?;
            }
            Happening::Denied { reason, text } => {
                self.denial = Some(Denial { reason: *reason, text: text.clone() });
                self.state = RequestState::Denied;
            }
            Happening::Withdrawn {} => self.state = RequestState::Withdrawn,
        }
        Ok(())
    }

    fn extend(&mut self, extension: Extension) -> Result<(), Refusal> {
        let receipt = &self.receipt;
        if !receipt.term.can_be_extended() {
            return Err(Refusal::NoExtension(receipt.jurisdiction));
        }
        if self.extension.is_some() {
            return Err(Refusal::Again("extended"));
        }
        let from = receipt.received_on;
        let until = receipt.term.answer(from, false).ends_on;
        if !(from..=until).contains(&extension.noticed_on) {
            return Err(Refusal::NoticeOutOfTerm { from, until });
        }
        self.extension = Some(extension);
        Ok(())
    }

    fn exempt(&mut self, exemption: Exemption) -> Result<(), Refusal> {
        let jurisdiction = self.receipt.jurisdiction;
        if exemption.extent == (Extent::Request {}) {
            return Err(Refusal::WholeExempted);
        }
        if !exemption.basis.is_of(jurisdiction) {
            return Err(Refusal::ForeignExemption { jurisdiction });
        }
        self.exemptions.push(exemption);
        Ok(())
    }

    /// Whatever the state of the request: what is held must not stay so for want of an open request.
    fn release(&mut self, number: u32, event: &RequestEvent) -> Result<(), Refusal> {
        let today = day_of(event.at);
        let standing = self.standing_holds(today).map(|hold| hold.number).collect();
        let named = self.holds.iter_mut().find(|it| it.number == number && it.stands(today));
        let hold = named.ok_or(Refusal::NoHold { number, standing })?;
        if hold.by.is_same_as(&event.by) {
            return Err(Refusal::SamePerson);
        }
        hold.release = Some(Release { by: event.by.clone(), at: event.at });
        Ok(())
    }

    fn close(&mut self, event: &RequestEvent) -> Result<(), Refusal> {
        let standing = self.standing_holds(day_of(event.at)).next();
        match (self.state, standing) {
            (RequestState::Closed, _) => return Err(self.not_open()),
            (RequestState::Open, Some(hold)) => return Err(Refusal::OnHold(hold.number)),
            _ => self.state = RequestState::Closed,
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Refusal> {
        if self.state == RequestState::Open {
            return Err(Refusal::Again("open"));
        }
        self.state = RequestState::Open;
        self.denial = None;
        Ok(())
    }

    fn not_open(&self) -> Refusal {
        let possible = match self.state {
            RequestState::Closed => "reopened",
            _ => "closed or reopened",
        };
        Refusal::NotOpen { state: self.state, possible }
    }
}

fn once(moment: &mut Option<Timestamp>, at: Timestamp, what: &'static str) -> Result<(), Refusal> {
    match moment.replace(at) {
        None => Ok(()),
        Some(_) => Err(Refusal::Again(what)),
    }
}

/// A day may be today wherever it is already: the calendar of the controller is not known.
fn not_in_future(day: Date, at: Timestamp) -> Result<(), Refusal> {
    let latest = Offset::constant(14).to_datetime(at).date();
    if day > latest { Err(Refusal::Future(day)) } else { Ok(()) }
}

fn not_ended(until: Option<Date>, at: Timestamp) -> Result<(), Refusal> {
    match until {
        Some(until) if until < day_of(at) => Err(Refusal::Ended(until)),
        _ => Ok(()),
    }
}
