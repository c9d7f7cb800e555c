//! The ledger, on a lake in memory.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::Timestamp;
use crate::domain::audit::{AUDIT_SCHEMA, AuditRecord};
use crate::domain::dataset::DatasetName;
use crate::domain::decision::{DECISION_SCHEMA, Decision, Verdict};
use crate::domain::identifier::DigestKey;
use crate::domain::journal::{NOTE_SCHEMA, Note, Outcome, Step};
use crate::domain::plan::{ErasurePlan, PLAN_SCHEMA, PlanId};
use crate::lake::count::Method;
use crate::lake::directory::DirectoryLake;
use crate::lake::fault::{Failure, Fault, When};
use crate::lake::memory::MemoryLake;
use crate::lake::{Lock, Staging, WriteObserver as _};

pub(super) const NOW: Timestamp = Timestamp::constant(1_795_132_800, 0);

pub(super) fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() + seconds).expect("a moment")
}

pub(super) struct World {
    pub(super) lake: Arc<MemoryLake>,
    pub(super) fault: Arc<Fault>,
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
}

pub(super) fn world() -> World {
    let lake = Arc::new(MemoryLake::versioned());
    let fault = Arc::new(Fault::new(lake.clone()));
    let clock = Clock::manual(NOW);
    let ledger = Ledger::new(fault.clone(), &b"some/prefix/"[..], clock.clone());
    World { lake, fault, clock, ledger }
}

impl World {
    pub(super) fn fail(&self, method: Method, call: u64, when: When) {
        let call = self.fault.calls(Some(method)) + call;
        let kind = LakeErrorKind::Unavailable;
        self.fault.fail(Failure { method: Some(method), call, forever: false, when, kind });
    }

    /// Puts bytes in a document's place, as somebody with access to the store can.
    pub(super) fn overwrite(&self, name: &str, bytes: impl Into<Bytes>) {
        self.lake.put(&self.ledger.key(name), bytes);
    }
}

pub(super) fn plan(request: &str) -> ErasurePlan {
    ErasurePlan {
        schema: PLAN_SCHEMA.to_owned(),
        request: request.to_owned(),
        planned_at: NOW,
        expires_at: after(1000),
        configuration: "c0ffee".to_owned(),
        key: DigestKey::new([7; 32]).check_value(),
        subjects: Vec::new(),
        changes: Vec::new(),
        out_of_reach: Vec::new(),
        coverage: Vec::new(),
        warnings: Vec::new(),
    }
}

fn note(change: u32, sequence: u32, step: Step) -> Note {
    Note { schema: NOTE_SCHEMA.to_owned(), change, sequence, generation: 1, noted_at: NOW, step }
}

pub(super) fn decision(plan: PlanId, by: &str, verdict: Verdict) -> Decision {
    Decision {
        schema: DECISION_SCHEMA.to_owned(),
        plan,
        verdict,
        by: by.to_owned(),
        decided_at: NOW,
        link: None,
    }
}

pub(super) fn yes() -> Verdict {
    Verdict::Approved { except: Vec::new() }
}

fn no() -> Verdict {
    Verdict::Rejected { reason: "another person".to_owned() }
}

fn me() -> Holder {
    Holder { host: "here".to_owned(), process: 1 }
}

fn other() -> Holder {
    Holder { host: "there".to_owned(), process: 2 }
}

#[tokio::test]
async fn a_document_is_written_once() {
    let World { ledger, .. } = world();
    let id = ledger.put_plan(&plan("R-1")).await.expect("stored");
    assert_eq!(ledger.put_plan(&plan("R-1")).await.expect("the same again"), id);
    assert_eq!(ledger.plan(&id).await.expect("a plan"), plan("R-1"));
    ledger.put_report(&id, Rendering::Text, "one").await.expect("stored");
    ledger.put_report(&id, Rendering::Text, "one").await.expect("the same again");
    let error = ledger.put_report(&id, Rendering::Text, "two").await.expect_err("another one");
    assert_eq!(*error.kind(), LedgerErrorKind::Conflict);
    let stored = ledger.report(&id, Rendering::Text).await.expect("read");
    assert_eq!(stored.as_deref(), Some(&b"one"[..]));
    assert_eq!(ledger.report(&id, Rendering::Html).await.expect("read"), None);
}

