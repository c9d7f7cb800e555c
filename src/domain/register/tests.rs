//! Which events may follow which, and what they add up to.

use proptest::prelude::*;

use super::*;

/// A Tuesday, noon.
const NOW: Timestamp = Timestamp::constant(1_796_126_400, 0);

fn day(text: &str) -> Date {
    text.parse().expect(text)
}

fn text<T: FromStr<Err = NotAText>>(text: &str) -> T {
    text.parse().expect("a text of the register")
}

fn received(jurisdiction: Jurisdiction, received_on: &str) -> Happening {
    Happening::Received {
        jurisdiction,
        days: (jurisdiction == Jurisdiction::Other).then_some(20),
        ground: None,
        channel: Some(text("web form")),
        received_on: day(received_on),
    }
}

fn held(until: Option<&str>) -> Happening {
    Happening::Held { extent: Extent::Request {}, basis: text("lawsuit"), until: until.map(day) }
}

fn extended(noticed_on: &str) -> Happening {
    Happening::Extended { reason: text("many systems"), noticed_on: day(noticed_on) }
}

fn exempted(basis: Exempting) -> Happening {
    let extent = Extent::Dataset { dataset: DatasetName::new("invoices") };
    Happening::Exempted { extent, basis, until: None }
}

fn denied() -> Happening {
    Happening::Denied { reason: DenialReason::Unfounded, text: text("no ground is given") }
}

/// The events by these people, one after the other.
fn fold(happened: &[(&str, Happening)]) -> Result<RegisteredRequest, Refusal> {
    let mut request = None;
    for (sequence, (by, happened)) in (0..).zip(happened) {
        let event = RequestEvent {
            schema: REQUEST_EVENT_SCHEMA.to_owned(),
            reference: text("R-1"),
            sequence,
            by: text(by),
            at: NOW,
            happened: happened.clone(),
        };
        request = Some(RegisteredRequest::after(request, &event)?);
    }
    Ok(request.expect("an event"))
}

fn gdpr(following: &[(&str, Happening)]) -> Result<RegisteredRequest, Refusal> {
    let first = ("ann", received(Jurisdiction::Gdpr, "2026-11-20"));
    fold(&[&[first], following].concat())
}

#[test]
fn the_noon_of_the_tests_is_the_first_of_december() {
    assert_eq!(NOW.to_string(), "2026-12-01T12:00:00Z");
}

#[test]
fn a_request_begins_with_its_receipt_and_only_there() {
    assert_eq!(fold(&[("ann", Happening::Verified {})]), Err(Refusal::Unknown));
    let again = gdpr(&[("ann", received(Jurisdiction::Gdpr, "2026-11-20"))]);
    assert_eq!(again, Err(Refusal::Registered));
    let tomorrow = fold(&[("ann", received(Jurisdiction::Gdpr, "2026-12-02"))]);
    assert!(tomorrow.is_ok(), "it is tomorrow already east of here");
    let later = fold(&[("ann", received(Jurisdiction::Gdpr, "2026-12-03"))]);
    assert_eq!(later, Err(Refusal::Future(day("2026-12-03"))));
}

#[test]
fn what_happens_once_happens_once() {
    for (happened, what) in
        [(Happening::Acknowledged {}, "acknowledged"), (Happening::Verified {}, "verified")]
    {
        assert!(gdpr(&[("ann", happened.clone())]).is_ok());
        let twice = gdpr(&[("ann", happened.clone()), ("bob", happened)]);
        assert_eq!(twice, Err(Refusal::Again(what)));
    }
    let twice = gdpr(&[("ann", extended("2026-12-01")), ("ann", extended("2026-12-01"))]);
    assert_eq!(twice, Err(Refusal::Again("extended")));
    assert_eq!(gdpr(&[("ann", Happening::Reopened {})]), Err(Refusal::Again("open")));
}

