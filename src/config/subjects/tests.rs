use proptest::prelude::*;

use super::*;

fn vocabulary() -> Vocabulary {
    let namespace = |name: &str, kind| (Namespace::new(name), kind);
    Vocabulary::new(
        vec![
            namespace("user", IdentifierType::String),
            namespace("email", IdentifierType::Email),
            namespace("number", IdentifierType::Integer),
        ],
        ReservedValues::new(["Unknown"]),
    )
}

fn identifier(namespace: &str, kind: IdentifierType, value: &str) -> Identifier {
    of_type(&Namespace::new(namespace), kind, value).expect("a value of the type")
}

fn user(value: &str) -> Identifier {
    identifier("user", IdentifierType::String, value)
}

fn batch(text: &str) -> Result<Vec<Vec<Identifier>>, Vec<u64>> {
    match vocabulary().batch(text.as_bytes()) {
        Ok(batch) => Ok(batch.subjects.into_iter().map(|subject| subject.identifiers).collect()),
        Err(rejected) => Err(rejected.into_iter().map(|rejected| rejected.line).collect()),
    }
}

#[test]
fn a_value_alone_stands_in_every_namespace_that_has_it() {
    let subject = vocabulary().subject("42").expect("a subject");
    let number = identifier("number", IdentifierType::Integer, "42");
    assert_eq!(subject.identifiers, [user("42"), number]);
    let subject = vocabulary().subject("Ann@Example.org").expect("a subject");
    let email = identifier("email", IdentifierType::Email, "ann@example.org");
    assert_eq!(subject.identifiers, [user("Ann@Example.org"), email]);
}

#[test]
fn a_namespace_is_what_stands_before_the_first_equals_sign() {
    let subject = vocabulary().subject("user=a=b").expect("a subject");
    assert_eq!(subject.identifiers, [user("a=b")]);
    assert_eq!(subject.mask, Mask::of("a=b"));
    assert!(vocabulary().subject("user=").is_err());
}

#[test]
fn what_looks_like_a_namespace_and_is_none_is_refused_unseen() {
    let problem = vocabulary().subject("emial=canary@example.org").expect_err("refused");
    assert!(matches!(problem, SubjectProblem::UnknownNamespace { .. }));
    assert!(!problem.to_string().contains("canary") && !format!("{problem:?}").contains("canary"));
    for base64 in ["QW5u=", "QQ==", "=x", "1a=b", "a b=c"] {
        assert_eq!(vocabulary().subject(base64).expect(base64).identifiers, [user(base64)]);
    }
}

#[test]
fn what_identifies_nobody_is_refused_in_every_spelling() {
    for text in ["0", "unknown", " UNKNOWN ", "user=Unknown", "number=00", "number=0.0", ""] {
        assert!(vocabulary().subject(text).is_err(), "{text}");
    }
}

/// H9: byte order mark, CRLF, blank lines, a missing last newline, repetitions.
#[test]
fn a_list_survives_what_editors_do_to_it() {
    let text = "\u{feff}user=a\r\n\r\n  \nuser=b\nuser=a\r\nuser=c";
    assert_eq!(batch(text), Ok(vec![vec![user("a")], vec![user("b")], vec![user("c")]]));
    assert_eq!(vocabulary().batch(text.as_bytes()).expect("readable").repeated, 1);
}

/// H9: one bad line rejects the batch, and every bad line is named.
#[test]
fn every_line_that_cannot_be_read_is_named() {
    assert_eq!(batch("user=a\nphone=1\nuser=b\nnumber=x\n user=c\n0\n"), Err(vec![2, 4, 5, 6]));
    let rejected = vocabulary().batch(b"user=a\nuser=\xff\n").expect_err("not text");
    assert_eq!(rejected[0].to_string(), "line 2: it is not UTF-8 text");
    assert!(vocabulary().batch(b"\xff\xfeu\0").is_err());
}