/// B1: whatever becomes of question and answer, a write ends as what happened.
#[tokio::test]
async fn an_unknown_outcome_is_settled() {
    let world = world();
    world.fail(Method::Write, 1, When::AnswerLost);
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("it was written after all");
    assert_eq!(world.ledger.plan(&id).await.expect("a plan"), plan("R-1"));
    world.fail(Method::Write, 1, When::QuestionLost);
    world.ledger.put_plan(&plan("R-2")).await.expect_err("it was not");
    world.ledger.put_plan(&plan("R-2")).await.expect("the second try");
    world.fail(Method::Write, 1, When::Before);
    world.ledger.put_plan(&plan("R-3")).await.expect_err("it was not");
    assert_eq!(world.ledger.plans().await.expect("listed").len(), 2);
}

/// A7: a plan that differs in one byte from the one that was named is refused.
#[tokio::test]
async fn every_flipped_byte_of_a_plan_is_refused() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    let bytes = plan("R-1").to_bytes();
    let name = format!("plans/{id}.json");
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        world.overwrite(&name, flipped);
        let error = world.ledger.plan(&id).await.expect_err("it is another plan");
        assert_eq!(*error.kind(), LedgerErrorKind::Tampered, "byte {at}");
    }
    let listing = world.ledger.plans().await.expect("listed").remove(0);
    assert_eq!((listing.summary, listing.state), (None, PlanState::Damaged));
    world.overwrite(&name, bytes);
    world.ledger.plan(&id).await.expect("the plan itself");
}

#[tokio::test]
async fn a_plan_is_found_by_its_beginning() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    let text = id.to_string();
    for beginning in [&text[..8], &text[..20], &text, &text.to_uppercase()] {
        assert_eq!(world.ledger.find_plan(beginning).await.expect("found"), id);
    }
    for malformed in ["", &text[..7], "../../..", "01234567%", &format!("{text}0")] {
        let error = world.ledger.find_plan(malformed).await.expect_err("no beginning of an id");
        assert_eq!(*error.kind(), LedgerErrorKind::Malformed, "{malformed:?}");
    }
    let error = world.ledger.find_plan("00000000").await.expect_err("nothing begins so");
    assert_eq!(*error.kind(), LedgerErrorKind::Unknown);
    let twin = format!("{}{}", &text[..8], "0".repeat(56));
    world.overwrite(&format!("plans/{twin}.json"), "{}");
    let error = world.ledger.find_plan(&text[..8]).await.expect_err("two begin so");
    assert_eq!(*error.kind(), LedgerErrorKind::Ambiguous);
    assert_eq!(world.ledger.find_plan(&text[..9]).await.is_ok(), !text[8..].starts_with('0'));
}

/// The same in a folder, which is where most ledgers are.
#[tokio::test]
async fn a_folder_holds_a_ledger() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("ledger");
    std::fs::create_dir(&root).expect("a folder");
    let lake = Arc::new(DirectoryLake::new(root.clone()).expect("a lake"));
    let ledger = Ledger::new(lake, &b""[..], Clock::manual(NOW));
    let id = ledger.put_plan(&plan("R-1")).await.expect("stored");
    assert_eq!(ledger.put_plan(&plan("R-1")).await.expect("the same again"), id);
    assert_eq!(ledger.find_plan(&id.prefix()).await.expect("found"), id);
    ledger.decide(&decision(id, "ann", no())).await.expect("decided");
    ledger.decide(&decision(id, "ann", yes())).await.expect("decided");
    assert_eq!(ledger.decisions(&id).await.expect("read").len(), 2);
    for sequence in 0..3 {
        let note = note(0, sequence, Step::Expunged { versions: 1 });
        ledger.note(&id, &note).await.expect("noted");
    }
    assert_eq!(ledger.notes(&id).await.expect("read")[&0].sequence, 2);
    let lease = ledger.acquire(me(), id, LeaseTerms::default()).await.expect("free");
    ledger.acquire(other(), id, LeaseTerms::default()).await.expect_err("held");
    lease.renew().await.expect("ours");
    lease.check().await.expect("ours");
    lease.release().await.expect("ours");
    ledger.acquire(other(), id, LeaseTerms::default()).await.expect("given back");
    assert_eq!(ledger.plans().await.expect("listed")[0].state, PlanState::Begun);
    // The file is what its name says: `sha256sum` agrees.
    let bytes = std::fs::read(root.join(format!("plans/{id}.json"))).expect("a file");
    assert_eq!(PlanId::of(&bytes), id);
}

