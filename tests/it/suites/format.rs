//! The contract of `format`, run against every implementation.
//!
//! A [`Fixture`] turns rows of values into the bytes of one format and back into what a search for
//! leftovers has to look at; everything else here is the same for all of them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::dataset::{CsvDialect, EraseAction, FormatName, Reading};
use lacuna::domain::edit::{Edit, Segment};
use lacuna::domain::field::{BoundFields, Digested, IdentifierField};
use lacuna::domain::identifier::{
    DigestKey, IdentifierDigest, IdentifierType, Namespace, RawValue,
};
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::posting::{RowGap, RowPosting};
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::format::detect::{self, Opened};
use lacuna::format::{
    BlankOrder, Blanking, Except, Fingerprint, Format, FormatError, ScanSink, SharedSource, Source,
    Stopped,
};
use proptest::prelude::*;

use encodings::FIXTURES;

mod encodings;

/// A record: whose it is, and something beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The identifier; `None` where there is no value.
    pub user: Option<String>,
    /// Another column.
    pub note: String,
}

/// A format under test.
pub struct Fixture {
    /// For messages.
    pub name: &'static str,
    /// How the dataset declares it.
    pub reading: fn() -> Reading,
    /// The bytes of an object of these rows. The identifier stands in `user_id`, of type string, in
    /// namespace `user`; `note` stands beside it.
    pub encode: fn(&[Row]) -> Vec<u8>,
    /// What a raw search for leftovers has to look at: the content, decompressed.
    pub content: fn(&[u8]) -> Vec<u8>,
    /// Whether a row without identifier and note can be told from a blank.
    pub empty_rows_are_blanks: bool,
}

fn key() -> DigestKey {
    DigestKey::new([3; 32])
}

fn fields() -> BoundFields {
    let field = IdentifierField {
        namespace: Namespace::new("user"),
        path: "user_id".parse().expect("a path"),
        kind: IdentifierType::String,
    };
    BoundFields::new(&[field], &key())
}

fn digest(user: &str) -> IdentifierDigest {
    let fields = fields();
    let field = fields.iter().next().expect("one field");
    match field.digest(RawValue::Text(user.as_bytes())) {
        Digested::Identifier(digest) => digest,
        other => panic!("{other:?}"),
    }
}

/// What a scan found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scan {
    postings: BTreeSet<(IdentifierDigest, u64)>,
    gaps: Vec<u64>,
    foreign: Vec<u64>,
    rows: u64,
}

impl ScanSink for Scan {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.postings.insert((posting.digest, posting.row.0));
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        self.gaps.push(gap.row.0);
    }

    fn foreign_value(&mut self, row: RowNumber) {
        self.foreign.push(row.0);
    }
}

fn open(fixture: &Fixture, bytes: &[u8]) -> Result<Opened, FormatError> {
    detect::open(&Bytes::copy_from_slice(bytes), &(fixture.reading)(), &fields())
}

fn scan(fixture: &Fixture, bytes: &[u8]) -> Result<Scan, FormatError> {
    let source = Bytes::copy_from_slice(bytes);
    let mut found = Scan::default();
    let rows = open(fixture, bytes)?.format.scan(&source, &fields(), &mut found)?;
    found.rows = rows.0;
    Ok(found)
}

fn order(users: &[&str], rows: impl IntoIterator<Item = u64>) -> BlankOrder {
    BlankOrder {
        rows: RowSet::new(rows.into_iter().map(RowNumber)).expect("a row"),
        fields: fields(),
        subjects: Arc::new(users.iter().map(|user| digest(user)).collect::<HashSet<_>>()),
        action: EraseAction::default(),
        landmarks: Landmarks::default(),
    }
}

fn blank(fixture: &Fixture, bytes: &[u8], order: &BlankOrder) -> Result<Blanking, FormatError> {
    let source: SharedSource = Arc::new(Bytes::copy_from_slice(bytes));
    open(fixture, bytes)?.format.blank(source, order)
}

/// Carries an edit out, as a lake would.
fn apply(bytes: &[u8], edit: Edit) -> Vec<u8> {
    let announced = edit.size_bytes();
    let mut new = Vec::new();
    for segment in edit {
        match segment.expect("the edit is made") {
            Segment::Copy(range) => new.extend(&bytes[range.start as usize..range.end as usize]),
            Segment::Bytes(piece) => new.extend(&piece),
        }
    }
    assert!(announced.is_none_or(|size| size == new.len() as u64), "the announced length is true");
    new
}

