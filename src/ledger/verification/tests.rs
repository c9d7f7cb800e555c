//! What a verification finds, and what it does not take for a finding.

use bytes::Bytes;

use super::*;
use crate::domain::audit::{AUDIT_SCHEMA, AuditRecord};
use crate::domain::dataset::DatasetName;
use crate::domain::deadline::Jurisdiction;
use crate::domain::journal::Outcome;
use crate::domain::object::ObjectKey;
use crate::domain::register::Happening;
use crate::domain::signature::SigningKey;
use crate::domain::trail::TrailAction;
use crate::lake::count::Method;
use crate::lake::fault::When;
use crate::ledger::Rendering;
use crate::ledger::tests::{NOW, World, decision, plan, world, yes};

fn about(id: PlanId) -> TrailTopic {
    TrailTopic::Plan(id)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::new(&[seed; 32]).expect("a key")
}

/// A plan that was made, decided on, carried out and certified.
async fn whole_story(world: &World, request: &str) -> PlanId {
    let ledger = &world.ledger;
    ledger
        .put_report(&PlanId::of(&plan(request).to_bytes()), Rendering::Text, "a report")
        .await
        .expect("stored");
    let id = ledger.put_plan(&plan(request)).await.expect("stored");
    ledger.seal(&about(id), TrailAction::Planned).await.expect("sealed");
    ledger.decide(&decision(id, "ann", yes())).await.expect("decided");
    ledger.seal(&about(id), TrailAction::Decided).await.expect("sealed");
    append(world, id, 0).await;
    append(world, id, 1).await;
    ledger.finish(&id).await.expect("noted");
    ledger.seal(&about(id), TrailAction::Executed).await.expect("sealed");
    let certificate = Bytes::from_static(b"{}\n");
    let place = ledger.put_certificate(&id, certificate.clone()).await.expect("stored");
    ledger.sign_certificate(&id, place, &certificate, &key(7)).await.expect("signed");
    ledger.seal(&about(id), TrailAction::Certified).await.expect("sealed");
    id
}

async fn append(world: &World, id: PlanId, change: u32) {
    let record = AuditRecord {
        schema: AUDIT_SCHEMA.to_owned(),
        plan: id,
        dataset: DatasetName::new("reviews"),
        key: ObjectKey::from("a.json"),
        approved_by: "ann".to_owned(),
        ended_at: NOW,
        outcome: Outcome::Gone,
    };
    world.ledger.append_audit(&id, change, &record).await.expect("stored");
}

async fn register(world: &World, happened: Happening) {
    let reference = "R-1".parse().expect("a reference");
    let by = "ann".parse().expect("an actor");
    world.ledger.register(&reference, &by, &happened).await.expect("stored");
}

fn received() -> Happening {
    Happening::Received {
        jurisdiction: Jurisdiction::Gdpr,
        days: None,
        ground: None,
        channel: None,
        received_on: jiff::civil::date(2026, 11, 1),
    }
}

async fn verified(world: &World) -> TrailReport {
    world.ledger.verify_trail(&TrailCheck::default()).await.expect("the store answers")
}

fn through(anchor: &TrailHead) -> TrailCheck {
    TrailCheck { anchor: Some(anchor.clone()), ..TrailCheck::default() }
}

fn named(report: &TrailReport) -> Vec<&str> {
    report.findings.iter().map(|it| it.document.as_str()).collect()
}

#[tokio::test]
async fn what_nobody_touched_is_sound() {
    let world = world();
    assert_eq!(verified(&world).await, TrailReport::default());
    whole_story(&world, "R-1").await;
    register(&world, received()).await;
    whole_story(&world, "R-2").await;
    register(&world, Happening::Verified {}).await;
    let report = verified(&world).await;
    assert_eq!((report.records, report.findings.as_slice()), (10, &[][..]));
    // Of each plan itself, a report, a decision, two audit records in a roll, that it is finished, a
    // certificate with its signature; and two events.
    assert_eq!((report.documents, report.unsealed.len()), (2 * 9 + 2, 0));
    assert_eq!((report.signed, report.unsigned), (2, 0));
    let anchor = report.head.clone().expect("an end");
    assert_eq!(anchor.to_string().parse(), Ok(anchor.clone()));
    assert_eq!(world.ledger.verify_trail(&through(&anchor)).await.expect("read"), report);
}

