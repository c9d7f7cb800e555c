//! Where datasets, index and ledger are: folders and buckets out of their written form.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::domain::dataset::Location;
use crate::domain::object::ObjectKey;

use super::MetastoreSettings;
use super::dynamodb;
use super::error::Problem;
use super::postgres;

/// The location that a text names; relative folders are below `base`.
pub(super) fn parse(text: &str, base: &Path) -> Result<Location, Problem> {
    if text.is_empty() {
        return Err(
            Problem::new("a location is empty").remedy("write a folder or s3://BUCKET/PREFIX/")
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(Location::Directory(absolute(text, base)));
    };
    match scheme {
        "s3" => bucket(rest),
        "file" => Ok(Location::Directory(absolute(rest, base))),
        "gs" | "az" | "abfs" | "abfss" | "hdfs" | "http" | "https" => {
            Err(Problem::new(format!("locations of `{scheme}://` are not supported yet"))
                .remedy("a location is a folder or s3://BUCKET/PREFIX/"))
        }
        _ => Err(Problem::new("a location of an unknown scheme")
            .remedy("a location is a folder or s3://BUCKET/PREFIX/")),
    }
}

/// The lake of a single file and its key there. A file of this machine has to exist; its key counts
/// from the folder above its own, so that what lies beside its folder can be reached.
pub(super) fn file(text: &str) -> Result<(Location, ObjectKey), Problem> {
    let remedy = "write a path or s3://BUCKET/KEY";
    if let Some(rest) = text.strip_prefix("s3://") {
        let key = rest.split_once('/').map(|(_, key)| key).filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| Problem::new("the URL names no object").remedy(remedy))?;
        let Location::S3 { bucket, .. } = bucket(rest)? else {
            return Err(Problem::new("the URL names no bucket").remedy(remedy));
        };
        return Ok((Location::S3 { bucket, prefix: String::new() }, ObjectKey::from(key)));
    }
    let shown = text.escape_debug();
    let path = Path::new(text).canonicalize().map_err(|error| {
        Problem::new(format!("the file `{shown}` cannot be found: {}", error.kind())).remedy(remedy)
    })?;
    let folder = path.ancestors().nth(2).or(path.parent()).unwrap_or(Path::new("/"));
    let key = path.strip_prefix(folder).unwrap_or(&path).as_os_str().as_bytes();
    Ok((Location::Directory(folder.to_owned()), ObjectKey::new(key)))
}

fn bucket(rest: &str) -> Result<Location, Problem> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if bucket.len() < 3 || bucket.len() > 255 || !bucket.bytes().all(tame) {
        return Err(Problem::new("the bucket's name in `s3://` is not one")
            .remedy("write s3://BUCKET/PREFIX/"));
    }
    let ends_well = prefix.is_empty() || prefix.ends_with('/');
    let prefix = if ends_well { prefix.to_owned() } else { format!("{prefix}/") };
    Ok(Location::S3 { bucket: bucket.to_owned(), prefix })
}

/// The index that a URL names.
pub(super) fn metastore(url: &str, base: &Path) -> Result<MetastoreSettings, Problem> {
    let remedy = "write `file:` and a folder, such as `file:.lacuna/index`, or \
                  postgres://USER@HOST/DATABASE, or dynamodb://PREFIX";
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(Problem::new("the metastore's url names no scheme").remedy(remedy));
    };
    match scheme {
        "file" => {
            let folder = rest.strip_prefix("//").unwrap_or(rest);
            if folder.is_empty() {
                return Err(Problem::new("the metastore's url names no folder").remedy(remedy));
            }
            Ok(MetastoreSettings::Embedded(absolute(folder, base)))
        }
        "postgres" | "postgresql" => postgres::settings(url).map(MetastoreSettings::Postgres),
        "dynamodb" => dynamodb::settings(url).map(MetastoreSettings::DynamoDb),
        _ => Err(Problem::new("a metastore of an unknown scheme").remedy(remedy)),
    }
}

/// The path without `.` and `..`, below `base` where it is relative. The system is not asked.
pub(super) fn absolute(path: &str, base: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            other => absolute.push(other),
        }
    }
    absolute
}

/// Whether one of two locations lies within the other, symbolic links resolved where they exist.
pub(super) fn overlap(left: &Location, right: &Location) -> bool {
    match (left, right) {
        (Location::Directory(left), Location::Directory(right)) => {
            let (left, right) = (resolved(left), resolved(right));
            left.starts_with(&right) || right.starts_with(&left)
        }
        (
            Location::S3 { bucket: left, prefix: left_prefix },
            Location::S3 { bucket: right, prefix: right_prefix },
        ) => {
            left == right
                && (left_prefix.starts_with(right_prefix.as_str())
                    || right_prefix.starts_with(left_prefix.as_str()))
        }
        _ => false,
    }
}

/// Whether two folders overlap in truth, but not by their names.
pub(super) fn is_alias(left: &Location, right: &Location) -> bool {
    let (Location::Directory(by_name), Location::Directory(other)) = (left, right) else {
        return false;
    };
    overlap(left, right) && !by_name.starts_with(other) && !other.starts_with(by_name)
}

/// The path with the symbolic links of its longest existing part resolved.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return real.join(rest);
        }
    }
    path.to_owned()
}
