//! Which mails are sent when, to whom, and once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::domain::Timestamp;
use crate::domain::access::Role;
use crate::domain::decision::DECISION_SCHEMA;
use crate::domain::link::Link;
use crate::domain::plan::ErasurePlan;
use crate::lake::memory::MemoryLake;

/// While the plan can be decided: 2026-11-21.
const NOW: Timestamp = Timestamp::constant(1_795_219_200, 0);

#[derive(Default)]
struct Pile {
    letters: Mutex<Vec<Letter>>,
    is_shut: AtomicBool,
}

#[async_trait]
impl Postman for Pile {
    async fn send(&self, letter: &Letter) -> Result<(), NotSent> {
        if self.is_shut.load(Ordering::Relaxed) {
            return Err(NotSent("nobody is there".to_owned()));
        }
        self.letters.lock().expect("unpoisoned").push(letter.clone());
        Ok(())
    }
}

struct World {
    ledger: Ledger,
    clock: Clock,
    users: Vec<UserSettings>,
    letters: Pile,
    key: SigningKey,
    plan: ErasurePlan,
    id: PlanId,
}

async fn world() -> World {
    let clock = Clock::manual(NOW);
    let lake = std::sync::Arc::new(MemoryLake::versioned());
    let ledger = Ledger::new(lake, &b"ledger/"[..], clock.clone());
    let plan: ErasurePlan =
        serde_json::from_str(include_str!("../../schema/fixtures/v1/plan.json")).expect("a plan");
    let id = ledger.put_plan(&plan).await.expect("stored");
    let user = |name: &str, role: Role, has_address: bool| UserSettings {
        name: name.to_owned(),
        roles: [role].into(),
        password: None,
        token: None,
        subject: None,
        email: has_address.then(|| format!("{name}@example.org")),
    };
    let users = vec![
        user("ann", Role::Approver, true),
        user("bob", Role::Approver, true),
        user("cas", Role::Approver, false),
        user("dee", Role::Requester, true),
        user("eve", Role::Operator, true),
        user("fay", Role::Viewer, true),
    ];
    let key = SigningKey::new(&[7; 32]).expect("a key");
    World { ledger, clock, users, letters: Pile::default(), key, plan, id }
}

impl World {
    /// Notifies; the recipients and occasions.
    async fn notify(&self) -> Vec<(String, &'static str)> {
        let notifier = Notifier {
            ledger: &self.ledger,
            clock: &self.clock,
            users: &self.users,
            postman: Some(&self.letters),
            heralds: &[],
            origin: "https://erasure.example.org",
            key: Some(&self.key),
        };
        let sent = notifier.notify().await.expect("the ledger answers").sent;
        sent.into_iter().map(|it| (it.to, it.occasion)).collect()
    }

    fn letters(&self) -> Vec<Letter> {
        self.letters.letters.lock().expect("unpoisoned").drain(..).collect()
    }

    async fn decide(&self, verdict: Verdict) {
        let decision = Decision {
            schema: DECISION_SCHEMA.to_owned(),
            plan: self.id,
            verdict,
            by: "ann".to_owned(),
            decided_at: self.clock.now(),
            link: None,
        };
        self.ledger.decide(&decision).await.expect("decided");
    }

    fn after(&self, seconds_before_the_end: i64) {
        let end = self.plan.expires_at.as_second() - seconds_before_the_end;
        self.clock.set(Timestamp::from_second(end).expect("a moment"));
    }
}

fn to(names: &[&str], occasion: &'static str) -> Vec<(String, &'static str)> {
    names.iter().map(|name| ((*name).to_owned(), occasion)).collect()
}

#[tokio::test]
async fn each_mail_is_sent_once_to_whom_it_concerns() {
    let world = world().await;
    assert_eq!(world.notify().await, to(&["ann", "bob"], "decide"));
    assert!(world.notify().await.is_empty());
    world.after(REMINDER_SECONDS + 1);
    assert!(world.notify().await.is_empty());
    world.after(REMINDER_SECONDS);
    assert_eq!(world.notify().await, to(&["ann", "bob"], "remind"));
    assert!(world.notify().await.is_empty());
    world.after(0);
    assert_eq!(world.notify().await, to(&["dee"], "expired"));
    assert!(world.notify().await.is_empty());
}

#[tokio::test]
async fn how_it_ended_is_told_where_it_was_told_that_it_began() {
    let world = world().await;
    world.decide(Verdict::Rejected { reason: "not them".to_owned() }).await;
    assert!(world.notify().await.is_empty(), "nobody was asked by mail");
    let world = self::world().await;
    world.notify().await;
    world.letters();
    world.decide(Verdict::Rejected { reason: "not\nthem".to_owned() }).await;
    assert_eq!(world.notify().await, to(&["dee"], "rejected"));
    let letter = world.letters().remove(0);
    assert!(letter.text.contains("rejected by ann: not\\nthem"), "{}", letter.text);
    world.decide(Verdict::Approved { except: Vec::new() }).await;
    assert!(world.notify().await.is_empty(), "what was approved waits for its run");
    world.ledger.finish(&world.id).await.expect("noted");
    assert_eq!(world.notify().await, to(&["dee"], "finished"));
}

/// The links are for whom they are sent to, and for this plan.
#[tokio::test]
async fn a_mail_has_links_of_its_own() {
    let world = world().await;
    world.notify().await;
    let letters = world.letters();
    let mut ids = std::collections::BTreeSet::new();
    for letter in &letters {
        let links = letter.text.lines().filter_map(|line| line.split_once("/decide?link="));
        let links: Vec<Link> =
            links.map(|(_, it)| Link::read(it, &world.key.public()).expect("signed")).collect();
        assert_eq!(links.len(), 2, "{}", letter.text);
        for link in links {
            assert_eq!(
                (link.plan, format!("{}@example.org", link.by)),
                (world.id, letter.to.clone())
            );
            assert_eq!(link.expires_at, world.plan.expires_at);
            ids.insert(link.id());
        }
        assert!(letter.text.contains(&format!("https://erasure.example.org/plans/{}", world.id)));
        assert!(!letter.subject.contains('\n'));
    }
    assert_eq!(ids.len(), 4);
}

/// A server that is down: nothing is noted, and the mail is sent the next time.
#[tokio::test]
async fn what_was_not_taken_is_sent_later() {
    let world = world().await;
    world.letters.is_shut.store(true, Ordering::Relaxed);
    assert!(world.notify().await.is_empty());
    world.letters.is_shut.store(false, Ordering::Relaxed);
    assert_eq!(world.notify().await.len(), 2);
}
