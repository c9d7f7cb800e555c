//! The wrappers of a lake keep its contract, and each does what it is for.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::StreamExt as _;
use lacuna::domain::edit::Segment;
use lacuna::lake::count::{Count, Method};
use lacuna::lake::directory::DirectoryLake;
use lacuna::lake::fault::{Failure, Fault, Lie, When};
use lacuna::lake::limit::Limit;
use lacuna::lake::memory::MemoryLake;
use lacuna::lake::probe::{ensure_conditional_writes, prove_conditional_writes};
use lacuna::lake::retry::{Patience, Retry};
use lacuna::lake::{LakeErrorKind, WriteOutcome, document};

use super::memory::{Beside, MemoryUnderTest};
use super::*;

const PATIENCE: Patience =
    Patience { attempts: 4, first: Duration::from_micros(1), longest: Duration::from_micros(10) };

const fn requests(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

/// Every wrapper at once, around a lake in memory.
struct Wrapped {
    /// Whether every other call fails, except writes.
    storm: bool,
}

fn storm(fault: &Fault) {
    let fails = [
        (Method::Capabilities, When::Before),
        (Method::List, When::Midway),
        (Method::Versions, When::QuestionLost),
        (Method::Attributes, When::AnswerLost),
        (Method::Read, When::Midway),
        (Method::Abandon, When::AnswerLost),
        (Method::DeleteVersion, When::AnswerLost),
    ];
    for (method, when) in fails {
        for call in (1..200).step_by(2) {
            fault.fail(failure(method, call, when));
        }
    }
}

fn failure(method: Method, call: u64, when: When) -> Failure {
    let kind = LakeErrorKind::Unavailable;
    Failure { method: Some(method), call, forever: false, when, kind }
}

#[async_trait]
impl LakeUnderTest for Wrapped {
    async fn fresh(&self) -> Ground {
        let memory = Arc::new(MemoryLake::versioned());
        let fault = Fault::new(memory.clone());
        if self.storm {
            storm(&fault);
        }
        let limit = Limit::new(Arc::new(fault), requests(1));
        let retry = Retry::new(Arc::new(Count::new(Arc::new(limit))), PATIENCE);
        Ground { lake: Arc::new(retry), foreign: Box::new(Beside(memory)) }
    }

    fn holds(&self) -> Holds {
        MemoryUnderTest { versions: true }.holds()
    }
}

lake_suite!(wrapped, Wrapped { storm: false });
lake_suite!(wrapped_in_a_storm, Wrapped { storm: true });

fn faulty(failure: Failure) -> (Arc<MemoryLake>, Arc<Fault>, Retry) {
    let memory = Arc::new(MemoryLake::versioned());
    let fault = Arc::new(Fault::new(memory.clone()));
    fault.fail(failure);
    let retry = Retry::new(fault.clone(), PATIENCE);
    (memory, fault, retry)
}

/// B1: the answer was lost but the write took place: it is found, and not done twice.
#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found() {
    let (_, fault, retry) = faulty(failure(Method::Write, 1, When::AnswerLost));
    let key = ObjectKey::from("a");
    let written = write(&retry, &key, Base::Absent, Edit::bytes("x")).await.expect("it took place");
    assert_eq!(bytes_of(&retry, &written).await.expect("read"), b"x");
    assert_eq!(fault.calls(Some(Method::Write)), 1);
    assert_eq!(retry.versions(&key).await.expect("versions").len(), 1);
}

/// B1: what may still arrive is unknown, and never sent again.
#[tokio::test]
async fn a_write_whose_question_was_lost_stays_unknown() {
    let (_, fault, retry) = faulty(failure(Method::Write, 1, When::QuestionLost));
    let key = ObjectKey::from("a");
    let error = write(&retry, &key, Base::Absent, Edit::bytes("x")).await.expect_err("unknown");
    assert_eq!(error.outcome, WriteOutcome::Unknown);
    assert_eq!(fault.calls(Some(Method::Write)), 1);
    assert_eq!(retry.versions(&key).await.expect("versions"), []);
}

