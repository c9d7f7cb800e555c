"""Random tables of every Arrow type, with values planted in the rows that will be erased.

A planted value occurs nowhere else, so that no byte of it may be left in a file. It has a *trace*:
bytes of it as Parquet stores them, long enough not to occur by chance, and not its first ones,
which an encoding may take from the value before.
"""

import datetime
import decimal
import struct

import pyarrow as pa

DAY, MOMENT = datetime.date(1970, 1, 1), 1_500_000_000
LETTERS = "abcdefghijklmnopqrstuvwxyzäß漢😀 \n\"\\"
LEAVES = [
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
    pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
    pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(5), pa.binary(16),
    pa.date32(), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.timestamp("s"),
    pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us", tz="UTC"), pa.timestamp("ns"),
    pa.duration("us"), pa.decimal128(7, 2), pa.decimal128(16, 3), pa.decimal128(38, 9),
    pa.decimal256(60, 4), pa.null(), pa.dictionary(pa.int32(), pa.string()),
]
# What every writer and reader here understands.
COMMON = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(),
          pa.string(), pa.binary(), pa.date32(), pa.timestamp("us"), pa.decimal128(7, 2),
          pa.decimal128(16, 3), pa.decimal128(38, 9)]
WIDEST = 12


def random_type(chance, leaves, depth):
    """A leaf, or a list, map or struct of such."""
    if depth == 0 or chance.random() < 0.7:
        return chance.choice(leaves)
    inner = random_type(chance, leaves, depth - 1)
    kind = chance.choice(["list", "list", "struct", "struct", "map"])
    if kind == "list":
        return pa.list_(pa.field("item", inner, nullable=can_be_null(chance, inner)))
    if kind == "map":
        return pa.map_(pa.string(), inner)
    other = random_type(chance, leaves, depth - 1)
    return pa.struct([pa.field("a", inner, nullable=can_be_null(chance, inner)),
                      pa.field("b.c", other)])


def can_be_null(chance, kind):
    """Mostly, and always where there is nothing else to be."""
    return chance.random() < 0.8 or pa.types.is_null(kind)


