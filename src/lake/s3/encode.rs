//! Keys on the wire: the copy-source header, and the keys of a listing.
//!
//! The SDK encodes the keys of a request's path itself; what stands here is what it leaves to its
//! callers. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>

use crate::domain::object::VersionId;

/// The value of `x-amz-copy-source`: bucket and key percent-encoded once, the version beside them.
pub(super) fn copy_source(bucket: &str, key: &str, version: Option<&VersionId>) -> String {
    let mut source = String::with_capacity(bucket.len() + key.len() + 48);
    percent_encode(bucket, &mut source);
    source.push('/');
    percent_encode(key, &mut source);
    if let Some(version) = version {
        source.push_str("?versionId=");
        percent_encode(version.as_str(), &mut source);
    }
    source
}

/// A name or a value as it stands in a query, which is how the header of tags is spelled.
pub(super) fn query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    percent_encode(text, &mut encoded);
    encoded
}

/// Encodes all but RFC 3986's unreserved characters and `/`.
fn percent_encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

/// How a store encodes the keys of a listing that was asked for with `encoding-type=url`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListingEncoding {
    /// Not at all: the store ignores the request.
    Verbatim,
    /// As a form: a space is `+`, a plus is `%2B`. S3 itself does so.
    Form,
    /// As a path: a space is `%20`, and a plus may stand as it is.
    Path,
}

impl ListingEncoding {
    /// What a listing's own words say: whether it calls itself encoded, and what became of the
    /// spaces and pluses of [`PROBE`] in the prefix that it repeats.
    pub(super) fn detect(says_url: bool, repeated: Option<&str>) -> Self {
        match repeated {
            _ if !says_url => Self::Verbatim,
            Some(prefix) if prefix.contains("%20") => Self::Path,
            _ => Self::Form,
        }
    }

    /// The key that was meant; `None` where what stands there is not an encoded key.
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Verbatim => Some(text.as_bytes().to_vec()),
            Self::Form | Self::Path => self.decode_percent(text.as_bytes()),
        }
    }

    fn decode_percent(self, mut rest: &[u8]) -> Option<Vec<u8>> {
        let mut key = Vec::with_capacity(rest.len());
        while let [first, tail @ ..] = rest {
            rest = tail;
            key.push(match first {
                b'%' => {
                    let (digits, tail) = rest.split_at_checked(2)?;
                    rest = tail;
                    digit(digits[0])? << 4 | digit(digits[1])?
                }
                b'+' if self == Self::Form => b' ',
                other => *other,
            });
        }
        Some(key)
    }
}

/// A prefix that shows how a store encodes: listed once, it need not match anything.
pub(super) const PROBE: &str = "lacuna probe+";

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hazard B15: a header that is encoded too little or twice names another key.
    #[test]
    fn a_copy_source_is_encoded_once() {
        let golden = [
            ("a/b c", "bucket/a/b%20c"),
            ("a+b", "bucket/a%2Bb"),
            ("a%2Fb", "bucket/a%252Fb"),
            ("a?versionId=x#y&z", "bucket/a%3FversionId%3Dx%23y%26z"),
            ("x//y", "bucket/x//y"),
            ("/lead", "bucket//lead"),
            ("./../q", "bucket/./../q"),
            ("grün\n", "bucket/gr%C3%BCn%0A"),
            ("~!*'()", "bucket/~%21%2A%27%28%29"),
        ];
        for (key, header) in golden {
            assert_eq!(copy_source("bucket", key, None), header);
        }
        let version = VersionId::new("a+b/=");
        assert_eq!(copy_source("b", "k", Some(&version)), "b/k?versionId=a%2Bb/%3D");
    }

    #[test]
    fn the_encoding_of_a_listing_is_found_out() {
        use ListingEncoding::{Form, Path, Verbatim};
        assert_eq!(ListingEncoding::detect(false, Some("lacuna probe+")), Verbatim);
        assert_eq!(ListingEncoding::detect(true, Some("lacuna+probe%2B")), Form);
        assert_eq!(ListingEncoding::detect(true, Some("lacuna%20probe%2B")), Path);
        assert_eq!(ListingEncoding::detect(true, None), Form);
    }

    #[test]
    fn a_broken_encoding_is_not_guessed() {
        for text in ["%", "a%2", "%zz", "%+1"] {
            assert_eq!(ListingEncoding::Form.decode(text), None, "{text}");
        }
        assert_eq!(ListingEncoding::Verbatim.decode("a%2"), Some(b"a%2".to_vec()));
    }

    proptest! {
        /// Hazards B14 and B15: decoding undoes encoding, exactly once.
        #[test]
        fn every_key_survives_the_wire(key in "\\PC{0,40}|[ -/%+?#\n\u{1b}]{0,20}") {
            let mut path = String::new();
            percent_encode(&key, &mut path);
            prop_assert!(path.is_ascii());
            prop_assert_eq!(ListingEncoding::Path.decode(&path), Some(key.as_bytes().to_vec()));
            let form = path.replace("%20", "+");
            prop_assert_eq!(ListingEncoding::Form.decode(&form), Some(key.into_bytes()));
        }
    }
}