#[tokio::test]
async fn plans_are_listed_newest_first_with_their_state() {
    let World { ledger, clock, .. } = world();
    let stored = async |request: &str, age: i64| {
        let plan = ErasurePlan { planned_at: after(-age), ..plan(request) };
        ledger.put_plan(&plan).await.expect("stored")
    };
    let (open, yes_id, no_id) = (stored("1", 1).await, stored("2", 2).await, stored("3", 3).await);
    let (begun, done) = (stored("4", 4).await, stored("5", 5).await);
    ledger.decide(&decision(yes_id, "ann", yes())).await.expect("decided");
    ledger.decide(&decision(no_id, "ann", yes())).await.expect("decided");
    ledger.decide(&decision(no_id, "bob", no())).await.expect("decided");
    for id in [begun, done] {
        ledger.note(&id, &note(0, 0, Step::Done(Outcome::Gone))).await.expect("noted");
    }
    ledger.finish(&done).await.expect("noted");
    clock.set(after(5));
    ledger.finish(&done).await.expect("the first note stands");
    assert_eq!(ledger.finished_at(&done).await.expect("read"), Some(NOW));
    let states = async || {
        let plans = ledger.plans().await.expect("listed");
        plans.into_iter().map(|it| (it.id, it.state)).collect::<Vec<_>>()
    };
    use PlanState::{Approved, Begun, Expired, Finished, Rejected, Undecided};
    let expected = [
        (open, Undecided),
        (yes_id, Approved),
        (no_id, Rejected),
        (begun, Begun),
        (done, Finished),
    ];
    assert_eq!(states().await, expected);
    clock.set(after(1000));
    let expected =
        [(open, Expired), (yes_id, Expired), (no_id, Rejected), (begun, Begun), (done, Finished)];
    assert_eq!(states().await, expected);
}

#[tokio::test]
async fn decisions_keep_their_order() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    let names: Vec<String> = (0..12).map(|number| format!("approver {number}")).collect();
    let decide = |by: &str| {
        let decision = decision(id, by, yes());
        let ledger = world.ledger.clone();
        async move { ledger.decide(&decision).await.expect("decided") }
    };
    let places = futures::future::join_all(names.iter().map(|by| decide(by))).await;
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..12).collect::<Vec<u32>>());
    let stored = world.ledger.decisions(&id).await.expect("read");
    for (by, place) in names.iter().zip(places) {
        assert_eq!(stored[place as usize].by, *by);
    }
    world.lake.delete(&world.ledger.key(&format!("decisions/{id}/000011.json")));
    assert_eq!(world.ledger.decisions(&id).await.expect("read").len(), 11);
    world.lake.delete(&world.ledger.key(&format!("decisions/{id}/000003.json")));
    let error = world.ledger.decisions(&id).await.expect_err("one is missing");
    assert_eq!(*error.kind(), LedgerErrorKind::Tampered);
}

/// A decision on one plan cannot be passed off as one on another.
#[tokio::test]
async fn a_decision_cannot_be_moved() {
    let world = world();
    let first = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    let second = world.ledger.put_plan(&plan("R-2")).await.expect("stored");
    let bytes = to_bytes(&decision(first, "ann", yes()));
    world.overwrite(&format!("decisions/{second}/000000.json"), bytes);
    let error = world.ledger.decisions(&second).await.expect_err("it is about another plan");
    assert_eq!(*error.kind(), LedgerErrorKind::Tampered);
}

