//! What the register says, planning, deciding and admitting obey.

use futures::TryStreamExt as _;
use jiff::civil::{Date, date};

use super::*;
use crate::domain::deadline::Jurisdiction;
use crate::domain::decision::{Exception, Verdict};
use crate::domain::object::ListedVersion;
use crate::domain::register::{DenialReason, Exempting, Extent, Happening};
use crate::erase::approval::{Decider, NotAdmitted, NotDecided, decide};
use crate::erase::prepare::{PlanError, Prepared};
use crate::erase::tests::{World, reasons, reviews, yes};
use crate::lake::Lake as _;
use crate::lake::memory::MemoryLake;
use crate::ledger::LedgerErrorKind;

/// A world with a row of `u1` in the current and in the superseded version of an object.
fn world() -> World {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    world.indexed("a", &[("u1", &[1, 2])]);
    world
}

async fn happen(world: &World, by: &str, happened: Happening) {
    let reference = "DSR-1".parse().expect("a reference");
    let by = by.parse().expect("an actor");
    world.ledger.register(&reference, &by, &happened).await.expect("stored");
}

async fn received(world: &World) {
    let (jurisdiction, received_on) = (Jurisdiction::Gdpr, date(2026, 11, 1));
    let happened =
        Happening::Received { jurisdiction, days: None, ground: None, channel: None, received_on };
    happen(world, "ann", happened).await;
}

fn held(extent: Extent, until: Option<Date>) -> Happening {
    Happening::Held { extent, basis: "lawsuit-1".parse().expect("a code"), until }
}

fn on(dataset: &str) -> Extent {
    Extent::Dataset { dataset: DatasetName::new(dataset) }
}

fn column() -> Extent {
    Extent::Column { dataset: reviews(), column: "email".parse().expect("a path") }
}

fn all() -> Extent {
    Extent::Request {}
}

fn on_hold(until: Option<Date>) -> Reason {
    Reason::OnHold { basis: "lawsuit-1".parse().expect("a code"), until }
}

/// What the plan leaves, and whether it changes anything.
async fn planned(world: &World) -> (bool, Vec<Reason>) {
    let Prepared { plan, .. } = world.prepare(&["u1"]).await;
    (!plan.changes.is_empty(), reasons(&plan))
}

/// All versions with a row of the subject stay, each with its reason, and are counted as found.
#[tokio::test]
async fn a_plan_leaves_what_is_on_hold_or_exempt() {
    let later = Some(date(2030, 1, 1));
    let exempted = Happening::Exempted { extent: column(), basis: Exempting::Claims, until: later };
    let exempt = Reason::Exempt { basis: Exempting::Claims, until: later };
    let cases = [
        (held(all(), None), on_hold(None)),
        (held(on("reviews"), later), on_hold(later)),
        (held(column(), None), on_hold(None)),
        (exempted, exempt),
    ];
    for (happened, reason) in cases {
        let world = world();
        received(&world).await;
        happen(&world, "ann", happened.clone()).await;
        let Prepared { plan, report, .. } = world.prepare(&["u1"]).await;
        assert!(plan.changes.is_empty(), "{happened:?}");
        let left: Vec<_> = plan.out_of_reach.iter().map(|it| (it.rows.0, &it.reason)).collect();
        assert_eq!(left, [(1, &reason), (2, &reason)], "{happened:?}");
        assert_eq!(plan.subjects[0].rows.0, 3);
        assert!(report.verdict.contains("this request"), "{}", report.verdict);
    }
}

/// Another dataset's hold, a released one, one whose last day is past, another request's: all is planned.
#[tokio::test]
async fn a_plan_leaves_nothing_else() {
    let world = world();
    assert_eq!(planned(&world).await, (true, vec![]));
    received(&world).await;
    happen(&world, "ann", held(on("invoices"), None)).await;
    assert_eq!(planned(&world).await, (true, vec![]));
    happen(&world, "ann", held(all(), None)).await;
    assert!(!planned(&world).await.0);
    happen(&world, "bob", Happening::Released { hold: 2 }).await;
    assert_eq!(planned(&world).await, (true, vec![]));
    let today = day_of(world.clock.now());
    happen(&world, "ann", held(all(), Some(today))).await;
    assert_eq!(planned(&world).await, (false, vec![on_hold(Some(today)); 2]));
    let (reference, by) = ("DSR-2".parse().expect("one"), "ann".parse().expect("one"));
    let other = Happening::Received {
        jurisdiction: Jurisdiction::Other,
        days: Some(9),
        ground: None,
        channel: None,
        received_on: date(2026, 11, 1),
    };
    world.ledger.register(&reference, &by, &other).await.expect("stored");
    world.ledger.register(&reference, &by, &held(all(), None)).await.expect("stored");
    let tomorrow = world.clock.now() + jiff::SignedDuration::from_hours(24);
    world.clock.set(tomorrow);
    assert_eq!(planned(&world).await, (true, vec![]));
}