/// A flipped byte in any stored plan, report, decision, audit record, certificate, event of a request,
/// roll or record of the trail itself. Whole documents are hashed, so every fifth byte of each stands for
/// all; of the last record, whose digest stands nowhere else, it is every byte.
#[tokio::test]
async fn every_flipped_byte_is_found() {
    let world = world();
    whole_story(&world, "R-1").await;
    register(&world, received()).await;
    let mut flipped = 0;
    let last = name(verified(&world).await.head.expect("an end").sequence);
    for name in world.ledger.names("").await.expect("listed") {
        let (_, bytes) = world.ledger.read(&name).await.expect("read").expect("there");
        for at in (0..bytes.len()).step_by(if name == last { 1 } else { 5 }) {
            let mut wrong = bytes.to_vec();
            wrong[at] ^= 1 << (at % 8);
            world.overwrite(&name, wrong);
            let report = verified(&world).await;
            assert!(named(&report).contains(&name.as_str()), "{name} byte {at}: {report:?}");
            flipped += 1;
        }
        world.overwrite(&name, bytes);
    }
    assert!(flipped > 1_000, "{flipped}");
    assert!(verified(&world).await.is_sound());
}

#[tokio::test]
async fn a_document_that_is_gone_is_found() {
    let world = world();
    whole_story(&world, "R-1").await;
    register(&world, received()).await;
    let end = verified(&world).await.head.expect("an end");
    for name in world.ledger.names("").await.expect("listed") {
        let (_, bytes) = world.ledger.read(&name).await.expect("read").expect("there");
        world.lake.delete(&world.ledger.key(&name));
        let report = world.ledger.verify_trail(&through(&end)).await.expect("read");
        assert!(!report.is_sound(), "{name}");
        world.overwrite(&name, bytes);
    }
}

/// Whoever cuts the end off, with what its records tell of, is found out by the anchor alone.
#[tokio::test]
async fn a_trail_that_was_cut_off_does_not_reach_its_anchor() {
    let world = world();
    whole_story(&world, "R-1").await;
    let end = verified(&world).await.head.expect("an end");
    let last = name(end.sequence);
    for name in [last.as_str(), "certificates/"] {
        for name in world.ledger.names(name).await.expect("listed") {
            world.lake.delete(&world.ledger.key(&name));
        }
    }
    assert!(verified(&world).await.is_sound());
    let report = world.ledger.verify_trail(&through(&end)).await.expect("read");
    assert_eq!(named(&report), [last]);
}

/// Two records in each other's places; one more between them; the whole trail made anew.
#[tokio::test]
async fn records_keep_their_order() {
    let world = world();
    let id = whole_story(&world, "R-1").await;
    let record =
        async |sequence| world.ledger.read(&name(sequence)).await.expect("read").expect("there").1;
    let (first, second, third) = (record(1).await, record(2).await, record(3).await);
    let anchor = TrailHead { sequence: 2, digest: digest(&second) };
    world.overwrite(&name(1), second.clone());
    world.overwrite(&name(2), first.clone());
    assert!(named(&verified(&world).await).contains(&name(1).as_str()));
    for (sequence, bytes) in [(1, &first), (2, &first), (3, &second), (4, &third)] {
        world.overwrite(&name(sequence), bytes.clone());
    }
    assert!(named(&verified(&world).await).contains(&name(2).as_str()));
    for sequence in 1..=4 {
        world.lake.delete(&world.ledger.key(&name(sequence)));
    }
    let anew = Ledger::new(world.lake.clone(), &b"some/prefix/"[..], world.clock.clone());
    world.clock.set(crate::ledger::tests::after(1));
    anew.seal(&about(id), TrailAction::Decided).await.expect("sealed");
    anew.seal(&about(id), TrailAction::Certified).await.expect("sealed");
    let report = world.ledger.verify_trail(&through(&anchor)).await.expect("read");
    assert_eq!(named(&report), [name(2)]);
}

