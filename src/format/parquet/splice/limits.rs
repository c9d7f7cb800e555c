//! The lowest and highest of some values, and whether a value that was taken out may have been one of
//! them. It knows the orders of `LogicalTypes.md` in apache/parquet-format, and no pages.

use std::cmp::Ordering;

use parquet::basic::{LogicalType, SortOrder, Type};

use super::super::leaf::Leaf;

/// How the values of a column are ordered; their bytes are those of the encoding `PLAIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Signed,
    Unsigned,
    Float,
    Half,
    Bytes,
    /// Numbers in two's complement, highest byte first, of any length.
    Decimal,
}

impl Order {
    /// Of a column; `None` where none is defined.
    pub(super) fn of(leaf: &Leaf) -> Option<Self> {
        let column = &leaf.descriptor;
        if column.logical_type_ref() == Some(&LogicalType::Float16) {
            return Some(Self::Half);
        }
        match (column.physical_type(), column.sort_order()) {
            (Type::INT96, _) | (_, SortOrder::UNDEFINED) => None,
            (Type::BOOLEAN, _) => Some(Self::Bytes),
            (Type::INT32 | Type::INT64, SortOrder::UNSIGNED) => Some(Self::Unsigned),
            (Type::INT32 | Type::INT64, SortOrder::SIGNED) => Some(Self::Signed),
            (Type::FLOAT | Type::DOUBLE, _) => Some(Self::Float),
            (_, SortOrder::SIGNED) => Some(Self::Decimal),
            (_, SortOrder::UNSIGNED) => Some(Self::Bytes),
            _ => None,
        }
    }

    /// Whether a limit may be shorter than the value that it stands for.
    fn can_be_cut(self) -> bool {
        self == Self::Bytes
    }

    /// Whether this is also the order in which the oldest statistics are kept: everything signed.
    pub(super) fn is_oldest(self) -> bool {
        matches!(self, Self::Signed | Self::Float)
    }

    /// Which comes first.
    pub(super) fn compare(self, one: &[u8], two: &[u8]) -> Ordering {
        match self {
            Self::Signed => signed(one).cmp(&signed(two)),
            Self::Unsigned => signed(one).cast_unsigned().cmp(&signed(two).cast_unsigned()),
            Self::Float | Self::Half => self.number(one).total_cmp(&self.number(two)),
            Self::Bytes => one.cmp(two),
            Self::Decimal => compare_decimals(one, two),
        }
    }

    /// Whether a value counts for the limits.
    fn is_comparable(self, value: &[u8]) -> bool {
        !matches!(self, Self::Float | Self::Half) || !self.number(value).is_nan()
    }

    /// A binary fraction of whatever width.
    fn number(self, bytes: &[u8]) -> f64 {
        match *bytes {
            [a, b] => half(u16::from_le_bytes([a, b])),
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => bytes.first_chunk().map_or(f64::NAN, |eight| f64::from_le_bytes(*eight)),
        }
    }
}

/// The number that 16 bits are in IEEE 754.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => sign * f64::INFINITY,
        0x1f => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

fn signed(bytes: &[u8]) -> i64 {
    match *bytes {
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => bytes.first_chunk().map_or(0, |eight| i64::from_le_bytes(*eight)),
    }
}

fn compare_decimals(one: &[u8], two: &[u8]) -> Ordering {
    let is_negative = |bytes: &[u8]| bytes.first().is_some_and(|&first| first & 0x80 != 0);
    let sign = is_negative(two).cmp(&is_negative(one));
    // Of one sign, so that bytes before the longer of both are the same.
    let fill = if is_negative(one) { 0xff } else { 0 };
    let length = one.len().max(two.len());
    let padded = |bytes: &[u8]| {
        let mut padded = vec![fill; length - bytes.len()];
        padded.extend_from_slice(bytes);
        padded
    };
    sign.then_with(|| padded(one).cmp(&padded(two)))
}

/// Lowest and highest of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) ends: [Vec<u8>; 2],
    /// Whether either is a value, and not just beyond all of them; `None` where that is not said.
    pub(super) are_exact: [Option<bool>; 2],
}

/// What an edit did to the values that limits are of.
#[derive(Clone, Copy)]
pub(super) struct Loss<'a> {
    /// Values that were taken out.
    pub(super) lost: &'a [Vec<u8>],
    /// The empty value, where one was put in.
    pub(super) gained: Option<&'a [u8]>,
}

impl Loss<'_> {
    /// Whether no value went or came.
    pub(super) fn is_none(&self) -> bool {
        self.lost.is_empty() && self.gained.is_none()
    }
}

