//! Which objects there are, and what names them.

use lacuna::domain::object::{ObjectKey, Standing};
use lacuna::lake::{Base, LakeErrorKind, Target};

use lacuna::lake::WriteOutcome;

use super::*;

/// Keys that every backend holds.
pub(crate) const KEYS: &[&[u8]] = &[
    b"plain.json",
    b"with space/plus+plus/percent%2Fpercent%",
    b"query?a=b&c#d/!*'();:@$,[]",
    "gr\u{fc}n/\u{1f388}/e\u{301}".as_bytes(),
    b"line\nbreak\ttab",
    b"escape\x1b[2J",
    b".hidden/..dots../...",
    b"back\\slash",
    b"quote\"<xml>&amp;",
];

/// A key of 999 bytes whose names are as long as a file system takes.
fn long_key() -> Vec<u8> {
    [[b'a'; 249], [b'b'; 249], [b'c'; 249], [b'd'; 249]].join(&b'/')
}

/// B14: a key is bytes, and comes back as it was stored.
pub(crate) async fn keys_come_back_byte_for_byte(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let mut keys: Vec<Vec<u8>> = KEYS.iter().map(|key| key.to_vec()).collect();
    keys.extend(under.holds().keys.iter().map(|key| key.to_vec()));
    keys.push(long_key());
    keys.retain(|key| !under.spoils(key));
    for (position, key) in keys.iter().enumerate() {
        let key = ObjectKey::new(key.as_slice());
        foreign.put(&key, format!("old {position}").as_bytes(), &[]).await;
        let object = current(&*lake, &key).await;
        assert_eq!(object.key, key);
        let edit = Edit::new(vec![
            lacuna::domain::edit::Segment::Bytes(Bytes::from_static(b"new ")),
            lacuna::domain::edit::Segment::Copy(4..object.size_bytes),
        ]);
        write(&*lake, &key, Base::Version(object), edit).await.expect("an odd key is written");
    }
    for (position, key) in keys.iter().enumerate() {
        let key = ObjectKey::new(key.as_slice());
        assert_eq!(current_bytes(&*lake, &key).await, format!("new {position}").into_bytes());
    }
    let mut listed: Vec<Vec<u8>> = listing(&*lake, b"")
        .await
        .iter()
        .map(|entry| entry.object.key.as_bytes().to_vec())
        .collect();
    listed.dedup();
    keys.sort();
    assert_eq!(listed, keys);
}

/// J1, B14: a key that the store cannot hold is an error in every method, never another key.
pub(crate) async fn keys_that_the_store_cannot_hold_are_errors(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let innocent = ObjectKey::from("a/b");
    foreign.put(&innocent, b"innocent", &[]).await;
    let object = current(&*lake, &innocent).await;
    for key in under.holds().refuses {
        let key = ObjectKey::new(*key);
        let forged = ObjectVersion { key: key.clone(), ..object.clone() };
        assert!(lake.attributes(Target::Current(&key)).await.is_err(), "{key}");
        assert!(lake.versions(&key).await.is_err(), "{key}");
        assert!(bytes_of(&*lake, &forged).await.is_err(), "{key}");
        assert!(lake.delete_version(&forged).await.is_err(), "{key}");
        let created = write(&*lake, &key, Base::Absent, Edit::bytes("x")).await;
        assert_eq!(created.expect_err("refused").outcome, WriteOutcome::Unchanged, "{key}");
        let replaced = write(&*lake, &key, Base::Version(forged), Edit::bytes("x")).await;
        assert_eq!(replaced.expect_err("refused").outcome, WriteOutcome::Unchanged, "{key}");
    }
    let listed = listing(&*lake, b"").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(current_bytes(&*lake, &innocent).await, b"innocent");
}

/// Keys around the bytes below and above `/`, where a walk of folders easily goes wrong.
async fn neighbours(under: &dyn LakeUnderTest, foreign: &dyn Foreign) -> Vec<Vec<u8>> {
    let mut keys: Vec<&[u8]> = vec![
        b"k/a!",
        b"k/a.b",
        b"k/a-b/c",
        b"k/a/b",
        b"k/a/b.c",
        b"k/a/b0",
        b"k/a0",
        b"k/ab",
        b"k.",
        b"k0/a",
        b"k2",
        b"K/a",
        "k/\u{e4}".as_bytes(),
        b"k/z/y/x/w",
    ];
    if under.holds().key_below_key {
        keys.extend([&b"k/a"[..], b"k", b"k/z/y"]);
    }
    for key in keys.iter().rev() {
        foreign.put(&ObjectKey::new(*key), key, &[]).await;
    }
    keys.sort_unstable();
    keys.into_iter().map(<[u8]>::to_vec).collect()
}

/// Keys come in ascending order of their bytes, and each is there once.
pub(crate) async fn a_listing_is_in_ascending_order_of_bytes(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    assert!(listing(&*lake, b"").await.is_empty());
    let keys = neighbours(under, &*foreign).await;
    let listed = listing(&*lake, b"").await;
    let listed: Vec<&[u8]> = listed.iter().map(|entry| entry.object.key.as_bytes()).collect();
    assert_eq!(listed, keys);
}

