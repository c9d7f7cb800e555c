//! Tables above the files: folders that belong to Delta Lake, Iceberg or Hudi.
//!
//! A table records the size and statistics of its files; a file rewritten under it makes the table
//! unreadable, or makes its readers skip what changed. So they are found before anything is touched.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt as _;

use super::{Lake, LakeError, LakeErrorKind};
use crate::domain::dataset::Location;
use crate::domain::object::ObjectKey;
use crate::domain::scope::{TableKind, TableRoot};

/// The tables that have files at a location: those that lie there, and those that it lies in.
///
/// It lists the location once, and looks for marks in the folders above. Deleted versions of a mark count, since a table that was dropped may be restored. Files that an Iceberg table keeps
/// outside its own folder are not recognised.
///
/// # Errors
///
/// Whatever the listing answers; nothing is known then.
pub async fn table_roots(
    lake: &dyn Lake,
    location: &Location,
) -> Result<Vec<TableRoot>, LakeError> {
    Ok(census(lake, location).await?.tables)
}

/// What one look through a location tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// The tables that have files there.
    pub tables: Vec<TableRoot>,
    /// How many entries it lists: kept versions, and what is no object.
    pub entries: u64,
}

/// The same, and how much there is: a listing of its own, since a mark may come after the files of
/// its table in the order of keys. It pays for itself by telling how much there is to do.
///
/// # Errors
///
/// As [`table_roots`].
pub async fn census(lake: &dyn Lake, location: &Location) -> Result<Census, LakeError> {
    let prefix = location.prefix();
    let mut roots = roots_above(lake, location).await?;
    let mut entries = 0;
    let mut listing = lake.list(prefix);
    while let Some(key) = next_key(&mut listing).await? {
        entries += 1;
        roots.extend(key.and_then(|key| TableRoot::marked_by(&key)));
    }
    Ok(Census { tables: outermost(roots), entries })
}

/// The tables that a location lies in.
async fn roots_above(
    lake: &dyn Lake,
    location: &Location,
) -> Result<BTreeSet<TableRoot>, LakeError> {
    let mut roots = BTreeSet::new();
    if let Location::Directory(folder) = location {
        roots.extend(table_above(folder).await?);
    }
    for folder in folders_above(location.prefix()) {
        find_first_marks(lake, folder, &mut roots).await?;
    }
    Ok(roots)
}

/// The tables that lie in no other: within a table, everything is the table's, and its own folder is
/// the one to name.
pub fn outermost(roots: BTreeSet<TableRoot>) -> Vec<TableRoot> {
    let mut outermost: Vec<TableRoot> = Vec::new();
    let mut roots: Vec<TableRoot> = roots.into_iter().collect();
    // A folder comes before all that lies in it, whatever kind of table each is.
    roots.sort_by(|left, right| left.prefix.cmp(&right.prefix));
    for root in roots {
        let is_inner = outermost.last().is_some_and(|outer| {
            let (inner, outer) = (root.prefix.as_bytes(), outer.prefix.as_bytes());
            inner.len() > outer.len() && inner.starts_with(outer)
        });
        if !is_inner {
            outermost.push(root);
        }
    }
    outermost.sort();
    outermost
}

/// Finds the tables of single keys without a listing of their location.
#[derive(Debug)]
pub struct TableFinder {
    lake: Arc<dyn Lake>,
    location: Location,
    /// The tables that were found.
    roots: BTreeSet<TableRoot>,
    /// Folders that were looked at.
    seen: HashSet<Vec<u8>>,
}

impl TableFinder {
    /// How many folders are remembered; beyond that they are looked at again.
    const REMEMBERED: usize = 100_000;

    /// A finder for keys of this location.
    ///
    /// # Errors
    ///
    /// Where the folders above the location cannot be listed.
    pub async fn new(lake: Arc<dyn Lake>, location: Location) -> Result<Self, LakeError> {
        let roots = roots_above(&*lake, &location).await?;
        Ok(Self { lake, location, roots, seen: HashSet::new() })
    }

    /// Looks at the folders that the key lies in, up to the location.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be listed.
    pub async fn look(&mut self, key: &ObjectKey) -> Result<(), LakeError> {
        let prefix = self.location.prefix().len();
        self.roots.extend(TableRoot::marked_by(key));
        for folder in folders_above(key.as_bytes()).filter(|folder| folder.len() >= prefix) {
            if self.seen.contains(folder) {
                continue;
            }
            find_first_marks(&*self.lake, folder, &mut self.roots).await?;
            if self.seen.len() >= Self::REMEMBERED {
                self.seen.clear();
            }
            self.seen.insert(folder.to_vec());
        }
        Ok(())
    }

    /// The tables that were found so far.
    pub fn tables(&self) -> Vec<TableRoot> {
        outermost(self.roots.clone())
    }
}

/// The table that a folder of this machine lies in. Its files are all the folder's, so it is named by
/// the empty prefix.
async fn table_above(folder: &Path) -> Result<Option<TableRoot>, LakeError> {
    let folder = folder.to_owned();
    let look = move || folder.ancestors().skip(1).find_map(kind_of_table);
    let kind = tokio::task::spawn_blocking(look).await.map_err(|error| {
        LakeError::new(LakeErrorKind::Other, "the folders above were not looked at")
            .caused_by(error)
    })?;
    Ok(kind.map(|kind| TableRoot { kind, prefix: ObjectKey::from("") }))
}

