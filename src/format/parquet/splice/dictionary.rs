//! The dictionary of a chunk: what its codes stand for, and which entries nobody needs any more. It
//! knows no levels.

use parquet::basic::Compression;

use super::super::page::header;
use super::super::stored::StoredPage;
use super::super::thrift::{FALSE, I32, Malformed, STRUCT, Struct};
use super::super::unpack::Unpacker;
use super::page::{Writer, sealed};
use super::values::{self, Kind, Values};
use crate::format::FormatError;

/// Fields of `DictionaryPageHeader`.
const ENTRIES: i16 = 1;
const IS_SORTED: i16 = 3;

/// A dictionary that may change.
pub(super) struct Dictionary {
    page: StoredPage,
    entries: Values,
    /// Which entries a value refers to, as far as pages were looked at.
    used: Vec<bool>,
    /// The code of the empty value, once it was asked for.
    empty: Option<u32>,
    is_changed: bool,
}

impl Dictionary {
    /// Reads the dictionary page.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it holds fewer entries than it announces.
    pub(super) fn new(
        page: StoredPage,
        (kind, codec): (Kind, Compression),
        unpacker: &mut Unpacker,
    ) -> Result<Self, FormatError> {
        let plain = unpacker.unpack(codec, &page)?;
        let count = usize::try_from(page.content.dictionary_entries).map_err(|_| Malformed)?;
        let is_empty = matches!(kind, Kind::Fixed { width: 0, .. }) && count > 1;
        if is_empty {
            return Err(FormatError::unreadable(
                "a dictionary announces more entries than it holds",
            ));
        }
        let entries = values::read_plain(kind, plain.bytes(), count)?;
        unpacker.reclaim(plain);
        Ok(Self { page, entries, used: vec![false; count], empty: None, is_changed: false })
    }

    /// The value that a code stands for.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it stands for none.
    pub(super) fn get(&self, code: u32) -> Result<&[u8], FormatError> {
        let at = code as usize;
        if at < self.entries.len() { Ok(self.entries.get(at)) } else { Err(beyond()) }
    }

    /// The values that these codes stand for, each once.
    pub(super) fn meant(&self, codes: &[u32]) -> impl Iterator<Item = &[u8]> {
        let mut meant = vec![false; self.entries.len()];
        for &code in codes {
            meant.get_mut(code as usize).into_iter().for_each(|meant| *meant = true);
        }
        let meant = meant.into_iter().enumerate().filter(|(_, meant)| *meant);
        meant.map(|(at, _)| self.entries.get(at))
    }

    /// The code of the empty value, which becomes an entry if it is none.
    pub(super) fn code_of_empty(&mut self, empty: &[u8]) -> u32 {
        if let Some(code) = self.empty {
            return code;
        }
        let known = (0..self.entries.len()).find(|&at| self.entries.get(at) == empty);
        let at = known.unwrap_or_else(|| {
            self.entries.push(empty);
            self.used.push(false);
            self.is_changed = true;
            self.entries.len() - 1
        });
        // Codes have 32 bits, and each entry of the old page took a byte.
        let code = at as u32;
        self.empty = Some(code);
        code
    }

    /// How many bits the highest code takes.
    pub(super) fn width(&self) -> usize {
        let highest = self.entries.len().saturating_sub(1) as u64;
        (u64::BITS - highest.leading_zeros()) as usize
    }

    /// Notes that values refer to these entries.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there is no such entry.
    pub(super) fn note(&mut self, codes: &[u32]) -> Result<(), FormatError> {
        for &code in codes {
            *self.used.get_mut(code as usize).ok_or_else(beyond)? = true;
        }
        Ok(())
    }

    /// The codes of entries that hold a sought value and that no value was seen to refer to.
    pub(super) fn suspects(&self, is_sought: impl Fn(&[u8]) -> bool) -> Vec<u32> {
        let unused = (0..self.entries.len()).filter(|&at| !self.used[at]);
        unused.filter(|&at| is_sought(self.entries.get(at))).map(|at| at as u32).collect()
    }

    /// What entries hold.
    pub(super) fn values(&self, codes: &[u32]) -> impl Iterator<Item = &[u8]> {
        codes.iter().map(|&code| self.entries.get(code as usize))
    }

    /// Those of the codes that still no value was seen to refer to.
    pub(super) fn unused(&self, suspects: &[u32]) -> Vec<u32> {
        suspects.iter().copied().filter(|&code| !self.used[code as usize]).collect()
    }

