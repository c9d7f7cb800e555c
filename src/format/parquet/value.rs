//! Typed values and what they mean as identifiers. No value is ever cast: INT96 stays INT96.

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::data_type::{AsBytes as _, ByteArray, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

use crate::domain::identifier::RawValue;

/// Values of one physical type.
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// The same expression for every physical type.
macro_rules! each_type {
    ($values:expr, $list:ident => $body:expr) => {
        match $values {
            Values::Bool($list) => $body,
            Values::Int32($list) => $body,
            Values::Int64($list) => $body,
            Values::Int96($list) => $body,
            Values::Float($list) => $body,
            Values::Double($list) => $body,
            Values::Bytes($list) => $body,
            Values::Fixed($list) => $body,
        }
    };
}

/// The same expression for two lists of one physical type.
macro_rules! both_types {
    ($one:expr, $other:expr, $a:ident, $b:ident => $body:expr) => {
        match ($one, $other) {
            (Values::Bool($a), Values::Bool($b)) => $body,
            (Values::Int32($a), Values::Int32($b)) => $body,
            (Values::Int64($a), Values::Int64($b)) => $body,
            (Values::Int96($a), Values::Int96($b)) => $body,
            (Values::Float($a), Values::Float($b)) => $body,
            (Values::Double($a), Values::Double($b)) => $body,
            (Values::Bytes($a), Values::Bytes($b)) => $body,
            (Values::Fixed($a), Values::Fixed($b)) => $body,
            _ => {}
        }
    };
}

impl Values {
    /// No values of this type.
    pub(super) fn new(kind: Type) -> Self {
        match kind {
            Type::BOOLEAN => Self::Bool(Vec::new()),
            Type::INT32 => Self::Int32(Vec::new()),
            Type::INT64 => Self::Int64(Vec::new()),
            Type::INT96 => Self::Int96(Vec::new()),
            Type::FLOAT => Self::Float(Vec::new()),
            Type::DOUBLE => Self::Double(Vec::new()),
            Type::BYTE_ARRAY => Self::Bytes(Vec::new()),
            Type::FIXED_LEN_BYTE_ARRAY => Self::Fixed(Vec::new()),
        }
    }

    pub(super) fn clear(&mut self) {
        each_type!(self, list => list.clear());
    }

    pub(super) fn truncate(&mut self, count: usize) {
        each_type!(self, list => list.truncate(count));
    }

    pub(super) fn len(&self) -> usize {
        each_type!(self, list => list.len())
    }

    /// The bytes of a value: of numbers those in memory, else the content.
    pub(super) fn bytes(&self, at: usize) -> &[u8] {
        each_type!(self, list => list.get(at).map_or(&[], |value| value.as_bytes()))
    }

    /// Shows the bytes of each value.
    pub(super) fn each(&self, mut see: impl FnMut(&[u8])) {
        each_type!(self, list => list.iter().for_each(|value| see(value.as_bytes())));
    }

    /// The values where they are integers of 32 bits; else none.
    pub(super) fn codes(&self) -> &[i32] {
        if let Self::Int32(codes) = self { codes } else { &[] }
    }

    /// A value as it is.
    pub(super) fn get(&self, at: usize) -> Value<'_> {
        let value = match self {
            Self::Int32(list) => list.get(at).copied().map(Value::Int32),
            Self::Int64(list) => list.get(at).copied().map(Value::Int64),
            Self::Float(list) => list.get(at).copied().map(Value::Float),
            Self::Double(list) => list.get(at).copied().map(Value::Double),
            Self::Bytes(list) => list.get(at).map(|value| Value::Bytes(value.as_bytes())),
            Self::Fixed(list) => list.get(at).map(|value| Value::Bytes(value.as_bytes())),
            Self::Bool(_) | Self::Int96(_) => None,
        };
        value.unwrap_or(Value::Other)
    }

    /// Appends values of another list of the same type.
    pub(super) fn extend(&mut self, other: &Values, range: std::ops::Range<usize>) {
        both_types!(self, other, list, more => {
            if let Some(more) = more.get(range) {
                list.extend_from_slice(more);
            }
        });
    }

    /// Appends the empty value of a column.
    pub(super) fn push_empty(&mut self, column: &ColumnDescriptor) {
        match self {
            Self::Bool(list) => list.push(false),
            Self::Int32(list) => list.push(0),
            Self::Int64(list) => list.push(0),
            Self::Int96(list) => list.push(Int96::new()),
            Self::Float(list) => list.push(0.0),
            Self::Double(list) => list.push(0.0),
            Self::Bytes(list) => list.push(ByteArray::from(empty_bytes(column))),
            Self::Fixed(list) => list.push(ByteArray::from(empty_bytes(column)).into()),
        }
    }

    /// Whether a value is the empty one of its column.
    pub(super) fn is_empty_value(&self, at: usize, column: &ColumnDescriptor) -> bool {
        is_empty_value(self.bytes(at), column)
    }
}