fn expected(rows: &[Row]) -> BTreeSet<(IdentifierDigest, u64)> {
    let posting = |(row, user): (usize, &str)| (digest(user), row as u64);
    let users = rows.iter().map(|row| row.user.as_deref().unwrap_or_default());
    users.enumerate().filter(|(_, user)| !user.is_empty()).map(posting).collect()
}

fn rows_of(rows: &[Row], user: &str) -> Vec<u64> {
    let is = |(_, row): &(usize, &Row)| row.user.as_deref() == Some(user);
    rows.iter().enumerate().filter(is).map(|(row, _)| row as u64).collect()
}

fn row(user: &str, note: &str) -> Row {
    Row { user: Some(user.to_owned()), note: note.to_owned() }
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let user = prop_oneof![
        1 => Just(None),
        1 => Just(Some(String::new())),
        8 => "[ab]{1,2}".prop_map(Some),
        1 => "[ -~é\n\"]{1,6}".prop_map(Some),
    ];
    let note = prop_oneof!["[a-z ]{0,12}", "[ -~é\r\n\"',;\t]{0,12}"];
    prop::collection::vec((user, note).prop_map(|(user, note)| Row { user, note }), 0..24)
}

/// E8: a scan tells every identifier with its row, and nothing else.
fn scan_finds_every_identifier(fixture: &Fixture, rows: &[Row]) {
    scan_finds_every_identifier_in(fixture, &(fixture.encode)(rows), rows);
}

fn scan_finds_every_identifier_in(fixture: &Fixture, bytes: &[u8], rows: &[Row]) {
    let found = scan(fixture, bytes).expect(fixture.name);
    assert_eq!(found.postings, expected(rows), "{}", fixture.name);
    assert_eq!(found.rows, rows.len() as u64, "{}", fixture.name);
    assert_eq!((found.gaps, found.foreign), (vec![], vec![]), "{}", fixture.name);
}

/// I7, I8, I10, ORACLE-3: the subject's rows are blank, everybody else's are as they were, and a
/// second time changes nothing.
fn blanking_takes_the_subject_and_nobody_else(fixture: &Fixture, rows: &[Row], user: &str) {
    let bytes = (fixture.encode)(rows);
    let hits = rows_of(rows, user);
    if hits.is_empty() {
        return;
    }
    let order = order(&[user], hits.iter().copied());
    let blanking = blank(fixture, &bytes, &order).expect(fixture.name);
    assert_eq!(blanking.blanked.as_ref(), Some(&order.rows), "{}", fixture.name);
    assert!(blanking.unmatched.is_empty(), "{}", fixture.name);
    let new = apply(&bytes, blanking.edit.expect("there is a change"));

    let found = scan(fixture, &new).expect(fixture.name);
    let others = expected(rows).into_iter().filter(|&(whose, _)| whose != digest(user)).collect();
    assert_eq!(found.postings, others, "{}", fixture.name);
    assert_eq!(found.rows, rows.len() as u64, "{}", fixture.name);
    let print = |bytes: &[u8]| {
        let source = Bytes::copy_from_slice(bytes);
        open(fixture, bytes)?.format.fingerprint(&source, Except::Rows(&order.rows))
    };
    assert_eq!(
        print(&bytes).expect("readable"),
        print(&new).expect("readable"),
        "{}",
        fixture.name
    );

    check_erasure_is_seen(fixture, &bytes, &new, &order);

    let again = blank(fixture, &new, &order).expect(fixture.name);
    assert!(again.edit.is_none() && again.blanked.is_none(), "{}", fixture.name);
    assert_eq!(again.unmatched, order.rows.as_slice(), "{}", fixture.name);
}

