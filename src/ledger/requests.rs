//! The request register: the events of each request, in the order in which they were stored.

use std::collections::BTreeMap;

use futures::StreamExt as _;

use crate::domain::identifier::unhex;
use crate::domain::register::{
    Actor, Happening, REQUEST_EVENT_SCHEMA, Refusal, RegisteredRequest, RequestEvent,
    RequestReference,
};
use crate::domain::trail::{TrailAction, TrailTopic};

use super::{Ledger, LedgerError, LedgerErrorKind, READS_AT_ONCE, to_bytes};

/// All requests of a ledger.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// Those that can be read, by reference.
    pub requests: Vec<RegisteredRequest>,
    /// What is wrong with each of the others.
    pub damaged: Vec<String>,
}

/// An event was not stored.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// It may not follow what is there; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Stores what happened to a request after everything that is there, and answers with the request
    /// as it stands then and the event as it was stored. Where somebody else stores an event at the
    /// same time, this one is held against the new state before it is stored after the other.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Refused`] where it may not follow what is there; [`RegisterError::Ledger`]
    /// where the store fails, or [`LedgerErrorKind::Tampered`] where a stored event is damaged.
    pub async fn register(
        &self,
        reference: &RequestReference,
        by: &Actor,
        happened: &Happening,
    ) -> Result<(RegisteredRequest, Vec<RequestEvent>), RegisterError> {
        let found = self.request(reference).await?;
        self.register_after(found, reference, by, happened).await
    }

    /// The same, after what was read of the request a while ago.
    async fn register_after(
        &self,
        mut found: Option<(RegisteredRequest, Vec<RequestEvent>)>,
        reference: &RequestReference,
        by: &Actor,
        happened: &Happening,
    ) -> Result<(RegisteredRequest, Vec<RequestEvent>), RegisterError> {
        let folder = folder(reference);
        loop {
            let (before, events) = found.unzip();
            let event = RequestEvent {
                schema: REQUEST_EVENT_SCHEMA.to_owned(),
                reference: reference.clone(),
                sequence: before.as_ref().map_or(0, |request| request.events),
                by: by.clone(),
                at: self.clock.now(),
                happened: happened.clone(),
            };
            let after = RegisteredRequest::after(before, &event)?;
            match self.create(&name(&folder, event.sequence), to_bytes(&event)).await {
                Ok(_) => {
                    let topic = TrailTopic::Request(reference.clone());
                    self.seal(&topic, TrailAction::Registered).await?;
                    let mut events = events.unwrap_or_default();
                    events.push(event);
                    return Ok((after, events));
                }
                // Somebody else was quicker: what is there now decides.
                Err(error) if *error.kind() == LedgerErrorKind::Conflict => {
                    found = self.request(reference).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A request and its events, first to last; `None` where none of this reference is registered.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`] where an event is damaged, is about another request, is missing
    /// between others, or may not follow the ones before it.
    pub async fn request(
        &self,
        reference: &RequestReference,
    ) -> Result<Option<(RegisteredRequest, Vec<RequestEvent>)>, LedgerError> {
        let folder = folder(reference);
        let names = self.names(&folder).await?;
        self.request_in(&folder, names).await
    }

    /// The same by the [id](RequestReference::id) of its reference; `None` also where that is no id at all.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn request_of_id(
        &self,
        id: &str,
    ) -> Result<Option<(RegisteredRequest, Vec<RequestEvent>)>, LedgerError> {
        if id.len() != 32 || unhex(id).is_none() {
            return Ok(None);
        }
        let folder = folder_of(&id.to_ascii_lowercase());
        let names = self.names(&folder).await?;
        self.request_in(&folder, names).await
    }

    /// All requests.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails. A damaged request is no error: it is named
    /// beside the others.
    pub async fn register_of_all(&self) -> Result<Register, LedgerError> {
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in self.names("requests/").await? {
            let end = name.rfind('/').map_or(0, |at| at + 1);
            folders.entry(name[..end].to_owned()).or_default().push(name);
        }
        let mut register = Register::default();
        let mut found = futures::stream::iter(folders)
            .map(|(folder, names)| async move { self.request_in(&folder, names).await })
            .buffered(READS_AT_ONCE);
        while let Some(found) = found.next().await {
            match found {
                Ok(found) => register.requests.extend(found.map(|(request, _)| request)),
                Err(error) if *error.kind() == LedgerErrorKind::Tampered => {
                    register.damaged.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        register.requests.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(register)
    }

    async fn request_in(
        &self,
        folder: &str,
        names: Vec<String>,
    ) -> Result<Option<(RegisteredRequest, Vec<RequestEvent>)>, LedgerError> {
        for (expected, found) in (0..).zip(&names) {
            if *found != name(folder, expected) {
                let what = "is not the next event of its request: one is missing or out of place";
                return Err(LedgerError::tampered(&self.key(found), what));
            }
        }
        let events: Vec<RequestEvent> = self.documents(names).await?;
        let is_here = |event: &RequestEvent| {
            event.schema == REQUEST_EVENT_SCHEMA && self::folder(&event.reference) == folder
        };
        if !events.iter().all(is_here) {
            let what = "holds an event of another request, or one of another schema";
            return Err(LedgerError::tampered(&self.key(folder), what));
        }
        let request = RegisteredRequest::of(&events).map_err(|refusal| {
            let what = "holds an event that may not follow the ones before it";
            LedgerError::tampered(&self.key(folder), what).caused_by(refusal)
        })?;
        Ok(request.map(|request| (request, events)))
    }
}

/// Where the events of a request are.
pub(super) fn folder(reference: &RequestReference) -> String {
    folder_of(&reference.id())
}

fn folder_of(id: &str) -> String {
    format!("requests/{id}/")
}

fn name(folder: &str, sequence: u32) -> String {
    format!("{folder}{sequence:06}.json")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::date;

    use super::*;
    use crate::clock::Clock;
    use crate::domain::Timestamp;
    use crate::domain::deadline::Jurisdiction;
    use crate::domain::register::{Extent, RequestState};
    use crate::lake::LakeErrorKind;
    use crate::lake::count::Method;
    use crate::lake::fault::{Failure, Fault, When};
    use crate::lake::memory::MemoryLake;

    const NOW: Timestamp = Timestamp::constant(1_796_126_400, 0);

    struct World {
        lake: Arc<MemoryLake>,
        fault: Arc<Fault>,
        ledger: Ledger,
    }

    fn world() -> World {
        let lake = Arc::new(MemoryLake::versioned());
        let fault = Arc::new(Fault::new(lake.clone()));
        let ledger = Ledger::new(fault.clone(), &b"some/prefix/"[..], Clock::manual(NOW));
        World { lake, fault, ledger }
    }

    fn reference(text: &str) -> RequestReference {
        text.parse().expect("a reference")
    }

    fn actor(text: &str) -> Actor {
        text.parse().expect("an actor")
    }

    fn received() -> Happening {
        Happening::Received {
            jurisdiction: Jurisdiction::Gdpr,
            days: None,
            ground: None,
            channel: None,
            received_on: date(2026, 11, 20),
        }
    }

    fn held(basis: &str) -> Happening {
        let basis = basis.parse().expect("a code");
        Happening::Held { extent: Extent::Request {}, basis, until: None }
    }

    impl World {
        /// The next call of this method fails so.
        fn fail(&self, method: Method, when: When) {
            let call = self.fault.calls(Some(method)) + 1;
            let (method, kind) = (Some(method), LakeErrorKind::Unavailable);
            self.fault.fail(Failure { method, call, forever: false, when, kind });
        }

        async fn register(
            &self,
            of: &str,
            by: &str,
            happened: Happening,
        ) -> Result<RegisteredRequest, RegisterError> {
            let stored = self.ledger.register(&reference(of), &actor(by), &happened).await;
            stored.map(|(request, _)| request)
        }
    }

    #[tokio::test]
    async fn events_are_stored_in_their_order_and_read_back() {
        let world = world();
        world.register("R-1", "ann", received()).await.expect("stored");
        world.register("R/2 #a:b", "ann", received()).await.expect("stored");
        let request = world.register("R-1", "bob", Happening::Verified {}).await.expect("stored");
        let (again, events) =
            world.ledger.request(&reference("R-1")).await.expect("read").expect("there");
        assert_eq!((request, events.len()), (again, 2));
        assert_eq!((events[1].by.as_str(), events[1].sequence), ("bob", 1));
        let names = world.ledger.names("requests/").await.expect("listed");
        assert_eq!(names.len(), 3);
        // The first half of SHA-256 of `R-1`.
        let second = "requests/aee554ed8db7f7e64d5d97ad17b52c51/000001.json".to_owned();
        assert!(names.contains(&second), "{names:?}");
        let register = world.ledger.register_of_all().await.expect("read");
        let references: Vec<_> = register.requests.iter().map(|it| it.reference.as_str()).collect();
        assert_eq!(references, ["R-1", "R/2 #a:b"]);
    }

    #[tokio::test]
    async fn what_may_not_follow_is_not_stored() {
        let world = world();
        let unknown = world.register("R-1", "ann", Happening::Closed {}).await;
        assert!(matches!(unknown, Err(RegisterError::Refused(Refusal::Unknown))));
        world.register("R-1", "ann", received()).await.expect("stored");
        let twice = world.register("R-1", "bob", received()).await;
        assert!(matches!(twice, Err(RegisterError::Refused(Refusal::Registered))));
        assert_eq!(world.ledger.names("requests/").await.expect("listed").len(), 1);
    }

    /// Two that write at once: both events are there, and what may happen once happened once.
    #[tokio::test]
    async fn nothing_is_lost_where_several_write_at_once() {
        let world = world();
        world.register("R-1", "ann", received()).await.expect("stored");
        let names: Vec<String> = (0..8).map(|number| format!("case-{number}")).collect();
        let holds = names.iter().map(|name| world.register("R-1", "ann", held(name)));
        let stored = futures::future::join_all(holds).await;
        assert!(stored.iter().all(Result::is_ok));
        let by = ["ann", "bob", "eve"];
        let closings = by.map(|by| world.register("R-1", by, Happening::Withdrawn {}));
        let stored = futures::future::join_all(closings).await;
        assert_eq!(stored.iter().filter(|it| it.is_ok()).count(), 1, "{stored:?}");
        let found = world.ledger.request(&reference("R-1")).await.expect("read").expect("there");
        let (request, events) = found;
        assert_eq!((request.holds.len(), events.len()), (8, 10));
        assert_eq!(request.state, RequestState::Withdrawn);
    }

    /// The second of two is held against what the first one left, not against what it had read: here
    /// it has read one event, and there are two.
    #[tokio::test]
    async fn who_comes_second_is_checked_again() {
        let world = world();
        world.register("R-1", "ann", received()).await.expect("stored");
        let (reference, bob) = (reference("R-1"), actor("bob"));
        let before = world.ledger.request(&reference).await.expect("read");
        world.register("R-1", "ann", Happening::Verified {}).await.expect("stored");
        let late = |happened: Happening| {
            let (before, ledger) = (before.clone(), &world.ledger);
            let (reference, bob) = (&reference, &bob);
            async move { ledger.register_after(before, reference, bob, &happened).await }
        };
        let twice = late(Happening::Verified {}).await;
        let again = Refusal::Again("verified");
        assert!(matches!(twice, Err(RegisterError::Refused(refusal)) if refusal == again));
        let (request, events) = late(held("lawsuit")).await.expect("stored");
        assert_eq!(events.len(), 3);
        assert_eq!((request.events, request.verified_at), (3, Some(NOW)));
        assert_eq!(request.holds[0].number, 2);
    }

    /// Whether a failed write took place or not, the event is there once after it was tried again.
    #[tokio::test]
    async fn a_write_of_unknown_outcome_is_settled() {
        for when in [When::Before, When::QuestionLost, When::AnswerLost] {
            let world = world();
            world.fail(Method::Write, when);
            if world.register("R-1", "ann", received()).await.is_err() {
                world.register("R-1", "ann", received()).await.expect("stored");
            }
            assert_eq!(world.ledger.names("requests/").await.expect("listed").len(), 1);
        }
    }

    #[tokio::test]
    async fn a_damaged_request_is_named_beside_the_others() {
        let world = world();
        for of in ["R-1", "R-2", "R-3"] {
            world.register(of, "ann", received()).await.expect("stored");
            world.register(of, "ann", Happening::Verified {}).await.expect("stored");
        }
        let place = |of: &str, sequence| name(&folder(&reference(of)), sequence);
        // A byte is wrong; an event stands twice, which is not lawful and out of sequence.
        world.lake.put(&world.ledger.key(&place("R-1", 1)), &b"{}"[..]);
        let first = place("R-2", 0);
        let bytes = world.ledger.read(&first).await.expect("read").expect("there").1;
        world.lake.put(&world.ledger.key(&place("R-2", 1)), bytes);
        let register = world.ledger.register_of_all().await.expect("read");
        assert_eq!((register.requests.len(), register.damaged.len()), (1, 2), "{register:?}");
        for of in ["R-1", "R-2"] {
            let error = world.ledger.request(&reference(of)).await.expect_err("damaged");
            assert_eq!(*error.kind(), LedgerErrorKind::Tampered);
            let stored = world.register(of, "ann", Happening::Acknowledged {}).await;
            assert!(matches!(stored, Err(RegisterError::Ledger(_))));
        }
        world.lake.put(&world.ledger.key(&place("R-3", 3)), &b"{}"[..]);
        let error = world.ledger.request(&reference("R-3")).await.expect_err("one is missing");
        assert!(error.to_string().contains("one is missing"), "{error}");
    }

    /// The events of one request under the name of another are no request.
    #[tokio::test]
    async fn an_event_in_a_foreign_place_is_noticed() {
        let world = world();
        world.register("R-1", "ann", received()).await.expect("stored");
        let from = name(&folder(&reference("R-1")), 0);
        let bytes = world.ledger.read(&from).await.expect("read").expect("there").1;
        world.lake.put(&world.ledger.key(&name(&folder(&reference("R-9")), 0)), bytes);
        let error = world.ledger.request(&reference("R-9")).await.expect_err("foreign");
        assert_eq!(*error.kind(), LedgerErrorKind::Tampered);
    }
}