/// What was put on hold since: neither approved nor carried out, begun or not, until it is released, or
/// the objects are left out.
#[tokio::test]
async fn a_hold_set_after_the_plan_stops_it() {
    let world = world();
    received(&world).await;
    let id = world.prepare(&["u1"]).await.id;
    world.decide(&id, yes()).await.expect("decided");
    world.admit(&id).await.expect("admitted");
    happen(&world, "ann", held(column(), None)).await;
    let obstacle = Obstacle::Restrained { dataset: reviews(), reason: on_hold(None) };
    let refused = world.admit(&id).await.expect_err("on hold");
    assert!(matches!(refused, NotAdmitted::Obstructed(it) if it == obstacle));
    let refused = world.decide(&id, yes()).await.expect_err("on hold");
    assert!(matches!(refused, NotDecided::Obstructed(it) if it == obstacle));
    let except = vec![Exception { dataset: reviews(), key: ObjectKey::from("a") }];
    world.decide(&id, Verdict::Approved { except }).await.expect("nothing of it goes");
    world.admit(&id).await.expect("nothing of it goes");
    happen(&world, "bob", Happening::Released { hold: 1 }).await;
    world.decide(&id, yes()).await.expect("decided");
    world.admit(&id).await.expect("released");
}

#[tokio::test]
async fn nothing_is_erased_for_who_no_longer_asks_for_it() {
    let text = "no proof".parse().expect("a line");
    let denied = Happening::Denied { reason: DenialReason::NotVerified, text };
    for (happened, state) in
        [(Happening::Withdrawn {}, RequestState::Withdrawn), (denied, RequestState::Denied)]
    {
        let world = world();
        received(&world).await;
        let id = world.prepare(&["u1"]).await.id;
        world.decide(&id, yes()).await.expect("decided");
        happen(&world, "ann", happened).await;
        let refused = world.admit(&id).await.expect_err("nobody asks for it");
        assert!(
            matches!(refused, NotAdmitted::Obstructed(Obstacle::Ended { state: it }) if it == state)
        );
        world.decide(&id, Verdict::Rejected { reason: "ended".to_owned() }).await.expect("decided");
        happen(&world, "ann", Happening::Reopened {}).await;
        world.decide(&id, yes()).await.expect("decided");
        world.admit(&id).await.expect("taken up again");
        // What is closed is done; the same plan finds nothing left to do.
        happen(&world, "ann", Happening::Closed {}).await;
        world.admit(&id).await.expect("closed");
    }
}

/// Two people: who registered the request does not approve its plan, and without a request nobody does. To
/// reject takes one.
#[tokio::test]
async fn who_registered_a_request_does_not_approve_its_plan() {
    let world = world();
    let id = world.prepare(&["u1"]).await.id;
    let decided = async |by: &str, verdict: Verdict| {
        let decider = Decider { by, is_one_of_two: true, link: None };
        decide(&world.ledger, &id, verdict, decider, &world.clock).await
    };
    let refused = decided("bob", yes()).await.expect_err("not registered");
    assert!(matches!(refused, NotDecided::Obstructed(Obstacle::Unregistered)));
    received(&world).await;
    for same in ["ann", " Ann "] {
        let refused = decided(same, yes()).await.expect_err("the same person");
        assert!(matches!(refused, NotDecided::Obstructed(Obstacle::SamePerson)), "{same:?}");
    }
    decided("ann", Verdict::Rejected { reason: "wrong".to_owned() }).await.expect("decided");
    decided("bob", yes()).await.expect("decided");
    world.admit(&id).await.expect("approved");
    world.decide(&id, yes()).await.expect("without the rule ann may");
}

/// What the register says cannot be read: nothing is planned or erased on a guess.
#[tokio::test]
async fn a_damaged_register_stops_planning_and_erasing() {
    let world = world();
    received(&world).await;
    let id = world.prepare(&["u1"]).await.id;
    world.decide(&id, yes()).await.expect("decided");
    let listed: Vec<ListedVersion> =
        world.ledger_lake.list(b"requests/").try_collect().await.expect("listed");
    world.ledger_lake.put(&listed[0].object.key, &b"{}"[..]);
    let error = world.try_prepare(&["u1"]).await.expect_err("damaged");
    assert!(matches!(error, PlanError::Ledger(it) if *it.kind() == LedgerErrorKind::Tampered));
    let error = world.admit(&id).await.expect_err("damaged");
    assert!(matches!(error, NotAdmitted::Ledger(it) if *it.kind() == LedgerErrorKind::Tampered));
}