    /// The values that were seen to be referred to.
    pub(super) fn used(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.entries.len()).filter(|&at| self.used[at]).map(|at| self.entries.get(at))
    }

    /// Puts values that mean nothing in the place of these entries: all codes stay what they are. Each is
    /// another, since readers that keep a dictionary take it for one whose entries differ.
    pub(super) fn scrub(&mut self, codes: &[u32], empty: &[u8]) {
        if codes.is_empty() {
            return;
        }
        let mut gone = codes.iter().peekable();
        let mut taken = vec![false; self.entries.len() + 1];
        for at in 0..self.entries.len() {
            if gone.next_if(|&&code| code as usize == at).is_some() {
                continue;
            }
            let number = self.number(self.entries.get(at), empty);
            let number = number.and_then(|number| usize::try_from(number).ok());
            if let Some(taken) = number.and_then(|number| taken.get_mut(number)) {
                *taken = true;
            }
        }
        // One number more than there are entries is another than all of them, unless there are not so many
        // values.
        let free = (0_u64..).zip(taken).filter(|&(_, is_taken)| !is_taken);
        let mut fillers = free.map_while(|(number, _)| self.filler(number, empty));
        let mut gone = codes.iter().peekable();
        let mut entries = self.entries.none_like();
        for at in 0..self.entries.len() {
            if gone.next_if(|&&code| code as usize == at).is_some() {
                entries.push(fillers.next().as_deref().unwrap_or(empty));
            } else {
                entries.push(self.entries.get(at));
            }
        }
        drop(fillers);
        self.entries = entries;
        self.is_changed = true;
    }

    /// The values that mean nothing, by number: the empty one, then numbers in as few bytes as that takes,
    /// as digits where values have any length. `None` where the type has no such value.
    fn filler(&self, number: u64, empty: &[u8]) -> Option<Vec<u8>> {
        match (&self.entries, number) {
            (_, 0) => Some(empty.to_vec()),
            (Values::Fixed { width, .. }, _) => {
                let mut filler = number.to_le_bytes().to_vec();
                let fits = filler.iter().skip(*width).all(|&byte| byte == 0);
                filler.resize(*width, 0);
                fits.then_some(filler)
            }
            _ => Some(number.to_string().into_bytes()),
        }
    }

    /// The number of which a value is the filler, if it is one.
    fn number(&self, value: &[u8], empty: &[u8]) -> Option<u64> {
        match &self.entries {
            _ if value == empty => Some(0),
            Values::Fixed { .. } => {
                let (low, high) = value.split_at(value.len().min(8));
                let number = low.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte));
                high.iter().all(|&byte| byte == 0).then_some(number)
            }
            _ => {
                let is_plain = !value.starts_with(b"0") && value.iter().all(u8::is_ascii_digit);
                let digits = std::str::from_utf8(value).ok().filter(|_| is_plain)?;
                digits.parse().ok()
            }
        }
    }

    /// The page as it becomes, and by how much it grew when decompressed; `None` where it stays.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it cannot be written.
    pub(super) fn renewed(
        &self,
        writer: &mut Writer,
    ) -> Result<Option<(Vec<u8>, i64)>, FormatError> {
        if !self.is_changed {
            return Ok(None);
        }
        let mut plain = Vec::new();
        values::write_plain(&self.entries, &mut plain);
        let mut fields = Struct::parse(&self.page.header)?;
        let mut dictionary = fields.structure(header::DICTIONARY)?.ok_or(Malformed)?;
        let count = i64::try_from(self.entries.len()).map_err(|_| Malformed)?;
        dictionary.set_integer(ENTRIES, I32, count);
        if dictionary.truth(IS_SORTED)? == Some(true) {
            dictionary.set(IS_SORTED, FALSE, Vec::new());
        }
        let dictionary = dictionary.to_bytes();
        fields.set(header::DICTIONARY, STRUCT, dictionary);
        let mut body = Vec::new();
        writer.packer.pack(writer.codec, &plain, &mut body)?;
        let bytes = sealed(&mut fields, plain.len(), &body)?;
        let before = self.page.header.len() + self.page.plain_bytes;
        let grown = (bytes.len() - body.len() + plain.len()) as i64 - before as i64;
        Ok(Some((bytes, grown)))
    }
}

fn beyond() -> FormatError {
    FormatError::unreadable("a page refers to entries beyond its dictionary")
}
