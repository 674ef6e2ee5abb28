//! What small functions become: each `rewrites/*.wat` has the rewritten text beside it in a `.snap` file.
//!
//! To add a case, add a `.wat`; to accept new output, set `INSTA_UPDATE=always`.

use std::path::Path;

use wasm_migratize::Migratizer;

#[test]
fn rewritten_text() {
    insta::with_settings!({ snapshot_path => "rewrites", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::glob!("rewrites/*.wat", |path| {
            insta::assert_snapshot!(rewrite(path));
        });
    });
}

/// The text of the rewritten module without what all modules share, or the error.
fn rewrite(path: &Path) -> String {
    let original = std::fs::read(path).expect("a readable test case");
    let output = match Migratizer::new().rewrite(&original) {
        Ok(output) => output,
        Err(error) => return format!("error: {error}"),
    };
    let text = wasmprinter::print_bytes(&output.wasm).expect("the rewriter's output is valid");
    let shared = [
        "  (import \"wasm_migrate\"",
        "  (export \"wasm_migrate.",
        "  (@custom \"wasm_migrate\"",
        "  (@producers",
        "    (processed-by",
        "  (type ",
    ];
    let is_shared = |line: &&str| shared.iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = text.lines().filter(|line| !is_shared(line)).collect();
    lines.join("\n")
}
