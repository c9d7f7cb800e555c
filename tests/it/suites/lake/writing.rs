//! A write is a compare-and-swap with three outcomes, and nothing of an unfinished one is visible.

use std::sync::mpsc;
use std::time::Duration;

use lacuna::domain::edit::{EditError, Segment};
use lacuna::lake::{LakeErrorKind, Settled, WriteOutcome, settle};

use super::*;

fn bytes(text: &'static str) -> Segment {
    Segment::Bytes(Bytes::from_static(text.as_bytes()))
}

/// The write certainly did not happen, and because the object is another.
fn assert_drifted(result: Result<ObjectVersion, WriteError>) {
    let error = result.expect_err("the base is not what the key holds");
    assert_eq!(error.outcome, WriteOutcome::Unchanged, "{error}");
    let kind = error.error.kind();
    assert!(matches!(kind, LakeErrorKind::Drifted | LakeErrorKind::NotFound), "{kind:?}: {error}");
}

/// Copies and new bytes come in the order of the edit.
pub(crate) async fn an_edit_is_copies_and_bytes(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("folder/a");
    foreign.put(&key, b"0123456789", &[]).await;
    let old = current(&*lake, &key).await;
    let edit = Edit::new(vec![
        Segment::Copy(8..10),
        bytes("--"),
        Segment::Copy(3..3),
        bytes(""),
        Segment::Copy(0..4),
        Segment::Copy(2..5),
        bytes("!"),
    ]);
    let written = write(&*lake, &key, Base::Version(old), edit).await.expect("written");
    assert_eq!(written.size_bytes, 12);
    assert_eq!(bytes_of(&*lake, &written).await.expect("read"), b"89--0123234!");
}

/// B24: an object of nothing is an object.
pub(crate) async fn an_edit_may_leave_nothing(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"0123456789", &[]).await;
    let mut object = current(&*lake, &key).await;
    for edit in [Edit::new(Vec::new()), Edit::streamed(std::iter::empty()), Edit::bytes("")] {
        object = write(&*lake, &key, Base::Version(object), edit).await.expect("written");
        assert_eq!(object.size_bytes, 0);
        assert_eq!(current_bytes(&*lake, &key).await, b"");
    }
    let created = write(&*lake, &ObjectKey::from("b"), Base::Absent, Edit::new(Vec::new())).await;
    assert_eq!(created.expect("created").size_bytes, 0);
}

/// An edit whose length is known only at its end passes through in parts.
pub(crate) async fn a_large_edit_of_unknown_length_arrives_whole(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    let expected = pattern(under.holds().part_bytes * 5 / 2, 3);
    let pieces: Vec<Bytes> = expected.chunks(100_003).map(Bytes::copy_from_slice).collect();
    let edit = Edit::streamed(pieces.into_iter().map(|piece| Ok(Segment::Bytes(piece))));
    let written = write(&*lake, &key, Base::Absent, edit).await.expect("written");
    assert_eq!(written.size_bytes, expected.len() as u64);
    assert!(bytes_of(&*lake, &written).await.expect("read") == expected);
    assert!(current(&*lake, &key).await.is_same_version(&written));
    assert_eq!(foreign.leftovers().await, 0);
}

/// B5, B6: a large object with small changes, around the limits of parts.
pub(crate) async fn a_large_object_is_spliced(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    let part = under.holds().part_bytes as u64;
    let old_bytes = pattern(under.holds().part_bytes * 3 + 1, 4);
    let end = old_bytes.len() as u64;
    foreign.put(&key, &old_bytes, &[]).await;
    let mut object = current(&*lake, &key).await;
    let segments = [
        vec![Segment::Copy(0..part + 7), bytes("new"), Segment::Copy(part + 10..end)],
        vec![bytes("{"), Segment::Copy(0..end), bytes("}")],
        vec![Segment::Copy(0..10), bytes("x"), Segment::Copy(11..20), Segment::Copy(end - 3..end)],
    ];
    let mut expected = old_bytes;
    for segments in segments {
        let mut next = Vec::new();
        for segment in &segments {
            match segment {
                Segment::Bytes(piece) => next.extend_from_slice(piece),
                Segment::Copy(range) => {
                    next.extend_from_slice(&expected[range.start as usize..range.end as usize]);
                }
            }
        }
        expected = next;
        let edit = Edit::new(segments);
        object = write(&*lake, &key, Base::Version(object), edit).await.expect("written");
        assert!(bytes_of(&*lake, &object).await.expect("read") == expected);
    }
}