/// The kind of table whose own files a folder holds. What cannot be read is no table of anybody's here.
fn kind_of_table(folder: &Path) -> Option<TableKind> {
    let holds_files =
        |name| std::fs::read_dir(folder.join(name)).is_ok_and(|mut files| files.next().is_some());
    if holds_files("_delta_log") {
        return Some(TableKind::Delta);
    }
    if holds_files(".hoodie") {
        return Some(TableKind::Hudi);
    }
    let metadata = std::fs::read_dir(folder.join("metadata")).ok()?;
    metadata.filter_map(Result::ok).find_map(|file| {
        let key = [b"metadata/", file.file_name().as_bytes()].concat();
        TableRoot::marked_by(&ObjectKey::new(key)).map(|root| root.kind)
    })
}

/// The folders that a prefix lies in, itself left out: `a/` and the empty one for `a/b/`.
fn folders_above(prefix: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = prefix.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
    let ends = (!prefix.is_empty()).then_some(0).into_iter().chain(ends);
    ends.filter(move |end| *end < prefix.len()).map(move |end| &prefix[..end])
}

/// Marks of tables right in this folder, one of a kind.
async fn find_first_marks(
    lake: &dyn Lake,
    folder: &[u8],
    roots: &mut BTreeSet<TableRoot>,
) -> Result<(), LakeError> {
    for mark in ["_delta_log/", ".hoodie/", "metadata/"] {
        let mut listing = lake.list(&[folder, mark.as_bytes()].concat());
        while let Some(key) = next_key(&mut listing).await? {
            if let Some(root) = key.and_then(|key| TableRoot::marked_by(&key)) {
                roots.insert(root);
                break;
            }
        }
    }
    Ok(())
}

/// The next key of a listing: `Some(None)` for what is no object, `None` at the end. A link may lead
/// to a table's log, so its name counts as a folder's.
async fn next_key(
    listing: &mut super::VersionStream,
) -> Result<Option<Option<ObjectKey>>, LakeError> {
    match listing.try_next().await {
        Ok(Some(listed)) => Ok(Some(Some(listed.object.key))),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == LakeErrorKind::NotAnObject => {
            let within = |key: &ObjectKey| ObjectKey::new([key.as_bytes(), b"/link"].concat());
            Ok(Some(error.key().map(within)))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::memory::MemoryLake;

    fn lake(keys: &[&str]) -> MemoryLake {
        let lake = MemoryLake::versioned();
        for key in keys {
            lake.put(&ObjectKey::from(*key), "x");
        }
        lake
    }

    async fn roots(lake: &MemoryLake, prefix: &str) -> Vec<TableRoot> {
        let location = Location::S3 { bucket: "b".to_owned(), prefix: prefix.to_owned() };
        table_roots(lake, &location).await.expect("tables")
    }

    fn root(kind: TableKind, prefix: &str) -> TableRoot {
        TableRoot { kind, prefix: prefix.into() }
    }

    /// Hazard C15: a table is found wherever its mark stands, also after its data and above the prefix.
    #[tokio::test]
    async fn tables_are_found_below_and_above() {
        let lake = lake(&[
            "lake/A-delta/1.parquet",
            "lake/A-delta/_delta_log/0.json",
            "lake/hudi/.hoodie/hoodie.properties",
            "lake/ice/data/1.parquet",
            "lake/ice/metadata/v1.metadata.json",
            "lake/plain/1.json",
            "lake/plain/metadata/notes.json",
        ]);
        let all = [
            root(TableKind::Delta, "lake/A-delta/"),
            root(TableKind::Iceberg, "lake/ice/"),
            root(TableKind::Hudi, "lake/hudi/"),
        ];
        for prefix in ["", "lake/"] {
            assert_eq!(roots(&lake, prefix).await, all);
        }
        let above = roots(&lake, "lake/ice/data/").await;
        assert_eq!(above, [root(TableKind::Iceberg, "lake/ice/")]);
        assert_eq!(roots(&lake, "lake/plain/").await, []);
    }

    #[tokio::test]
    async fn the_outer_table_is_named() {
        let lake = lake(&["_delta_log/0.json", "t/_delta_log/0.json", "t/1.parquet"]);
        let expected = [root(TableKind::Delta, "")];
        assert_eq!(roots(&lake, "").await, expected);
        assert_eq!(roots(&lake, "t/").await, expected);
    }

    /// Hazard C15: a dataset that is configured on a folder within a table.
    #[tokio::test]
    async fn a_folder_within_a_table_is_the_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        let marks = [
            ("delta/_delta_log/0.json", Some(TableKind::Delta)),
            ("hudi/.hoodie/hoodie.properties", Some(TableKind::Hudi)),
            ("ice/metadata/v1.metadata.json", Some(TableKind::Iceberg)),
            ("plain/metadata/notes.json", None),
        ];
        for (mark, kind) in marks {
            let mark = folder.path().join(mark);
            std::fs::create_dir_all(mark.parent().expect("a folder")).expect("made");
            std::fs::write(&mark, b"{}").expect("written");
            let table = mark.parent().and_then(Path::parent).expect("a folder");
            let location = Location::Directory(table.join("data/day=1"));
            let found = table_roots(&lake(&["1.json"]), &location).await.expect("tables");
            let kinds: Vec<_> = found.iter().map(|root| root.kind).collect();
            assert_eq!(kinds, Vec::from_iter(kind));
        }
    }
}