#[tokio::test]
async fn the_journal_answers_with_the_latest_notes() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    assert!(!world.ledger.has_begun(&id).await.expect("asked"));
    for change in 0..40 {
        for sequence in 0..12 {
            let note = note(change, sequence, Step::Expunged { versions: sequence.into() });
            world.ledger.note(&id, &note).await.expect("noted");
        }
    }
    assert!(world.ledger.has_begun(&id).await.expect("asked"));
    let before = (world.fault.calls(Some(Method::List)), world.fault.calls(Some(Method::Read)));
    let notes = world.ledger.notes(&id).await.expect("read");
    let after = (world.fault.calls(Some(Method::List)), world.fault.calls(Some(Method::Read)));
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 40));
    assert_eq!(notes.len(), 40);
    assert!(notes.iter().all(|(change, note)| note.change == *change && note.sequence == 11));
    assert_eq!(world.ledger.notes_of(&id, 7).await.expect("read").len(), 12);
    let other = note(7, 11, Step::Done(Outcome::Drifted));
    let error = world.ledger.note(&id, &other).await.expect_err("the place is taken");
    assert_eq!(*error.kind(), LedgerErrorKind::Conflict);
    world.overwrite(&format!("journal/{id}/00000003-000011.json"), to_bytes(&other));
    let error = world.ledger.notes(&id).await.expect_err("a note in another's place");
    assert_eq!(*error.kind(), LedgerErrorKind::Tampered);
}

#[tokio::test]
async fn audit_records_are_added_and_never_repeated() {
    let World { ledger, .. } = world();
    let id = ledger.put_plan(&plan("R-1")).await.expect("stored");
    let record = |second, outcome| AuditRecord {
        schema: AUDIT_SCHEMA.to_owned(),
        plan: id,
        dataset: DatasetName::new("reviews"),
        key: ObjectKey::from("a.json"),
        approved_by: "ann".to_owned(),
        ended_at: after(second),
        outcome,
    };
    let failed = || Outcome::Failed { detail: "the store is busy".to_owned() };
    for (second, outcome) in
        [(1, failed()), (2, failed()), (3, Outcome::Gone), (4, Outcome::Gone), (5, failed())]
    {
        ledger.append_audit(&id, 7, &record(second, outcome)).await.expect("stored");
    }
    ledger.append_audit(&id, 6, &record(9, Outcome::Excepted)).await.expect("stored");
    let expected = [
        (6, record(9, Outcome::Excepted)),
        (7, record(1, failed())),
        (7, record(3, Outcome::Gone)),
        (7, record(5, failed())),
    ];
    assert_eq!(ledger.audit(&id).await.expect("read"), expected);
}

#[tokio::test]
async fn the_last_certificate_counts() {
    let World { ledger, .. } = world();
    let id = ledger.put_plan(&plan("R-1")).await.expect("stored");
    assert_eq!(ledger.certificate(&id).await.expect("read"), None);
    for (bytes, place) in [("partial", 0), ("partial", 0), ("complete", 1), ("complete", 1)] {
        assert_eq!(ledger.put_certificate(&id, bytes).await.expect("stored"), place);
        let stored = ledger.certificate(&id).await.expect("read");
        assert_eq!(stored.as_deref(), Some(bytes.as_bytes()));
    }
    ledger.put_certificate_rendering(&id, 1, Rendering::Html, "<p>").await.expect("stored");
    let page = ledger.certificate_rendering(&id, Rendering::Html).await.expect("read");
    assert_eq!(page.as_deref(), Some(&b"<p>"[..]));
    assert_eq!(ledger.certificate_rendering(&id, Rendering::Text).await.expect("read"), None);
}

