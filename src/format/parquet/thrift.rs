//! The compact protocol of Apache Thrift, as far as Parquet's footer, page headers and indexes need
//! it: a structure is read as the bytes of its fields, so that a field this program has never heard
//! of is written again byte for byte.
//!
//! It knows no Parquet. Source: the compact protocol's specification in Apache Thrift's
//! `doc/specs/thrift-compact-protocol.md`.

use std::borrow::Cow;

/// A field that is true; its value has no bytes of its own.
pub(super) const TRUE: u8 = 1;
/// A field that is false.
pub(super) const FALSE: u8 = 2;
const BYTE: u8 = 3;
pub(super) const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Structures within structures, beyond which the bytes are taken for an attack.
const DEEPEST: usize = 32;

/// Fields in one structure, likewise.
const MOST_FIELDS: usize = 1000;

/// The bytes are not the compact protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// Reads one value after another.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Reads from the first of these bytes on.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn signed(&mut self) -> Result<i64> {
        let folded = self.unsigned()?;
        Ok((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.unsigned()?).map_err(|_| Malformed)
    }

    /// The kind and number of the elements that follow.
    fn list_header(&mut self) -> Result<(u8, usize)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.length()?,
            short => usize::from(short),
        };
        // Each element takes at least a byte: a larger count asks for memory that is not there.
        if count > self.rest.len() {
            return Err(Malformed);
        }
        Ok((header & 15, count))
    }

    /// The bytes of one value of this kind.
    fn value(&mut self, kind: u8, depth: usize) -> Result<&'a [u8]> {
        let start = self.rest;
        self.skip(kind, depth)?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Malformed);
        }
        match kind {
            TRUE | FALSE => {}
            BYTE => drop(self.byte()?),
            I16 | I32 | I64 => drop(self.unsigned()?),
            DOUBLE => drop(self.take(8)?),
            UUID => drop(self.take(16)?),
            BINARY => {
                let length = self.length()?;
                self.take(length)?;
            }
            LIST | SET => {
                let (kind, count) = self.list_header()?;
                for _ in 0..count {
                    self.skip_element(kind, depth + 1)?;
                }
            }
            MAP => self.skip_map(depth)?,
            STRUCT => while self.field(0, depth + 1)?.is_some() {},
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Skips an element of a list; a boolean one takes a byte there.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<()> {
        if matches!(kind, TRUE | FALSE) { self.byte().map(drop) } else { self.skip(kind, depth) }
    }

    fn skip_map(&mut self, depth: usize) -> Result<()> {
        let count = self.length()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        if count > self.rest.len() {
            return Err(Malformed);
        }
        for _ in 0..count {
            self.skip_element(kinds >> 4, depth + 1)?;
            self.skip_element(kinds & 15, depth + 1)?;
        }
        Ok(())
    }

    /// The next field of a structure; `None` at its end.
    fn field(&mut self, previous: i16, depth: usize) -> Result<Option<Field<'a>>> {
        let header = self.byte()?;
        if header == 0 {
            return Ok(None);
        }
        let kind = header & 15;
        let id = match header >> 4 {
            0 => i16::try_from(self.signed()?).map_err(|_| Malformed)?,
            delta => previous.checked_add(i16::from(delta)).ok_or(Malformed)?,
        };
        let value = self.value(kind, depth)?;
        Ok(Some(Field { id, kind, value: Cow::Borrowed(value) }))
    }
}

/// A field of a structure: its value as it is written.
#[derive(Clone)]
struct Field<'a> {
    id: i16,
    kind: u8,
    value: Cow<'a, [u8]>,
}

/// A structure: its fields in the order they are written, no number twice.
#[derive(Clone, Default)]
pub(super) struct Struct<'a>(Vec<Field<'a>>);

