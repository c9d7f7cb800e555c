//! A pack says what the ledger says, and no more than the ledger can prove.

use std::collections::BTreeMap;

use super::*;
use crate::domain::signature::SigningKey;
use crate::domain::trail::{TrailAction, TrailTopic};
use crate::ledger::tests::{World, decision, plan, world, yes};

fn key() -> SigningKey {
    SigningKey::new(&[7; 32]).expect("a key")
}

async fn certified(world: &World, request: &str) -> PlanId {
    let ledger = &world.ledger;
    let id = ledger.put_plan(&plan(request)).await.expect("stored");
    let topic = TrailTopic::Plan(id);
    ledger.seal(&topic, TrailAction::Planned).await.expect("sealed");
    ledger.decide(&decision(id, "ann", yes())).await.expect("decided");
    ledger.seal(&topic, TrailAction::Decided).await.expect("sealed");
    let place = ledger.put_certificate(&id, &b"{}\n"[..]).await.expect("stored");
    ledger.sign_certificate(&id, place, b"{}\n", &key()).await.expect("signed");
    ledger.seal(&topic, TrailAction::Certified).await.expect("sealed");
    id
}

fn files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).expect("a file");
        let mut content = Vec::new();
        file.read_to_end(&mut content).expect("read");
        files.insert(file.name().expect("a name").into_owned(), content);
    }
    files
}

fn packed(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut archive = Archive::new();
    for (name, bytes) in files {
        archive.add(name, bytes).expect("packed");
    }
    archive.finish().expect("packed")
}

async fn findings(bytes: &[u8]) -> Vec<String> {
    let (pack, ledger) = open(bytes, Clock::system()).expect("a pack");
    let report = ledger.verify_trail(&pack.check()).await.expect("read");
    report.findings.into_iter().map(|it| it.document).collect()
}

#[tokio::test]
async fn a_pack_is_verified_without_its_ledger() {
    let world = world();
    certified(&world, "R-0").await;
    let id = certified(&world, "R-1").await;
    certified(&world, "R-2").await;
    let (pack, bytes) = world.ledger.pack(&id).await.expect("packed");
    assert_eq!((pack.plan, pack.request.as_str(), pack.head.sequence), (id, "R-1", 8));
    let (read, ledger) = open(&bytes, Clock::system()).expect("a pack");
    assert_eq!(read, pack);
    let signer = Some(key().public());
    let report = ledger.verify_trail(&TrailCheck { signer, ..read.check() }).await.expect("read");
    assert!(report.is_sound(), "{report:?}");
    // The plan, its decision, its certificate and the signature; nothing of the others.
    assert_eq!((report.records, report.documents, report.signed), (9, 4, 1));
    let files = files(&bytes);
    let others = files.keys().filter(|name| name.starts_with("ledger/plans/")).count();
    assert_eq!(others, 1);
    assert!(files["signer.pem"].starts_with(b"-----BEGIN PUBLIC KEY-----"));
    assert_eq!(files["certificate.sig"].len(), 64);
    // The same evidence makes the same bytes.
    assert_eq!(world.ledger.pack(&id).await.expect("packed").1, bytes);
}

/// Whatever file of the ledger is changed, exchanged or left out of a pack.
#[tokio::test]
async fn a_changed_pack_is_found_out() {
    let world = world();
    certified(&world, "R-0").await;
    let id = certified(&world, "R-1").await;
    let (_, bytes) = world.ledger.pack(&id).await.expect("packed");
    let whole = files(&bytes);
    assert!(findings(&packed(&whole)).await.is_empty());
    for name in whole.keys().filter(|name| name.starts_with(LEDGER)) {
        for at in [0, whole[name].len() / 2, whole[name].len() - 1] {
            let mut files = whole.clone();
            files.get_mut(name).expect("there")[at] ^= 4;
            let found = findings(&packed(&files)).await;
            assert!(found.contains(&name[LEDGER.len()..].to_owned()), "{name} {at}: {found:?}");
        }
        let mut files = whole.clone();
        files.remove(name);
        assert!(!findings(&packed(&files)).await.is_empty(), "{name}");
    }
    let mut files = whole.clone();
    files.insert(format!("ledger/decisions/{id}/000001.json"), b"{}".to_vec());
    assert_eq!(findings(&packed(&files)).await, [format!("decisions/{id}/000001.json")]);
}

#[tokio::test]
async fn what_is_no_pack_is_refused() {
    let clock = Clock::system;
    assert!(matches!(open(b"", clock()), Err(PackError::Archive(_))));
    assert!(matches!(open(b"PK\x03\x04 and so on", clock()), Err(PackError::Archive(_))));
    let other = BTreeMap::from([("a.txt".to_owned(), b"a".to_vec())]);
    assert!(matches!(open(&packed(&other), clock()), Err(PackError::Foreign)));
    let world = world();
    let id = certified(&world, "R-1").await;
    let (_, bytes) = world.ledger.pack(&id).await.expect("packed");
    for end in [10, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(open(&bytes[..end], clock()), Err(PackError::Archive(_))), "{end}");
    }
    let unknown = world.ledger.pack(&PlanId::of(b"")).await.expect_err("no such plan");
    assert_eq!(*unknown.kind(), LedgerErrorKind::Unknown);
}
