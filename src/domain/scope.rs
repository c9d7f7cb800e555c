//! Which objects below a dataset's location are the dataset's, decided by key alone.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::dataset::{Dataset, DatasetName, Location};
use super::object::ObjectKey;

/// Decides which keys of a lake belong to a dataset.
///
/// Globs are matched against the key below the location, byte for byte. `*` and `?` do not match `/`,
/// `**` does. An object that an earlier dataset of the configuration claims is not this one's.
#[derive(Clone, Debug)]
pub struct Scope {
    claim: Claim,
    earlier: Vec<Claim>,
    tables: Vec<TableRoot>,
}

/// Why an object below a dataset's location is not in its scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// No `include` pattern matches.
    NotIncluded,
    /// An `exclude` pattern matches.
    Excluded,
    /// An earlier dataset of the configuration claims it.
    Claimed(DatasetName),
    /// It belongs to a table whose log would not know of a rewrite.
    Table(TableRoot),
    /// It is a moment's work of Lacuna itself: a stage of an upload, or the probe of a store.
    Scratch,
    /// What stands at the key is no object: a symbolic link, a device.
    NotAnObject,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIncluded => formatter.write_str("no pattern of `include` matches it"),
            Self::Excluded => formatter.write_str("a pattern of `exclude` matches it"),
            Self::Claimed(dataset) => write!(formatter, "it belongs to the dataset `{dataset}`"),
            Self::Table(table) => write!(
                formatter,
                "it belongs to the {} table at `{}`, which lacuna cannot rewrite yet",
                table.kind, table.prefix
            ),
            Self::Scratch => formatter.write_str("lacuna itself keeps it for the moment"),
            Self::NotAnObject => formatter.write_str("it is a link or no regular file"),
        }
    }
}

/// A table format that records which files a table has, how long they are and what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// Delta Lake.
    Delta,
    /// Apache Iceberg.
    Iceberg,
    /// Apache Hudi.
    Hudi,
}

impl fmt::Display for TableKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Delta => "Delta Lake",
            Self::Iceberg => "Iceberg",
            Self::Hudi => "Hudi",
        })
    }
}

/// The folder of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableRoot {
    /// The format.
    pub kind: TableKind,
    /// What the keys of its files begin with; empty or ending in `/`.
    pub prefix: ObjectKey,
}

impl TableRoot {
    /// The table that a file of this key is the mark of: a file in `_delta_log/` or `.hoodie/`, or
    /// one of Iceberg's `metadata/….metadata.json`, compressed or not.
    pub fn marked_by(key: &ObjectKey) -> Option<Self> {
        let bytes = key.as_bytes();
        let mut start = 0;
        while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'/') {
            let (name, rest) = (&bytes[start..start + length], &bytes[start + length + 1..]);
            let kind = match name {
                b"_delta_log" if !rest.is_empty() => Some(TableKind::Delta),
                b".hoodie" if !rest.is_empty() => Some(TableKind::Hudi),
                b"metadata" if is_iceberg_metadata(rest) => Some(TableKind::Iceberg),
                _ => None,
            };
            if let Some(kind) = kind {
                return Some(Self { kind, prefix: ObjectKey::new(&bytes[..start]) });
            }
            start += length + 1;
        }
        None
    }
}

