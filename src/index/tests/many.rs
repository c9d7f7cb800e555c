//! Very many objects, very large ones, and objects of very many subjects: what is held at once.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;

use super::*;
use crate::domain::observe::Event;
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::{MetastoreError, MetastoreSize, MetastoreStream, Recorder, Succession};

/// Bytes that are counted while anybody holds them.
struct Held {
    bytes: Vec<u8>,
    meter: Arc<Meter>,
}

#[derive(Debug, Default)]
struct Meter {
    now: AtomicUsize,
    peak: AtomicUsize,
    objects: Mutex<BTreeMap<ObjectKey, usize>>,
    most_objects: AtomicUsize,
}

impl Held {
    fn lend(bytes: Vec<u8>, meter: &Arc<Meter>) -> Bytes {
        let now = meter.now.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        meter.peak.fetch_max(now, Ordering::SeqCst);
        Bytes::from_owner(Self { bytes, meter: meter.clone() })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

/// A lake whose objects are made when they are read: `rows` times the same line.
#[derive(Debug)]
struct Made {
    objects: Vec<ObjectVersion>,
    meter: Arc<Meter>,
    /// How many entries of its listings were taken.
    listed: Arc<AtomicUsize>,
}

const LINE: &[u8] = b"{\"id\":\"somebody\",\"text\":\"................................\"}\n";

impl Made {
    fn new(sizes: impl Iterator<Item = usize>) -> Self {
        let object = |(number, lines): (usize, usize)| ObjectVersion {
            key: ObjectKey::from(format!("{number:06}").as_str()),
            version: crate::domain::object::VersionId::null(),
            etag: crate::domain::object::ETag::new("e"),
            size_bytes: (lines * LINE.len()) as u64,
            modified_at: crate::domain::Timestamp::UNIX_EPOCH,
        };
        let objects = sizes.enumerate().map(object).collect();
        Self { objects, meter: Arc::default(), listed: Arc::default() }
    }
}

#[async_trait]
impl Lake for Made {
    fn location(&self) -> &str {
        "made"
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        Err(LakeError::new(LakeErrorKind::Unsupported, "not asked"))
    }

    fn list(&self, _: &[u8]) -> VersionStream {
        let standing = crate::domain::object::Standing::Current;
        let versions = self.objects.clone().into_iter();
        let listed = self.listed.clone();
        let versions = versions.map(move |object| {
            listed.fetch_add(1, Ordering::SeqCst);
            Ok(ListedVersion { object, standing, storage_class: None })
        });
        stream::iter(versions).boxed()
    }

    async fn versions(&self, _: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        Err(LakeError::new(LakeErrorKind::Unsupported, "not asked"))
    }

    async fn attributes(&self, _: Target<'_>) -> Result<Attributes, LakeError> {
        Err(LakeError::new(LakeErrorKind::Unsupported, "not asked"))
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let meter = self.meter.clone();
        {
            let mut objects = meter.objects.lock().unwrap();
            *objects.entry(object.key.clone()).or_default() += 1;
            meter.most_objects.fetch_max(objects.len(), Ordering::SeqCst);
        }
        let piece = move |start: u64| {
            let end = range.end.min(start + (1 << 20));
            let bytes = (start..end).map(|at| LINE[at as usize % LINE.len()]).collect();
            (start < end).then(|| (Ok(Held::lend(bytes, &meter)), end))
        };
        let pieces = stream::unfold(range.start, move |start| std::future::ready(piece(start)));
        Ok(pieces.boxed())
    }

    async fn write(&self, _: Write) -> Result<ObjectVersion, WriteError> {
        Err(WriteError::unchanged(LakeError::new(LakeErrorKind::Unsupported, "not asked")))
    }

    async fn abandon(&self, _: &ObjectKey, _: &Staging) -> Result<(), LakeError> {
        Ok(())
    }

    async fn delete_version(&self, _: &ObjectVersion) -> Result<(), LakeError> {
        Ok(())
    }
}

/// Forgets at the end of an object that it was open.
struct Closing(Arc<Meter>);

impl Observer for Closing {
    fn event(&self, event: Event<'_>) {
        if let Event::Finished { key, .. } = event {
            self.0.objects.lock().unwrap().remove(key);
        }
    }
}

/// D12: the bytes that all objects in flight hold stay within one budget, whatever their sizes; and
/// small objects are many at once all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_in_flight_share_one_budget() {
    const BUDGET: u64 = 20 << 20;
    let large = (6 << 20) / LINE.len();
    let sizes = (0..300).map(|number| if number % 20 == 19 { large } else { number % 7 });
    let lake = Made::new(sizes);
    let meter = lake.meter.clone();
    let tools = IndexTools {
        memory: Memory::new(BUDGET),
        observer: Arc::new(Closing(meter.clone())),
        ..tools(Arc::new(lake), Arc::new(MemoryMetastore::default()))
    };
    let task = IndexTask { concurrency: None, ..task("d", "") };
    let report = indexed(&tools, &task).await;
    assert_eq!(report.coverage.indexed, 300);
    let peak = meter.peak.load(Ordering::SeqCst) as u64;
    assert!(peak <= BUDGET, "{peak} bytes were held at once");
    assert!(peak > BUDGET / 10, "the meter works: {peak}");
    assert!(meter.most_objects.load(Ordering::SeqCst) >= 8, "small ones are many at once");
    assert_eq!(meter.now.load(Ordering::SeqCst), 0);
}

/// A listing is never read further ahead than the objects in flight, so that it is not held.
#[tokio::test]
async fn a_listing_is_not_read_ahead_of_its_objects() {
    #[derive(Default)]
    struct Ahead {
        listed: Arc<AtomicUsize>,
        finished: AtomicUsize,
        most: AtomicUsize,
    }
    impl Observer for Ahead {
        fn event(&self, event: Event<'_>) {
            match event {
                Event::Phase { name: "scanning", .. } => self.listed.store(0, Ordering::SeqCst),
                Event::Finished { .. } => {
                    let finished = self.finished.fetch_add(1, Ordering::SeqCst);
                    let ahead = self.listed.load(Ordering::SeqCst).saturating_sub(finished);
                    self.most.fetch_max(ahead, Ordering::SeqCst);
                }
                _ => {}
            }
        }
    }
    let lake = Made::new(std::iter::repeat_n(1, 3000));
    let ahead = Arc::new(Ahead { listed: lake.listed.clone(), ..Ahead::default() });
    let tools = IndexTools {
        observer: ahead.clone(),
        ..tools(Arc::new(lake), Arc::new(MemoryMetastore::default()))
    };
    let task = IndexTask { concurrency: Some(16), ..task("d", "") };
    assert_eq!(indexed(&tools, &task).await.scanned, 3000);
    let most = ahead.most.load(Ordering::SeqCst);
    assert!((16..=24).contains(&most), "{most} entries ahead");
}

/// An index that keeps no posting, but looks how many come at once.
#[derive(Clone, Debug, Default)]
struct Weighed {
    inner: MemoryMetastore,
    largest: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

struct WeighedRecorder(Weighed, Box<dyn Recorder>);

#[async_trait]
impl Recorder for WeighedRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        self.0.largest.fetch_max(postings.len(), Ordering::SeqCst);
        self.0.all.fetch_add(postings.len(), Ordering::SeqCst);
        Ok(())
    }

