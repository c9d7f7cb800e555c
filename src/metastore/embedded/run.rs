//! A run: postings in ascending order in one file, which is never changed but for single blocks that
//! lose postings.
//!
//! ```text
//! blocks      4096 bytes each (`packing::block`)
//! separators  u64 a block
//! footer      "LACURUN2", u64 blocks, u32 CRC-32 of the separators, u32 CRC-32 of the footer before it
//! ```
//!
//! Integers are little-endian. The separator of a block is a number above every subject of the blocks
//! before it, up to its own first; where a subject goes on from the block before, there is none, and
//! the separator before is repeated. It is the number with the fewest digits in that gap, so that it
//! tells no subject's digest after the subject's postings are gone.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::failure::{damaged, file_failure};
use super::files::{Files, NewFile};
use crate::metastore::MetastoreError;
use crate::metastore::packing::block::{BLOCK_BYTES, Block, BlockBuilder};
use crate::metastore::packing::{Corrupt, PackedPosting};

type Result<T> = std::result::Result<T, MetastoreError>;

const MAGIC: [u8; 8] = *b"LACURUN2";

const FOOTER_BYTES: usize = 24;

/// How many bytes are written at once.
const WRITE: usize = 1 << 20;

/// How often a block is read that does not match its checksum: it may be being overwritten.
const READS: usize = 20;

/// How many blocks a cursor reads at once.
const AHEAD: usize = 16;

/// Writes a run.
pub(super) struct RunWriter<'f> {
    file: NewFile<'f>,
    builder: BlockBuilder,
    buffer: Vec<u8>,
    separators: Vec<u64>,
    last: u64,
    facts: RunFacts,
}

/// What the catalogue keeps of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunFacts {
    pub(super) file: String,
    pub(super) blocks: u64,
    pub(super) postings: u64,
    /// The lowest number of an object.
    pub(super) lowest: u64,
    /// The highest number of an object.
    pub(super) highest: u64,
}

impl<'f> RunWriter<'f> {
    pub(super) fn new(files: &'f Files) -> Result<Self> {
        Ok(Self {
            file: files.create(&files.name("run")?)?,
            builder: BlockBuilder::default(),
            buffer: Vec::new(),
            separators: Vec::new(),
            last: 0,
            facts: RunFacts { lowest: u64::MAX, ..RunFacts::default() },
        })
    }

    /// Takes the next posting. They come in ascending order, each once.
    pub(super) fn push(&mut self, posting: PackedPosting) -> Result<()> {
        if !self.builder.push(posting) {
            self.cut()?;
            self.builder.push(posting);
        }
        self.facts.postings += 1;
        self.facts.lowest = self.facts.lowest.min(posting.object);
        self.facts.highest = self.facts.highest.max(posting.object);
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        let Some((first, last)) = self.builder.subjects() else { return Ok(()) };
        let separator = match self.separators.last() {
            None => 0,
            Some(separator) => separator_of(self.last, first).unwrap_or(*separator),
        };
        self.separators.push(separator);
        self.last = last;
        self.builder.finish(&mut self.buffer);
        if self.buffer.len() >= WRITE {
            self.file.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Puts the run on the disk; `None` where there was no posting.
    pub(super) fn finish(mut self) -> Result<Option<RunFacts>> {
        self.cut()?;
        if self.separators.is_empty() {
            return Ok(None);
        }
        self.facts.blocks = self.separators.len() as u64;
        let start = self.buffer.len();
        self.buffer.extend(self.separators.iter().flat_map(|separator| separator.to_le_bytes()));
        let checksum = crc32fast::hash(&self.buffer[start..]);
        self.buffer.extend(footer(self.facts.blocks, checksum));
        self.file.write(&self.buffer)?;
        self.facts.file = self.file.keep()?;
        Ok(Some(self.facts))
    }
}

/// The number with the most zeros at its end that is above `last`, and at most `first`.
fn separator_of(last: u64, first: u64) -> Option<u64> {
    let differing = (last ^ first).checked_ilog2()?;
    Some(first >> differing << differing)
}

fn footer(blocks: u64, separators: u32) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    footer[..8].copy_from_slice(&MAGIC);
    footer[8..16].copy_from_slice(&blocks.to_le_bytes());
    footer[16..20].copy_from_slice(&separators.to_le_bytes());
    let checksum = crc32fast::hash(&footer[..20]);
    footer[20..].copy_from_slice(&checksum.to_le_bytes());
    footer
}

/// How many bytes a run of this many blocks takes.
pub(super) fn size_of(blocks: u64) -> u64 {
    blocks * (BLOCK_BYTES as u64 + 8) + FOOTER_BYTES as u64
}

/// A run that is open for reading. It can be read to its end even if it is merged away meanwhile.
#[derive(Debug)]
pub(super) struct Run {
    /// Its number in the catalogue.
    pub(super) id: i64,
    file: File,
    separators: Vec<u64>,
}

impl Run {
    /// Reads what a run says of itself.
    pub(super) fn new(id: i64, file: File, blocks: u64) -> Result<Self> {
        let length = file.metadata().map_err(|error| file_failure("be read", error))?.len();
        if length != size_of(blocks) {
            return Err(damaged("a run of another length"));
        }
        let start = blocks * BLOCK_BYTES as u64;
        let mut bytes = vec![0; usize::try_from(length - start).map_err(|_| damaged("a run"))?];
        read_at(&file, &mut bytes, start)?;
        let separators = bytes.split_off(bytes.len() - FOOTER_BYTES);
        let (footer_read, separators) = (separators, bytes);
        if footer_read != footer(blocks, crc32fast::hash(&separators)) {
            return Err(damaged("a run's footer"));
        }
        let (separators, _) = separators.as_chunks::<8>();
        let separators = separators.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        Ok(Self { id, file, separators })
    }