/// B10: patience ends, and is spent on nothing that will not mend.
#[tokio::test]
async fn patience_ends() {
    let key = ObjectKey::from("a");
    for (kind, calls) in [(LakeErrorKind::Unavailable, 4), (LakeErrorKind::Denied, 1)] {
        let method = Some(Method::Versions);
        let (_, fault, retry) =
            faulty(Failure { method, call: 1, forever: true, when: When::Before, kind });
        let error = retry.versions(&key).await.expect_err("it fails for ever");
        assert_eq!(error.kind(), kind);
        assert_eq!(fault.calls(method), calls);
    }
}

/// B9: a read that breaks off goes on where it was; one that just ends early is an error.
#[tokio::test]
async fn a_broken_read_goes_on_and_a_short_one_fails() {
    let bytes = pattern(1 << 20, 1);
    for (when, is_whole) in [(When::Midway, true), (When::Short, false)] {
        let (memory, fault, retry) = faulty(failure(Method::Read, 1, when));
        let object = memory.put(&ObjectKey::from("a"), bytes.clone());
        let read = range_of(&retry, &object, 5..object.size_bytes - 5).await;
        assert_eq!(read.is_ok(), is_whole);
        match read {
            Ok(read) => assert!(read == bytes[5..bytes.len() - 5]),
            Err(error) => assert_eq!(error.kind(), LakeErrorKind::Corrupt),
        }
        assert_eq!(fault.calls(Some(Method::Read)), 1 + u64::from(is_whole));
    }
}

/// A listing that breaks off between the versions of a key tells each of them once.
#[tokio::test]
async fn a_broken_listing_tells_nothing_twice_and_leaves_nothing_out() {
    let (memory, fault, retry) = faulty(failure(Method::List, 1, When::Midway));
    for call in 2..4 {
        fault.fail(failure(Method::List, call, When::Midway));
    }
    for text in ["one", "two", "three"] {
        memory.put(&ObjectKey::from("a"), text);
        memory.put(&ObjectKey::from("b"), text);
    }
    let expected = listing(&*memory, b"").await;
    assert_eq!(listing(&retry, b"").await, expected);
    let broken = Fault::new(memory);
    broken.fail(failure(Method::List, 1, When::Midway));
    let items: Vec<_> = broken.list(b"").collect().await;
    assert!(items.len() == 2 && items[1].is_err(), "without patience it is broken");
}

/// What is counted is what was asked.
#[tokio::test]
async fn counting_is_exact() {
    let memory = Arc::new(MemoryLake::versioned());
    let count = Count::new(memory.clone());
    let key = ObjectKey::from("a");
    let object = memory.put(&key, "0123456789");
    let segments = vec![Segment::Copy(2..10), Segment::Bytes(Bytes::from_static(b"abc"))];
    let base = Base::Version(object.clone());
    write(&count, &key, base, Edit::new(segments)).await.expect("written");
    range_of(&count, &object, 1..5).await.expect("read");
    assert_eq!(listing(&count, b"").await.len(), 2);
    count.versions(&ObjectKey::from("absent")).await.expect("none");
    let counts = count.counts();
    assert_eq!((counts.copied_bytes, counts.written_bytes, counts.read_bytes), (8, 3, 4));
    assert_eq!(counts.listed, 2);
    let expected =
        [Method::List, Method::Versions, Method::Read, Method::Write].map(|call| (call, 1));
    assert_eq!(counts.calls, expected.into_iter().collect());
    assert_eq!(counts.calls_of(Method::Abandon), 0);
}

/// N15: never more at a time than allowed, and the reads of a write's own edit do not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_and_does_not_lock_itself_up() {
    let memory = Arc::new(MemoryLake::versioned());
    let limit: Arc<dyn Lake> = Arc::new(Limit::new(memory.clone(), requests(3)));
    let old = memory.put(&ObjectKey::from("old"), "old");
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let writes = (0..12).map(|writer| {
        let (limit, old, now, most) = (limit.clone(), old.clone(), now.clone(), most.clone());
        let runtime = tokio::runtime::Handle::current();
        let reader = limit.clone();
        let segment = std::iter::once_with(move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            let bytes = runtime.block_on(bytes_of(&*reader, &old)).expect("read");
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Segment::Bytes(bytes.into()))
        });
        let key = ObjectKey::from(format!("{writer}").as_str());
        tokio::spawn(async move {
            write(&*limit, &key, Base::Absent, Edit::streamed(segment)).await.expect("written");
        })
    });
    let all = futures::future::join_all(writes);
    let all = tokio::time::timeout(Duration::from_secs(30), all).await.expect("no deadlock");
    assert!(all.iter().all(Result::is_ok));
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)));
}

