//! Several at once: writers beside writers, readers beside writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt as _;
use futures::future::try_join_all;
use lacuna::domain::posting::RowPosting;
use lacuna::metastore::ObjectPostings;

use super::{Storage, dataset, digest, indexed, listing, lookup, object, posting, record, told};

pub(super) async fn writers_of_two_handles_do_not_harm_each_other(storage: &dyn Storage) {
    let handles = [storage.open(), storage.open()];
    let work = (0..40_u64).map(|number| {
        let metastore = Arc::clone(&handles[usize::from(number % 2 == 0)]);
        tokio::spawn(async move {
            // Every object is recorded by both handles, at the same time.
            let version = object(&format!("{}", number / 2), "null", &format!("e{}", number / 2));
            // Some are large, so that their recordings interleave.
            let count = if number < 4 { 300_000 } else { 50 };
            let postings: Vec<_> = (0..count).map(|row| posting(digest(row), row)).collect();
            record(&*metastore, &dataset("d"), indexed(&version, count), &postings).await
        })
    });
    for recorded in try_join_all(work).await.expect("no panic") {
        recorded.expect("recorded");
    }
    drop(handles);
    let metastore = storage.open();
    assert_eq!(listing(&*metastore, &dataset("d")).await.len(), 20);
    assert_eq!(lookup(&*metastore, &[digest(7)]).await.len(), 20);
    assert_eq!(lookup(&*metastore, &[digest(299_999)]).await.len(), 2);
    assert_eq!(metastore.size().await.expect("a size").postings, 2 * 300_000 + 18 * 50);
}

pub(super) async fn a_reader_sees_all_of_a_version_or_nothing(storage: &dyn Storage) {
    let (writer, reader) = (storage.open(), storage.open());
    let stop = Arc::new(AtomicBool::new(false));
    let is_stopped = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut generation = 0;
        while !is_stopped.load(Ordering::Relaxed) {
            generation += 1;
            let version = object("a", "null", &format!("e{generation}"));
            let postings: Vec<RowPosting> =
                (0..60).map(|subject| posting(digest(subject), generation)).collect();
            let scanned = indexed(&version, generation);
            record(&*writer, &dataset("d"), scanned, &postings).await.expect("recorded");
            if generation % 5 == 0 {
                writer.forget(&dataset("d"), &[version]).await.expect("forgotten");
            }
        }
        generation
    });
    let subjects: Vec<_> = (0..60).map(digest).collect();
    while listing(&*reader, &dataset("d")).await.is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..60 {
        let found: Vec<_> = reader.lookup(&subjects).try_collect().await.expect("a lookup");
        assert!(found.is_empty() || found.len() == 60, "{} of 60", found.len());
        let generations: Vec<_> = found.iter().map(|posting| posting.rows.first()).collect();
        assert!(generations.windows(2).all(|pair| pair[0] == pair[1]));
        for scanned in listing(&*reader, &dataset("d")).await {
            assert!(scanned.object.etag.as_str().starts_with('e'));
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.expect("no panic") > 0);
}

/// What is recorded, replaced and merged while postings are told neither hides one of another version
/// nor shows it twice.
pub(super) async fn postings_are_told_once_whatever_is_recorded_beside_it(storage: &dyn Storage) {
    let (name, writer) = (dataset("d"), storage.open());
    let version = object("large", "null", "e");
    let postings: Vec<_> = (0..150_000).map(|row| posting(digest(row * 7 % 90_000), row)).collect();
    record(&*writer, &name, indexed(&version, 150_000), &postings).await.expect("recorded");
    let mut pieces = storage.open().postings(&name, std::slice::from_ref(&version));
    let mut found = Vec::new();
    let mut round = 0;
    // Between any two pieces others are recorded, enough that an index has to rearrange itself.
    while let Some(piece) = pieces.try_next().await.expect("a piece") {
        found.push(piece);
        for key in 0..12 {
            let other = object(&format!("{key}"), "null", &format!("e{round}"));
            let some: Vec<_> = (0..9).map(|row| posting(digest(row * key), row)).collect();
            record(&*writer, &name, indexed(&other, 9), &some).await.expect("recorded");
        }
        round += 1;
    }
    let expected = vec![ObjectPostings { place: 0, postings: postings.clone() }];
    assert!(told(found, &postings) == told(expected, &postings), "each posting once");
}