    pub(super) fn blocks(&self) -> usize {
        self.separators.len()
    }

    /// The separator of a block.
    pub(super) fn separator(&self, block: usize) -> u64 {
        self.separators.get(block).copied().unwrap_or(u64::MAX)
    }

    /// Reads a block and hands it to `work`.
    pub(super) fn block<T>(
        &self,
        block: usize,
        buffer: &mut [u8; BLOCK_BYTES],
        work: impl FnOnce(Block<'_>) -> T,
    ) -> Result<T> {
        let mut wrong = Corrupt("");
        for attempt in 0..READS {
            read_at(&self.file, buffer, (block * BLOCK_BYTES) as u64)?;
            match Block::read(buffer) {
                Ok(block) => return Ok(work(block)),
                Err(error) => wrong = error,
            }
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Err(damaged("a block").caused_by(wrong))
    }

    /// The blocks that may hold a subject. It stands in consecutive ones, from the first of these on,
    /// if not from a later one.
    pub(super) fn blocks_of(
        &self,
        subject: u64,
        buffer: &mut [u8; BLOCK_BYTES],
    ) -> Result<Range<usize>> {
        let end = self.separators.partition_point(|separator| *separator <= subject);
        let Some(last) = end.checked_sub(1) else { return Ok(0..0) };
        let separator = self.separators[last];
        let mut low = match last.checked_sub(1).map(|before| self.separators[before] == separator) {
            Some(true) => self.separators.partition_point(|other| *other < separator),
            _ => last,
        };
        // A subject goes on through these blocks: the wanted one stands before, in, or after them.
        let mut high = end;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.first_from(middle..high, buffer)? {
                Some((block, first)) if first < subject => low = block,
                _ => high = middle,
            }
        }
        Ok(low..end)
    }

    /// The first of these blocks that holds a posting, and its first subject.
    fn first_from(
        &self,
        blocks: Range<usize>,
        buffer: &mut [u8; BLOCK_BYTES],
    ) -> Result<Option<(usize, u64)>> {
        for block in blocks {
            let first =
                self.block(block, buffer, |it| (!it.is_empty()).then(|| it.first_subject()))?;
            if let Some(first) = first {
                return Ok(Some((block, first)));
            }
        }
        Ok(None)
    }
}

pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> Result<()> {
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged("a file that is cut short"),
        _ => file_failure("be read", error),
    })
}

/// Reads all postings of a run, in order.
pub(super) struct Cursor {
    run: Arc<Run>,
    /// The block that is read next.
    next: usize,
    ahead: Vec<u8>,
    /// The next block's place in what was read ahead.
    ahead_at: usize,
    postings: Vec<PackedPosting>,
    at: usize,
}