/// Whether these bytes, as [`Values::bytes`] has them, are the empty value of a column.
pub(super) fn is_empty_value(bytes: &[u8], column: &ColumnDescriptor) -> bool {
    match column.physical_type() {
        Type::BYTE_ARRAY => bytes == empty_bytes(column),
        _ => bytes.iter().all(|&byte| byte == 0),
    }
}

/// One value, borrowed.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Int32(i32),
    Int64(i64),
    Float(f32),
    Double(f64),
    Bytes(&'a [u8]),
    /// Of a type that identifies nobody.
    Other,
}

impl<'a> Value<'a> {
    /// The value that these bytes are in the encoding `PLAIN`, without a length before them.
    pub(super) fn of_plain(kind: Type, bytes: &'a [u8]) -> Self {
        let value = match kind {
            Type::INT32 => bytes.first_chunk().map(|four| Self::Int32(i32::from_le_bytes(*four))),
            Type::INT64 => bytes.first_chunk().map(|eight| Self::Int64(i64::from_le_bytes(*eight))),
            Type::FLOAT => bytes.first_chunk().map(|four| Self::Float(f32::from_le_bytes(*four))),
            Type::DOUBLE => {
                bytes.first_chunk().map(|eight| Self::Double(f64::from_le_bytes(*eight)))
            }
            Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => Some(Self::Bytes(bytes)),
            Type::BOOLEAN | Type::INT96 => None,
        };
        value.unwrap_or(Self::Other)
    }

    fn integer(self) -> Option<i128> {
        match self {
            Self::Int32(value) => Some(i128::from(value)),
            Self::Int64(value) => Some(i128::from(value)),
            _ => None,
        }
    }

    fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }
}

/// The empty value: zeros where the length is fixed, and where a decimal needs a digit; else nothing.
pub(super) fn empty_bytes(column: &ColumnDescriptor) -> Vec<u8> {
    if column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY {
        vec![0; usize::try_from(column.type_length()).unwrap_or(0)]
    } else if decimal_scale(column).is_some() {
        vec![0]
    } else {
        Vec::new()
    }
}

fn decimal_scale(column: &ColumnDescriptor) -> Option<i32> {
    match column.logical_type_ref() {
        Some(LogicalType::Decimal(decimal)) => Some(decimal.scale),
        _ if column.converted_type() == ConvertedType::DECIMAL => Some(column.type_scale()),
        _ => None,
    }
}

/// What the values of a column mean as identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A whole number.
    Signed,
    /// A whole number whose highest bit is not a sign.
    Unsigned,
    /// Text.
    Text,
    /// Binary content, such as a UUID; also where nothing says what it is. Old Hive and Impala annotate no text:
    /// as an identifier it is read as text all the same, but for the 16 bytes of a UUID.
    Binary,
    /// A decimal with this many digits after the point.
    Decimal(u32),
    /// A binary fraction, which identifies somebody only where it is a whole number.
    Float,
    /// Days since 1970-01-01, read as ISO 8601.
    Date,
    /// Nothing that names a person: truth values, instants, INT96.
    Nothing,
}

impl Meaning {
    /// What a column's values mean.
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        if let Some(scale) = decimal_scale(column) {
            return u32::try_from(scale).map_or(Self::Nothing, Self::Decimal);
        }
        match column.physical_type() {
            Type::BOOLEAN | Type::INT96 => Self::Nothing,
            Type::FLOAT | Type::DOUBLE => Self::Float,
            Type::INT32 | Type::INT64 => Self::of_integer(column),
            Type::BYTE_ARRAY => match (column.logical_type_ref(), column.converted_type()) {
                (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _) => {
                    Self::Text
                }
                (None, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => {
                    Self::Text
                }
                (Some(_) | None, _) => Self::Binary,
            },
            Type::FIXED_LEN_BYTE_ARRAY => match column.logical_type_ref() {
                Some(LogicalType::Float16) => Self::Nothing,
                _ if column.converted_type() == ConvertedType::INTERVAL => Self::Nothing,
                _ => Self::Binary,
            },
        }
    }

