//! Takes postings out of runs, block by block, where they stand.
//!
//! The blocks as they are to be go into a redo file first, which the transaction that decides on the
//! removal names. Every transaction that writes begins with carrying out the redo files that are named,
//! whoever made them: what a crash interrupted is done by the next writer, or by whoever opens the index
//! next. Carrying one out twice is carrying it out once.
//!
//! ```text
//! entries  i64 run, u64 block, the block's 4096 bytes
//! footer   "LACUREDO", u64 entries, u32 CRC-32 of everything before
//! ```

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::failure::{damaged, failure, file_failure};
use super::files::{Files, NewFile};
use super::run::{Run, read_at};
use super::runs::{self, RunRecord};
use super::schema;
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::block::{BLOCK_BYTES, BlockBuilder, push_empty};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

const MAGIC: [u8; 8] = *b"LACUREDO";
const FOOTER_BYTES: usize = 20;
const ENTRY_BYTES: usize = 16 + BLOCK_BYTES;

/// How many bytes are written at once.
const WRITE: usize = 1 << 20;

/// A subject's postings of one object.
pub(super) type Pair = (u64, u64);

/// Takes the postings of these pairs out of all runs, as soon as the transaction under way has ended.
/// Answers what goes, each posting once. `pairs` is sorted.
pub(super) fn take_out(
    connection: &Connection,
    files: &Files,
    pairs: &[Pair],
) -> Result<Vec<PackedPosting>> {
    let mut removed = Vec::new();
    let mut redo = None;
    let numbers = || pairs.iter().map(|(_, number)| *number);
    let (Some(lowest), Some(highest)) = (numbers().min(), numbers().max()) else {
        return Ok(removed);
    };
    for record in runs::all(connection)? {
        if record.facts.highest < lowest || record.facts.lowest > highest {
            continue;
        }
        let before = removed.len();
        rewrite(files, &record, pairs, (&mut redo, &mut removed))?;
        let count = (removed.len() - before) as u64;
        if count > 0 {
            runs::shrink(connection, record.id, count)?;
        }
    }
    if let Some(redo) = redo {
        let file = redo.finish()?;
        connection
            .execute("INSERT INTO redo VALUES (?1)", [file])
            .map_err(|error| failure("be written", error))?;
        runs::raise(connection, runs::PURGES, 1)?;
    }
    removed.sort_unstable();
    removed.dedup();
    Ok(removed)
}

/// Writes the blocks of a run that lose postings to the redo file.
fn rewrite<'f>(
    files: &'f Files,
    record: &RunRecord,
    pairs: &[Pair],
    (redo, removed): (&mut Option<RedoWriter<'f>>, &mut Vec<PackedPosting>),
) -> Result<()> {
    let run = runs::open_some(files, std::slice::from_ref(record))?.remove(0);
    let mut buffer = [0; BLOCK_BYTES];
    let mut postings = Vec::new();
    for block in blocks_of(&run, pairs)? {
        postings.clear();
        run.block(block, &mut buffer, |it| postings.extend(it.postings()))?;
        let before = removed.len();
        postings.retain(|posting: &PackedPosting| {
            let is_kept = pairs.binary_search(&(posting.subject, posting.object)).is_err();
            if !is_kept {
                removed.push(*posting);
            }
            is_kept
        });
        if removed.len() == before {
            continue;
        }
        let redo = match redo {
            Some(redo) => redo,
            None => redo.insert(RedoWriter::new(files)?),
        };
        redo.push(record.id, block, &postings)?;
    }
    Ok(())
}

/// The blocks that hold postings of these pairs, ascending.
fn blocks_of(run: &Run, pairs: &[Pair]) -> Result<Vec<usize>> {
    let mut buffer = [0; BLOCK_BYTES];
    let mut found = Vec::new();
    let mut postings = Vec::new();
    for same in pairs.chunk_by(|left, right| left.0 == right.0) {
        let subject = same[0].0;
        for block in run.blocks_of(subject, &mut buffer)? {
            postings.clear();
            let goes_on = run.block(block, &mut buffer, |it| it.find(subject, &mut postings))?;
            let is_meant = |number: &u64| same.binary_search_by_key(number, |pair| pair.1).is_ok();
            let has_any = postings.iter().any(|(number, _)| is_meant(number));
            if has_any && found.last().is_none_or(|last| *last < block) {
                found.push(block);
            }
            if !goes_on {
                break;
            }
        }
    }
    Ok(found)
}

struct RedoWriter<'f> {
    file: NewFile<'f>,
    buffer: Vec<u8>,
    checksum: crc32fast::Hasher,
    entries: u64,
}

impl<'f> RedoWriter<'f> {
    fn new(files: &'f Files) -> Result<Self> {
        let file = files.create(&files.name("redo")?)?;
        Ok(Self { file, buffer: Vec::new(), checksum: crc32fast::Hasher::new(), entries: 0 })
    }