class Values:
    """Makes values of a type; `traces` collects what was planted."""

    def __init__(self, chance, missing, few):
        self.chance, self.missing, self.traces = chance, missing, []
        self.pools, self.few = {}, few

    def value(self, kind, nullable, planted):
        """Any value, from a small pool where the column has few."""
        missing = 0 if planted else self.missing
        if nullable and (pa.types.is_null(kind) or self.chance.random() < missing):
            return None
        if pa.types.is_nested(kind):
            return self.nested(kind, planted)
        if planted:
            return self.planted(kind)
        if not self.few:
            return self.plain(kind)
        pool = self.pools.setdefault(str(kind), [])
        if len(pool) < self.few:
            pool.append(self.plain(kind))
        return self.chance.choice(pool)

    def nested(self, kind, planted):
        """A list, map or struct."""
        if pa.types.is_struct(kind):
            return {field.name: self.value(field.type, field.nullable, planted) for field in kind}
        length = self.chance.choice([1, 2]) if planted else self.chance.choice([0, 1, 1, 2, 5])
        if pa.types.is_map(kind):
            return [(f"k{at}", self.value(kind.item_type, True, planted)) for at in range(length)]
        field = kind.value_field
        return [self.value(field.type, field.nullable, planted) for _ in range(length)]

    def planted(self, kind):
        """A value that occurs nowhere else, if the type has enough of them."""
        chance = self.chance
        if is_text(kind):
            value = "".join(chance.choice("0123456789ABCDEFGHIJKLMN") for _ in range(WIDEST + 9))
            self.traces.append(value.encode()[4:4 + WIDEST])
        elif is_bytes(kind):
            width = kind.byte_width if pa.types.is_fixed_size_binary(kind) else WIDEST + 9
            value = chance.randbytes(width)
            if width > WIDEST:
                self.traces.append(value[3:3 + WIDEST])
        elif kind in (pa.int64(), pa.uint64()):
            value = chance.randrange(2**63)
            self.traces.append(struct.pack("<q", value))
        elif kind == pa.float64():
            value = chance.uniform(1, 2) * 10.0 ** chance.randrange(-99, 99)
            self.traces.append(struct.pack("<d", value))
        elif pa.types.is_decimal(kind) and kind.precision > 16:
            whole = chance.randrange(10 ** (kind.precision - 1), 10**kind.precision)
            value = decimal.Decimal(whole).scaleb(-kind.scale, context(kind))
            self.traces.append(whole.to_bytes(32, "big")[-WIDEST:])
        else:
            value = self.plain(kind)
        return value

    def plain(self, kind):
        """Any value, odd ones among them."""
        chance = self.chance
        if is_text(kind):
            return "".join(chance.choices(LETTERS, k=chance.choice([0, 1, 3, 9, 40])))
        if is_bytes(kind):
            fixed = pa.types.is_fixed_size_binary(kind)
            return chance.randbytes(kind.byte_width if fixed else chance.choice([0, 1, 8, 70]))
        if pa.types.is_integer(kind):
            low = -(2 ** (kind.bit_width - 1)) if pa.types.is_signed_integer(kind) else 0
            odd = [low, low + 2**kind.bit_width - 1, 0]
            return chance.choice([*odd, *[chance.randrange(low, low + 2**kind.bit_width)] * 9])
        if pa.types.is_floating(kind):
            odd = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1.5]
            return chance.choice([*odd, *[chance.gauss(0, 999)] * 20])
        if pa.types.is_boolean(kind):
            return chance.random() < 0.5
        if pa.types.is_decimal(kind):
            whole = chance.randrange(-(10**kind.precision) + 1, 10**kind.precision)
            return decimal.Decimal(whole).scaleb(-kind.scale, context(kind))
        return self.moment(kind)

    def moment(self, kind):
        """A date, a time, a timestamp or a duration."""
        chance = self.chance
        if pa.types.is_date(kind):
            return DAY + datetime.timedelta(chance.randrange(-9000, 30000))
        if pa.types.is_time(kind):
            most = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
            return chance.randrange(86_400 * most)
        ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        # Thousands of the finest unit, so that a writer may store a coarser one.
        return (MOMENT + chance.randrange(-10**8, 10**8)) * ticks


def context(kind):
    """Enough digits for any decimal."""
    return decimal.Context(prec=kind.precision + 2)


def is_text(kind):
    """Strings of any make."""
    if pa.types.is_dictionary(kind):
        return True
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_bytes(kind):
    """Byte strings of any make."""
    return (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            or pa.types.is_fixed_size_binary(kind))


def random_columns(chance, rows, gone, leaves, depth):
    """Fields and arrays of some columns, and by name the traces of what only `gone` holds."""
    fields, arrays, traces = [], [], {}
    for at in range(chance.randrange(1, 9)):
        kind = random_type(chance, leaves, depth)
        nullable = can_be_null(chance, kind)
        made = Values(chance, chance.choice([0, 0.05, 0.5, 0.98, 1]),
                      chance.choice([0, 0, 1, 3, 30]))
        name = chance.choice([f"c{at}", f"C{at}", f"c.{at}", f"ç {at}"])
        column = [made.value(kind, nullable, row in gone and chance.random() < 0.7)
                  for row in range(rows)]
        if not pa.types.is_nested(kind) and chance.random() < 0.15:
            column = sorted_around(column, gone)
        fields.append(pa.field(name, kind, nullable=nullable))
        arrays.append(pa.array(column, kind))
        traces[name] = made.traces
    return fields, arrays, traces


def sorted_around(column, gone):
    """The values of everybody else in order, nulls and what does not compare last."""
    rest = [value for row, value in enumerate(column) if row not in gone]
    try:
        rest.sort(key=lambda value: (value is None, value != value, value))
    except TypeError:
        return column
    rest = iter(rest)
    return [value if row in gone else next(rest) for row, value in enumerate(column)]