#[test]
fn white_space_at_an_end_is_never_guessed_about() {
    assert_eq!(batch("user=a \n"), Err(vec![1]));
    assert_eq!(batch("user= a\n"), Err(vec![1]));
    let email = identifier("email", IdentifierType::Email, "a@b");
    assert_eq!(batch("email=a@b \n"), Ok(vec![vec![email]]));
    assert_eq!(batch("user\n\" a \"\n"), Ok(vec![vec![user(" a ")]]));
}

#[test]
fn a_header_of_namespaces_makes_a_table() {
    let email = identifier("email", IdentifierType::Email, "a@b");
    let both = vec![user("a"), email.clone()];
    for text in
        ["user,email\na,a@b\n,a@b\n", "user;email\r\na;A@B\r\n;a@b", "user\temail\na\ta@b\n\ta@b"]
    {
        assert_eq!(batch(text), Ok(vec![both.clone(), vec![email.clone()]]), "{text}");
    }
    assert_eq!(batch("\"subject\"\nuser=a\n"), Ok(vec![vec![user("a")]]));
}

#[test]
fn quoted_cells_hold_anything_but_control_characters() {
    assert_eq!(batch("user,email\n\"a,\"\"b\"\"\",\n"), Ok(vec![vec![user("a,\"b\"")]]));
    assert_eq!(batch("user\n\"a\nb\"\nc\n"), Err(vec![2]));
}

#[test]
fn a_broken_record_is_named_by_the_line_it_begins_at() {
    assert_eq!(batch("user,email\na\nb,\nc,,\n"), Err(vec![2, 4]));
    assert_eq!(batch("user\na\"b\n\"c\"d\nok\n\"open\n\n"), Err(vec![2, 3, 5]));
    assert_eq!(batch("user,email\n,\n\nb,\n"), Err(vec![2]));
}

proptest! {
    /// H7: no character has a meaning in an identifier.
    #[test]
    fn metacharacters_are_characters(
        value in "[a-z][-'\";%*$(){}\\[\\]|&<>?!#~`^/\\\\.@,:+a-z ]{0,30}",
    ) {
        prop_assume!(value.trim() == value && !value.is_empty());
        let written = format!("user={value}");
        prop_assert_eq!(
            vocabulary().subject(&written).map(|subject| subject.identifiers),
            Ok(vec![user(&value)])
        );
        prop_assert_eq!(batch(&format!("{written}\r\n")), Ok(vec![vec![user(&value)]]));
        let cell = value.replace('"', "\"\"");
        prop_assert_eq!(batch(&format!("user\n\"{cell}\"\n")), Ok(vec![vec![user(&value)]]));
    }

    /// H9: the naive reading of a clean list, whatever the line endings are.
    #[test]
    fn a_clean_list_is_read_line_by_line(
        values in prop::collection::vec("[a-z]{1,3}", 0..20),
        crlf: bool,
        mark: bool,
    ) {
        let ending = if crlf { "\r\n" } else { "\n" };
        let lines: String = values.iter().map(|value| format!("user={value}{ending}")).collect();
        let text = format!("{}{lines}", if mark { "\u{feff}" } else { "" });
        let mut expected: Vec<Vec<Identifier>> = Vec::new();
        for value in &values {
            if !expected.contains(&vec![user(value)]) {
                expected.push(vec![user(value)]);
            }
        }
        prop_assert_eq!(batch(&text), Ok(expected));
    }

    /// Every line is either taken or named: nothing is passed over.
    #[test]
    fn no_line_is_lost(
        lines in prop::collection::vec("(user=|number=|phone=)[a-z0-9]{1,3}", 1..12),
    ) {
        let good: Vec<bool> =
            lines.iter().map(|line| vocabulary().subject(line).is_ok()).collect();
        let bad = (1..).zip(&good).filter(|(_, good)| !**good).map(|(at, _)| at);
        let bad: Vec<u64> = bad.collect();
        match batch(&lines.join("\n")) {
            Ok(subjects) => prop_assert!(bad.is_empty() && subjects.len() <= lines.len()),
            Err(rejected) => prop_assert_eq!(rejected, bad),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), table: bool) {
        let head: &[u8] = if table { b"user,email\n" } else { b"" };
        let _ = vocabulary().batch(&[head, &bytes].concat());
    }
}
