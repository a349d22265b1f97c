//! The tests that docs/sessions.md names for OWASP's points are there.

use std::fs;
use std::path::Path;

#[test]
fn each_test_that_the_guide_names_is_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let guide = fs::read_to_string(docs.join("sessions.md")).unwrap();
    let links = guide.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        Some((name, rest.split_once(')')?.0))
    });
    let mut named = 0;
    for (name, path) in links {
        let source = fs::read_to_string(docs.join(path)).unwrap_or_default();
        assert!(
            is_test(&source, name),
            "docs/sessions.md says that {name} in {path} shows a point of OWASP's; it is not there"
        );
        named += 1;
    }
    assert!(named > 30, "{named} tests are named: was the form of the links changed?");
}

/// Whether a function of that name follows an attribute `#[test]`, or stands among the properties
/// of proptest.
fn is_test(source: &str, name: &str) -> bool {
    source.split("test]").skip(1).any(|rest| {
        let declaration = rest.trim_start().trim_start_matches("async ");
        declaration.strip_prefix("fn ").is_some_and(|rest| {
            rest.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('('))
        })
    })
}