/// A redaction takes out the identifier and leaves what stands beside it.
fn redaction_takes_just_the_field(fixture: &Fixture, rows: &[Row], user: &str) {
    let bytes = (fixture.encode)(rows);
    let hits = rows_of(rows, user);
    if hits.is_empty() {
        return;
    }
    let fields = vec!["user_id".parse().expect("a path")];
    let order = BlankOrder { action: EraseAction::Redact { fields }, ..order(&[user], hits) };
    let blanking = blank(fixture, &bytes, &order).expect(fixture.name);
    let new = apply(&bytes, blanking.edit.expect("there is a change"));
    let without = |row: &Row| match row.user.as_deref() == Some(user) {
        true => Row { user: None, note: row.note.clone() },
        false => row.clone(),
    };
    let left: Vec<Row> = rows.iter().map(without).collect();
    scan_finds_every_identifier_in(fixture, &new, &left);
    check_erasure_is_seen(fixture, &bytes, &new, &order);
    let again = blank(fixture, &new, &order).expect(fixture.name);
    assert_eq!((again.edit.is_none(), again.blanked), (true, None), "{}", fixture.name);

    // The notes beside it are still there: whoever looks for one by its value finds it.
    let keep = vec!["note".parse().expect("a path")];
    let kept = BlankOrder { action: EraseAction::Blank { keep }, ..order };
    let blanking = blank(fixture, &bytes, &kept).expect(fixture.name);
    let new = apply(&bytes, blanking.edit.expect("there is a change"));
    scan_finds_every_identifier_in(fixture, &new, &left);
    check_erasure_is_seen(fixture, &bytes, &new, &kept);
    let content = (fixture.content)(&new);
    for note in left.iter().map(|row| &row.note) {
        let plain = note.bytes().all(|byte| byte.is_ascii_lowercase()) && !note.is_empty();
        let held = || content.windows(note.len()).any(|window| window == note.as_bytes());
        assert!(!plain || held(), "{}", fixture.name);
    }
}

/// E7: a row that was to be erased and holds anything still is counted, and none that was.
fn check_erasure_is_seen(fixture: &Fixture, before: &[u8], after: &[u8], order: &BlankOrder) {
    let unerased =
        |bytes: &[u8]| print(fixture, bytes, Except::Erased(&order.rows, &order.action)).unerased;
    assert_eq!(unerased(before), order.rows.count(), "{}", fixture.name);
    assert_eq!(unerased(after), RowCount(0), "{}", fixture.name);
}

fn print(fixture: &Fixture, bytes: &[u8], except: Except<'_>) -> Fingerprint {
    let source = Bytes::copy_from_slice(bytes);
    let opened = open(fixture, bytes).expect(fixture.name);
    opened.format.fingerprint(&source, except).expect(fixture.name)
}

