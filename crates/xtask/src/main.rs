//! cargo xtask: test, bench, fuzz, lint, image.

fn main() {}