/// Begins well, then fails as `last` does.
fn failing(part_bytes: usize, last: fn() -> Result<Segment, EditError>) -> Edit {
    let piece = Bytes::from(pattern(part_bytes, 5));
    let good = [Segment::Copy(0..5), Segment::Bytes(piece.clone()), Segment::Bytes(piece)];
    Edit::streamed(good.into_iter().map(Ok).chain(std::iter::once_with(last)))
}

async fn changes_nothing(under: &dyn LakeUnderTest, edit: Edit) -> WriteError {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"0123456789", &[]).await;
    let before = current(&*lake, &key).await;
    let notes = Arc::new(Notes::default());
    let base = Base::Version(before.clone());
    let write = Write { observer: notes.clone(), ..order(&key, base, edit) };
    let error = lake.write(write).await.expect_err("the edit fails");
    assert_eq!(error.outcome, WriteOutcome::Unchanged, "{error}");
    assert_eq!(current(&*lake, &key).await, before);
    assert_eq!(current_bytes(&*lake, &key).await, b"0123456789");
    assert_eq!(listing(&*lake, b"").await.len(), 1);
    for staging in notes.taken() {
        lake.abandon(&key, &staging).await.expect("abandoned");
    }
    assert_eq!(foreign.leftovers().await, 0);
    error
}

/// J4: an edit that fails half-way leaves the object as it was, and nothing beside it.
pub(crate) async fn a_failing_edit_changes_nothing(under: &dyn LakeUnderTest) {
    let edit = failing(under.holds().part_bytes, || Err("the format gave up".into()));
    let error = changes_nothing(under, edit).await;
    let mut chain = std::error::Error::source(&error.error);
    let mut texts = vec![error.to_string()];
    while let Some(cause) = chain {
        texts.push(cause.to_string());
        chain = cause.source();
    }
    assert!(texts.iter().any(|text| text.contains("the format gave up")), "{texts:?}");
}

/// An edit that panics is not one that ended: half an object is never committed.
pub(crate) async fn a_panicking_edit_changes_nothing(under: &dyn LakeUnderTest) {
    let edit = failing(under.holds().part_bytes, || panic!("on purpose"));
    changes_nothing(under, edit).await;
}

/// B9: a copy of bytes that the base does not have is refused, also after good ones.
pub(crate) async fn a_copy_beyond_the_end_changes_nothing(under: &dyn LakeUnderTest) {
    #[expect(clippy::reversed_empty_ranges, reason = "what a format must not ask for")]
    for range in [5..11, 11..12, 9..u64::MAX, 7..6] {
        let copies = vec![Segment::Copy(0..10), Segment::Copy(range)];
        changes_nothing(under, Edit::streamed(copies.clone().into_iter().map(Ok))).await;
        changes_nothing(under, Edit::new(copies)).await;
    }
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    let result = write(&*lake, &key, Base::Absent, Edit::new(vec![Segment::Copy(0..1)])).await;
    assert_eq!(result.expect_err("nothing to copy from").outcome, WriteOutcome::Unchanged);
    assert!(listing(&*lake, b"").await.is_empty());
    assert_eq!(foreign.leftovers().await, 0);
}

struct Refusing;

