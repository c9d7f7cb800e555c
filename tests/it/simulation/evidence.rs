//! Verification and certificate: what is said of an erasure is what the lake says.

use std::collections::{BTreeMap, HashSet};

use lacuna::domain::object::Standing;
use lacuna::domain::plan::{ErasurePlan, OutOfReach, PlanId, Reason};
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::erase::certificate::{Certificate, Evidence, Grade};
use lacuna::erase::verify::{Verification, VerifyOptions, verify_plan, verify_subjects};

use super::faults::Script;
use super::finish;
use super::world::{Shape, World};

async fn verified(world: &World, plan: &ErasurePlan, deep_percent: u8) -> Verification {
    let options = VerifyOptions { deep_percent, ..VerifyOptions::default() };
    verify_plan(&world.tools(&Script::quiet()), plan, &options).await.expect("it is read")
}

async fn certificate(
    world: &World,
    plan: &ErasurePlan,
    verification: Option<&Verification>,
) -> Certificate {
    let ledger = world.tools(&Script::quiet()).ledger;
    let id = PlanId::of(&plan.to_bytes());
    let notes = ledger.notes(&id).await.expect("notes");
    let decision = ledger.decisions(&id).await.expect("decisions").pop().expect("an approval");
    let locations = BTreeMap::from([(world.dataset.name.clone(), "s3://b/".to_owned())]);
    Certificate::of(&Evidence {
        id,
        plan,
        decision: &decision,
        notes: &notes,
        verification,
        request: None,
        locations: &locations,
        issued_at: world.clock.now(),
    })
}

/// Verification reads every version of the plan's objects: before an erasure it meets the subjects
/// where they are, after it nowhere.
#[tokio::test]
async fn verification_says_what_the_lake_says() {
    for seed in 0..10 {
        let world = World::new(Shape::new(seed, true)).await;
        let plan = world.plan();
        let before = verified(&world, &plan, 100).await;
        let met: Vec<_> =
            before.met.iter().map(|met| (met.object.clone(), met.rows.clone())).collect();
        let mut expected: Vec<_> = world
            .known
            .iter()
            .filter_map(|known| Some((known.object.clone(), known.rows(&world.targets)?)))
            .collect();
        expected.sort_by(|left, right| {
            let place = |object: &lacuna::domain::object::ObjectVersion| {
                (object.key.clone(), object.version.as_str().to_owned())
            };
            place(&left.0).cmp(&place(&right.0))
        });
        assert_eq!(met, expected);
        assert_eq!(before.versions, world.known.len() as u64);
        finish(&world, &plan).await;
        let after = verified(&world, &plan, 100).await;
        assert!(after.is_clean(), "{after:?}");
        let digests: HashSet<_> = plan.digests().collect();
        let tools = world.tools(&Script::quiet());
        let names = [world.dataset.name.clone()];
        let options = VerifyOptions::default();
        let all = verify_subjects(&tools, digests, &names, &options).await.expect("it is read");
        assert!(all.is_clean() && all.versions == world.kept().await.len() as u64);
    }
}

/// E6: an object that the plan never knew of is met by a deep verification, and not by another.
#[tokio::test]
async fn a_deep_verification_looks_beyond_the_plan() {
    let world = World::new(Shape::new(3, false)).await;
    let plan = world.plan();
    finish(&world, &plan).await;
    let late = world.put(&"late.json".into(), vec![3, 0], false);
    assert!(verified(&world, &plan, 0).await.is_clean());
    let deep = verified(&world, &plan, 100).await;
    assert_eq!(deep.unexpected().map(|met| &met.object).collect::<Vec<_>>(), [&late.object]);
    let sample = deep.sample.expect("a sample");
    assert_eq!((sample.chosen, sample.bound_percent()), (sample.eligible, Some(0.0)));
}

/// An object that verification cannot read is named, never skipped.
#[tokio::test]
async fn what_verification_cannot_read_is_named() {
    let world = World::new(Shape::new(3, false)).await;
    let plan = world.plan();
    finish(&world, &plan).await;
    let key = plan.changes[0].key.clone();
    world.lake.put(&key, &b"\x1f\x8bnot gzip at all"[..]);
    let verification = verified(&world, &plan, 0).await;
    assert!(!verification.is_clean());
    assert_eq!(verification.unreadable.iter().map(|it| &it.key).collect::<Vec<_>>(), [&key]);
}

