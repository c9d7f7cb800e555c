//! What an object has to be without its blanks.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::dataset::FormatName;
use crate::domain::edit::{Edit, Segment};
use crate::domain::row::RowCount;
use crate::format::detect::Opened;
use crate::format::{Except, Fingerprint, FormatError, SharedSource};
use crate::scan::DatasetReader;

use super::preview::Preview;
use super::trail::{Content, Trail, content_of, trail_of};

/// How much of the new object is held in memory while it is checked.
const HELD_BYTES: usize = 64 << 20;

/// What the new version has to be.
#[derive(Debug)]
pub(super) struct Expected {
    /// How many blanks go.
    pub(super) dropped: RowCount,
    content: Content,
    /// What the rows that stay hold, and how many they are.
    kept: Fingerprint,
    /// Who stands in them.
    trail: Trail,
    /// Whether bytes of this content were found to be what they should be.
    is_checked: bool,
}

impl Expected {
    /// What the object has to become; `None` where it has no blanks.
    ///
    /// The bytes that would be written are checked here already, while the object is still as it was.
    /// Parquet is read from its end, so that a file which is too large to be held is not; it is
    /// checked when it is written, by [`Expected::problem`].
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] also where the compaction would do anything but drop blanks.
    pub(super) fn of(
        opened: &Opened,
        old: &SharedSource,
        reader: &DatasetReader,
    ) -> Result<Option<Self>, FormatError> {
        Self::holding(opened, old, reader, HELD_BYTES)
    }

    fn holding(
        opened: &Opened,
        old: &SharedSource,
        reader: &DatasetReader,
        most_held: usize,
    ) -> Result<Option<Self>, FormatError> {
        let compaction = opened.format.compact(old.clone())?;
        let Some(edit) = compaction.edit else { return Ok(None) };
        let (content, head) = content_of(edit, &**old, most_held)?;
        let dropped = compaction.dropped;
        let before = opened.format.fingerprint(&**old, Except::Blanks)?;
        let trail = trail_of(opened, &**old, reader)?;
        let rows = before.rows.0.checked_sub(dropped.0).map(RowCount);
        let Some(rows) = rows.filter(|_| before.rows == trail.rows) else {
            return Err(refused("its rows are counted differently"));
        };
        let mut expected = Self {
            dropped,
            kept: Fingerprint { rows, ..before },
            trail: Trail { rows, ..trail },
            content,
            is_checked: false,
        };
        if opened.name != FormatName::Parquet || expected.content.size_bytes == head.len() as u64 {
            expected.check(opened, old, reader, head)?;
        }
        Ok(Some(expected))
    }

    /// Checks what would be written.
    fn check(
        &mut self,
        opened: &Opened,
        old: &SharedSource,
        reader: &DatasetReader,
        head: Bytes,
    ) -> Result<(), FormatError> {
        let size_bytes = self.content.size_bytes;
        let preview = Preview::new(opened.format.clone(), old.clone(), head, size_bytes);
        match self.problem_with_rows(&(Arc::new(preview) as SharedSource), reader) {
            Ok(None) => self.is_checked = true,
            Ok(Some(problem)) => return Err(refused(problem)),
            Err(FormatError::Unreadable(_)) => {
                return Err(refused("it could not be read any more"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What is wrong with the version that was written, if anything.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where it cannot be read.
    pub(super) fn problem(
        &self,
        new: &SharedSource,
        reader: &DatasetReader,
    ) -> Result<Option<&'static str>, FormatError> {
        let whole = Edit::new(vec![Segment::Copy(0..new.size_bytes())]);
        if content_of(whole, &**new, 0)?.0 != self.content {
            return Ok(Some("its bytes are not those that were written"));
        }
        if self.is_checked { Ok(None) } else { self.problem_with_rows(new, reader) }
    }

    fn problem_with_rows(
        &self,
        new: &SharedSource,
        reader: &DatasetReader,
    ) -> Result<Option<&'static str>, FormatError> {
        let opened = reader.open(&**new)?;
        if opened.format.compact(new.clone())?.edit.is_some() {
            return Ok(Some("it still has blanks"));
        }
        if opened.format.fingerprint(&**new, Except::Nothing)? != self.kept {
            return Ok(Some("its rows are not those that were to stay"));
        }
        let is_same_trail = trail_of(&opened, &**new, reader)? == self.trail;
        Ok((!is_same_trail).then_some("other subjects stand in its rows than before"))
    }
}

fn refused(problem: &str) -> FormatError {
    FormatError::unreadable(format!(
        "nothing was written, since the object would not be as it should be: {problem}; this is a \
         defect of Lacuna, please report it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dataset::{
        Compression, Dataset, DatasetName, ErasePolicy, Location, Reading,
    };
    use crate::domain::field::{BoundFields, IdentifierField};
    use crate::domain::identifier::{DigestKey, IdentifierType, Namespace};
    use crate::domain::masked::MaskedRow;
    use crate::domain::stretch::Extent;
    use crate::format::{BlankOrder, Blanking, Compaction, Format, ScanSink, Source};

    /// A format whose compaction writes what it should not.
    struct Faulty {
        format: Arc<dyn Format>,
        written: Bytes,
    }

    impl Format for Faulty {
        fn scan(
            &self,
            source: &dyn Source,
            fields: &BoundFields,
            sink: &mut dyn ScanSink,
        ) -> Result<RowCount, FormatError> {
            self.format.scan(source, fields, sink)
        }

        fn blank(&self, source: SharedSource, order: &BlankOrder) -> Result<Blanking, FormatError> {
            self.format.blank(source, order)
        }

        fn show(
            &self,
            source: &dyn Source,
            order: &BlankOrder,
        ) -> Result<Vec<MaskedRow>, FormatError> {
            self.format.show(source, order)
        }

        fn compact(&self, source: SharedSource) -> Result<Compaction, FormatError> {
            let dropped = self.format.compact(source)?.dropped;
            Ok(Compaction { edit: Some(Edit::bytes(self.written.clone())), dropped })
        }

        fn fingerprint_within(
            &self,
            source: &dyn Source,
            except: Except<'_>,
            extent: &Extent,
        ) -> Result<Fingerprint, FormatError> {
            self.format.fingerprint_within(source, except, extent)
        }
    }

    fn reader() -> DatasetReader {
        let dataset = Dataset {
            name: DatasetName::new("d"),
            location: Location::Directory("/lake".into()),
            include: Vec::new(),
            exclude: Vec::new(),
            reading: Reading::default(),
            identifiers: vec![IdentifierField {
                namespace: Namespace::new("user"),
                path: "id".parse().expect("a path"),
                kind: IdentifierType::String,
            }],
            erase: ErasePolicy::default(),
        };
        DatasetReader::new(&dataset, &DigestKey::new([3; 32]))
    }

    const OLD: &str = "{\"id\":\"a\",\"n\":1}\n{}\n{\"n\":2}\n{\"id\":\"b\",\"n\":3}\n{}\n";
    const NEW: &str = "{\"id\":\"a\",\"n\":1}\n{\"n\":2}\n{\"id\":\"b\",\"n\":3}\n";

    /// What is expected where the compaction writes this; `name` decides how it can be checked.
    fn expected(
        written: &'static str,
        name: FormatName,
        held: usize,
    ) -> Result<Expected, FormatError> {
        let old: SharedSource = Arc::new(Bytes::from_static(OLD.as_bytes()));
        let format = reader().open(&*old).expect("JSON lines").format;
        let format = Arc::new(Faulty { format, written: written.into() });
        let opened = Opened { format, name, compression: Compression::None };
        Ok(Expected::holding(&opened, &old, &reader(), held)?.expect("it has blanks"))
    }

    /// Compactions that lose or change a row, with and without an identifier.
    const WRONG: [&str; 6] = [
        "{\"id\":\"a\",\"n\":1}\n{\"n\":7}\n{\"id\":\"b\",\"n\":3}\n",
        "{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":3}\n",
        "{\"n\":2}\n{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\",\"n\":3}\n",
        "{\"id\":\"a\",\"n\":1}\n{}\n{\"n\":2}\n{\"id\":\"b\",\"n\":3}\n",
        "{\"id\":\"a\",\"n\":1}\n{\"n\":2}\n{\"id\":\"b\",\"n\":3}",
        "",
    ];

    /// E7: a compaction that loses or changes a row is refused before anything is written, whether the
    /// new bytes are held, or made again while they are read.
    #[test]
    fn a_faulty_compaction_is_refused_before_it_is_written() {
        for held in [0, 7, HELD_BYTES] {
            let sound = expected(NEW, FormatName::Jsonl, held).expect("nothing is wrong");
            assert!(sound.is_checked && sound.dropped == RowCount(2));
            for wrong in WRONG {
                let error = expected(wrong, FormatName::Jsonl, held).expect_err(wrong);
                assert!(error.to_string().starts_with("nothing was written"), "{error}");
            }
        }
    }

    /// E7: what is too large to be held and cannot be read in order is checked when it is written.
    #[test]
    fn what_cannot_be_checked_before_is_checked_after() {
        let problem = |written: &'static str, read: &'static str| {
            let expected = expected(written, FormatName::Parquet, 7).expect("not looked at");
            assert_eq!(expected.is_checked, written.len() <= 7);
            let new: SharedSource = Arc::new(Bytes::from_static(read.as_bytes()));
            expected.problem(&new, &reader()).expect("readable")
        };
        assert_eq!(problem(NEW, NEW), None);
        assert_eq!(problem(NEW, OLD), Some("its bytes are not those that were written"));
        for wrong in WRONG.into_iter().filter(|wrong| !wrong.is_empty()) {
            assert!(problem(wrong, wrong).is_some(), "{wrong}");
        }
    }
}