/// D4: one run at a time; a run that was stopped too long finds that it lost the lease.
#[tokio::test]
async fn a_lease_is_held_by_one() {
    let World { ledger, clock, .. } = world();
    let run = PlanId::of(b"run");
    let terms = LeaseTerms::default();
    let mine = ledger.acquire(me(), run, terms).await.expect("free");
    let error = ledger.acquire(other(), run, terms).await.expect_err("held");
    let held = LedgerErrorKind::Held { holder: me(), until: after(60) };
    assert_eq!(*error.kind(), held);
    clock.set(after(50));
    mine.renew().await.expect("still mine");
    clock.set(after(70));
    ledger.acquire(other(), run, terms).await.expect_err("renewed");
    clock.set(after(110));
    let theirs = ledger.acquire(other(), run, terms).await.expect("run out");
    assert_eq!((mine.generation(), theirs.generation()), (1, 2));
    for _ in 0..2 {
        assert_eq!(*mine.check().await.expect_err("lost").kind(), LedgerErrorKind::Lost);
        assert_eq!(*mine.renew().await.expect_err("lost").kind(), LedgerErrorKind::Lost);
        assert_eq!(*mine.release().await.expect_err("lost").kind(), LedgerErrorKind::Lost);
    }
    theirs.check().await.expect("theirs, whatever the loser tried");
    theirs.release().await.expect("theirs");
    assert_eq!(*theirs.check().await.expect_err("given back").kind(), LedgerErrorKind::Lost);
    let mine = ledger.acquire(me(), run, terms).await.expect("given back");
    assert_eq!(mine.generation(), 3);
}

#[tokio::test]
async fn a_lease_that_ran_out_and_that_nobody_took_lives_on() {
    let World { ledger, clock, .. } = world();
    let run = PlanId::of(b"run");
    let lease = ledger.acquire(me(), run, LeaseTerms::default()).await.expect("free");
    clock.set(after(500));
    lease.check().await.expect("nobody took it");
    ledger.acquire(other(), run, LeaseTerms::default()).await.expect_err("renewed by the check");
}

#[tokio::test]
async fn a_dead_holders_lease_is_taken_at_once() {
    let World { ledger, .. } = world();
    let run = PlanId::of(b"run");
    let lease = ledger.acquire(me(), run, LeaseTerms::default()).await.expect("free");
    let alive = LeaseTerms { is_alive: |_| Some(true), ..LeaseTerms::default() };
    ledger.acquire(other(), run, alive).await.expect_err("it lives");
    let dead = LeaseTerms { is_alive: |it| Some(it.process != 1), ..LeaseTerms::default() };
    ledger.acquire(other(), run, dead).await.expect("it is dead");
    assert_eq!(*lease.check().await.expect_err("lost").kind(), LedgerErrorKind::Lost);
}

#[tokio::test]
async fn of_many_takers_one_wins() {
    let World { ledger, .. } = world();
    let run = PlanId::of(b"run");
    let takers = (0..16).map(|process| {
        let holder = Holder { host: "here".to_owned(), process };
        ledger.acquire(holder, run, LeaseTerms::default())
    });
    let taken = futures::future::join_all(takers).await;
    assert_eq!(taken.iter().filter(|it| it.is_ok()).count(), 1);
}

/// A heartbeat whose answer is lost loses no lease, and superseded heartbeats do not pile up.
#[tokio::test]
async fn lost_answers_lose_no_lease() {
    let world = world();
    let run = PlanId::of(b"run");
    world.fail(Method::Write, 1, When::AnswerLost);
    let lease = world.ledger.acquire(me(), run, LeaseTerms::default()).await.expect("taken");
    for second in 1..20 {
        world.clock.set(after(second));
        let lost = if second % 2 == 0 { When::AnswerLost } else { When::QuestionLost };
        world.fail(Method::Write, 1, lost);
        let _ = lease.renew().await;
        lease.check().await.expect("still ours");
    }
    let kept = world.lake.versions(&world.ledger.key("lease.json")).await.expect("listed");
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn a_kept_lease_is_renewed_in_the_background() {
    let World { ledger, clock, .. } = world();
    let run = PlanId::of(b"run");
    let terms = LeaseTerms { renewed_every: Duration::from_millis(2), ..LeaseTerms::default() };
    let lease = ledger.acquire(me(), run, terms).await.expect("free");
    let heartbeat = lease.keep();
    let renewed_until = async |until| {
        for _ in 0..2000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let error = ledger.acquire(other(), run, terms).await.expect_err("held");
            if *error.kind() == (LedgerErrorKind::Held { holder: me(), until }) {
                return;
            }
        }
        panic!("the lease was not renewed until {until}");
    };
    for second in [0, 40, 80, 120] {
        clock.set(after(second));
        renewed_until(after(second + 60)).await;
    }
    drop(heartbeat);
    tokio::time::sleep(Duration::from_millis(10)).await;
    clock.set(after(300));
    tokio::time::sleep(Duration::from_millis(10)).await;
    ledger.acquire(other(), run, terms).await.expect("no longer renewed");
}