/// M7: a certificate says complete only where nothing is open.
#[tokio::test]
async fn a_certificate_is_never_better_than_the_evidence() {
    let world = World::new(Shape::new(3, true)).await;
    let plan = world.plan();
    world.approve(&plan, Vec::new()).await;
    let unbegun = certificate(&world, &plan, None).await;
    assert_eq!((unbegun.grade, unbegun.counts.left), (Grade::Partial, plan.changes.len() as u64));
    finish(&world, &plan).await;
    let unverified = certificate(&world, &plan, None).await;
    assert_eq!((unverified.grade, unverified.open.len()), (Grade::Partial, 1));
    let verification = verified(&world, &plan, 50).await;
    let complete = certificate(&world, &plan, Some(&verification)).await;
    assert_eq!((complete.grade, complete.open.clone()), (Grade::Complete, Vec::new()));
    let read: Certificate = serde_json::from_slice(&complete.to_bytes()).expect("it is read back");
    assert_eq!(read, complete);
    assert!(complete.to_text().starts_with("Certificate of erasure: complete\n"));
    // One thing is open at a time; each costs the grade.
    let interrupted = Verification { is_interrupted: true, ..verification.clone() };
    assert_eq!(certificate(&world, &plan, Some(&interrupted)).await.grade, Grade::Partial);
    world.put(&plan.changes[0].key, vec![0], false);
    let met = verified(&world, &plan, 0).await;
    assert_eq!(met.met.len(), 1);
    assert_eq!(certificate(&world, &plan, Some(&met)).await.grade, Grade::Partial);
}

/// M7: copies that the plan names cost the grade, each reason as it deserves.
#[tokio::test]
async fn what_the_plan_left_shows_in_the_grade() {
    let archived = Reason::Archived { storage_class: "GLACIER".to_owned() };
    for (reason, grade) in [
        (Reason::LegalHold, Grade::CompleteWithRetainedCopies),
        (Reason::KeptByPolicy, Grade::CompleteWithRetainedCopies),
        (archived, Grade::Partial),
        (Reason::UnreadableRows { count: 2 }, Grade::Partial),
    ] {
        let world = World::new(Shape::new(3, true)).await;
        let mut plan = world.plan();
        plan.out_of_reach.push(OutOfReach {
            dataset: world.dataset.name.clone(),
            key: "elsewhere".into(),
            object: None,
            rows: RowCount(2),
            reason,
        });
        finish(&world, &plan).await;
        let verification = verified(&world, &plan, 0).await;
        let certificate = certificate(&world, &plan, Some(&verification)).await;
        assert_eq!(certificate.grade, grade, "{:?}", certificate.open);
        assert_eq!(certificate.remaining.len(), 1);
    }
}

/// Rows that come back after the erasure are met (A12), and no journal hides them.
#[tokio::test]
async fn rows_that_come_back_are_met() {
    let world = World::new(Shape::new(11, false)).await;
    let plan = world.plan();
    finish(&world, &plan).await;
    let known = world.known.iter().find(|known| known.object.key == plan.changes[0].key);
    let known = known.expect("it is known");
    world.put(&known.object.key, known.owners.clone(), known.is_csv);
    let verification = verified(&world, &plan, 0).await;
    let met = verification.unexpected().next().expect("they are back");
    assert_eq!(
        (met.standing, Some(&met.rows)),
        (Standing::Current, known.rows(&world.targets).as_ref())
    );
}

/// Every document that a run leaves is as its schema says.
#[tokio::test]
async fn documents_are_as_their_schemas_say() {
    let world = World::new(Shape::new(3, true)).await;
    let known = world.put(&"new.json".into(), vec![2, 0, 3], false);
    world.index(&known).await;
    let mut plan = world.plan_with(&known);
    let rewrite = plan.changes[0].rewrite.as_mut().expect("a rewrite");
    // Strangers' rows as well, so that some of them turn out unmatched.
    rewrite.rows = RowSet::new((0..3).map(RowNumber)).expect("rows");
    let _ = world.run(&plan, &[], &Script::new(60, super::Event::ErrorAfter)).await;
    finish(&world, &plan).await;
    let verification = verified(&world, &plan, 10).await;
    let issued = certificate(&world, &plan, Some(&verification)).await;
    check_schema("certificate", &issued.to_bytes());
    check_schema("certificate", &certificate(&world, &plan, None).await.to_bytes());
    let ledger = world.tools(&Script::quiet()).ledger;
    let id = PlanId::of(&plan.to_bytes());
    let mut steps = HashSet::new();
    for change in 0..plan.changes.len() as u32 {
        for note in ledger.notes_of(&id, change).await.expect("notes") {
            steps.insert(std::mem::discriminant(&note.step));
            check_schema("note", &serde_json::to_vec(&note).expect("a note"));
        }
    }
    assert_eq!(steps.len(), 7, "every kind of step was noted");
    for (_, record) in ledger.audit(&id).await.expect("an audit") {
        check_schema("audit", &serde_json::to_vec(&record).expect("a record"));
    }
}

fn check_schema(name: &str, document: &[u8]) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("schema/documents/{name}.v1.json"));
    let schema = std::fs::read(path).expect("a schema");
    let schema = serde_json::from_slice(&schema).expect("it is JSON");
    let document = serde_json::from_slice(document).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a sound schema");
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}");
}
