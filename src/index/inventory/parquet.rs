//! A report in Parquet: columns by name, keys as they are.

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use ::parquet::record::{Field as Value, Row};

use super::Problem;
use super::bytes::{Chunks, lake_error_behind};
use super::row::{Field, Fields, needed};
use crate::domain::Timestamp;
use crate::format::SharedSource;
use crate::lake::LakeError;

/// Tells every row of a file.
pub(super) fn read(
    source: SharedSource,
    mut tell: impl FnMut(Fields<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let file = SerializedFileReader::new(Chunks(source)).map_err(problem)?;
    let columns = file.metadata().file_metadata().schema().get_fields().to_vec();
    let has = |field| columns.iter().any(|column| Field::of_column(column.name()) == Some(field));
    needed(has).map_err(Problem::Content)?;
    for row in file.get_row_iter(None).map_err(problem)? {
        tell(fields(&row.map_err(problem)?)?)?;
    }
    Ok(())
}

/// What an error of the crate means: the store failed, or the file is wrong.
fn problem(error: ParquetError) -> Problem {
    if let ParquetError::External(cause) = error {
        let cause = match cause.downcast::<LakeError>() {
            Ok(error) => return Problem::Lake(*error),
            Err(cause) => cause,
        };
        if let Ok(error) = cause.downcast::<std::io::Error>()
            && let Ok(error) = lake_error_behind(*error)
        {
            return Problem::Lake(error);
        }
    }
    Problem::Content("is no Parquet file, or a damaged one".to_owned())
}

fn fields(row: &Row) -> Result<Fields<'_>, Problem> {
    let mut fields = Fields::default();
    for (name, value) in row.get_column_iter() {
        let Some(field) = Field::of_column(name) else { continue };
        let is_set = set(&mut fields, field, value).is_some();
        if !is_set && *value != Value::Null {
            let problem = format!("has values of an unknown type in its column {name}");
            return Err(Problem::Content(problem));
        }
        if field == Field::VersionId && !is_set {
            fields.version = Some(None);
        }
    }
    Ok(fields)
}

/// Takes a value; `None` where it is not of the field's type.
fn set<'r>(fields: &mut Fields<'r>, field: Field, value: &'r Value) -> Option<()> {
    match field {
        Field::Bucket => fields.bucket = Some(bytes(value)?),
        Field::Key => fields.key = Some(bytes(value)?),
        Field::VersionId => fields.version = Some(Some(text(value)?)),
        Field::IsLatest => fields.is_latest = Some(flag(value)?),
        Field::IsDeleteMarker => fields.is_delete_marker = flag(value)?,
        Field::Size => fields.size_bytes = Some(size(value)?),
        Field::LastModified => fields.modified_at = Some(moment(value)?),
        Field::ETag => fields.etag = Some(text(value)?),
        Field::StorageClass => fields.storage_class = Some(text(value)?),
    }
    Some(())
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Str(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes.data()),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        _ => None,
    }
}

fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Int(size) => u64::try_from(*size).ok(),
        Value::Long(size) => u64::try_from(*size).ok(),
        Value::UInt(size) => Some(u64::from(*size)),
        Value::ULong(size) => Some(*size),
        _ => None,
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::TimestampMillis(moment) => Timestamp::from_millisecond(*moment).ok(),
        Value::TimestampMicros(moment) => Timestamp::from_microsecond(*moment).ok(),
        _ => None,
    }
}
