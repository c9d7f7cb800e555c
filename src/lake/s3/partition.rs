//! A large listing in ranges of keys that are read at the same time and told in order.
//!
//! A listing is read a thousand keys a request, one request after the other; ranges make it as fast
//! as there are requests at once. Their seams are found by listing what lies under the prefix with
//! the delimiter `/`, a level or two. Only for stores that sort keys by bytes, as S3 does.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use super::list::{Cursor, Listing, Page};
use crate::domain::object::ListedVersion;
use crate::lake::{LakeError, VersionStream};

/// How many ranges are read at once.
const RANGES_AHEAD: usize = 16;

/// How many versions a range may be ahead of who consumes the listing.
const VERSIONS_AHEAD: usize = 4_000;

/// How many ranges a level of prefixes is cut into.
const RANGES_MAX: usize = 64;

/// A level with fewer prefixes than this is looked at a level deeper.
const PREFIXES_FEW: usize = 16;

/// How deep single prefixes are followed.
const DEPTH_MAX: usize = 8;

/// Keys after one and up to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyRange {
    /// Exclusive; then the last key that was met.
    pub(super) after: Option<String>,
    /// Inclusive: a seam is a prefix, which as a key belongs to what comes before it.
    pub(super) until: Option<String>,
    /// The last key told, which more versions of may follow.
    last: Option<ListedVersion>,
}

impl KeyRange {
    fn new(after: Option<String>, until: Option<String>) -> Self {
        Self { after, until, last: None }
    }

    /// What of a sorted page lies in the range, and whether the range ends within it.
    pub(super) fn clip(&self, mut versions: Vec<ListedVersion>) -> (Vec<ListedVersion>, bool) {
        let lies_after = |listed: &ListedVersion| match &self.after {
            Some(after) => listed.object.key.as_bytes() > after.as_bytes(),
            None => true,
        };
        let lies_before = |listed: &ListedVersion| match &self.until {
            Some(until) => listed.object.key.as_bytes() <= until.as_bytes(),
            None => true,
        };
        let is_last = versions.last().is_some_and(|listed| !lies_before(listed));
        versions.retain(|listed| lies_after(listed) && lies_before(listed));
        (versions, is_last)
    }

    /// Takes note of what was told.
    ///
    /// # Errors
    ///
    /// Where the page goes back behind the one before it: the store does not sort by bytes.
    pub(super) fn advance(&mut self, versions: &[ListedVersion]) -> Result<(), &'static str> {
        let (Some(first), Some(last)) = (versions.first(), versions.last()) else { return Ok(()) };
        if self.last.as_ref().is_some_and(|told| first.object.key < told.object.key) {
            return Err("the store does not list keys in byte order; \
                        give datasets narrower prefixes");
        }
        self.last = Some(last.clone());
        Ok(())
    }
}

/// The versions of a listing, read in ranges if it is longer than a page.
pub(super) async fn list(listing: Arc<Listing>) -> Result<VersionStream, LakeError> {
    let first = listing.page(&listing.prefix, None, &Cursor::default()).await?;
    if first.next.is_none() {
        return Ok(stream::iter(first.versions.into_iter().map(Ok)).boxed());
    }
    let ranges = ranges(Arc::clone(&listing)).await?;
    let told = ranges
        .map(move |range| {
            let listing = Arc::clone(&listing);
            async move { range.map(|range| ahead(listing.range(range))) }
        })
        .buffered(RANGES_AHEAD)
        .try_flatten();
    Ok(told.boxed())
}

/// A stream that is read on by itself while nobody asks, up to a bound.
fn ahead(mut versions: VersionStream) -> VersionStream {
    let (sender, receiver) = mpsc::channel(VERSIONS_AHEAD);
    tokio::spawn(async move {
        while let Some(version) = versions.next().await {
            if sender.send(version).await.is_err() {
                break;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|version| (version, receiver))
    })
    .boxed()
}

type Ranges = stream::BoxStream<'static, Result<KeyRange, LakeError>>;

/// Ranges that cover the listing, in order.
async fn ranges(listing: Arc<Listing>) -> Result<Ranges, LakeError> {
    let (prefix, page) = descend(&listing).await?;
    if page.next.is_some() {
        return Ok(rolling(listing, prefix, page).boxed());
    }
    let mut seams = page.prefixes;
    if seams.len() < PREFIXES_FEW {
        seams = deeper(&listing, seams).await?;
    }
    Ok(stream::iter(between(seams).into_iter().map(Ok)).boxed())
}

/// Follows prefixes that are alone, as `year=2024/` may be; the level where they branch.
async fn descend(listing: &Listing) -> Result<(String, Page), LakeError> {
    let mut prefix = listing.prefix.clone();
    let mut depth = 0;
    loop {
        let page = listing.page(&prefix, Some("/"), &Cursor::default()).await?;
        depth += 1;
        match page.prefixes.as_slice() {
            [only] if page.versions.is_empty() && page.next.is_none() && depth < DEPTH_MAX => {
                prefix = only.clone();
            }
            _ => return Ok((prefix, page)),
        }
    }
}

/// These prefixes, and those a level below them.
async fn deeper(listing: &Listing, prefixes: Vec<String>) -> Result<Vec<String>, LakeError> {
    let pages = stream::iter(prefixes.clone())
        .map(|prefix| async move { listing.page(&prefix, Some("/"), &Cursor::default()).await })
        .buffered(PREFIXES_FEW);
    let pages: Vec<Page> = pages.try_collect().await?;
    let mut seams = prefixes;
    seams.extend(pages.into_iter().flat_map(|page| page.prefixes));
    seams.sort();
    Ok(seams)
}

/// A range a page of prefixes, where there are more of them than a page holds.
fn rolling(
    listing: Arc<Listing>,
    prefix: String,
    first: Page,
) -> impl Stream<Item = Result<KeyRange, LakeError>> {
    let state = Some((listing, prefix, Ok(first), None::<String>));
    stream::unfold(state, |state| async {
        let (listing, prefix, page, after) = state?;
        let page: Page = match page {
            Ok(page) => page,
            Err(error) => return Some((Err(error), None)),
        };
        let Some((next, until)) = page.next.as_ref().zip(page_end(&page)) else {
            return Some((Ok(KeyRange::new(after, None)), None));
        };
        let range = KeyRange::new(after, Some(until.clone()));
        let page = listing.page(&prefix, Some("/"), next).await;
        Some((Ok(range), Some((listing, prefix, page, Some(until)))))
    })
}

/// The greatest name of a page.
fn page_end(page: &Page) -> Option<String> {
    let key = page.versions.last().and_then(|listed| listed.object.key.as_str());
    key.max(page.prefixes.last().map(String::as_str)).map(str::to_owned)
}

/// The ranges between seams, not too many of them.
fn between(seams: Vec<String>) -> Vec<KeyRange> {
    let stride = seams.len().div_ceil(RANGES_MAX).max(1);
    let mut after = None;
    let mut ranges = Vec::new();
    for seam in seams.into_iter().step_by(stride) {
        ranges.push(KeyRange::new(after.take(), Some(seam.clone())));
        after = Some(seam);
    }
    ranges.push(KeyRange::new(after, None));
    ranges
}