#[test]
fn an_extension_is_told_within_the_first_term() {
    let request = gdpr(&[("ann", extended("2026-12-01"))]).expect("in time");
    let due = request.due().expect("it is open");
    assert_eq!(due.deadline.due_on, day("2027-02-20"));
    let late = |received_on: &str, noticed_on: &str| {
        let events =
            [("ann", received(Jurisdiction::Gdpr, received_on)), ("ann", extended(noticed_on))];
        fold(&events).map(|request| request.extension.is_some())
    };
    let (from, until) = (day("2026-10-30"), day("2026-11-30"));
    assert_eq!(late("2026-10-30", "2026-11-30"), Ok(true));
    assert_eq!(late("2026-10-30", "2026-12-01"), Err(Refusal::NoticeOutOfTerm { from, until }));
    assert_eq!(late("2026-10-30", "2026-10-29"), Err(Refusal::NoticeOutOfTerm { from, until }));
    assert_eq!(late("2026-11-30", "2026-12-03"), Err(Refusal::Future(day("2026-12-03"))));
    for jurisdiction in [Jurisdiction::Lgpd, Jurisdiction::Other] {
        let events =
            [("ann", received(jurisdiction, "2026-11-30")), ("ann", extended("2026-12-01"))];
        assert_eq!(fold(&events), Err(Refusal::NoExtension(jurisdiction)));
    }
}

/// Two persons: who set a hold does not lift it, however they write their name.
#[test]
fn a_hold_is_released_by_somebody_else() {
    let release =
        |by: &'static str, hold| gdpr(&[("ann", held(None)), (by, Happening::Released { hold })]);
    assert_eq!(release("ann", 1), Err(Refusal::SamePerson));
    assert_eq!(release(" Ann ", 1), Err(Refusal::SamePerson));
    assert_eq!(release("bob", 0), Err(Refusal::NoHold { number: 0, standing: vec![1] }));
    let request = release("bob", 1).expect("bob may");
    assert_eq!(request.standing_holds(day("2026-12-01")).count(), 0);
    let twice = gdpr(&[
        ("ann", held(None)),
        ("bob", Happening::Released { hold: 1 }),
        ("bob", Happening::Released { hold: 1 }),
    ]);
    assert_eq!(twice, Err(Refusal::NoHold { number: 1, standing: Vec::new() }));
}

#[test]
fn a_hold_ends_with_its_last_day() {
    let request = gdpr(&[("ann", held(Some("2026-12-24")))]).expect("it lies ahead");
    assert_eq!(request.standing_holds(day("2026-12-24")).count(), 1);
    assert_eq!(request.standing_holds(day("2026-12-25")).count(), 0);
    let past = gdpr(&[("ann", held(Some("2026-11-30")))]);
    assert_eq!(past, Err(Refusal::Ended(day("2026-11-30"))));
}

/// What is on hold is not erased, so the request is not done; it can be refused, and lifted later.
#[test]
fn a_request_on_hold_is_not_closed() {
    let close = ("ann", Happening::Closed {});
    assert_eq!(gdpr(&[("ann", held(None)), close.clone()]), Err(Refusal::OnHold(1)));
    let denied = gdpr(&[
        ("ann", held(None)),
        ("ann", denied()),
        close,
        ("bob", Happening::Released { hold: 1 }),
    ]);
    assert_eq!(denied.map(|request| request.state), Ok(RequestState::Closed));
}

#[test]
fn an_exemption_is_one_of_the_requests_law() {
    assert!(gdpr(&[("ann", exempted(Exempting::Claims))]).is_ok());
    let foreign = gdpr(&[("ann", exempted(Exempting::CaliforniaRepair))]);
    let refusal = foreign.expect_err("it is Californian");
    assert_eq!(refusal, Refusal::ForeignExemption { jurisdiction: Jurisdiction::Gdpr });
    assert!(refusal.to_string().ends_with("gdpr-17-3-c, gdpr-17-3-d, gdpr-17-3-e"), "{refusal}");
    let whole =
        Happening::Exempted { extent: Extent::Request {}, basis: Exempting::Claims, until: None };
    assert_eq!(gdpr(&[("ann", whole)]), Err(Refusal::WholeExempted));
    for basis in Exempting::ALL {
        let of = Jurisdiction::ALL.map(|jurisdiction| basis.is_of(jurisdiction));
        let is_californian = basis.as_str().starts_with("ccpa");
        assert_eq!(of, [!is_californian, !is_californian, is_californian, false, false, false]);
    }
}