/// Somebody with another key signs the certificate anew, and even writes a record of it.
#[tokio::test]
async fn a_signature_by_another_key_is_found() {
    let world = world();
    let id = whole_story(&world, "R-1").await;
    let by = |seed| TrailCheck { signer: Some(key(seed).public()), ..TrailCheck::default() };
    let report = world.ledger.verify_trail(&by(7)).await.expect("read");
    assert!(report.is_sound());
    assert_eq!(report.signers, BTreeSet::from([key(7).public()]));
    let report = world.ledger.verify_trail(&by(8)).await.expect("read");
    let signature = format!("certificates/{id}/000000.signature.json");
    assert_eq!(named(&report), [signature.as_str()]);
    let forged = Bytes::from_static(b"{\"grade\":\"complete\"}\n");
    let place = world.ledger.put_certificate(&id, forged.clone()).await.expect("stored");
    world.ledger.seal(&about(id), TrailAction::Certified).await.expect("sealed");
    assert_eq!(verified(&world).await.unsigned, 1);
    world.ledger.sign_certificate(&id, place, b"other bytes", &key(7)).await.expect("signed");
    world.ledger.seal(&about(id), TrailAction::Certified).await.expect("sealed");
    assert_eq!(
        named(&verified(&world).await),
        [format!("certificates/{id}/000001.signature.json")]
    );
}

#[tokio::test]
async fn what_was_put_there_by_other_means_is_told() {
    let world = world();
    let id = whole_story(&world, "R-1").await;
    for name in [format!("decisions/{id}/000001.json"), format!("audit/{id}/00000009-000000.json")]
    {
        world.overwrite(&name, "{}");
        assert_eq!(named(&verified(&world).await), [name.as_str()]);
        world.lake.delete(&world.ledger.key(&name));
    }
    // A plan that no record is about may be older than the trail.
    let old = world.ledger.put_plan(&plan("R-0")).await.expect("stored");
    let report = verified(&world).await;
    assert!(report.is_sound());
    assert_eq!(report.unsealed, [format!("plans/{old}.json")]);
}

/// While a run goes on, its audit records are in no record yet, and that is no finding.
#[tokio::test]
async fn a_run_under_way_is_no_finding() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    world.ledger.seal(&about(id), TrailAction::Planned).await.expect("sealed");
    append(&world, id, 0).await;
    assert!(verified(&world).await.is_sound());
    // It ended with something left to do; the next one adds to it.
    world.ledger.seal(&about(id), TrailAction::Executed).await.expect("sealed");
    append(&world, id, 1).await;
    assert!(verified(&world).await.is_sound());
    world.ledger.seal(&about(id), TrailAction::Executed).await.expect("sealed");
    let report = verified(&world).await;
    assert_eq!(
        (report.is_sound(), world.ledger.names(ROLLS).await.expect("listed").len()),
        (true, 2)
    );
}

/// Killed between a document and its record: the next record on the plan tells of both.
#[tokio::test]
async fn the_next_record_tells_of_what_a_killed_run_left() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    world.ledger.seal(&about(id), TrailAction::Planned).await.expect("sealed");
    world.ledger.decide(&decision(id, "ann", yes())).await.expect("decided");
    assert_eq!(named(&verified(&world).await), [format!("decisions/{id}/000000.json")]);
    world.ledger.seal(&about(id), TrailAction::Executed).await.expect("sealed");
    assert!(verified(&world).await.is_sound());
}

