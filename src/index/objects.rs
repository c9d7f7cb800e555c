//! Just the objects that somebody names, one a line: the share of a worker among many. It looks each
//! of them up, and knows nothing of the rest of the lake: nothing else is scanned or forgotten.

use std::io::{BufRead, Read as _};
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::run::{Origin, Plan, gap_of, reason_of, work_off};
use super::survey::{Drift, Rule, inspect};
use super::{IndexError, IndexReport, IndexTask, IndexTools};
use crate::domain::coverage::GapKind;
use crate::domain::dataset::DatasetName;
use crate::domain::object::{ETag, ListedVersion, ObjectKey, VersionId};
use crate::domain::scope::Exclusion;
use crate::lake::tables::TableFinder;
use crate::lake::{Lake, LakeErrorKind};

/// How long a line may be, in bytes: a key of S3 has 1,024 at most, escaped six times as many.
const LINE_BYTES: u64 = 64 << 10;

/// How many lines are looked up at once.
const LOOKS: usize = 32;

/// How many lines are read ahead.
const LINES_AHEAD: usize = 1024;

/// An object that is to be indexed. What is given beside its key has to be so: a name that was made
/// from an old listing does not lead to other bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedObject {
    /// The dataset that it belongs to.
    pub dataset: DatasetName,
    /// Its key, as text or as `{"bytes": "<hexadecimal>"}`.
    pub key: ObjectKey,
    /// The version; without, every kept one.
    pub version: Option<VersionId>,
    /// Its ETag, with or without quotes.
    pub etag: Option<ETag>,
    /// Its length in bytes, as stored.
    pub size: Option<u64>,
}

/// A list of objects cannot be read. What stands before the line was done.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the list {problem}")]
pub struct ListError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, without the line's content.
    problem: String,
    #[source]
    source: Option<std::io::Error>,
}

/// The objects that a list names, each with its line, up to the first line that cannot be read. Empty
/// lines are passed over.
pub fn read_objects(
    input: impl BufRead,
) -> impl Iterator<Item = Result<(u64, NamedObject), ListError>> {
    let mut lines = Lines { input, line: 0, text: Vec::new() };
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        let object = lines.next().transpose()?;
        has_failed = object.is_err();
        Some(object.map(|object| (lines.line, object)))
    })
}

struct Lines<I> {
    input: I,
    line: u64,
    text: Vec<u8>,
}

impl<I: BufRead> Lines<I> {
    fn next(&mut self) -> Result<Option<NamedObject>, ListError> {
        loop {
            self.line += 1;
            self.text.clear();
            let mut limited = self.input.by_ref().take(LINE_BYTES);
            if let Err(error) = limited.read_until(b'\n', &mut self.text) {
                return Err(self.wrong("cannot be read", Some(error)));
            }
            if self.text.is_empty() {
                return Ok(None);
            }
            if self.text.len() as u64 == LINE_BYTES {
                return Err(self.wrong("is too long", None));
            }
            if !self.text.trim_ascii().is_empty() {
                let object = serde_json::from_slice(&self.text);
                return object.map(Some).map_err(|error| self.wrong(&problem_of(&error), None));
            }
        }
    }

    fn wrong(&self, problem: &str, source: Option<std::io::Error>) -> ListError {
        ListError { line: self.line, problem: problem.to_owned(), source }
    }
}

/// What is wrong with a line. The names of fields may be told, values may not: a key can name a person.
fn problem_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_a_field = ["unknown field", "missing field", "duplicate field"];
    if names_a_field.iter().any(|beginning| text.starts_with(beginning)) {
        let end = text.find(" at line").unwrap_or(text.len());
        return format!("is not an object to index: {}", &text[..end]);
    }
    match error.is_data() {
        true => "is not an object to index: a field has a value of the wrong type".to_owned(),
        false => "is not a JSON object".to_owned(),
    }
}

/// Indexes the objects that a list names, each in the dataset that it names. `jobs` are the datasets.
///
/// # Errors
///
/// [`IndexError::List`] where a line cannot be read or names a dataset that is not among the jobs;
/// what stands before it was recorded. As [`run`](super::run()) otherwise.
pub async fn run_objects(
    jobs: &[(IndexTools, IndexTask)],
    list: impl BufRead + Send + 'static,
) -> Result<Vec<IndexReport>, IndexError> {
    let (senders, runs): (Vec<_>, Vec<_>) = jobs
        .iter()
        .map(|(tools, task)| {
            let (sender, named) = mpsc::channel(LINES_AHEAD);
            ((task.dataset.name.clone(), sender), run_named(tools, task, named))
        })
        .unzip();
    let read = tokio::task::spawn_blocking(move || distribute(list, &senders));
    let reports = futures::future::join_all(runs).await;
    let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
    match read.await {
        Ok(read) => read?,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {}
    }
    Ok(reports)
}