#[test]
fn what_is_answered_is_only_closed_or_reopened() {
    let endings = [
        (denied(), RequestState::Denied),
        (Happening::Withdrawn {}, RequestState::Withdrawn),
        (Happening::Closed {}, RequestState::Closed),
    ];
    for (ending, state) in endings {
        let ended = gdpr(&[("ann", ending.clone())]).expect("it was open");
        assert_eq!((ended.state, ended.due()), (state, None));
        let following = [
            Happening::Acknowledged {},
            Happening::Verified {},
            extended("2026-12-01"),
            held(None),
            exempted(Exempting::Claims),
            denied(),
            Happening::Withdrawn {},
        ];
        for happened in following {
            let after = gdpr(&[("ann", ending.clone()), ("ann", happened)]);
            assert!(matches!(after, Err(Refusal::NotOpen { state: it, .. }) if it == state));
        }
        let close = gdpr(&[("ann", ending.clone()), ("ann", Happening::Closed {})]);
        assert_eq!(close.is_ok(), state != RequestState::Closed);
        let reopened = gdpr(&[("ann", ending), ("ann", Happening::Reopened {})]).expect("it may");
        assert_eq!((reopened.state, reopened.denial), (RequestState::Open, None));
    }
}

#[test]
fn california_asks_for_an_acknowledgement_first() {
    let first = ("ann", received(Jurisdiction::Ccpa, "2026-11-13"));
    let request = fold(std::slice::from_ref(&first)).expect("received");
    let due = request.due().expect("open");
    assert_eq!((due.kind, due.deadline.due_on), (DueKind::Acknowledgement, day("2026-11-27")));
    assert!(request.is_overdue(day("2026-11-28")));
    let request = fold(&[first, ("ann", Happening::Acknowledged {})]).expect("acknowledged");
    let due = request.due().expect("open");
    assert_eq!((due.kind, due.deadline.due_on), (DueKind::Answer, day("2026-12-28")));
    assert!(!request.is_overdue(day("2026-11-28")));
}

#[test]
fn a_reference_is_inert() {
    for good in ["R-1", "DSR-2026/17", "#12", "a:b_c.d", "ticket 12", "7"] {
        assert!(good.parse::<RequestReference>().is_ok(), "{good}");
    }
    let long = "x".repeat(LONGEST_LABEL + 1);
    for bad in [
        "",
        " ",
        "-1",
        "=1+1",
        "+1",
        "@x",
        "../x",
        "/etc",
        "a  b",
        "a\tb",
        "a\nb",
        "<b>",
        "a\"b",
        "ö",
        "a@example.org",
        "a,b",
        "a\\b",
        "\u{202e}a",
        &long,
    ] {
        assert!(bad.parse::<RequestReference>().is_err(), "{bad:?}");
    }
    let stored = serde_json::from_str::<RequestReference>("\"=1\"");
    assert!(stored.is_err(), "a stored one is checked as well");
}

#[test]
fn codes_are_spelt_as_they_are_stored() {
    for basis in Exempting::ALL {
        assert_eq!(serde_json::to_value(basis).expect("JSON"), basis.as_str());
    }
    for reason in DenialReason::ALL {
        assert_eq!(serde_json::to_value(reason).expect("JSON"), reason.as_str());
    }
    for jurisdiction in Jurisdiction::ALL {
        assert_eq!(serde_json::to_value(jurisdiction).expect("JSON"), jurisdiction.as_str());
    }
}