/// A damaged end of the trail stops nobody: what is done goes on and is recorded, and the damage is told.
#[tokio::test]
async fn a_damaged_record_is_told_and_stops_nothing() {
    let world = world();
    let id = whole_story(&world, "R-1").await;
    let last = name(verified(&world).await.head.expect("an end").sequence);
    world.overwrite(&last, "{");
    let other = world.ledger.put_plan(&plan("R-2")).await.expect("stored");
    let head = world.ledger.seal(&about(other), TrailAction::Planned).await.expect("sealed");
    assert_eq!(head.sequence, 4);
    world.ledger.seal(&about(id), TrailAction::Executed).await.expect("sealed");
    assert_eq!(named(&verified(&world).await), [last]);
}

/// Many that write at once make one trail, and the same said twice in a row is said once.
#[tokio::test]
async fn many_at_once_make_one_trail() {
    let world = world();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(world.ledger.put_plan(&plan(&format!("R-{number}"))).await.expect("stored"));
    }
    let fresh = || Ledger::new(world.lake.clone(), &b"some/prefix/"[..], world.clock.clone());
    let sealing = ids.iter().map(|id| {
        let ledger = fresh();
        async move { ledger.seal(&about(*id), TrailAction::Planned).await.expect("sealed") }
    });
    let heads = futures::future::join_all(sealing).await;
    let places: BTreeSet<u64> = heads.iter().map(|head| head.sequence).collect();
    assert_eq!(places, (0..20).collect());
    let last = heads.iter().position(|head| head.sequence == 19).expect("there");
    let again = fresh().seal(&about(ids[last]), TrailAction::Planned).await.expect("sealed");
    assert_eq!(again, heads[last]);
    let report = verified(&world).await;
    assert_eq!((report.records, report.is_sound()), (20, true));
}

/// Whether a failed write of a record took place or not, the trail has it once after another try.
#[tokio::test]
async fn a_record_of_unknown_outcome_is_settled() {
    for when in [When::Before, When::QuestionLost, When::AnswerLost] {
        let world = world();
        let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
        world.fail(Method::Write, 1, when);
        if world.ledger.seal(&about(id), TrailAction::Planned).await.is_err() {
            world.ledger.seal(&about(id), TrailAction::Planned).await.expect("sealed");
        }
        let report = verified(&world).await;
        assert_eq!((report.records, report.is_sound()), (1, true), "{when:?}");
    }
}

/// The end of a long trail is found by a few questions, and is known afterwards.
#[tokio::test]
async fn a_long_trail_is_not_walked_to_add_to_it() {
    let world = world();
    let id = world.ledger.put_plan(&plan("R-1")).await.expect("stored");
    for number in 0..300 {
        let action = if number % 2 == 0 { TrailAction::Planned } else { TrailAction::Decided };
        world.ledger.seal(&about(id), action).await.expect("sealed");
    }
    let asked = || world.fault.calls(Some(Method::Attributes));
    let fresh = Ledger::new(world.fault.clone(), &b"some/prefix/"[..], world.clock.clone());
    let before = asked();
    let head = fresh.seal(&about(id), TrailAction::Planned).await.expect("sealed");
    assert_eq!(head.sequence, 300);
    assert!(asked() - before < 24, "{}", asked() - before);
    let before = asked();
    fresh.seal(&about(id), TrailAction::Decided).await.expect("sealed");
    assert!(asked() - before < 4, "{}", asked() - before);
}

#[test]
fn an_anchor_is_read_as_it_is_printed() {
    let digest = "0f".repeat(32);
    let head: TrailHead = format!("41:{digest}").parse().expect("an anchor");
    assert_eq!((head.sequence, head.digest.as_str()), (41, digest.as_str()));
    let upper: TrailHead = format!("41:{}", digest.to_uppercase()).parse().expect("an anchor");
    assert_eq!(upper, head);
    for text in ["", "41", ":", "x:0f", &digest, &format!("-1:{digest}"), &format!("41:{digest}0")]
    {
        assert!(text.parse::<TrailHead>().is_err(), "{text:?}");
    }
}