impl Cursor {
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self { run, next: 0, ahead: Vec::new(), ahead_at: 0, postings: Vec::new(), at: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<PackedPosting>> {
        while self.at == self.postings.len() {
            if self.next == self.run.blocks() {
                return Ok(None);
            }
            self.read()?;
        }
        self.at += 1;
        Ok(Some(self.postings[self.at - 1]))
    }

    fn read(&mut self) -> Result<()> {
        if self.ahead_at == self.ahead.len() {
            let blocks = (self.run.blocks() - self.next).min(AHEAD);
            self.ahead.resize(blocks * BLOCK_BYTES, 0);
            read_at(&self.run.file, &mut self.ahead, (self.next * BLOCK_BYTES) as u64)?;
            self.ahead_at = 0;
        }
        (self.postings, self.at) = (std::mem::take(&mut self.postings), 0);
        self.postings.clear();
        let bytes = &self.ahead[self.ahead_at..self.ahead_at + BLOCK_BYTES];
        match Block::read(bytes) {
            Ok(block) => self.postings.extend(block.postings()),
            // It may be being overwritten.
            Err(_) => {
                let mut buffer = [0; BLOCK_BYTES];
                let postings = &mut self.postings;
                self.run.block(self.next, &mut buffer, |it| postings.extend(it.postings()))?;
            }
        }
        self.next += 1;
        self.ahead_at += BLOCK_BYTES;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Few subjects or many, some of them in block after block.
    fn postings() -> impl Strategy<Value = BTreeSet<PackedPosting>> {
        let subject = prop_oneof![
            3 => any::<u64>(),
            2 => (0_u64..6).prop_map(|number| number << 61 | 5),
            1 => (0_u64..3).prop_map(|number| (7 << 60) + number),
            1 => prop_oneof![Just(0), Just(u64::MAX)],
        ];
        let row = prop_oneof![any::<u64>(), 0_u64..1000];
        let posting = (subject, 0_u64..4, row);
        let posting =
            posting.prop_map(|(subject, object, row)| PackedPosting { subject, object, row });
        prop::collection::btree_set(posting, 1..6000)
    }

    fn written(files: &Files, postings: &BTreeSet<PackedPosting>) -> Arc<Run> {
        let mut run = RunWriter::new(files).expect("begun");
        postings.iter().for_each(|posting| run.push(*posting).expect("pushed"));
        let facts = run.finish().expect("written").expect("not empty");
        assert_eq!(facts.postings, postings.len() as u64);
        let file = files.open(&facts.file).expect("opened").expect("there");
        Arc::new(Run::new(1, file, facts.blocks).expect("sound"))
    }

    fn found(run: &Run, subject: u64) -> Vec<(u64, u64)> {
        let (mut buffer, mut found) = ([0; BLOCK_BYTES], Vec::new());
        for block in run.blocks_of(subject, &mut buffer).expect("blocks") {
            let goes_on = run.block(block, &mut buffer, |it| it.find(subject, &mut found));
            if !goes_on.expect("read") {
                break;
            }
        }
        found
    }

    fn expected(postings: &BTreeSet<PackedPosting>, subject: u64) -> Vec<(u64, u64)> {
        let of = postings.iter().filter(|posting| posting.subject == subject);
        of.map(|posting| (posting.object, posting.row)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_run_answers_as_its_list(postings in postings(), emptied in any::<u64>()) {
            let folder = tempfile::tempdir().expect("a folder");
            let files = Files::new(folder.path());
            let run = written(&files, &postings);
            let mut cursor = Cursor::new(Arc::clone(&run));
            for posting in &postings {
                prop_assert_eq!(cursor.next().expect("read"), Some(*posting));
            }
            prop_assert_eq!(cursor.next().expect("read"), None);
            let subjects: BTreeSet<u64> = postings
                .iter()
                .flat_map(|posting| [posting.subject, posting.subject ^ 1, posting.subject << 1])
                .chain([0, 7 << 60, u64::MAX])
                .collect();
            for subject in subjects.iter().step_by(7).chain(&[0, 7 << 60, (7 << 60) + 1, u64::MAX]) {
                prop_assert_eq!(found(&run, *subject), expected(&postings, *subject));
            }

            // Blocks that were emptied are passed over.
            let mut left = postings.clone();
            let mut buffer = [0; BLOCK_BYTES];
            for block in (0..run.blocks()).filter(|block| emptied >> (block % 64) & 1 == 1) {
                let gone: Vec<_> =
                    run.block(block, &mut buffer, |it| it.postings().collect()).expect("read");
                left.retain(|posting| !gone.contains(posting));
                let mut empty = Vec::new();
                crate::metastore::packing::block::push_empty(&mut empty);
                let name = &files.list().expect("listed")[0].1;
                files.overwrite(name, &[((block * BLOCK_BYTES) as u64, &empty)]).expect("written");
            }
            for subject in subjects.iter().step_by(5).chain(&[0, 7 << 60, u64::MAX]) {
                prop_assert_eq!(found(&run, *subject), expected(&left, *subject));
            }
        }

        /// No separator is a subject's, unless nothing lies between two subjects.
        #[test]
        fn a_separator_lies_in_the_gap(last: u64, first: u64) {
            prop_assume!(last < first);
            let separator = separator_of(last, first).expect("a gap");
            prop_assert!(last < separator && separator <= first);
            if separator > 0 {
                let coarser = separator & (separator - 1);
                prop_assert!(coarser <= last, "one with fewer digits would do");
            }
        }
    }
}