    async fn commit(self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        self.1.commit(scanned).await
    }
}

#[async_trait]
impl Metastore for Weighed {
    async fn bind(&self, key: &crate::domain::identifier::KeyCheck) -> Result<(), MetastoreError> {
        self.inner.bind(key).await
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError> {
        let recorder = self.inner.record(dataset, object).await?;
        Ok(Box::new(WeighedRecorder(self.clone(), recorder)))
    }

    async fn succeed(&self, succession: &Succession) -> Result<(), MetastoreError> {
        self.inner.succeed(succession).await
    }

    async fn forget(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<(), MetastoreError> {
        self.inner.forget(dataset, objects).await
    }

    fn lookup(
        &self,
        digests: &[IdentifierDigest],
    ) -> MetastoreStream<crate::domain::posting::Posting> {
        self.inner.lookup(digests)
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        self.inner.indexed(dataset, after)
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<crate::metastore::ObjectPostings> {
        self.inner.postings(dataset, objects)
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError> {
        self.inner.datasets().await
    }

    async fn size(&self) -> Result<MetastoreSize, MetastoreError> {
        self.inner.size().await
    }
}

/// E15: an object of very many subjects passes through in batches, however many they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_very_many_subjects_streams() {
    const SUBJECTS: usize = 300_000;
    let lake = Watched::new(MemoryLake::unversioned());
    let rows = (0..SUBJECTS).map(|number| format!("{number}\n"));
    lake.put("poison.csv", &std::iter::once("id\n".to_owned()).chain(rows).collect::<String>());
    let metastore = Weighed::default();
    let tools = tools(lake, Arc::new(metastore.clone()));
    let report = indexed(&tools, &task("d", "")).await;
    assert_eq!(report.coverage.rows.0, SUBJECTS as u64);
    assert_eq!(metastore.all.load(Ordering::SeqCst), SUBJECTS);
    let largest = metastore.largest.load(Ordering::SeqCst);
    assert!(largest <= 8192, "{largest} postings came at once");
}