#[async_trait]
impl WriteObserver for Refusing {
    async fn staged(&self, _: &ObjectKey, _: &Staging) -> Result<(), ObserverError> {
        Err("the journal is full".into())
    }
}

/// B4, J5: what could not be noted is not stored.
pub(crate) async fn a_refusing_observer_changes_nothing(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    let piece = Bytes::from(pattern(under.holds().part_bytes * 2, 6));
    let pieces = [Ok(Segment::Bytes(piece.clone())), Ok(Segment::Bytes(piece))];
    let edit = Edit::streamed(pieces.into_iter());
    let write = Write { observer: Arc::new(Refusing), ..order(&key, Base::Absent, edit) };
    let error = lake.write(write).await.expect_err("the observer refuses");
    assert_eq!(error.outcome, WriteOutcome::Unchanged);
    assert!(listing(&*lake, b"").await.is_empty());
    assert_eq!(foreign.leftovers().await, 0);
}

/// A2: a write over anything but its base is refused, and the other's bytes stay.
pub(crate) async fn a_stale_base_is_refused(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"read by us", &[]).await;
    let stale = current(&*lake, &key).await;
    foreign.put(&key, b"their bytes", &[]).await;
    for edit in [
        Edit::bytes("lost"),
        Edit::new(vec![Segment::Copy(0..4)]),
        Edit::streamed(
            [Ok(Segment::Bytes(pattern(under.holds().part_bytes * 2, 1).into()))].into_iter(),
        ),
    ] {
        assert_drifted(write(&*lake, &key, Base::Version(stale.clone()), edit).await);
        assert_eq!(current_bytes(&*lake, &key).await, b"their bytes");
    }
    assert_eq!(foreign.leftovers().await, 0);
}

/// A3: a deleted object is not brought back.
pub(crate) async fn a_deleted_base_is_refused(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a/b");
    foreign.put(&key, b"0123456789", &[]).await;
    let old = current(&*lake, &key).await;
    foreign.delete(&key).await;
    for edit in [Edit::bytes("back"), Edit::new(vec![Segment::Copy(0..4)])] {
        assert_drifted(write(&*lake, &key, Base::Version(old.clone()), edit).await);
    }
    let gone = lake.attributes(Target::Current(&key)).await.expect_err("still deleted");
    assert_eq!(gone.kind(), LakeErrorKind::NotFound);
}

/// A4: an object deleted and made again of the same bytes may count as the base, since nobody's
/// bytes are lost by it; of other bytes of the same length it never does.
pub(crate) async fn a_base_made_again_is_never_mistaken(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"0123456789", &[]).await;
    let old = current(&*lake, &key).await;
    foreign.delete(&key).await;
    foreign.put(&key, b"9876543210", &[]).await;
    let edit = || Edit::new(vec![Segment::Copy(0..9), bytes("!")]);
    assert_drifted(write(&*lake, &key, Base::Version(old.clone()), edit()).await);
    assert_eq!(current_bytes(&*lake, &key).await, b"9876543210");
    foreign.put(&key, b"0123456789", &[]).await;
    match write(&*lake, &key, Base::Version(old), edit()).await {
        Ok(_) => assert_eq!(current_bytes(&*lake, &key).await, b"012345678!"),
        refused => {
            assert_drifted(refused);
            assert_eq!(current_bytes(&*lake, &key).await, b"0123456789");
        }
    }
}