/// Gives every object to the run of its dataset.
fn distribute(
    list: impl BufRead,
    senders: &[(DatasetName, mpsc::Sender<NamedObject>)],
) -> Result<(), ListError> {
    for object in read_objects(list) {
        let (line, object) = object?;
        let Some((_, sender)) = senders.iter().find(|(name, _)| *name == object.dataset) else {
            let shown = object.dataset.as_str().escape_debug();
            let problem = format!("names a dataset `{shown}` that is not configured");
            return Err(ListError { line, problem, source: None });
        };
        // A run that takes no more was stopped, or says itself why.
        if sender.blocking_send(object).is_err() {
            break;
        }
    }
    Ok(())
}

async fn run_named(
    tools: &IndexTools,
    task: &IndexTask,
    named: mpsc::Receiver<NamedObject>,
) -> Result<IndexReport, IndexError> {
    tools.metastore.bind(&task.key.check_value()).await?;
    let finder = TableFinder::new(Arc::clone(&tools.lake), task.dataset.location.clone()).await?;
    let rule = task.rule(finder.tables())?;
    let looks = Looks { tools, task, named, tables: finder.tables().len(), finder, rule };
    work_off(tools, task, Plan { origin: Origin::Request, entries: None }, looks.drifts()).await
}

/// Looks up what is named.
struct Looks<'t> {
    tools: &'t IndexTools,
    task: &'t IndexTask,
    named: mpsc::Receiver<NamedObject>,
    finder: TableFinder,
    /// How many tables the rule knows.
    tables: usize,
    rule: Rule,
}

impl<'t> Looks<'t> {
    fn drifts(self) -> impl Stream<Item = Result<Drift, IndexError>> + 't {
        let groups = stream::unfold(Some(self), |looks| async move {
            let mut looks = looks?;
            let mut some = Vec::new();
            if looks.named.recv_many(&mut some, LOOKS).await == 0 {
                return None;
            }
            match looks.look(some).await {
                Ok(drifts) => Some((drifts.into_iter().map(Ok).collect::<Vec<_>>(), Some(looks))),
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        groups.flat_map(stream::iter)
    }

    async fn look(&mut self, named: Vec<NamedObject>) -> Result<Vec<Drift>, IndexError> {
        for object in &named {
            self.finder.look(&object.key).await?;
        }
        let tables = self.finder.tables();
        if tables.len() != self.tables {
            self.tables = tables.len();
            self.rule = self.task.rule(tables)?;
        }
        let lake = &*self.tools.lake;
        let prefix = self.task.dataset.location.prefix();
        let looks = stream::iter(named).map(|object| look_up(lake, prefix, object));
        let looked: Vec<_> = looks.buffered(LOOKS).collect().await;
        let (mut listed, mut drifts) = (Vec::new(), Vec::new());
        for look in looked {
            match look {
                Ok(versions) => listed.extend(versions),
                Err(drift) => drifts.push(*drift),
            }
        }
        let dataset = &self.task.dataset.name;
        drifts.extend(inspect(listed, &*self.tools.metastore, dataset, &self.rule).await?);
        Ok(drifts)
    }
}

/// The versions that were meant, or why there are none.
async fn look_up(
    lake: &dyn Lake,
    prefix: &[u8],
    named: NamedObject,
) -> Result<Vec<ListedVersion>, Box<Drift>> {
    let NamedObject { key, version, etag, size, .. } = named;
    let absent = |kind, reason: &str| {
        let (key, reason) = (key.clone(), reason.to_owned());
        Err(Box::new(Drift::Absent { key, kind, reason }))
    };
    let missing = |reason| absent(GapKind::Unavailable, reason);
    if !key.as_bytes().starts_with(prefix) {
        return missing("its key does not lie in the dataset's location");
    }
    let mut versions = match lake.versions(&key).await {
        Ok(versions) => versions,
        Err(error) if error.kind() == LakeErrorKind::NotAnObject => {
            return Err(Box::new(Drift::Excluded { key, exclusion: Exclusion::NotAnObject }));
        }
        Err(error) => return absent(gap_of(&error, None), &reason_of(&error)),
    };
    // C2: exactly this key, whatever a store that lists by prefix may answer.
    versions.retain(|listed| listed.object.key == key);
    if versions.is_empty() {
        return missing("the lake has no such object");
    }
    versions.retain(|listed| version.as_ref().is_none_or(|id| *id == listed.object.version));
    if versions.is_empty() {
        return missing("the lake has no such version of it");
    }
    let bare = |etag: &ETag| etag.as_str().trim_matches('"').to_owned();
    versions.retain(|listed| {
        etag.as_ref().is_none_or(|etag| bare(etag) == bare(&listed.object.etag))
            && size.is_none_or(|size| size == listed.object.size_bytes)
    });
    if versions.is_empty() {
        return missing("it changed since it was listed: its ETag or its size is another");
    }
    Ok(versions)
}
