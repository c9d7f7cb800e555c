//! Erased subjects leave the runs where they stand.

use std::collections::BTreeMap;

use super::*;

fn succession(old: &str, new: &str, erased: &[u64]) -> Succession {
    Succession {
        dataset: dataset("d"),
        old: object("a", "null", old),
        new: object("a", "null", new),
        erased: erased.iter().copied().map(digest).collect(),
        keeps_old: false,
        landmarks: Landmarks::default(),
    }
}

/// A subject that fills block after block goes, its neighbours stay, and nothing tells it was there.
#[test]
fn a_subject_of_very_many_rows_goes() {
    block_on(async {
        let folder = Folder::new();
        let metastore = folder.embedded();
        let name = dataset("d");
        let heavy = 77;
        let rows = |part: u64| {
            (0..12_000).map(move |row| {
                let of = if row % 3 == 0 { row } else { heavy };
                posting(digest(of), part * 12_000 + row)
            })
        };
        let other = indexed(&object("b", "null", "e"), 99_000);
        let first = indexed(&object("a", "null", "e1"), 99_000);
        record(&metastore, &name, first, &rows(0).collect::<Vec<_>>()).await.expect("recorded");
        record(&metastore, &name, other, &rows(1).collect::<Vec<_>>()).await.expect("recorded");
        metastore.compact().await.expect("compacted");
        let sizes = |metastore: &Embedded| {
            let files = runs_on_disk(&folder.path());
            let _ = metastore;
            files.iter().map(|file| std::fs::metadata(file).expect("there").len()).sum::<u64>()
        };
        let before = sizes(&metastore);
        metastore.succeed(&succession("e1", "e2", &[heavy, 3])).await.expect("succeeded");
        assert_eq!(sizes(&metastore), before, "nothing is written anew but blocks");
        sound(&metastore).await;
        let left = lookup(&metastore, &[digest(heavy), digest(3), digest(6)]).await;
        let named: Vec<_> = left
            .iter()
            .map(|it| (it.digest, it.object.key.to_string(), it.rows.count().0))
            .collect();
        let mut expected = vec![
            (digest(3), "b".to_owned(), 1),
            (digest(6), "a".to_owned(), 1),
            (digest(6), "b".to_owned(), 1),
            (digest(heavy), "b".to_owned(), 8000),
        ];
        expected.sort();
        let mut named = named;
        named.sort();
        assert_eq!(named, expected);

        // The other object's go too, and with them the last trace.
        metastore.forget(&name, &[object("b", "null", "e")]).await.expect("forgotten");
        metastore.scrub().await.expect("scrubbed");
        assert!(!is_on_disk(&bytes_on_disk(&folder.path()), heavy));
        assert!(!is_on_disk(&bytes_on_disk(&folder.path()), 3));
        sound(&metastore).await;
    });
}

/// Round after round of erasing, beside merges, ends like the plainest bookkeeping.
#[test]
fn erasing_beside_merges_ends_like_the_books() {
    block_on(async {
        let folder = Folder::with(Settings { postings: 700, runs: 2 });
        let metastore = folder.embedded();
        let name = dataset("d");
        let mut books: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (random >> 33) % below
        };
        let version =
            |part: u64, round: u64| object(&format!("{part}"), "null", &format!("e{round}"));
        let mut rounds = BTreeMap::new();
        for round in 0..60_u64 {
            let part = next(12);
            let postings: Vec<_> =
                (0..next(900)).map(|row| posting(digest(next(120)), row)).collect();
            books.retain(|(_, object), _| *object != part);
            for found in &postings {
                let of = (0..120).find(|number| digest(*number) == found.digest).expect("known");
                *books.entry((of, part)).or_default() += 1;
            }
            let scanned = indexed(&version(part, round), 1000);
            record(&metastore, &name, scanned, &postings).await.expect("recorded");
            rounds.insert(part, round);
            let erased: Vec<u64> = (0..next(30)).map(|_| next(120)).collect();
            let of = next(12);
            let Some(last) = rounds.get(&of).copied() else { continue };
            let order = Succession {
                dataset: name.clone(),
                old: version(of, last),
                new: version(of, last + 1000),
                erased: erased.iter().copied().map(digest).collect(),
                keeps_old: false,
                landmarks: Landmarks::default(),
            };
            metastore.succeed(&order).await.expect("succeeded");
            rounds.insert(of, last + 1000);
            books.retain(|(subject, object), _| *object != of || !erased.contains(subject));
            if round % 10 == 0 {
                sound(&metastore).await;
            }
        }
        let all: Vec<_> = (0..120).map(digest).collect();
        let found = lookup(&metastore, &all).await;
        let found: BTreeMap<_, _> = found
            .iter()
            .map(|it| {
                let of = all.iter().position(|digest| *digest == it.digest).expect("asked");
                let part =
                    it.object.key.as_str().and_then(|key| key.parse().ok()).expect("a number");
                ((of as u64, part), it.rows.count().0)
            })
            .collect();
        assert_eq!(found, books);
        metastore.scrub().await.expect("scrubbed");
        metastore.settle().await;
        let on_disk = postings_on_disk(&folder.path()).len() as u64;
        assert_eq!(on_disk, books.values().sum::<u64>(), "nothing else is on the disk");
        sound(&metastore).await;
    });
}

/// A thousand subjects of very many objects go at once.
#[test]
fn successions_of_the_same_moment_share_their_work() {
    block_on(async {
        let folder = Folder::busy();
        let metastore = folder.embedded();
        let name = dataset("d");
        let version = |part: u64, etag: &str| object(&format!("{part}"), "null", etag);
        for part in 0..6 {
            let postings: Vec<_> = (0..5000).map(|row| posting(digest(row), row)).collect();
            record(&metastore, &name, indexed(&version(part, "e"), 5000), &postings)
                .await
                .expect("recorded");
        }
        let orders: Vec<_> = (0..6)
            .map(|part| Succession {
                dataset: name.clone(),
                old: version(part, "e"),
                new: version(part, "f"),
                erased: (0..1000).map(|number| digest(number * 5)).collect(),
                keeps_old: part == 5,
                landmarks: Landmarks::default(),
            })
            .collect();
        let done = orders.iter().map(|order| metastore.succeed(order));
        futures::future::try_join_all(done).await.expect("succeeded");
        assert_eq!(metastore.size().await.expect("a size").postings, 6 * 4000);
        metastore.settle().await;
        let left = subjects_on_disk(&folder.path());
        assert!((0..1000).all(|number| !left.contains(&subject(number * 5))));
        sound(&metastore).await;
    });
}
