use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream;
use tokio::time::Instant;

use super::*;
use crate::domain::object::{ETag, VersionId};
use crate::lake::retry::{Patience, Retry};
use crate::lake::{Conditions, Versioning};

/// A store that answers after a while, and refuses requests beyond a rate: a bucket of tokens that
/// fills steadily.
#[derive(Debug)]
struct Throttled {
    rate: f64,
    burst: f64,
    latency: Duration,
    bucket: Mutex<(Instant, f64)>,
    refused: AtomicU64,
}

impl Throttled {
    fn new(rate: f64, burst: f64, latency: Duration) -> Arc<Self> {
        let bucket = Mutex::new((Instant::now(), burst));
        Arc::new(Self { rate, burst, latency, bucket, refused: AtomicU64::new(0) })
    }

    fn has_token(&self) -> bool {
        let mut bucket = self.bucket.lock().unwrap();
        let now = Instant::now();
        let (since, tokens) = *bucket;
        let tokens = (tokens + (now - since).as_secs_f64() * self.rate).min(self.burst);
        let is_served = tokens >= 1.0;
        *bucket = (now, if is_served { tokens - 1.0 } else { tokens });
        is_served
    }
}

#[async_trait]
impl Lake for Throttled {
    fn location(&self) -> &str {
        "throttled"
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        tokio::time::sleep(self.latency).await;
        if self.has_token() {
            let versioning = Versioning::Never;
            let conditions = Conditions::Own;
            return Ok(Capabilities { versioning, marks_operations: true, conditions });
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(LakeError::new(LakeErrorKind::Unavailable, "slow down"))
    }

    fn list(&self, _: &[u8]) -> VersionStream {
        stream::once(async { Err(LakeError::new(LakeErrorKind::Unavailable, "slow down")) }).boxed()
    }

    async fn versions(&self, _: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        Ok(Vec::new())
    }

    async fn attributes(&self, _: Target<'_>) -> Result<Attributes, LakeError> {
        Err(LakeError::new(LakeErrorKind::NotFound, "nothing here"))
    }

    async fn read(&self, _: &ObjectVersion, _: Range<u64>) -> Result<ByteStream, LakeError> {
        Ok(stream::once(async { Err(LakeError::new(LakeErrorKind::Unavailable, "slow down")) })
            .boxed())
    }

    async fn write(&self, _: Write) -> Result<ObjectVersion, WriteError> {
        Err(WriteError::unchanged(LakeError::new(LakeErrorKind::Unsupported, "read only")))
    }

    async fn abandon(&self, _: &ObjectKey, _: &Staging) -> Result<(), LakeError> {
        Ok(())
    }

    async fn delete_version(&self, _: &ObjectVersion) -> Result<(), LakeError> {
        Ok(())
    }
}

/// What came of many requests at a store with this rate: the share of the rate that was used, and how
/// many failed for good.
async fn load(store: &Arc<Throttled>, requests: usize, callers: usize) -> (f64, usize) {
    let limit = Limit::new(store.clone(), NonZeroUsize::new(64).expect("not zero"));
    let lake = Retry::new(Arc::new(limit), Patience::default());
    let began = Instant::now();
    let answers = stream::iter(0..requests).map(|_| lake.capabilities());
    let failed: usize = answers
        .buffer_unordered(callers)
        .fold(0, |failed, answer| async move { failed + usize::from(answer.is_err()) })
        .await;
    let allowed = began.elapsed().as_secs_f64() * store.rate + store.burst;
    ((requests - failed) as f64 / allowed, failed)
}

/// B10: a store that refuses what is beyond its rate is used to nine tenths of it at least, and
/// nothing fails for it.
#[tokio::test(start_paused = true)]
async fn a_throttled_store_is_used_well_and_nothing_fails() {
    // Requests a second, how many at once beyond that, milliseconds of an answer.
    for (rate, burst, latency) in
        [(1000.0, 100.0, 20), (3500.0, 500.0, 15), (300.0, 30.0, 30), (100.0, 20.0, 1)]
    {
        let store = Throttled::new(rate, burst, Duration::from_millis(latency));
        let (share, failed) = load(&store, (rate * 60.0) as usize, 128).await;
        let refused = store.refused.load(Ordering::Relaxed);
        assert!(refused > 0, "the store was not put to the test at {rate}/s");
        assert_eq!(failed, 0, "at {rate}/s");
        assert!(share >= 0.9, "at {rate}/s: {share}");
    }
}

/// B10, the other side: where nothing is refused, nothing is held back.
#[tokio::test(start_paused = true)]
async fn a_store_with_room_gets_all_requests_at_once() {
    let store = Throttled::new(1e9, 1e9, Duration::from_millis(10));
    let began = Instant::now();
    load(&store, 6400, 200).await;
    let rounds = began.elapsed().as_millis() / 10;
    assert!((100..=110).contains(&rounds), "{rounds} rounds of 64");
}

/// One refusal of many at once takes away once, a listing's and a read's count too, and what was
/// taken away comes back.
#[tokio::test(start_paused = true)]
async fn the_window_shrinks_once_and_grows_back() {
    let store = Throttled::new(1.0, 1.0, Duration::from_millis(10));
    let limit = Limit::new(store, NonZeroUsize::new(10).expect("not zero"));
    let window = || limit.gate.flow().window;
    let refused = futures::future::join_all((0..10).map(|_| limit.capabilities())).await;
    assert_eq!(refused.iter().filter(|answer| answer.is_err()).count(), 9);
    assert!((7.9..8.3).contains(&window()), "{}", window());
    assert_eq!(limit.gate.permits.available_permits(), window() as usize);

    let before = window();
    assert!(limit.list(b"").next().await.expect("an answer").is_err());
    let object = ObjectVersion {
        key: ObjectKey::from("k"),
        version: VersionId::null(),
        etag: ETag::new("e"),
        size_bytes: 1,
        modified_at: crate::domain::Timestamp::UNIX_EPOCH,
    };
    let mut pieces = limit.read(&object, 0..1).await.expect("a stream");
    assert!(pieces.next().await.expect("an answer").is_err());
    assert!(window() < before * 0.8, "{}", window());

    for _ in 0..200 {
        limit.versions(&object.key).await.expect("an answer");
    }
    assert_eq!((window() as usize, limit.gate.permits.available_permits()), (10, 10));
}

/// A caller who gives up leaves its place to others.
#[tokio::test(start_paused = true)]
async fn a_request_given_up_makes_room() {
    let store = Throttled::new(1e9, 1e9, Duration::from_secs(3600));
    let limit = Limit::new(store, NonZeroUsize::new(1).expect("not zero"));
    let soon = Duration::from_millis(1);
    assert!(tokio::time::timeout(soon, limit.capabilities()).await.is_err());
    let second = tokio::time::timeout(soon, limit.versions(&ObjectKey::from("k"))).await;
    assert!(second.expect("its turn").is_ok());
}
