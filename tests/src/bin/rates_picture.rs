//! Prints docs/rate-limits.svg: `cargo xtask docs rates` writes it.

fn main() -> Result<(), std::fmt::Error> {
    print!("{}", larder_tests::rates_picture::svg()?);
    Ok(())
}
