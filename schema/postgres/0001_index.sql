-- The index in PostgreSQL. All names begin with lacuna_, but for user_objects, and lie in the schema
-- that is first in the connection's search_path.

CREATE TABLE lacuna_about (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE lacuna_datasets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    -- What the keys of its objects follow: s3://bucket/ or a folder.
    root text
);

-- Numbers of object versions; none is used twice, so that a posting can never come to belong to
-- another version.
CREATE SEQUENCE lacuna_object_numbers;

-- Numbers of the writers that record a version in more than one transaction.
CREATE SEQUENCE lacuna_writer_numbers;

-- Object versions. state 0: being recorded by the writer; 1: recorded; 2: to be removed.
CREATE TABLE lacuna_objects (
    id bigint PRIMARY KEY,
    dataset bigint NOT NULL REFERENCES lacuna_datasets (id),
    key bytea NOT NULL,
    version text COLLATE "C" NOT NULL,
    etag text COLLATE "C" NOT NULL,
    state smallint NOT NULL,
    writer bigint,
    -- The number that its postings are stored under, where that is not its own: those of the version
    -- that it was made from, which is kept, or was when this one was made.
    shares bigint,
    -- Rows that its postings name.
    postings bigint NOT NULL,
    -- A JSON document: what its scan said.
    scan text NOT NULL
);
CREATE UNIQUE INDEX lacuna_objects_live ON lacuna_objects (dataset, key, version) WHERE state = 1;
CREATE INDEX lacuna_objects_unsettled ON lacuna_objects (state) WHERE state <> 1;
CREATE INDEX lacuna_objects_shares ON lacuna_objects (shares) WHERE shares IS NOT NULL;

-- Subjects without a posting in a version, though some are stored under the number that it shares.
-- When none of the versions of a number has them any more they leave the segments, and this table.
CREATE TABLE lacuna_masks (
    number bigint NOT NULL,
    subject bigint NOT NULL,
    object bigint NOT NULL,
    PRIMARY KEY (number, subject, object)
);

-- A run: segments in ascending order of subjects. One that belongs to a version which is still being
-- recorded names it as its owner, and nobody looks into it.
CREATE TABLE lacuna_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner bigint,
    segments bigint NOT NULL,
    postings bigint NOT NULL
);

