//! The end of an index: its files go, and no others.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::schema::catalogue_path;
use super::{files, owner};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// What the names of the catalogue's own files end with, that of the database first: without it, all
/// others are garbage.
const CATALOGUE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Removes the index from a folder, sound or not; the folder and whatever else lies in it stay.
///
/// # Errors
///
/// [`MetastoreErrorKind::Unavailable`] where another process writes to it.
pub(super) fn remove(folder: &Path) -> Result<(), MetastoreError> {
    let failed = |error: io::Error| {
        let text = format!("the index in {} could not be removed", folder.display());
        MetastoreError::new(MetastoreErrorKind::Other, text).caused_by(error)
    };
    if is_written(folder).map_err(failed)? {
        let text = format!(
            "another process writes to the index in {}: wait until it has ended, and try again",
            folder.display()
        );
        return Err(MetastoreError::new(MetastoreErrorKind::Unavailable, text));
    }
    remove_files(folder).map_err(failed)
}

fn is_written(folder: &Path) -> io::Result<bool> {
    for name in names(folder)? {
        if let Some(writer) = owner::writer_of(&name)
            && owner::is_alive(folder, writer)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_files(folder: &Path) -> io::Result<()> {
    let catalogue = catalogue_path(folder);
    for suffix in CATALOGUE {
        let mut path = catalogue.clone().into_os_string();
        path.push(suffix);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for name in names(folder)?.iter().filter(|name| files::writer_of(name).is_some()) {
        fs::remove_file(folder.join(name))?;
    }
    File::open(folder)?.sync_all()
}

/// The names in the folder; none where there is no folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
    let names: Vec<_> = entries.map(name).collect::<io::Result<_>>()?;
    Ok(names.iter().filter_map(|name| OsStr::to_str(name)).map(str::to_owned).collect())
}
