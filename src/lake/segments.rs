//! An edit as a stream: its segments are made off the runtime's threads, a few ahead of the writer.
//! It knows no store.

use futures::stream::{self, Stream};
use tokio::sync::mpsc;

use super::{LakeError, LakeErrorKind};
use crate::domain::edit::{Edit, EditError, Segment};
use crate::domain::object::ObjectKey;

/// How many segments are made ahead of whoever writes them.
const AHEAD: usize = 4;

/// What the thread tells. An edit that ended says so, since a channel that closes without it means that
/// the thread panicked: half an object must not pass for a whole one.
enum Told {
    Segment(Result<Segment, EditError>),
    Ended,
}

/// The edit did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the edit stopped before its end: the thread that made it panicked or was shut down")]
struct Broken;

/// The segments of an edit, in order. Nothing comes after an error. Dropping the stream stops the
/// thread behind it when it next has a segment to hand over.
///
/// Has to be polled within a Tokio runtime; the thread starts at the first poll.
pub fn segments(edit: Edit) -> impl Stream<Item = Result<Segment, EditError>> + Send {
    stream::unfold(Stage::Before(edit), |stage| async {
        let mut receiver = match stage {
            Stage::Before(edit) => start(edit),
            Stage::Running(receiver) => receiver,
            Stage::After => return None,
        };
        match receiver.recv().await {
            Some(Told::Segment(Ok(segment))) => Some((Ok(segment), Stage::Running(receiver))),
            Some(Told::Segment(Err(error))) => Some((Err(error), Stage::After)),
            Some(Told::Ended) => None,
            None => Some((Err(Broken.into()), Stage::After)),
        }
    })
}

/// The error of a write whose edit failed. Where a lake's own error lies beneath it, since the edit
/// reads the old object, its kind is kept: the caller reacts to that.
pub fn failed_edit(key: &ObjectKey, error: EditError) -> LakeError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    let mut kind = LakeErrorKind::Other;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<LakeError>() {
            kind = error.kind();
            break;
        }
        cause = error.source();
    }
    LakeError::about(kind, key, "the edit failed").caused_by(error)
}

enum Stage {
    Before(Edit),
    Running(mpsc::Receiver<Told>),
    After,
}

fn start(edit: Edit) -> mpsc::Receiver<Told> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for segment in edit {
            if sender.blocking_send(Told::Segment(segment)).is_err() {
                return;
            }
        }
        // A receiver that is gone wants to know nothing.
        drop(sender.blocking_send(Told::Ended));
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures::StreamExt as _;

    use super::*;

    fn segment(number: usize) -> Segment {
        Segment::Bytes(Bytes::from(number.to_string()))
    }

    #[tokio::test]
    async fn segments_come_in_order_and_end() {
        let edit = Edit::streamed((0..100).map(|number| Ok(segment(number))));
        let got: Vec<_> = segments(edit).map(|item| item.expect("a segment")).collect().await;
        assert_eq!(got, (0..100).map(segment).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn nothing_comes_after_an_error() {
        let items = [Ok(segment(0)), Err("broken".into()), Ok(segment(1))];
        let got: Vec<_> = segments(Edit::streamed(items.into_iter())).collect().await;
        assert_eq!(got.len(), 2);
        assert_eq!(got[1].as_ref().expect_err("an error").to_string(), "broken");
    }

    /// Without the word that it ended, a panic would look like the end of the object.
    #[tokio::test]
    async fn a_panic_is_an_error_and_not_the_end() {
        let last = std::iter::once_with(|| panic!("on purpose"));
        let edit = Edit::streamed(std::iter::once(Ok(segment(0))).chain(last));
        let got: Vec<_> = segments(edit).collect().await;
        assert!(got[0].is_ok() && got[1].is_err() && got.len() == 2);
    }

    /// An object that drifted under an edit is drift, however deep the store's error lies.
    #[test]
    fn the_kind_of_the_stores_error_is_kept() {
        #[derive(Debug, thiserror::Error)]
        #[error("the object could not be read")]
        struct Outer(#[source] EditError);

        let key = ObjectKey::from("a");
        let drifted = LakeError::about(LakeErrorKind::Drifted, &key, "it is another");
        let deep = Outer(Box::new(Outer(Box::new(drifted))));
        assert_eq!(failed_edit(&key, deep.into()).kind(), LakeErrorKind::Drifted);
        assert_eq!(failed_edit(&key, "broken".into()).kind(), LakeErrorKind::Other);
    }

    /// Memory is bounded, and a writer that gave up does not leave the thread working.
    #[tokio::test]
    async fn the_thread_runs_a_few_ahead_and_stops_with_the_stream() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let endless = std::iter::repeat_with(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(segment(0))
        });
        let mut stream = Box::pin(segments(Edit::streamed(endless)));
        assert!(stream.next().await.is_some());
        while made.load(Ordering::SeqCst) < AHEAD + 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(made.load(Ordering::SeqCst), AHEAD + 2);
        drop(stream);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(made.load(Ordering::SeqCst) <= AHEAD + 3);
    }
}