/// Of many writes over one base exactly one happens, and the object is the winner's.
async fn one_winner(under: &dyn LakeUnderTest, exists: bool) {
    let Ground { lake, foreign } = under.fresh().await;
    for round in 0..4 {
        let key = ObjectKey::from(format!("folder/{round}").as_str());
        let base = if exists {
            foreign.put(&key, b"0123456789", &[]).await;
            Base::Version(current(&*lake, &key).await)
        } else {
            Base::Absent
        };
        let writes = (0..4).map(|writer| {
            let (lake, key, base) = (lake.clone(), key.clone(), base.clone());
            let edit = Edit::bytes(format!("writer {writer}"));
            tokio::spawn(async move { write(&*lake, &key, base, edit).await })
        });
        let mut winners = Vec::new();
        for (writer, result) in futures::future::join_all(writes).await.into_iter().enumerate() {
            match result.expect("no writer panics") {
                Ok(object) => winners.push((writer, object)),
                Err(error) => assert_eq!(error.outcome, WriteOutcome::Unchanged, "{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let (writer, object) = &winners[0];
        assert!(current(&*lake, &key).await.is_same_version(object));
        assert_eq!(current_bytes(&*lake, &key).await, format!("writer {writer}").into_bytes());
    }
    assert_eq!(foreign.leftovers().await, 0);
}

/// A2: concurrent writes over one version.
pub(crate) async fn two_writers_have_one_winner(under: &dyn LakeUnderTest) {
    one_winner(under, true).await;
}

/// B11: concurrent creations of one key.
pub(crate) async fn two_creators_have_one_winner(under: &dyn LakeUnderTest) {
    one_winner(under, false).await;
}

/// A creation creates, or changes nothing.
pub(crate) async fn absent_means_absent(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("new/folder/a");
    let created = create(&*lake, &key, b"first").await;
    assert!(current(&*lake, &key).await.is_same_version(&created));
    assert_drifted(write(&*lake, &key, Base::Absent, Edit::bytes("second")).await);
    let large = Bytes::from(pattern(under.holds().part_bytes * 2, 1));
    assert_drifted(write(&*lake, &key, Base::Absent, Edit::bytes(large)).await);
    assert_eq!(current_bytes(&*lake, &key).await, b"first");
    foreign.delete(&key).await;
    create(&*lake, &key, b"third").await;
    assert_eq!(current_bytes(&*lake, &key).await, b"third");
}

/// B7, J6: what belongs to the object and not to its bytes survives a rewrite, small or in parts.
pub(crate) async fn what_belongs_to_the_object_stays(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("folder/a");
    let attributes = under.holds().attributes;
    foreign.put(&key, &pattern(under.holds().part_bytes * 2, 7), attributes).await;
    let before = lake.attributes(Target::Current(&key)).await.expect("there");
    for (name, value) in attributes {
        assert_eq!(before.carried.get(*name).map(String::as_str), Some(*value), "{name}");
    }
    assert_eq!(before.operation, None);
    let size_bytes = before.object.size_bytes;
    let splice = Edit::new(vec![bytes("new"), Segment::Copy(3..size_bytes)]);
    let mut object = before.object;
    for edit in [splice, Edit::bytes("small"), Edit::new(Vec::new())] {
        object = write(&*lake, &key, Base::Version(object), edit).await.expect("written");
        let after = lake.attributes(Target::Version(&object)).await.expect("there");
        assert_eq!(after.carried, before.carried);
        assert_eq!(after.storage_class, before.storage_class);
        assert!(after.is_readable);
    }
}

/// B1: a write whose answer was lost is recognised by its mark, and by nothing else.
pub(crate) async fn a_write_is_known_by_its_operation(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let capabilities = lake.capabilities().await.expect("the store answers");
    assert!(capabilities.marks_operations, "the servers and folders of the tests can");
    let key = ObjectKey::from("a");
    let large = Bytes::from(pattern(under.holds().part_bytes * 2, 8));
    for edit in [Edit::bytes("small"), Edit::bytes(large)] {
        foreign.put(&key, b"0123456789", &[]).await;
        let base = Base::Version(current(&*lake, &key).await);
        let order = order(&key, base, edit);
        let operation = order.operation.clone();
        let before = settle(&*lake, &key, &operation).await.expect("settled");
        assert_eq!(before, Settled::NotCommitted);
        let written = lake.write(order).await.expect("written");
        match settle(&*lake, &key, &operation).await.expect("settled") {
            Settled::Committed(object) => assert!(object.is_same_version(&written)),
            Settled::NotCommitted => panic!("the mark is not there"),
        }
        let other = settle(&*lake, &key, &super::operation()).await.expect("settled");
        assert_eq!(other, Settled::NotCommitted);
    }
}

/// B1, B20: a foreign write over ours does not inherit the mark, and ours not that of the one before.
pub(crate) async fn another_write_is_not_taken_for_ours(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    let first = order(&key, Base::Absent, Edit::bytes("ours"));
    let first_operation = first.operation.clone();
    let written = lake.write(first).await.expect("written");
    let second = order(&key, Base::Version(written), Edit::new(vec![Segment::Copy(0..4)]));
    let second_operation = second.operation.clone();
    lake.write(second).await.expect("written");
    let first = settle(&*lake, &key, &first_operation).await.expect("settled");
    assert_eq!(first, Settled::NotCommitted);
    foreign.put(&key, b"theirs", &[]).await;
    let second = settle(&*lake, &key, &second_operation).await.expect("settled");
    assert_eq!(second, Settled::NotCommitted);
    let absent = ObjectKey::from("absent");
    let never = settle(&*lake, &absent, &second_operation).await.expect("settled");
    assert_eq!(never, Settled::NotCommitted);
}

/// B4, J5: a write that is dropped half-way is invisible, and abandoning it leaves nothing.
pub(crate) async fn a_dropped_write_is_invisible_and_abandoned(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("folder/a");
    foreign.put(&key, b"0123456789", &[]).await;
    let before = current(&*lake, &key).await;
    let (reached, reaching) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let piece = Bytes::from(pattern(under.holds().part_bytes, 9));
    let pieces = std::iter::repeat_n(piece, 3).map(|piece| Ok(Segment::Bytes(piece)));
    let wait = std::iter::once_with(move || {
        reached.send(()).expect("the test waits");
        released.recv().expect_err("the test lets go by dropping its end");
        Ok(Segment::Copy(0..10))
    });
    let notes = Arc::new(Notes::default());
    let edit = Edit::streamed(pieces.chain(wait));
    let base = Base::Version(before.clone());
    let write = Write { observer: notes.clone(), ..order(&key, base, edit) };
    let writer = lake.clone();
    let task = tokio::spawn(async move { writer.write(write).await });
    tokio::task::spawn_blocking(move || reaching.recv()).await.expect("joined").expect("reached");
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    assert_eq!(current(&*lake, &key).await, before);
    assert_eq!(listing(&*lake, b"").await.len(), 1);
    drop(release);
    for _ in 0..2 {
        for staging in notes.taken() {
            lake.abandon(&key, &staging).await.expect("abandoned");
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(foreign.leftovers().await, 0);
    assert_eq!(current(&*lake, &key).await, before);
    assert_eq!(current_bytes(&*lake, &key).await, b"0123456789");
}

/// B4: abandoning what was never begun, or was finished long ago, is success and harms nothing.
pub(crate) async fn abandoning_nothing_is_success(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("folder/a");
    foreign.put(&key, b"0123456789", &[]).await;
    let object = current(&*lake, &key).await;
    let notes = Arc::new(Notes::default());
    let large = Edit::bytes(pattern(under.holds().part_bytes * 3, 1));
    let write = Write { observer: notes.clone(), ..order(&key, Base::Version(object), large) };
    let written = lake.write(write).await.expect("written");
    assert!(!notes.taken().is_empty(), "a write in parts tells where they lie");
    for staging in notes.taken() {
        lake.abandon(&key, &staging).await.expect("nothing to abandon");
        let elsewhere = ObjectKey::from("elsewhere/b");
        lake.abandon(&elsewhere, &staging).await.expect("nothing to abandon");
    }
    assert_eq!(current(&*lake, &key).await, written);
}
