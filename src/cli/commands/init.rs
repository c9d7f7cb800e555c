//! `lacuna init [DIR]`: never overwrites anything.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::cli::args::Init;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::config::{FILE_NAME, template};
use crate::domain::identifier::hex;

use super::Context;

pub(super) fn run(context: &Context, arguments: &Init) -> Result<Answer, Failure> {
    let folder = context.environment.folder().join(&arguments.dir);
    let shown = arguments.dir.strip_prefix(".").unwrap_or(&arguments.dir);
    let room = folder.join(".lacuna");
    let configuration = folder.join(FILE_NAME);
    let (key, signing_key) = (room.join("digest.key"), room.join("signing.key"));
    for file in [&configuration, &key, &signing_key] {
        if file.symlink_metadata().is_ok() {
            let shown = file.strip_prefix(&folder).unwrap_or(file).display();
            let message = format!("{shown} exists already; nothing was written");
            return Err(
                Failure::new(Exit::Usage, message).remedy("name another folder: lacuna init DIR")
            );
        }
    }
    DirBuilder::new().recursive(true).create(&folder).map_err(|error| at(&folder, error))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&room)
        .map_err(|error| at(&room, error))?;
    create_key(&key)?;
    create_key(&signing_key)?;
    create(&configuration, template::CONFIGURATION.as_bytes(), 0o644)?;
    let ignore = room.join(".gitignore");
    if ignore.symlink_metadata().is_err() {
        create(&ignore, template::IGNORE.as_bytes(), 0o644)?;
    }
    let document = documents::Init {
        schema: documents::INIT,
        configuration: shown.join(FILE_NAME).display().to_string(),
        key_file: shown.join(".lacuna/digest.key").display().to_string(),
        signing_key_file: shown.join(".lacuna/signing.key").display().to_string(),
    };
    Answer::new(human::init(&document), &document)
}

/// Writes a random key into a file that must not exist yet, and that nobody else can read.
pub(super) fn create_key(path: &Path) -> Result<(), Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| {
        Failure::new(Exit::Failed, "the system gave no random bytes; no key was written")
    })?;
    create(path, format!("{}\n", hex(&bytes)).as_bytes(), 0o600)
}

/// Writes a file that must not exist yet.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let options = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    options
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|error| at(path, error))
}

fn at(path: &Path, error: std::io::Error) -> Failure {
    let exit =
        if error.kind() == ErrorKind::PermissionDenied { Exit::Denied } else { Exit::Failed };
    Failure::new(exit, format!("{} cannot be written: {error}", path.display()))
}