/// Every kind of event is as the published schema says, and with a member more or less it is not.
#[test]
fn events_are_as_their_schema_says() {
    let text_of = include_str!("../../../schema/documents/request-event.v1.json");
    let schema: serde_json::Value = serde_json::from_str(text_of).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let column = Extent::Column {
        dataset: DatasetName::new("invoices"),
        column: "contact.email".parse().expect("a path"),
    };
    let happenings = [
        received(Jurisdiction::Gdpr, "2026-11-20"),
        received(Jurisdiction::Other, "2026-11-20"),
        Happening::Acknowledged {},
        Happening::Verified {},
        extended("2026-12-01"),
        held(None),
        Happening::Held { extent: column, basis: text("tax"), until: Some(day("2036-12-31")) },
        Happening::Released { hold: 1 },
        exempted(Exempting::CaliforniaRepair),
        denied(),
        Happening::Withdrawn {},
        Happening::Closed {},
        Happening::Reopened {},
    ];
    for happened in happenings {
        let event = RequestEvent {
            schema: REQUEST_EVENT_SCHEMA.to_owned(),
            reference: text("R-1"),
            sequence: 7,
            by: text("ann@example.org"),
            at: NOW,
            happened,
        };
        let document = serde_json::to_value(&event).expect("JSON");
        let errors: Vec<_> = schema.iter_errors(&document).map(|it| it.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{document:#}");
        for place in ["", "/happened", "/happened/extent"] {
            for spoilt in spoils(&document, place) {
                assert!(!schema.is_valid(&spoilt), "{spoilt:#}");
                assert!(serde_json::from_value::<RequestEvent>(spoilt).is_err());
            }
        }
    }
}

/// The document with a surplus member in this place, and without each of those that no default
/// replaces.
fn spoils(document: &serde_json::Value, place: &str) -> Vec<serde_json::Value> {
    let Some(members) = document.pointer(place).and_then(|it| it.as_object()) else {
        return Vec::new();
    };
    let mut surplus = document.clone();
    surplus.pointer_mut(place).expect("there")["surplus"] = serde_json::json!(1);
    let mut spoilt = vec![surplus];
    for (name, value) in members {
        let mut less = document.clone();
        let members = less.pointer_mut(place).and_then(|it| it.as_object_mut()).expect("there");
        members.remove(name);
        // What may be null may be missing for whoever reads it, which the schema does not promise.
        let may_be_missing = ["days", "ground", "channel", "until"].contains(&name.as_str());
        if !may_be_missing {
            assert!(!value.is_null(), "{name}");
            spoilt.push(less);
        }
    }
    spoilt
}

proptest! {
    /// Whatever is tried in whatever order: what is refused changes nothing, what is admitted can be
    /// read back as it was, and only an open request has a day on which it is due.
    #[test]
    fn any_order_leads_to_a_request_that_can_be_read_back(
        tries in prop::collection::vec((0..11_usize, any::<bool>()), 0..30)
    ) {
        let all = [
            received(Jurisdiction::Gdpr, "2026-11-20"), Happening::Acknowledged {},
            Happening::Verified {}, extended("2026-12-01"), held(None), held(Some("2026-12-24")),
            Happening::Released { hold: 1 }, exempted(Exempting::Claims), denied(),
            Happening::Closed {}, Happening::Reopened {},
        ];
        let mut events: Vec<RequestEvent> = Vec::new();
        let mut request: Option<RegisteredRequest> = None;
        for (which, is_ann) in tries {
            let event = RequestEvent {
                schema: REQUEST_EVENT_SCHEMA.to_owned(),
                reference: text("R-1"),
                sequence: u32::try_from(events.len()).expect("few"),
                by: text(if is_ann { "ann" } else { "bob" }),
                at: NOW,
                happened: all[which].clone(),
            };
            if let Ok(after) = RegisteredRequest::after(request.clone(), &event) {
                let stored = serde_json::to_vec(&event).expect("JSON");
                prop_assert_eq!(serde_json::from_slice::<RequestEvent>(&stored).expect("read"), event.clone());
                request = Some(after);
                events.push(event);
            }
        }
        prop_assert_eq!(&RegisteredRequest::of(&events).expect("lawful"), &request);
        if let Some(request) = request {
            prop_assert_eq!(request.due().is_some(), request.state == RequestState::Open);
            for hold in &request.holds {
                prop_assert!(hold.release.as_ref().is_none_or(|it| !it.by.is_same_as(&hold.by)));
            }
        }
    }
}