    fn push(&mut self, run: i64, block: usize, postings: &[PackedPosting]) -> Result<()> {
        self.buffer.extend(run.to_le_bytes());
        self.buffer.extend((block as u64).to_le_bytes());
        if postings.is_empty() {
            push_empty(&mut self.buffer);
        } else {
            let mut builder = BlockBuilder::default();
            if !postings.iter().all(|posting| builder.push(*posting)) {
                let text = "a part of a block does not fit in a block; report it as a bug";
                return Err(MetastoreError::new(MetastoreErrorKind::Other, text));
            }
            builder.finish(&mut self.buffer);
        }
        self.entries += 1;
        if self.buffer.len() >= WRITE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        self.checksum.update(&self.buffer);
        self.file.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<String> {
        self.buffer.extend(MAGIC);
        self.buffer.extend(self.entries.to_le_bytes());
        self.write()?;
        self.file.write(&self.checksum.finalize().to_le_bytes())?;
        self.file.keep()
    }
}

/// Carries out a redo file, some blocks at a time.
fn carry_out(connection: &Connection, files: &Files, name: &str) -> Result<()> {
    let wrong = || damaged("a redo file");
    let file = files.open(name)?.ok_or_else(wrong)?;
    let length = file.metadata().map_err(|error| file_failure("be read", error))?.len();
    let entries = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(wrong)?;
    if !entries.is_multiple_of(ENTRY_BYTES as u64) || !is_whole(&file, entries)? {
        return Err(wrong());
    }
    let records = runs::all(connection)?;
    let run_of = |entry: &[u8; ENTRY_BYTES]| i64::from_le_bytes(chunk(entry, 0));
    for bytes in pieces(&file, entries) {
        let bytes = bytes?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        for of_run in entries.chunk_by(|left, right| run_of(left) == run_of(right)) {
            let id = run_of(&of_run[0]);
            let record = records.iter().find(|record| record.id == id).ok_or_else(wrong)?;
            let part = |entry| {
                let block = u64::from_le_bytes(chunk(entry, 8));
                let is_there = block < record.facts.blocks;
                is_there.then_some((block * BLOCK_BYTES as u64, &entry[16..]))
            };
            let parts: Option<Vec<_>> = of_run.iter().map(part).collect();
            files.overwrite(&record.facts.file, &parts.ok_or_else(wrong)?)?;
        }
    }
    Ok(())
}

/// Whether the file ends as it should, after so many bytes of entries.
fn is_whole(file: &File, entries: u64) -> Result<bool> {
    let mut checksum = crc32fast::Hasher::new();
    for bytes in pieces(file, entries) {
        checksum.update(&bytes?);
    }
    let mut footer = [0; FOOTER_BYTES];
    read_at(file, &mut footer, entries)?;
    let (body, expected) = footer.split_at(FOOTER_BYTES - 4);
    checksum.update(body);
    Ok(body.starts_with(&MAGIC) && checksum.finalize().to_le_bytes() == *expected)
}

/// The entries of a file, whole ones, about a megabyte at a time.
fn pieces(file: &File, entries: u64) -> impl Iterator<Item = Result<Vec<u8>>> {
    const PIECE: usize = 256 * ENTRY_BYTES;
    (0..entries).step_by(PIECE).map(move |start| {
        let length = usize::try_from(entries - start).map_or(PIECE, |left| left.min(PIECE));
        let mut bytes = vec![0; length];
        read_at(file, &mut bytes, start).map(|()| bytes)
    })
}

fn chunk(entry: &[u8; ENTRY_BYTES], at: usize) -> [u8; 8] {
    entry[at..].first_chunk().copied().unwrap_or_default()
}

/// Carries out what a crash left, before anybody reads.
pub(super) fn settle_left_over(folder: &Path, files: &Files) -> Result<()> {
    if runs::redos(&schema::open_reader(folder)?)?.is_empty() {
        return Ok(());
    }
    transact(&schema::open_writer(folder)?, files, || Ok(()))
}

/// A transaction that has begun, and the redo files that are done with once it has ended well.
#[must_use]
pub(super) struct Begun(Vec<String>);

/// Begins a transaction that writes, and carries out what is named in redo files.
pub(super) fn begin(connection: &Connection, files: &Files) -> Result<Begun> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let settled = settle(connection, files);
    if settled.is_err() {
        execute(connection, "ROLLBACK")?;
    }
    settled.map(Begun)
}

fn settle(connection: &Connection, files: &Files) -> Result<Vec<String>> {
    let names = runs::redos(connection)?;
    for name in &names {
        carry_out(connection, files, name)?;
    }
    if !names.is_empty() {
        execute(connection, "DELETE FROM redo")?;
    }
    Ok(names)
}

impl Begun {
    /// Ends the transaction, as `answer` is well or not.
    pub(super) fn end<T>(
        self,
        connection: &Connection,
        files: &Files,
        answer: Result<T>,
    ) -> Result<T> {
        let ended = answer.and_then(|answer| execute(connection, "COMMIT").map(|()| answer));
        match &ended {
            Ok(_) => self.0.iter().for_each(|name| files.remove(name)),
            Err(_) if !connection.is_autocommit() => execute(connection, "ROLLBACK")?,
            Err(_) => {}
        }
        ended
    }
}

/// Does some work within one transaction.
pub(super) fn transact<T>(
    connection: &Connection,
    files: &Files,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let begun = begin(connection, files)?;
    begun.end(connection, files, work())
}

pub(super) fn execute(connection: &Connection, statement: &str) -> Result<()> {
    connection.execute_batch(statement).map_err(|error| failure("be written", error))
}

/// Copies the log into the database and empties it, so that no deleted byte stays in it.
pub(super) fn truncate_log(connection: &Connection) -> Result<()> {
    let busy: i64 = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| failure("be cleaned", error))?;
    if busy == 0 {
        return Ok(());
    }
    Err(MetastoreError::new(
        MetastoreErrorKind::Unavailable,
        "what was forgotten still stands in the index's log, since another process has been \
         reading for too long: try again",
    ))
}
