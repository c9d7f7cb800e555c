//! Random sequences of calls, against the plainest index there is.

use std::sync::Arc;

use futures::TryStreamExt as _;
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::object::ObjectVersion;
use lacuna::domain::posting::RowPosting;
use lacuna::metastore::memory::MemoryMetastore;
use lacuna::metastore::{Metastore, Succession};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::{
    Storage, dataset, digest, indexed, listing, lookup, object, posting, record, told, unreadable,
};

#[derive(Clone, Debug)]
pub(super) enum Call {
    Record { version: ObjectVersion, postings: Vec<RowPosting> },
    RecordUnreadable(ObjectVersion),
    GiveUp { version: ObjectVersion, postings: Vec<RowPosting> },
    Succeed { old: ObjectVersion, new: ObjectVersion, erased: Vec<u64>, keeps_old: bool },
    Forget(Vec<ObjectVersion>),
    Reopen,
}

pub(super) const DATASETS: [&str; 2] = ["one", "two"];

fn any_version() -> impl Strategy<Value = ObjectVersion> {
    let key = prop_oneof![Just("a"), Just("a/b"), Just("b")];
    let version = prop_oneof![3 => Just("null"), 1 => Just("v1"), 1 => Just("v2")];
    let etag = prop_oneof![Just("e1"), Just("e2"), Just("e3")];
    (key, version, etag).prop_map(|(key, version, etag)| object(key, version, etag))
}

fn some_postings() -> impl Strategy<Value = Vec<RowPosting>> {
    let row = prop_oneof![0..20_u64, Just(1 << 33), Just(u64::MAX)];
    proptest::collection::vec((0..6_u64, row).prop_map(|(of, row)| posting(digest(of), row)), 0..30)
}

pub(super) fn any_call() -> impl Strategy<Value = Call> {
    let record = |call: fn(ObjectVersion, Vec<RowPosting>) -> Call| {
        (any_version(), some_postings())
            .prop_map(move |(version, postings)| call(version, postings))
    };
    let succeed =
        (any_version(), any_version(), proptest::collection::vec(0..6_u64, 0..4), any::<bool>());
    prop_oneof![
        5 => record(|version, postings| Call::Record { version, postings }),
        1 => any_version().prop_map(Call::RecordUnreadable),
        1 => record(|version, postings| Call::GiveUp { version, postings }),
        4 => succeed.prop_map(|(old, mut new, erased, keeps_old)| {
            new.key = old.key.clone();
            Call::Succeed { old, new, erased, keeps_old }
        }),
        2 => proptest::collection::vec(any_version(), 0..4).prop_map(Call::Forget),
        1 => Just(Call::Reopen),
    ]
}

pub(super) async fn apply(metastore: &dyn Metastore, name: &str, call: &Call) {
    let name = dataset(name);
    match call.clone() {
        Call::Record { version, postings } => {
            record(metastore, &name, indexed(&version, 99), &postings).await.expect("recorded");
        }
        Call::RecordUnreadable(version) => {
            record(metastore, &name, unreadable(&version), &[]).await.expect("recorded");
        }
        Call::GiveUp { version, postings } => {
            let mut recorder = metastore.record(&name, &version).await.expect("begun");
            recorder.append(postings).await.expect("appended");
        }
        Call::Succeed { old, new, erased, keeps_old } => {
            let erased = erased.into_iter().map(digest).collect();
            let succession = Succession {
                dataset: name,
                old,
                new,
                erased,
                keeps_old,
                landmarks: Landmarks::default(),
            };
            metastore.succeed(&succession).await.expect("succeeded");
        }
        Call::Forget(versions) => metastore.forget(&name, &versions).await.expect("forgotten"),
        Call::Reopen => {}
    }
}

pub(super) async fn compare(
    metastore: &dyn Metastore,
    model: &dyn Metastore,
    calls: &[(usize, Call)],
) {
    let subjects: Vec<_> = (0..7).map(digest).collect();
    assert_eq!(lookup(metastore, &subjects).await, lookup(model, &subjects).await, "{calls:#?}");
    for name in DATASETS.map(dataset) {
        let listed = listing(metastore, &name).await;
        assert_eq!(listed, listing(model, &name).await, "{calls:#?}");
        let objects: Vec<_> = listed.into_iter().map(|scanned| scanned.object).collect();
        let known: Vec<_> = subjects.iter().map(|digest| posting(*digest, 0)).collect();
        let mut both = Vec::new();
        for index in [metastore, model] {
            let pieces = index.postings(&name, &objects).try_collect().await.expect("postings");
            both.push(told(pieces, &known));
        }
        assert_eq!(both[0], both[1], "{calls:#?}");
        let counts = metastore.posting_counts(&name, &objects).await.expect("counts");
        assert_eq!(counts.len(), objects.len());
        for (place, count) in counts.into_iter().enumerate() {
            let told = both[0].iter().filter(|(of, ..)| *of == place).count() as u64;
            assert!(count.is_none_or(|count| count == told), "{calls:#?}");
        }
    }
    let (size, expected) = (metastore.size().await, model.size().await);
    let (size, expected) = (size.expect("a size"), expected.expect("a size"));
    assert_eq!((size.objects, size.postings), (expected.objects, expected.postings), "{calls:#?}");
    let datasets = metastore.datasets().await.expect("datasets");
    assert_eq!(datasets, model.datasets().await.expect("datasets"));
}

/// Every case goes on with what the last one left, so that one storage sees long histories.
pub(super) async fn any_sequence_ends_like_the_model(storage: &dyn Storage) {
    let mut runner = TestRunner::new(Config::default());
    let model = MemoryMetastore::default();
    let sequences = proptest::collection::vec((0..2_usize, any_call()), 1..25);
    for _ in 0..12 {
        let calls = sequences.new_tree(&mut runner).expect("a sequence").current();
        let mut metastore: Arc<dyn Metastore> = storage.open();
        for (at, call) in &calls {
            if matches!(call, Call::Reopen) {
                metastore = storage.open();
            }
            apply(&*metastore, DATASETS[*at], call).await;
            apply(&model, DATASETS[*at], call).await;
        }
        compare(&*metastore, &model, &calls).await;
        drop(metastore);
        compare(&*storage.open(), &model, &calls).await;
    }
}