impl Limits {
    /// Of these values; `None` where none of them counts.
    pub(super) fn of<'v>(order: Order, values: impl Iterator<Item = &'v [u8]>) -> Option<Self> {
        let mut values = values.filter(|value| order.is_comparable(value));
        let first = values.next()?;
        let mut ends = [first, first];
        for value in values {
            if order.compare(value, ends[0]) == Ordering::Less {
                ends[0] = value;
            } else if order.compare(value, ends[1]) == Ordering::Greater {
                ends[1] = value;
            }
        }
        let ends = ends.map(<[u8]>::to_vec);
        Some(Self { ends, are_exact: [Some(true); 2] }.with_both_zeros(order))
    }

    /// Lets limits take in one more value, if it counts.
    pub(super) fn widen(all: &mut Option<Self>, order: Order, value: &[u8]) {
        if !order.is_comparable(value) {
            return;
        }
        let is_within = all.as_ref().is_some_and(|all| {
            order.compare(value, &all.ends[0]) != Ordering::Less
                && order.compare(value, &all.ends[1]) != Ordering::Greater
        });
        if is_within {
            return;
        }
        let ends = [value.to_vec(), value.to_vec()];
        let one = Self { ends, are_exact: [Some(true); 2] }.with_both_zeros(order);
        *all = Some(match all.take() {
            Some(all) => all.and(order, &one),
            None => one,
        });
    }

    /// 0 and -0 are one number: as a lowest it is written as -0, as a highest as 0.
    fn with_both_zeros(mut self, order: Order) -> Self {
        if matches!(order, Order::Float | Order::Half) {
            for (end, sign) in self.ends.iter_mut().zip([0x80, 0]) {
                if order.number(end) == 0.0 {
                    end.fill(0);
                    end.last_mut().into_iter().for_each(|last| *last = sign);
                }
            }
        }
        self
    }

    /// Whether either limit may tell something of a value: the lowest, the highest.
    pub(super) fn tell_of(&self, order: Order, value: &[u8]) -> [bool; 2] {
        let is_equal = |end: &[u8]| {
            let is_number = matches!(order, Order::Float | Order::Half);
            end == value || (is_number && order.number(end) == order.number(value))
        };
        let may_be_cut = |at: usize| order.can_be_cut() && self.are_exact[at] != Some(true);
        let [low, high] = &self.ends;
        [
            is_equal(low) || (may_be_cut(0) && value.starts_with(low)),
            is_equal(high) || (may_be_cut(1) && is_raised(high, value)),
        ]
    }

    /// The limits after an edit; `None` where they are not known. `left` tells those of the values
    /// that are left, if that is known.
    pub(super) fn after(
        &self,
        order: Order,
        loss: Loss<'_>,
        left: impl FnOnce() -> Option<Self>,
    ) -> Option<Self> {
        let told = |end: usize| loss.lost.iter().any(|value| self.tell_of(order, value)[end]);
        if told(0) || told(1) {
            return left();
        }
        let mut after = self.clone();
        let gained = loss.gained.filter(|gained| order.is_comparable(gained));
        let Some(gained) = gained else { return Some(after) };
        if order.compare(gained, &after.ends[0]) == Ordering::Less {
            after.ends[0] = gained.to_vec();
            after.are_exact[0] = after.are_exact[0].map(|_| true);
        }
        if order.compare(gained, &after.ends[1]) == Ordering::Greater {
            after.ends[1] = gained.to_vec();
            after.are_exact[1] = after.are_exact[1].map(|_| true);
        }
        Some(after.with_both_zeros(order))
    }

    /// The limits of both.
    pub(super) fn and(mut self, order: Order, other: &Self) -> Self {
        for (at, beyond) in [Ordering::Less, Ordering::Greater].into_iter().enumerate() {
            if order.compare(&other.ends[at], &self.ends[at]) == beyond {
                self.ends[at].clone_from(&other.ends[at]);
                self.are_exact[at] = other.are_exact[at];
            }
        }
        self
    }
}

/// Whether a highest value that was cut off may stem from this value: it begins as the value does, and
/// its last byte or character is the next one.
fn is_raised(high: &[u8], value: &[u8]) -> bool {
    let shared = high.iter().zip(value).take_while(|(one, two)| one == two).count();
    let by_byte = high.len() == shared + 1
        && value.get(shared).is_some_and(|&byte| byte.checked_add(1) == Some(high[shared]));
    let by_character = || {
        let (high, value) = (str::from_utf8(high).ok()?, str::from_utf8(value).ok()?);
        let last = high.chars().next_back()?;
        let rest = value.strip_prefix(&high[..high.len() - last.len_utf8()])?;
        let before = u32::from(rest.chars().next()?);
        // Between both lie numbers that are no characters.
        Some((before + 1..u32::from(last)).all(|number| char::from_u32(number).is_none()))
            .filter(|_| before < u32::from(last))
    };
    by_byte || by_character() == Some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_numbers() {
        for (bits, number) in
            [(0x3c00, 1.0), (0xc000, -2.0), (1, 2_f64.powi(-24)), (0x3555, 0.333_251_953_125)]
        {
            assert!((half(bits) - number).abs() < f64::EPSILON, "{bits:x}");
        }
        assert!(half(0x7c01).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn decimals_of_any_length_are_compared(one: i32, two: i64, cut in 0_usize..7) {
            let wide = two.to_be_bytes();
            let is_same = two << (cut * 8) >> (cut * 8) == two;
            let two_bytes = if is_same { &wide[cut..] } else { &wide };
            let found = Order::Decimal.compare(&one.to_be_bytes(), two_bytes);
            prop_assert_eq!(found, i64::from(one).cmp(&two));
        }
    }

    /// G16: what is left of a long value in a limit is seen to be of it.
    #[test]
    fn a_cut_limit_tells_of_its_value() {
        let limits = |low: &str, high: &str, are_exact| Limits {
            ends: [low.as_bytes().to_vec(), high.as_bytes().to_vec()],
            are_exact: [are_exact; 2],
        };
        let told = |limits: &Limits, value: &str| limits.tell_of(Order::Bytes, value.as_bytes());
        assert_eq!(told(&limits("ann", "zoe", None), "annette"), [true, false]);
        assert_eq!(told(&limits("ann", "zof", None), "zoe of bern"), [false, true]);
        assert_eq!(told(&limits("ann", "zo\u{e9}", None), "zo\u{e8}!"), [false, true]);
        assert_eq!(told(&limits("ann", "zo\u{e000}", None), "zo\u{d7ff}!"), [false, true]);
        assert_eq!(told(&limits("ann", "zof", Some(true)), "zoe of bern"), [false, false]);
        assert_eq!(told(&limits("ann", "zoe", Some(true)), "zoe"), [false, true]);
    }
}