async fn prove(lake: &dyn Lake) -> Result<(), LakeError> {
    prove_conditional_writes(lake, ObjectKey::from("folder/probe"), operation).await
}

/// B11: honest stores pass, and keep nothing of the probe.
#[tokio::test]
async fn honest_stores_are_proved() {
    let folder = tempfile::tempdir().expect("a folder");
    let lakes: [Arc<dyn Lake>; 3] = [
        Arc::new(MemoryLake::versioned()),
        Arc::new(MemoryLake::unversioned()),
        Arc::new(DirectoryLake::new(folder.path().to_owned()).expect("a lake")),
    ];
    for lake in lakes {
        let limited = Limit::new(lake.clone(), requests(1));
        prove(&limited).await.expect("it is honest");
        assert!(listing(&*lake, b"").await.is_empty());
    }
}

/// J5: a lake that compares and swaps by itself is not probed, so that a killed probe leaves nothing in
/// it; a server is, under every wrapper.
#[tokio::test]
async fn a_server_is_probed_and_a_folder_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = DirectoryLake::new(folder.path().to_owned()).expect("a lake");
    let directory = Arc::new(directory) as Arc<dyn Lake>;
    let memory = Arc::new(MemoryLake::versioned()) as Arc<dyn Lake>;
    for (lake, is_probed) in [(directory, false), (memory, true)] {
        let fault = Arc::new(Fault::new(Arc::new(Limit::new(lake, requests(1)))));
        let proved = ensure_conditional_writes(&*fault, b"folder/", "run").await;
        proved.expect("it is honest");
        assert_eq!(fault.calls(Some(Method::Write)) > 0, is_probed, "{}", fault.location());
        assert!(listing(&*fault, b"").await.is_empty());
    }
}

/// B11: a store that ignores conditions, or looks at them too early, is found out and cleaned up.
#[tokio::test]
async fn lying_stores_are_refused() {
    for versioned in [true, false] {
        for lie in [Lie::Ignores, Lie::Races] {
            let memory =
                if versioned { MemoryLake::versioned() } else { MemoryLake::unversioned() };
            let memory = Arc::new(memory);
            let error = prove(&Fault::new(memory.clone()).lying(lie)).await.expect_err("it lies");
            assert_eq!(error.kind(), LakeErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("does not honour conditional writes"), "{error}");
            assert!(listing(&*memory, b"").await.is_empty());
        }
    }
}

/// A store that fails proves nothing, and a key that is taken is left alone.
#[tokio::test]
async fn a_probe_that_fails_accuses_nobody() {
    let memory = Arc::new(MemoryLake::versioned());
    for call in 1..6 {
        let fault = Fault::new(memory.clone());
        fault.fail(failure(Method::Write, call, When::Before));
        let error = prove(&fault).await.expect_err("nothing is proved");
        assert_eq!(error.kind(), LakeErrorKind::Unavailable, "{call}: {error}");
        assert!(listing(&*memory, b"").await.is_empty());
    }
    memory.put(&ObjectKey::from("folder/probe"), "somebody's");
    let error = prove(&*memory).await.expect_err("the key is taken");
    assert_eq!(error.kind(), LakeErrorKind::Other);
    assert_eq!(current_bytes(&*memory, &ObjectKey::from("folder/probe")).await, b"somebody's");
}

/// Documents are created once, replaced by whoever read them, and never read beyond their bound.
#[tokio::test]
async fn documents_are_whole() {
    let lake = MemoryLake::unversioned();
    let key = ObjectKey::from("a");
    assert!(document::get(&lake, &key, 9).await.expect("none").is_none());
    let first = document::create(&lake, &key, "one", operation()).await.expect("created");
    document::create(&lake, &key, "two", operation()).await.expect_err("it exists");
    let second = document::replace(&lake, &first, "three", operation()).await.expect("replaced");
    document::replace(&lake, &first, "four", operation()).await.expect_err("it is another");
    let (object, bytes) = document::get(&lake, &key, 5).await.expect("read").expect("there");
    assert_eq!((object, &bytes[..]), (second, &b"three"[..]));
    let error = document::get(&lake, &key, 4).await.expect_err("too large");
    assert_eq!(error.kind(), LakeErrorKind::Unsupported);
}