impl<'a> Struct<'a> {
    /// The structure that the cursor stands at.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut previous = 0;
        while let Some(field) = cursor.field(previous, 0)? {
            previous = field.id;
            // Readers differ in which of two they believe, so that neither can be.
            let repeats = fields.iter().any(|earlier| earlier.id == field.id);
            if repeats || fields.len() == MOST_FIELDS {
                return Err(Malformed);
            }
            fields.push(field);
        }
        Ok(Self(fields))
    }

    /// The structure that these bytes begin with.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        Self::read(&mut Cursor::new(bytes))
    }

    fn find(&self, id: i16) -> Option<&Field<'a>> {
        self.0.iter().find(|field| field.id == id)
    }

    /// Whether it has this field.
    pub(super) fn has(&self, id: i16) -> bool {
        self.find(id).is_some()
    }

    /// An integer of any width; `None` where the field is missing.
    pub(super) fn integer(&self, id: i16) -> Result<Option<i64>> {
        match self.find(id) {
            None => Ok(None),
            Some(Field { kind: I16 | I32 | I64, value, .. }) => {
                Cursor::new(value).signed().map(Some)
            }
            Some(_) => Err(Malformed),
        }
    }

    /// An integer that has to be there.
    pub(super) fn required(&self, id: i16) -> Result<i64> {
        self.integer(id)?.ok_or(Malformed)
    }

    /// The bytes of text or binary content; `None` where the field is missing.
    pub(super) fn bytes(&self, id: i16) -> Result<Option<&[u8]>> {
        match self.find(id) {
            None => Ok(None),
            Some(Field { kind: BINARY, value, .. }) => content(value).map(Some),
            Some(_) => Err(Malformed),
        }
    }

    /// A truth value; `None` where the field is missing.
    pub(super) fn truth(&self, id: i16) -> Result<Option<bool>> {
        match self.find(id).map(|field| field.kind) {
            None => Ok(None),
            Some(TRUE) => Ok(Some(true)),
            Some(FALSE) => Ok(Some(false)),
            Some(_) => Err(Malformed),
        }
    }

    /// A structure within; `None` where the field is missing.
    pub(super) fn structure(&self, id: i16) -> Result<Option<Struct<'_>>> {
        match self.find(id) {
            None => Ok(None),
            Some(Field { kind: STRUCT, value, .. }) => Struct::parse(value).map(Some),
            Some(_) => Err(Malformed),
        }
    }

    /// The elements of a list as they are written; `None` where the field is missing.
    pub(super) fn list(&self, id: i16) -> Result<Option<Vec<&[u8]>>> {
        let Some(field) = self.find(id) else { return Ok(None) };
        if field.kind != LIST {
            return Err(Malformed);
        }
        let mut cursor = Cursor::new(&field.value);
        let (kind, count) = cursor.list_header()?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(match kind {
                TRUE | FALSE => cursor.take(1)?,
                kind => cursor.value(kind, 1)?,
            });
        }
        Ok(Some(elements))
    }

    /// Puts a value in the field's place, or a new field where its number belongs.
    pub(super) fn set(&mut self, id: i16, kind: u8, value: Vec<u8>) {
        let field = Field { id, kind, value: Cow::Owned(value) };
        match self.0.iter_mut().find(|earlier| earlier.id == id) {
            Some(earlier) => *earlier = field,
            None => {
                let at = self.0.iter().take_while(|earlier| earlier.id < id).count();
                self.0.insert(at, field);
            }
        }
    }

    /// Sets an integer field of this width.
    pub(super) fn set_integer(&mut self, id: i16, kind: u8, value: i64) {
        self.set(id, kind, signed(value));
    }

    /// Sets a field to the one of that number in another structure, or takes it out where the other
    /// has none.
    pub(super) fn set_from(&mut self, id: i16, other: &Struct<'_>) {
        match other.find(id) {
            Some(field) => self.set(id, field.kind, field.value.to_vec()),
            None => self.remove(id),
        }
    }

    /// Takes a field out.
    pub(super) fn remove(&mut self, id: i16) {
        self.0.retain(|field| field.id != id);
    }

    /// Takes several fields out.
    pub(super) fn remove_all(&mut self, ids: &[i16]) {
        self.0.retain(|field| !ids.contains(&field.id));
    }

    /// Takes out the fields of higher numbers.
    pub(super) fn keep_up_to(&mut self, last: i16) {
        self.0.retain(|field| field.id <= last);
    }

    /// The structure as it is written.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut previous = 0_i16;
        for field in &self.0 {
            match u8::try_from(i32::from(field.id) - i32::from(previous)) {
                Ok(delta @ 1..=15) => bytes.push(delta << 4 | field.kind),
                _ => {
                    bytes.push(field.kind);
                    bytes.extend(signed(i64::from(field.id)));
                }
            }
            bytes.extend_from_slice(&field.value);
            previous = field.id;
        }
        bytes.push(0);
        bytes
    }
}

