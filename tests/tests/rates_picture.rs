//! The picture in docs/rate-limits.md shows what the rules do.

#[test]
fn the_picture_is_what_the_rules_say() {
    let drawn = larder_tests::rates_picture::svg().unwrap();
    let stands = include_str!("../../docs/rate-limits.svg");
    assert!(
        drawn == stands,
        "docs/rate-limits.svg is not what the rules say; draw it anew with `cargo xtask docs rates`"
    );
}