fn is_iceberg_metadata(name: &[u8]) -> bool {
    let suffixes: [&[u8]; 2] = [b".metadata.json", b".metadata.json.gz"];
    !name.contains(&b'/') && suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// A pattern of `include` or `exclude` is no glob.
#[derive(Debug, thiserror::Error)]
#[error("the dataset `{dataset}` has a pattern `{pattern}` that cannot be read")]
pub struct InvalidGlob {
    dataset: DatasetName,
    pattern: String,
    source: globset::Error,
}

impl Scope {
    /// The scope of a dataset. `earlier` are those that stand before it in the configuration, `tables`
    /// the tables of the lake.
    ///
    /// # Errors
    ///
    /// [`InvalidGlob`] where a pattern cannot be read.
    pub fn new(
        dataset: &Dataset,
        earlier: &[Dataset],
        tables: Vec<TableRoot>,
    ) -> Result<Self, InvalidGlob> {
        let claims = earlier.iter().map(|other| Claim::new(other, &dataset.location));
        let earlier = claims.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let claim = Claim::with(dataset, Relation::Same)?;
        Ok(Self { claim, earlier, tables })
    }

    /// Why the object of this key is not the dataset's; `None` where it is.
    pub fn exclusion(&self, key: &ObjectKey) -> Option<Exclusion> {
        if is_scratch(key) {
            return Some(Exclusion::Scratch);
        }
        if let Some(exclusion) = self.claim.refusal(key.as_bytes()) {
            return Some(exclusion);
        }
        if let Some(other) = self.earlier.iter().find(|claim| claim.covers(key.as_bytes())) {
            return Some(Exclusion::Claimed(other.dataset.clone()));
        }
        let is_below = |table: &&TableRoot| key.as_bytes().starts_with(table.prefix.as_bytes());
        self.tables.iter().find(is_below).map(|table| Exclusion::Table(table.clone()))
    }
}

/// What the last name of the key of a stage begins with: a part of an object that is being put together.
pub const STAGE_PREFIX: &str = ".lacuna-stage-";

/// What the last name of a key begins with at which a store is tried out.
pub const PROBE_PREFIX: &str = ".lacuna-probe-";

fn is_scratch(key: &ObjectKey) -> bool {
    let name = key.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    [STAGE_PREFIX, PROBE_PREFIX].iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// What a dataset claims, in terms of another's keys.
#[derive(Clone, Debug)]
struct Claim {
    dataset: DatasetName,
    relation: Relation,
    /// What its keys begin with.
    prefix: Vec<u8>,
    include: Vec<GlobMatcher>,
    exclude: Vec<GlobMatcher>,
}

/// How the keys of a claim follow from those of the dataset that asks.
#[derive(Clone, Debug)]
enum Relation {
    /// They are the same.
    Same,
    /// The claim's folder lies above: this stands before the key.
    Above(Vec<u8>),
    /// The claim's folder lies below: this is taken from the key's beginning.
    Below(Vec<u8>),
}

impl Relation {
    /// How keys of a lake at `from` become keys of one at `to`; `None` where no object is in both.
    fn between(from: &Location, to: &Location) -> Option<Self> {
        match (from, to) {
            (Location::S3 { bucket: left, .. }, Location::S3 { bucket: right, .. }) => {
                (left == right).then_some(Self::Same)
            }
            (Location::Directory(from), Location::Directory(to)) if from == to => Some(Self::Same),
            (Location::Directory(from), Location::Directory(to)) => {
                if let Ok(below) = from.strip_prefix(to) {
                    return Some(Self::Above(folder_prefix(below)));
                }
                to.strip_prefix(from).ok().map(|below| Self::Below(folder_prefix(below)))
            }
            _ => None,
        }
    }

    fn translate(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Same => Some(key.to_vec()),
            Self::Above(folder) => Some([folder, key].concat()),
            Self::Below(folder) => key.strip_prefix(&folder[..]).map(<[u8]>::to_vec),
        }
    }
}

fn folder_prefix(path: &Path) -> Vec<u8> {
    let mut prefix = path.as_os_str().as_bytes().to_vec();
    prefix.push(b'/');
    prefix
}

impl Claim {
    fn new(dataset: &Dataset, asked: &Location) -> Result<Option<Self>, InvalidGlob> {
        let relation = Relation::between(asked, &dataset.location);
        relation.map(|relation| Self::with(dataset, relation)).transpose()
    }

    fn with(dataset: &Dataset, relation: Relation) -> Result<Self, InvalidGlob> {
        let compile = |patterns: &[String]| -> Result<Vec<_>, _> {
            patterns.iter().map(|pattern| matcher(dataset, pattern)).collect()
        };
        Ok(Self {
            dataset: dataset.name.clone(),
            relation,
            prefix: dataset.location.prefix().to_vec(),
            include: compile(&dataset.include)?,
            exclude: compile(&dataset.exclude)?,
        })
    }

    /// Why the dataset's own patterns leave a key of its lake out.
    fn refusal(&self, key: &[u8]) -> Option<Exclusion> {
        let Some(below) = key.strip_prefix(&self.prefix[..]) else {
            return Some(Exclusion::NotIncluded);
        };
        let below = Path::new(OsStr::from_bytes(below));
        let matches = |globs: &[GlobMatcher]| globs.iter().any(|glob| glob.is_match(below));
        if !self.include.is_empty() && !matches(&self.include) {
            return Some(Exclusion::NotIncluded);
        }
        matches(&self.exclude).then_some(Exclusion::Excluded)
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.relation.translate(key).is_some_and(|key| self.refusal(&key).is_none())
    }
}

/// Each glob is a matcher of its own: a set would look at file names, which are not bytes for bytes
/// where a key ends in a dot.
fn matcher(dataset: &Dataset, pattern: &str) -> Result<GlobMatcher, InvalidGlob> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|source| InvalidGlob {
        dataset: dataset.name.clone(),
        pattern: pattern.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dataset::{ErasePolicy, Reading};

    fn dataset(name: &str, location: &str, include: &[&str], exclude: &[&str]) -> Dataset {
        let location = match location.strip_prefix("s3://") {
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').expect("a prefix");
                Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
            }
            None => Location::Directory(location.into()),
        };
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        Dataset {
            name: DatasetName::new(name),
            location,
            include: owned(include),
            exclude: owned(exclude),
            reading: Reading::default(),
            identifiers: Vec::new(),
            erase: ErasePolicy::default(),
        }
    }

    fn excluded(scope: &Scope, key: &[u8]) -> Option<Exclusion> {
        scope.exclusion(&ObjectKey::new(key))
    }

    #[test]
    fn globs_match_below_the_location() {
        let dataset = dataset("d", "s3://b/reviews/", &["**/*.json", "x?/[ab]*"], &["**/tmp/**"]);
        let scope = Scope::new(&dataset, &[], Vec::new()).expect("a scope");
        let inside: [&[u8]; 6] = [
            b"reviews/a.json",
            b"reviews/deep/er/a.json",
            b"reviews/\xff\xfe/a\nb.json",
            b"reviews/xy/bc",
            b"reviews//a.json",
            b"reviews/../a.json",
        ];
        for key in inside {
            assert_eq!(excluded(&scope, key), None, "{key:?}");
        }
        let outside: [&[u8]; 4] =
            [b"reviews/a.json.", b"reviews/a.JSON", b"reviews/x//b", b"reviews/xy/b/c"];
        for key in outside {
            assert_eq!(excluded(&scope, key), Some(Exclusion::NotIncluded), "{key:?}");
        }
        assert_eq!(excluded(&scope, b"reviews/tmp/a.json"), Some(Exclusion::Excluded));
        let all = super::tests::dataset("d", "s3://b/reviews/", &[], &[]);
        let scope = Scope::new(&all, &[], Vec::new()).expect("a scope");
        for key in [&b"reviews/."[..], b"reviews/", b"reviews/\x00", b"reviews/a."] {
            assert_eq!(excluded(&scope, key), None, "{key:?}");
        }
    }

    #[test]
    fn what_lacuna_keeps_for_a_moment_is_nobodys() {
        let all = dataset("d", "s3://b/reviews/", &[], &[]);
        let scope = Scope::new(&all, &[], Vec::new()).expect("a scope");
        for key in [&b"reviews/.lacuna-stage-0-1"[..], b"reviews/a/.lacuna-probe-x"] {
            assert_eq!(excluded(&scope, key), Some(Exclusion::Scratch));
        }
        for key in [&b"reviews/.lacuna-stage-0/a"[..], b"reviews/a.lacuna-stage-0", b"reviews/.x"] {
            assert_eq!(excluded(&scope, key), None);
        }
    }

    #[test]
    fn a_dot_at_the_end_of_a_key_is_matched_like_any_byte() {
        let dataset = dataset("d", "s3://b/", &["**/a."], &[]);
        let scope = Scope::new(&dataset, &[], Vec::new()).expect("a scope");
        assert_eq!(excluded(&scope, b"x/a."), None);
    }

    #[test]
    fn an_earlier_dataset_has_its_objects_first() {
        let claimed = |name: &str| Some(Exclusion::Claimed(DatasetName::new(name)));
        let earlier = [
            dataset("json", "s3://b/x/", &["**/*.json"], &["**/keep/*"]),
            dataset("other", "s3://c/", &[], &[]),
        ];
        let scope = Scope::new(&dataset("d", "s3://b/", &[], &[]), &earlier, Vec::new());
        let scope = scope.expect("a scope");
        assert_eq!(excluded(&scope, b"x/a.json"), claimed("json"));
        assert_eq!(excluded(&scope, b"x/keep/a.json"), None);
        assert_eq!(excluded(&scope, b"y/a.json"), None);

        let above = [dataset("above", "/lake", &["sub/*.csv"], &[])];
        let scope = Scope::new(&dataset("d", "/lake/sub", &[], &[]), &above, Vec::new());
        let scope = scope.expect("a scope");
        assert_eq!(excluded(&scope, b"a.csv"), claimed("above"));
        assert_eq!(excluded(&scope, b"deep/a.csv"), None);

        let below = [dataset("below", "/lake/sub", &["*.csv"], &[])];
        let scope = Scope::new(&dataset("d", "/lake", &[], &[]), &below, Vec::new());
        let scope = scope.expect("a scope");
        assert_eq!(excluded(&scope, b"sub/a.csv"), claimed("below"));
        assert_eq!(excluded(&scope, b"a.csv"), None);
        assert_eq!(excluded(&scope, b"subway/a.csv"), None);
    }

    /// Hazard C15: a file of a table is known by the table's own files.
    #[test]
    fn a_table_is_known_by_its_marks() {
        let root = |key: &str| TableRoot::marked_by(&ObjectKey::from(key));
        let expected = |kind, prefix: &str| Some(TableRoot { kind, prefix: prefix.into() });
        assert_eq!(root("t/_delta_log/0.json"), expected(TableKind::Delta, "t/"));
        assert_eq!(root("_delta_log/0.json"), expected(TableKind::Delta, ""));
        assert_eq!(root("a/t/.hoodie/x/y"), expected(TableKind::Hudi, "a/t/"));
        assert_eq!(root("t/metadata/v1.metadata.json"), expected(TableKind::Iceberg, "t/"));
        assert_eq!(root("t/metadata/v1.gz.metadata.json"), expected(TableKind::Iceberg, "t/"));
        assert_eq!(root("t/metadata/v1.metadata.json.gz"), expected(TableKind::Iceberg, "t/"));
        for key in
            ["t/_delta_log", "t/_delta_log/", "metadata/a.json", "metadata/x/a.metadata.json"]
        {
            assert_eq!(root(key), None, "{key}");
        }
        let table = expected(TableKind::Delta, "t/").expect("a table");
        let scope = Scope::new(&dataset("d", "s3://b/", &[], &[]), &[], vec![table.clone()]);
        let scope = scope.expect("a scope");
        assert_eq!(excluded(&scope, b"t/part-0.parquet"), Some(Exclusion::Table(table)));
        assert_eq!(excluded(&scope, b"t2/part-0.parquet"), None);
    }

    #[test]
    fn a_pattern_that_is_none_names_its_dataset() {
        let wrong = Scope::new(&dataset("d", "s3://b/", &["[a"], &[]), &[], Vec::new());
        assert!(wrong.expect_err("no glob").to_string().contains("`d`"));
    }
}