/// A prefix is bytes: it may end within a name, and need not end in `/`.
pub(crate) async fn a_listing_keeps_to_its_prefix(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let keys = neighbours(under, &*foreign).await;
    let prefixes: [&[u8]; 12] = [
        b"k",
        b"k/",
        b"k/a",
        b"k/a/",
        b"k/a/b",
        b"k/a.",
        b"k/z/y/x/w",
        b"k/z/y/x/w/",
        b"k/\xc3",
        b"q",
        b"k/q/",
        b"K",
    ];
    for prefix in prefixes {
        if std::str::from_utf8(prefix).is_err() && !under.holds().keys.contains(&&b"\xff"[..]) {
            continue;
        }
        let listed = listing(&*lake, prefix).await;
        let listed: Vec<&[u8]> = listed.iter().map(|entry| entry.object.key.as_bytes()).collect();
        let expected: Vec<&Vec<u8>> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(listed, expected, "{prefix:?}");
    }
}

/// C2: asking for the versions of `k/a` never answers with those of `k/ab` or `k/a/b`.
pub(crate) async fn versions_are_those_of_exactly_the_key(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    for key in neighbours(under, &*foreign).await {
        let key = ObjectKey::new(key);
        let versions = lake.versions(&key).await.expect("versions are listed");
        assert_eq!(versions.len(), 1, "{key}");
        assert_eq!(versions[0].object, current(&*lake, &key).await);
    }
    for absent in ["k/a/", "k/z", "k/z/", "absent"] {
        let key = ObjectKey::from(absent);
        match lake.versions(&key).await {
            Ok(versions) => assert_eq!(versions, [], "{absent}"),
            Err(error) => assert_eq!(error.kind(), LakeErrorKind::Unsupported, "{absent}"),
        }
    }
}

/// One version travels unchanged: listed, asked for, written.
pub(crate) async fn every_way_to_a_version_names_it_alike(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("folder/object");
    foreign.put(&key, b"0123456789", &[]).await;
    let before = current(&*lake, &key).await;
    assert_eq!(before.size_bytes, 10);
    let edit = Edit::bytes("abc");
    let written = write(&*lake, &key, Base::Version(before.clone()), edit).await.expect("written");
    assert_eq!(written.size_bytes, 3);
    assert!(!written.is_same_version(&before));
    let attributes = lake.attributes(Target::Current(&key)).await.expect("current");
    assert!(attributes.object.is_same_version(&written));
    let exact = lake.attributes(Target::Version(&written)).await.expect("that version");
    assert_eq!(exact.object, attributes.object);
    let listed = listing(&*lake, b"folder/").await;
    assert_eq!(listed[0].object, attributes.object);
    assert_eq!(listed[0].standing, Standing::Current);
    assert_eq!(lake.versions(&key).await.expect("versions"), listed);
}

/// C1: every kept version is listed, the newest first.
pub(crate) async fn versions_come_newest_first(under: &dyn LakeUnderTest) {
    if !under.holds().versions {
        return;
    }
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a/b");
    foreign.put(&ObjectKey::from("a/bc"), b"other", &[]).await;
    for text in ["one", "two", "three"] {
        foreign.put(&key, text.as_bytes(), &[]).await;
    }
    let versions = lake.versions(&key).await.expect("versions are listed");
    let mut texts = Vec::new();
    for version in &versions {
        texts.push(bytes_of(&*lake, &version.object).await.expect("a kept version is read"));
    }
    assert_eq!(texts, [&b"three"[..], b"two", b"one"]);
    let standings: Vec<Standing> = versions.iter().map(|version| version.standing).collect();
    assert_eq!(standings, [Standing::Current, Standing::Superseded, Standing::Superseded]);
    let listed = listing(&*lake, b"a/b").await;
    assert_eq!(listed.len(), 4);
    assert_eq!(listed[..3], versions[..]);
}

/// C5: without versions, overwritten bytes are gone and the capabilities say so.
pub(crate) async fn overwriting_without_versions_leaves_one(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let capabilities = lake.capabilities().await.expect("the store answers");
    let keeps = capabilities.versioning != lacuna::lake::Versioning::Never;
    assert_eq!(keeps, under.holds().versions);
    if keeps {
        return;
    }
    let key = ObjectKey::from("a");
    foreign.put(&key, b"one", &[]).await;
    let first = current(&*lake, &key).await;
    assert!(first.version.is_null());
    write(&*lake, &key, Base::Version(first.clone()), Edit::bytes("two")).await.expect("written");
    assert_eq!(lake.versions(&key).await.expect("versions").len(), 1);
    let gone = lake.attributes(Target::Version(&first)).await.expect_err("it is gone");
    assert!(matches!(gone.kind(), LakeErrorKind::NotFound | LakeErrorKind::Drifted));
}

/// L1: neither a write nor an error shows what stands in an object.
pub(crate) async fn nothing_shows_content(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"canary", &[]).await;
    let stale = current(&*lake, &key).await;
    foreign.put(&key, b"canary again", &[]).await;
    let order = order(&key, Base::Version(stale), Edit::bytes("canary as well"));
    assert!(!format!("{order:?}").contains("canary"));
    let error = lake.write(order).await.expect_err("the base is stale");
    assert!(!format!("{error} {error:?} {lake:?}").contains("canary"));
}