/// Vacuum drops the blanks, renumbers the rest, and changes nothing in it.
fn compaction_drops_blanks(fixture: &Fixture, rows: &[Row], user: &str) {
    let bytes = (fixture.encode)(rows);
    let hits = rows_of(rows, user);
    if hits.is_empty() {
        return;
    }
    let blanking = blank(fixture, &bytes, &order(&[user], hits)).expect(fixture.name);
    let blanked = apply(&bytes, blanking.edit.expect("there is a change"));
    let is_blank = |row: &Row| {
        let empty = row.user.as_deref().unwrap_or_default().is_empty() && row.note.is_empty();
        row.user.as_deref() == Some(user) || (fixture.empty_rows_are_blanks && empty)
    };
    let left: Vec<Row> = rows.iter().filter(|row| !is_blank(row)).cloned().collect();

    let source: SharedSource = Arc::new(Bytes::copy_from_slice(&blanked));
    let format = open(fixture, &blanked).expect(fixture.name).format;
    let compaction = format.compact(source).expect(fixture.name);
    assert_eq!(compaction.dropped, RowCount((rows.len() - left.len()) as u64), "{}", fixture.name);
    let kept = print(fixture, &blanked, Except::Blanks);
    assert_eq!(kept.rows.0, rows.len() as u64, "{}", fixture.name);
    let compacted = apply(&blanked, compaction.edit.expect("there is a blank"));
    assert_eq!(print(fixture, &compacted, Except::Nothing).digest, kept.digest, "{}", fixture.name);
    assert_ne!(print(fixture, &blanked, Except::Nothing).digest, kept.digest, "{}", fixture.name);
    let found = scan(fixture, &compacted).expect(fixture.name);
    assert_eq!(
        (found.postings, found.rows),
        (expected(&left), left.len() as u64),
        "{}",
        fixture.name
    );

    let source: SharedSource = Arc::new(Bytes::copy_from_slice(&compacted));
    let format = open(fixture, &compacted).expect(fixture.name).format;
    assert!(format.compact(source).expect(fixture.name).edit.is_none(), "{}", fixture.name);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// E8, E9, I7, I8, I10: the whole contract on random rows.
    #[test]
    fn every_format_keeps_the_contract(rows in any_rows(), user in "[ab]{1,2}") {
        for fixture in FIXTURES {
            scan_finds_every_identifier(fixture, &rows);
            blanking_takes_the_subject_and_nobody_else(fixture, &rows, &user);
            redaction_takes_just_the_field(fixture, &rows, &user);
            compaction_drops_blanks(fixture, &rows, &user);
        }
    }

    /// E4: an index that points at strangers' rows, or beyond the object, costs nobody a row.
    #[test]
    fn a_wrong_index_blanks_no_stranger(
        rows in any_rows(),
        wrong in prop::collection::vec(0u64..40, 1..12),
    ) {
        for fixture in FIXTURES {
            let bytes = (fixture.encode)(&rows);
            let order = order(&["a"], wrong.iter().copied());
            let blanking = blank(fixture, &bytes, &order).expect(fixture.name);
            let mine: Vec<RowNumber> = rows_of(&rows, "a").into_iter().map(RowNumber)
                .filter(|&row| order.rows.contains(row)).collect();
            let unmatched: Vec<RowNumber> =
                order.rows.iter().filter(|row| !mine.contains(row)).collect();
            prop_assert_eq!(blanking.blanked, RowSet::new(mine), "{}", fixture.name);
            prop_assert_eq!(blanking.unmatched, unmatched, "{}", fixture.name);
        }
    }

    /// D13: random damage never panics, and what is still read can still be worked on.
    #[test]
    fn damage_is_an_error_or_a_reading(
        rows in any_rows(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        keep in any::<prop::sample::Index>(),
        cut: bool,
    ) {
        for fixture in FIXTURES {
            let mut bytes = (fixture.encode)(&rows);
            if bytes.is_empty() {
                continue;
            }
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if cut {
                bytes.truncate(keep.index(bytes.len()));
            }
            work_on_anything(fixture, &bytes);
        }
    }

    /// D13: random bytes.
    #[test]
    fn any_bytes_are_an_error_or_a_reading(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for fixture in FIXTURES {
            work_on_anything(fixture, &bytes);
        }
    }
}

/// Of the ordered rows those are shown as theirs that would be blanked, and no value shows through.
fn shows_what_it_blanks(
    format: &dyn Format,
    source: &dyn Source,
    order: &BlankOrder,
    blanking: &Blanking,
) {
    let shown = format.show(source, order).expect("it was read before");
    let all: Vec<RowNumber> = shown.iter().map(|row| row.row).collect();
    assert_eq!(RowSet::new(all.iter().copied()).expect("a row").as_slice(), all);
    let theirs = shown.iter().filter(|row| row.is_theirs).map(|row| row.row);
    assert_eq!(RowSet::new(theirs), blanking.blanked);
    for field in shown.iter().flat_map(|row| &row.fields) {
        let shape = field.value.as_str();
        let is_told = shape.starts_with('‹') || shape.contains('…');
        let is_mask = |it: char| "xX9".contains(it) || !it.is_alphanumeric();
        assert!(is_told || shape.chars().all(is_mask), "{shape}");
    }
}

/// Does everything there is to do; what was read once is read alike again.
fn work_on_anything(fixture: &Fixture, bytes: &[u8]) {
    let Ok(found) = scan(fixture, bytes) else { return };
    let Ok(opened) = open(fixture, bytes) else { panic!("it opened before") };
    let source: SharedSource = Arc::new(Bytes::copy_from_slice(bytes));
    let print = opened.format.fingerprint(&source, Except::Nothing).expect("it was read before");
    assert_eq!(print.rows.0, found.rows, "{}", fixture.name);
    let compaction = opened.format.compact(source.clone()).expect("it was read before");
    if let Some(edit) = compaction.edit {
        let before = opened.format.fingerprint(&source, Except::Blanks).expect("as before");
        let new = Bytes::from(apply(bytes, edit));
        let after = opened.format.fingerprint(&new, Except::Nothing).expect("it can be read");
        assert_eq!(after.rows.0 + compaction.dropped.0, found.rows, "{}", fixture.name);
        assert_eq!(after.digest, before.digest, "{}", fixture.name);
    }
    let Some(&(subject, _)) = found.postings.first() else { return };
    let rows = found.postings.iter().map(|&(_, row)| RowNumber(row));
    let order = BlankOrder {
        rows: RowSet::new(rows).expect("a row"),
        fields: fields(),
        subjects: Arc::new(HashSet::from([subject])),
        action: EraseAction::default(),
        landmarks: Landmarks::default(),
    };
    let blanking = opened.format.blank(source.clone(), &order).expect("it was read before");
    shows_what_it_blanks(&*opened.format, &source, &order, &blanking);
    let new = apply(bytes, blanking.edit.expect("a row matches"));
    let after = scan(fixture, &new).expect("what is blanked can be read");
    assert_eq!(after.rows, found.rows, "{}", fixture.name);
    assert!(after.postings.iter().all(|&(whose, _)| whose != subject), "{}", fixture.name);
}

/// D13: an object cut off at any byte is an error or a shorter reading, never a panic; a compressed
/// one is always an error (G28).
#[test]
fn an_object_cut_off_anywhere() {
    let rows = [row("ann", "one"), row("bob", "two, \"2\""), row("ann", "three")];
    for fixture in FIXTURES {
        let bytes = (fixture.encode)(&rows);
        for end in 0..bytes.len() {
            work_on_anything(fixture, &bytes[..end]);
        }
    }
}

/// B24: an object that is all one subject's stays an object of as many rows.
#[test]
fn an_object_of_nothing_but_the_subject() {
    let rows = vec![row("ann", "note"); 5];
    for fixture in FIXTURES {
        blanking_takes_the_subject_and_nobody_else(fixture, &rows, "ann");
        compaction_drops_blanks(fixture, &rows, "ann");
    }
}

/// Nothing of a blanked row is left in the content, and an edit is the same each time.
#[test]
fn a_blank_row_says_nothing() {
    let rows =
        [row("canary-user", "canary-note"), row("bob", "kept-note"), row("canary-user", "x")];
    for fixture in FIXTURES {
        let bytes = (fixture.encode)(&rows);
        let order = order(&["canary-user"], [0, 2]);
        let edited = || {
            let edit = blank(fixture, &bytes, &order).expect(fixture.name).edit;
            apply(&bytes, edit.expect("there is a change"))
        };
        let new = edited();
        assert_eq!(new, edited(), "{}", fixture.name);
        let content = (fixture.content)(&new);
        let holds =
            |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds("canary"), "{}", fixture.name);
        assert!(holds("kept-note"), "{}", fixture.name);
    }
}

