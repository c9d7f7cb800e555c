//! Objects made to exhaust: records and identifiers without end, and very many of them.

use super::*;

/// Content without end, made while it is read: a start, and then one byte again and again.
struct Endless {
    start: &'static [u8],
    filler: Bytes,
    size_bytes: u64,
    read: AtomicU64,
}

impl Endless {
    fn new(start: &'static [u8], filler: u8, size_bytes: u64) -> Arc<Self> {
        let filler = Bytes::from(vec![filler; 1 << 20]);
        Arc::new(Self { start, filler, size_bytes, read: AtomicU64::new(0) })
    }
}

impl Source for Endless {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        let range = checked_range(offset, length, self.size_bytes)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        let fillers = self.filler.len().min(length);
        if range.start >= self.start.len() as u64 && fillers == length {
            return Ok(self.filler.slice(..length));
        }
        let mut bytes = vec![self.filler[0]; length];
        let start = self.start.get(range.start as usize..).unwrap_or_default();
        let shown = start.len().min(length);
        bytes[..shown].copy_from_slice(&start[..shown]);
        Ok(bytes.into())
    }
}

/// What is told, but for postings of whom.
#[derive(Default)]
struct Counts {
    postings: u64,
    gaps: u64,
    foreign: u64,
}

impl ScanSink for Counts {
    fn posting(&mut self, _: RowPosting) -> Result<(), Stopped> {
        self.postings += 1;
        Ok(())
    }

    fn gap(&mut self, _: RowGap) {
        self.gaps += 1;
    }

    fn foreign_value(&mut self, _: RowNumber) {
        self.foreign += 1;
    }
}

/// G34, G5: of a record of 4 GiB no more is read than the longest record has, by whatever reads it; a
/// record that is never closed by its quote, a line without end, a value without end.
#[test]
fn a_record_larger_than_memory_is_refused_early() {
    let size_bytes = 4 << 30;
    for (start, filler) in [
        (&b"{\"id\":\"u\"}\n{\"id\":\"u\",\"x\":\"a"[..], b'a'),
        (b"{\"id\":\"u\"}\n{\"id\":", b'['),
        (b"id,x\nu,1\nu,\"a", b'\n'),
    ] {
        let what = String::from_utf8_lossy(start);
        let source = Endless::new(start, filler, size_bytes);
        let format = open(&source);
        let read = |source: &Endless| source.read.swap(0, Ordering::Relaxed);
        read(&source);
        // Blocks that are under way, and a piece.
        let most = crate::format::LONGEST_RECORD_BYTES as u64 + (8 << 20);

        let scanned = format.scan(&source, &fields(), &mut Counts::default());
        let reason = scanned.expect_err("no such record").to_string();
        assert!(reason.contains("64 MiB"), "{what}: {reason}");
        assert!(read(&source) <= most, "{what}");

        let refused = format.blank(source.clone(), &order("u", &[0, 1]));
        assert!(refused.expect_err("no such record").to_string().contains("64 MiB"));
        assert!(read(&source) <= most, "{what}");
    }
}

/// E15: a value of a megabyte names nobody. It is counted, and the row is read.
#[test]
fn an_endless_identifier_is_nobodys() {
    let longest = "7".repeat(4096);
    let too_long = "7".repeat(4097);
    let endless = "7".repeat(1 << 20);
    let escaped = "\\u0037".repeat(1 << 20);
    let row = |id: &str| format!("{{\"id\":\"{id}\",\"n\":1}}\n");
    let jsonl = [&longest, &too_long, &endless, &escaped].map(|id| row(id)).concat()
        + &format!("{{\"id\":{endless}}}\n{{\"id\":{too_long}}}\n{{\"id\":\"u\"}}\n");
    let csv = format!("id,n\n{longest},1\n{too_long},1\n{endless},1\n\"{endless}\",1\nu,1\n");
    for (text, foreign, last) in [(jsonl, 5, 6), (csv, 3, 4)] {
        let source = Bytes::from(text);
        let format = open(&source);
        let mut counts = Counts::default();
        format.scan(&source, &fields(), &mut counts).expect("readable");
        assert_eq!((counts.postings, counts.gaps, counts.foreign), (2, 0, foreign));
        let rows: Vec<u64> = (0..=last).collect();
        let shared: SharedSource = Arc::new(source);
        let blanked = |user: &str| {
            format.blank(shared.clone(), &order(user, &rows)).expect("readable").blanked
        };
        assert_eq!(blanked("u"), RowSet::new([RowNumber(last)]));
        assert_eq!(blanked(&longest), RowSet::new([RowNumber(0)]));
    }
}

/// E15: a row of more identifiers than memory should hold is a gap; the others are read.
#[test]
fn a_row_of_endless_identifiers_is_a_gap() {
    let field = IdentifierField {
        namespace: Namespace::new("user"),
        path: "ids[*]".parse().expect("a path"),
        kind: IdentifierType::String,
    };
    let fields = BoundFields::new(&[field], &key());
    let row = |count: usize| format!("{{\"ids\":[{}1]}}\n", "1,".repeat(count - 1));
    let source = Bytes::from([row(1), row(Found::MOST + 1), row(2)].concat());
    let mut counts = Counts::default();
    open(&source).scan(&source, &fields, &mut counts).expect("readable");
    assert_eq!((counts.postings, counts.gaps, counts.foreign), (3, 1, 0));
}

/// Compares what was read with what was told.
struct Behind<'s> {
    source: &'s Metered,
    row_bytes: u64,
    told: u64,
    most: u64,
}

impl ScanSink for Behind<'_> {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.told += 1;
        let behind = self.source.read.load(Ordering::Relaxed) - posting.row.0 * self.row_bytes;
        self.most = self.most.max(behind);
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        panic!("{gap:?}");
    }

    fn foreign_value(&mut self, row: RowNumber) {
        panic!("{row}");
    }
}

/// E15: nothing piles up between reading and telling, however many people there are in an object.
#[test]
fn postings_are_told_while_the_object_is_read() {
    let rows = 400_000u64;
    let text: String = (0..rows).map(|row| format!("{{\"id\":\"u{row:07}\"}}\n")).collect();
    let row_bytes = text.len() as u64 / rows;
    let source = Metered::new(text);
    let format = open(&source);
    source.read.store(0, Ordering::Relaxed);
    let mut behind = Behind { source: &source, row_bytes, told: 0, most: 0 };
    format.scan(&source, &fields(), &mut behind).expect("readable");
    assert_eq!(behind.told, rows);
    // Some blocks for each helper: a twentieth of the object is a lot more.
    assert!(behind.most <= source.size_bytes() / 20, "{} bytes behind", behind.most);
}