proptest! {
    /// Whatever a document holds, reading it ends in a value or an error.
    #[test]
    fn foreign_documents_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let world = world();
            let id = PlanId::of(b"x");
            for name in [
                format!("plans/{id}.json"),
                format!("decisions/{id}/000000.json"),
                format!("journal/{id}/00000000-000000.json"),
                format!("audit/{id}/00000000-000000.json"),
                "lease.json".to_owned(),
            ] {
                world.overwrite(&name, bytes.clone());
            }
            let run = PlanId::of(b"run");
            assert!(world.ledger.plan(&id).await.is_err());
            assert!(world.ledger.decisions(&id).await.is_err());
            assert!(world.ledger.notes(&id).await.is_err());
            assert!(world.ledger.audit(&id).await.is_err());
            assert!(world.ledger.acquire(me(), run, LeaseTerms::default()).await.is_err());
        });
    }
}

/// B4, J5: where bytes of an unfinished write lie is known to the next run, until it is dismissed.
#[tokio::test]
async fn leftovers_are_noted_until_they_are_dismissed() {
    let world = world();
    let observer = LeftoverObserver::new(&world.ledger, world.lake.as_ref());
    let key = ObjectKey::new(b"d/\xff.json".to_vec());
    for staging in ["upload-1", "upload-1", "upload-2"] {
        observer.staged(&key, &Staging(staging.to_owned())).await.expect("noted");
    }
    let noted = observer.take();
    assert_eq!(observer.take(), []);
    let mut stored = world.ledger.leftovers().await.expect("notes");
    stored.sort_by_key(|it| noted.iter().position(|noted| noted == it));
    assert_eq!(stored, noted);
    assert!(noted.iter().all(|it| it.location == "memory" && it.key == key));
    assert_eq!(noted[2].staging, Staging("upload-2".to_owned()));
    world.ledger.dismiss(&noted[0]).await.expect("dismissed");
    world.ledger.dismiss(&noted[0]).await.expect("dismissed before");
    assert_eq!(world.ledger.leftovers().await.expect("notes").len(), 2);
    let versions = world.lake.versions(&world.ledger.key(&noted[0].name())).await;
    assert_eq!(versions.expect("a listing"), [], "no version of it is kept");
}

/// A ledger that forbids to delete keeps the note, and that is no failure; one that fails is.
#[tokio::test]
async fn a_note_that_cannot_be_deleted_stays() {
    let world = world();
    let key = ObjectKey::from("a");
    let noted = world.ledger.note_leftover("memory", &key, &Staging("u".to_owned())).await;
    let noted = noted.expect("noted");
    world.fail(Method::DeleteVersion, 1, When::Before);
    let failed = world.ledger.dismiss(&noted).await.expect_err("the store fails");
    assert_eq!(*failed.kind(), LedgerErrorKind::Lake);
    let stored = world.lake.versions(&world.ledger.key(&noted.name())).await.expect("stored");
    world.lake.lock(&stored[0].object, Lock::LegalHold);
    world.ledger.dismiss(&noted).await.expect("it stays");
    assert_eq!(world.ledger.leftovers().await.expect("notes"), [noted]);
}

/// A note that was moved or damaged is found out: to abandon another's bytes would lose them.
#[tokio::test]
async fn a_leftover_in_anothers_place_is_refused() {
    let world = world();
    let noted = world.ledger.note_leftover("memory", &"a".into(), &Staging("u".to_owned())).await;
    let bytes = to_bytes(&noted.expect("noted"));
    world.overwrite("leftovers/0123.json", bytes);
    let refused = world.ledger.leftovers().await.expect_err("refused");
    assert_eq!(*refused.kind(), LedgerErrorKind::Tampered);
}