/// The integer that an element of a list is.
pub(super) fn number(element: &[u8]) -> Result<i64> {
    Cursor::new(element).signed()
}

/// The content of an element of a list that is text or binary.
pub(super) fn content(element: &[u8]) -> Result<&[u8]> {
    let mut cursor = Cursor::new(element);
    let length = cursor.length()?;
    cursor.take(length)
}

/// Text or binary content as fields and lists hold it.
pub(super) fn binary(content: &[u8]) -> Vec<u8> {
    let mut bytes = unsigned(content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

/// An integer as fields hold it: zigzag, seven bits a byte.
pub(super) fn signed(value: i64) -> Vec<u8> {
    unsigned(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(10);
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A list of elements of one kind.
pub(super) fn list<T: AsRef<[u8]>>(kind: u8, elements: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match u8::try_from(elements.len()) {
        Ok(count @ 0..=14) => bytes.push(count << 4 | kind),
        _ => {
            bytes.push(0xf0 | kind);
            bytes.extend(unsigned(elements.len() as u64));
        }
    }
    for element in elements {
        bytes.extend_from_slice(element.as_ref());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let mut inner = Struct::default();
        inner.set_integer(3, I32, -5);
        let mut outer = Struct::default();
        outer.set(1, TRUE, Vec::new());
        outer.set_integer(4, I64, i64::MIN);
        outer.set(40, STRUCT, inner.to_bytes());
        outer.set(41, LIST, list(I32, &[signed(1), signed(-300)]));
        outer.set(-7, I16, signed(9));
        outer.to_bytes()
    }

    #[test]
    fn what_is_not_touched_is_written_as_it_was() {
        let bytes = sample();
        let read = Struct::parse(&bytes).expect("well formed");
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.integer(4), Ok(Some(i64::MIN)));
        assert_eq!(read.integer(-7), Ok(Some(9)));
        assert_eq!(read.structure(40).ok().flatten().expect("there").integer(3), Ok(Some(-5)));
        assert_eq!(read.list(41).expect("a list").map(|all| all.len()), Some(2));
    }

    #[test]
    fn a_list_longer_than_its_bytes_asks_for_no_memory() {
        let mut bytes = vec![1 << 4 | LIST, 0xf0 | STRUCT];
        bytes.extend(unsigned(u64::from(u32::MAX)));
        bytes.push(0);
        assert!(Struct::parse(&bytes).is_err());
    }

    #[test]
    fn a_structure_without_end_or_bottom_is_malformed() {
        assert!(Struct::parse(&vec![1 << 4 | STRUCT; 100_000]).is_err());
        assert!(Struct::parse(&[]).is_err());
        assert!(Struct::parse(&[1 << 4 | I32, 2, I32, 2, 4, 0]).is_err());
    }

    proptest! {
        #[test]
        fn integers_survive(value: i64) {
            let mut one = Struct::default();
            one.set_integer(1, I64, value);
            let bytes = one.to_bytes();
            let read = Struct::parse(&bytes).map(|one| one.integer(1));
            prop_assert_eq!(read, Ok(Ok(Some(value))));
        }

        #[test]
        fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = Struct::parse(&bytes) {
                let written = read.to_bytes();
                let again = Struct::parse(&written).map(|again| again.to_bytes());
                prop_assert_eq!(again, Ok(written));
            }
        }
    }
}
