//! Where a record of delimited text ends.

use super::Dialect;
use crate::format::text::{Broken, Cut, Cutter, Kind};

/// Finds where records end.
#[derive(Clone, Debug)]
pub(in crate::format) struct RecordCutter {
    dialect: Dialect,
    awaits_header: bool,
    /// Where the search goes on in the record.
    at: usize,
    /// Where the quote stands that is open.
    open_quote: Option<usize>,
}

/// What came of a step of the search.
enum Step {
    On,
    NeedMore,
    End { text: usize, ending: usize },
}

impl RecordCutter {
    /// At the start of an object of this dialect.
    pub(in crate::format) fn new(dialect: Dialect) -> Self {
        Self { dialect, awaits_header: dialect.header, at: 0, open_quote: None }
    }

    /// Outside quotes: to the end of the record, or to a quote that opens a field.
    fn outside(&mut self, window: &[u8], ended: bool) -> Step {
        let rest = window.get(self.at..).unwrap_or_default();
        let Some(found) = memchr::memchr3(self.dialect.quote, b'\n', b'\r', rest) else {
            self.at = window.len();
            return if ended {
                Step::End { text: window.len(), ending: 0 }
            } else {
                Step::NeedMore
            };
        };
        let at = self.at + found;
        let next = window.get(at + 1);
        if window[at] == self.dialect.quote {
            let opens = at == 0 || window[at - 1] == self.dialect.delimiter;
            self.open_quote = opens.then_some(at);
            self.at = at + 1;
            return Step::On;
        }
        if window[at] == b'\r' && next.is_none() && !ended {
            self.at = at;
            return Step::NeedMore;
        }
        let pair = window[at] == b'\r' && next == Some(&b'\n');
        Step::End { text: at, ending: 1 + usize::from(pair) }
    }

    /// Within quotes: past the next quote or escape.
    fn within(&mut self, window: &[u8], ended: bool) -> Step {
        let rest = window.get(self.at..).unwrap_or_default();
        let Some(found) = self.dialect.find_special(rest) else {
            self.at = window.len();
            return Step::NeedMore;
        };
        let at = self.at + found;
        let next = window.get(at + 1);
        let escapes = Some(window[at]) == self.dialect.escape;
        let doubles = self.dialect.escape.is_none();
        if next.is_none() && (escapes || (doubles && !ended)) {
            self.at = at;
            return Step::NeedMore;
        }
        if escapes || (doubles && next == Some(&self.dialect.quote)) {
            self.at = at + 2;
        } else {
            self.open_quote = None;
            self.at = at + 1;
        }
        Step::On
    }

    fn kind(&mut self, text: usize) -> Kind {
        if text == 0 {
            Kind::Nothing
        } else if std::mem::take(&mut self.awaits_header) {
            Kind::Header
        } else {
            Kind::Row
        }
    }
}

impl Cutter for RecordCutter {
    fn cut(&mut self, window: &[u8], ended: bool) -> Result<Option<Cut>, Broken> {
        loop {
            let step = match self.open_quote {
                None => self.outside(window, ended),
                Some(_) => self.within(window, ended),
            };
            match (step, self.open_quote) {
                (Step::On, _) => {}
                (Step::End { text, ending }, _) => {
                    self.at = 0;
                    return Ok(Some(Cut { text, ending, kind: self.kind(text) }));
                }
                (Step::NeedMore, Some(at)) if ended => {
                    return Err(Broken { reason: "a quote is not closed", at });
                }
                (Step::NeedMore, _) => return Ok(None),
            }
        }
    }

    fn awaits_header(&self) -> bool {
        self.awaits_header
    }

    fn restart(&mut self) {
        (self.at, self.open_quote) = (0, None);
    }
}