/// An object without rows, and one without bytes.
#[test]
fn an_empty_object_is_read() {
    for fixture in FIXTURES {
        scan_finds_every_identifier(fixture, &[]);
        assert_eq!(scan(fixture, b"").expect(fixture.name), Scan::default(), "{}", fixture.name);
    }
}

/// G27: what another program compressed is read, and reads there what was made of it.
#[test]
fn other_programs_read_what_is_rewritten() {
    let rows: Vec<Row> = (0..3000)
        .map(|row| Row { user: Some(format!("u{row}")), note: "n".repeat(row % 90) })
        .collect();
    let plain = FIXTURES.iter().find(|fixture| fixture.name == "JSON lines").expect("a fixture");
    let text = (plain.encode)(&rows);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for codec in ["bzip2", "lz4"] {
        let python = |action: &str, content: &[u8]| {
            let (from, to) = (path("from"), path("to"));
            std::fs::write(&from, content).expect("written");
            let arguments = [action.as_ref(), codec.as_ref(), from.as_os_str(), to.as_os_str()];
            crate::support::python::run("codecs.py", &arguments);
            std::fs::read(&to).expect("read")
        };
        let stored = Bytes::from(python("compress", &text));
        let opened = detect::open(&stored, &Reading::default(), &fields()).expect("readable");
        assert_eq!(opened.compression.as_str(), codec);
        let order = BlankOrder {
            rows: RowSet::new([RowNumber(0), RowNumber(2999)]).expect("rows"),
            fields: fields(),
            subjects: Arc::new(HashSet::from([digest("u0"), digest("u2999")])),
            action: EraseAction::default(),
            landmarks: Landmarks::default(),
        };
        let source: SharedSource = Arc::new(stored.clone());
        let edit = opened.format.blank(source, &order).expect("readable").edit.expect("a change");
        let mut new = Vec::new();
        for segment in edit {
            match segment.expect("the edit is made") {
                Segment::Copy(range) => {
                    new.extend_from_slice(&stored[range.start as usize..range.end as usize]);
                }
                Segment::Bytes(bytes) => new.extend_from_slice(&bytes),
            }
        }
        let lines = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
        };
        let (old, new) = (lines(&text), lines(&python("decompress", &new)));
        assert_eq!(new.len(), 3000, "{codec}");
        assert_eq!(new[1..2999], old[1..2999]);
        for row in [0, 2999] {
            assert_eq!(new[row].len(), old[row].len());
            assert_eq!(new[row].trim_ascii(), b"{}");
        }
    }
}