    fn of_integer(column: &ColumnDescriptor) -> Self {
        use ConvertedType as Old;
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Integer(integer)), _) if !integer.is_signed => Self::Unsigned,
            (Some(LogicalType::Date), _) | (None, Old::DATE) => Self::Date,
            (Some(LogicalType::Time(_) | LogicalType::Timestamp(_)), _) => Self::Nothing,
            (None, Old::UINT_8 | Old::UINT_16 | Old::UINT_32 | Old::UINT_64) => Self::Unsigned,
            (None, Old::TIME_MILLIS | Old::TIME_MICROS) => Self::Nothing,
            (None, Old::TIMESTAMP_MILLIS | Old::TIMESTAMP_MICROS) => Self::Nothing,
            _ => Self::Signed,
        }
    }

    /// A value as the domain wants it; `None` where it is of no type that identifies anybody.
    pub(super) fn raw<'a>(self, value: Value<'a>, text: &'a mut String) -> Option<RawValue<'a>> {
        match (self, value) {
            (Self::Signed, _) => value.integer().map(RawValue::Integer),
            (Self::Unsigned, Value::Int32(value)) => {
                Some(RawValue::Integer(i128::from(value.cast_unsigned())))
            }
            (Self::Unsigned, Value::Int64(value)) => {
                Some(RawValue::Integer(i128::from(value.cast_unsigned())))
            }
            (Self::Text, _) => Some(RawValue::Text(value.bytes())),
            (Self::Binary, _) => Some(RawValue::Binary(value.bytes())),
            (Self::Decimal(scale), _) => {
                *text = match value.integer() {
                    Some(value) => place_point(value < 0, value.unsigned_abs().to_string(), scale),
                    None => decimal(value.bytes(), scale)?,
                };
                Some(RawValue::Number(text))
            }
            (Self::Float, Value::Float(value)) => whole(f64::from(value), text),
            (Self::Float, Value::Double(value)) => whole(value, text),
            (Self::Date, Value::Int32(value)) => {
                *text = date(value)?;
                Some(RawValue::Text(text.as_bytes()))
            }
            _ => None,
        }
    }
}

/// A whole number that a double holds exactly and alone: below 2^53.
fn whole(value: f64, text: &mut String) -> Option<RawValue<'_>> {
    const FIRST_AMBIGUOUS: f64 = 9_007_199_254_740_992.0;
    if value.fract() != 0.0 || value.abs() >= FIRST_AMBIGUOUS {
        return None;
    }
    *text = format!("{}", value as i64);
    Some(RawValue::Number(text))
}

fn date(days: i32) -> Option<String> {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok().map(|date| date.to_string())
}

/// The decimal text of an unscaled two's complement number, highest byte first, of any length.
fn decimal(bytes: &[u8], scale: u32) -> Option<String> {
    // Longer than any decimal that a writer makes (256 bits), with room.
    if bytes.is_empty() || bytes.len() > 64 {
        return None;
    }
    let negative = bytes[0] & 0x80 != 0;
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (value, overflow) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (value, overflow);
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|&byte| byte != 0) {
        let mut remainder = 0_u32;
        for byte in &mut magnitude {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 10) as u8;
            remainder = value % 10;
        }
        digits.push(b'0' + remainder as u8);
    }
    digits.reverse();
    let digits: String = digits.into_iter().map(char::from).collect();
    Some(place_point(negative, if digits.is_empty() { "0".to_owned() } else { digits }, scale))
}

fn place_point(negative: bool, digits: String, scale: u32) -> String {
    let sign = if negative { "-" } else { "" };
    // A scale beyond the digits of any decimal would ask for gigabytes of zeros.
    let scale = usize::try_from(scale.min(200)).unwrap_or(200);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(&1230_i32.to_be_bytes(), 2).as_deref(), Some("12.30"));
        assert_eq!(decimal(&(-5_i16).to_be_bytes(), 3).as_deref(), Some("-0.005"));
        assert_eq!(decimal(&[0], 0).as_deref(), Some("0"));
        assert_eq!(decimal(&[], 0), None);
        let mut wide = vec![0; 16];
        wide.extend(u128::MAX.to_be_bytes());
        assert_eq!(decimal(&wide, 0), Some(u128::MAX.to_string()));
    }

    #[test]
    fn dates_read_as_people_write_them() {
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(19_782).as_deref(), Some("2024-02-29"));
        assert_eq!(date(i32::MAX), None);
    }

    #[test]
    fn a_double_that_is_no_whole_number_names_nobody() {
        let mut text = String::new();
        assert!(whole(0.5, &mut text).is_none() && whole(f64::NAN, &mut text).is_none());
        assert!(whole(9_007_199_254_740_992.0, &mut text).is_none());
        assert!(matches!(whole(-42.0, &mut text), Some(RawValue::Number("-42"))));
    }

    proptest! {
        #[test]
        fn decimals_agree_with_128_bits(value: i128) {
            prop_assert_eq!(decimal(&value.to_be_bytes(), 0), Some(value.to_string()));
        }
    }
}