-- Some hundred postings of neighbouring subjects, packed: see lacuna_postings. "first" is the lowest
-- subject, that is the first 64 bits of its digest, less 2^63. Two segments fill a page.
CREATE TABLE lacuna_segments (
    run bigint NOT NULL,
    first bigint NOT NULL,
    number integer NOT NULL,
    segment bytea NOT NULL,
    PRIMARY KEY (run, first, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
ALTER TABLE lacuna_segments ALTER COLUMN segment SET STORAGE PLAIN;

-- A number of at most 64 bits that begins at a bit, both counted from the least significant.
CREATE FUNCTION lacuna_bits(bytes bytea, start integer, width integer) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    place integer := start / 8;
    have integer := 8 - start % 8;
    value bigint;
BEGIN
    IF width = 0 THEN
        RETURN 0;
    END IF;
    value := get_byte(bytes, place)::bigint >> (start % 8);
    WHILE have < width LOOP
        place := place + 1;
        value := value | (get_byte(bytes, place)::bigint << have);
        have := have + 8;
    END LOOP;
    IF width < 64 THEN
        value := value & ((1::bigint << width) - 1);
    END IF;
    RETURN value;
END $$;

-- The postings of a subject in a segment. A segment is a block of 4096 bytes without its last zeros:
--   0 crc32, 4 u16 postings, 6 u16 subjects, 8 u64 first subject, 16 u8 low bits of a subject,
--   17 u8 bits of an object, 18 u8 bits of a row, 20 u32 bits of the high parts,
--   24 u64 lowest object, 32 u64 lowest row; then bits: a flag a posting (a subject begins), the
--   subjects as an Elias-Fano list of distances from the first (high parts, low parts), objects, rows.
CREATE FUNCTION lacuna_postings(segment bytea, first bigint, subject bigint)
RETURNS TABLE (object bigint, row_number bigint)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    body bytea := substr(segment, 41) || decode(repeat('00', 4096 - length(segment)), 'hex');
    postings integer := lacuna_bits(segment, 32, 16);
    low_bits integer := get_byte(segment, 16);
    object_bits integer := get_byte(segment, 17);
    row_bits integer := get_byte(segment, 18);
    high_bits integer := lacuna_bits(segment, 160, 32);
    lowest_object bigint := lacuna_bits(segment, 192, 64);
    lowest_row bigint := lacuna_bits(segment, 256, 64);
    distance numeric := subject::numeric - first::numeric;
    bucket numeric := div(distance, power(2::numeric, low_bits));
    low numeric := mod(distance, power(2::numeric, low_bits));
    objects_at integer := postings + high_bits + lacuna_bits(segment, 48, 16)::integer * low_bits;
    rows_at integer := objects_at + postings * object_bits;
    place integer := postings;
    zeros integer := 0;
    wanted integer := 0;
    seen integer := -1;
BEGIN
    IF distance < 0 OR bucket > high_bits THEN
        RETURN;
    END IF;
    -- Before the bucket stand as many zeros, and a one for every smaller distance.
    WHILE zeros < bucket LOOP
        IF place = postings + high_bits THEN
            RETURN;
        END IF;
        zeros := zeros + 1 - get_bit(body, place);
        wanted := wanted + get_bit(body, place);
        place := place + 1;
    END LOOP;
    LOOP
        IF place = postings + high_bits OR get_bit(body, place) = 0 THEN
            RETURN;
        END IF;
        EXIT WHEN lacuna_bits(body, postings + high_bits + wanted * low_bits, low_bits) = low;
        place := place + 1;
        wanted := wanted + 1;
    END LOOP;
    FOR at IN 0 .. postings - 1 LOOP
        seen := seen + get_bit(body, at);
        EXIT WHEN seen > wanted;
        CONTINUE WHEN seen < wanted;
        object := lowest_object + lacuna_bits(body, objects_at + at * object_bits, object_bits);
        row_number := lowest_row + lacuna_bits(body, rows_at + at * row_bits, row_bits);
        RETURN NEXT;
    END LOOP;
END $$;

-- The subject of a digest, out of the digest's text.
CREATE FUNCTION lacuna_subject(digest text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF digest !~* '^[0-9a-f]{32}$' THEN
        RAISE invalid_parameter_value
            USING MESSAGE = 'an identifier digest is 32 hexadecimal characters',
                  HINT = 'Ask `lacuna digest` for the digest of an identifier.';
    END IF;
    RETURN ('x' || substr(digest, 1, 16))::bit(64)::bigint # (-9223372036854775808);
END $$;

-- A key as text; bytes that are no UTF-8 are written as escapes.
CREATE FUNCTION lacuna_key(key bytea) RETURNS text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(key, 'UTF8');
EXCEPTION WHEN OTHERS THEN
    RETURN encode(key, 'escape');
END $$;

-- One row for every record of the data subject whose digest `lacuna digest` prints.
CREATE FUNCTION user_objects(digest text)
RETURNS TABLE (userid text, s3path text, recordline bigint)
LANGUAGE sql STABLE STRICT ROWS 100 AS $$
    WITH wanted AS MATERIALIZED (
        SELECT lower(digest) AS userid, lacuna_subject(digest) AS subject
    )
    SELECT wanted.userid, coalesce(datasets.root, datasets.name || '/') || lacuna_key(objects.key),
           found.row_number
    FROM wanted
    JOIN lacuna_runs runs ON runs.owner IS NULL
    CROSS JOIN LATERAL (
        (SELECT segment, first FROM lacuna_segments
         WHERE run = runs.id AND first < wanted.subject ORDER BY first DESC, number DESC LIMIT 1)
        UNION ALL
        (SELECT segment, first FROM lacuna_segments
         WHERE run = runs.id AND first = wanted.subject)
    ) segments
    CROSS JOIN LATERAL lacuna_postings(segments.segment, segments.first, wanted.subject) found
    CROSS JOIN LATERAL (
        SELECT id, dataset, key FROM lacuna_objects
        WHERE id = found.object AND shares IS NULL AND state = 1
        UNION ALL
        SELECT id, dataset, key FROM lacuna_objects
        WHERE shares IS NOT NULL AND shares = found.object AND state = 1
    ) objects
    JOIN lacuna_datasets datasets ON datasets.id = objects.dataset
    WHERE NOT EXISTS (SELECT FROM lacuna_masks masks
                      WHERE masks.number = found.object AND masks.subject = wanted.subject
                          AND masks.object = objects.id)
$$;
