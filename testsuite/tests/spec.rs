//! A sample of the spec suite in all ways; `scripts/spec` runs all of it.

use testsuite::Way;
use testsuite::engine::{Watchdog, engine};
use testsuite::spec::{Report, Suite, run_file};

const SAMPLE: [&str; 8] = [
    "wasm-v2/br_table.wast",
    "wasm-v2/call_indirect.wast",
    "wasm-v2/fac.wast",
    "wasm-v2/linking.wast",
    "wasm-v2/loop.wast",
    "wasm-v2/start.wast",
    "wasm-v2/table_init.wast",
    "tail-call/return_call.wast",
];

#[test]
fn sample_of_the_spec_suite() {
    let filters = SAMPLE.map(str::to_owned);
    let suite = Suite::new(&filters);
    assert_eq!(suite.files.len(), SAMPLE.len());
    let engine = engine().expect("the engine starts");
    let _watchdog = Watchdog::start(&engine);
    let mut report = Report::default();
    for file in &suite.files {
        let ways = [
            Way::Original,
            Way::Rewritten,
            Way::Resumed(1),
            Way::Resumed(5),
        ];
        run_file(&engine, file, &ways, &mut report);
    }
    assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    assert!(report.stops > 1_000, "only {} stops", report.stops);
    let totals = report.totals_of_all();
    assert!(totals.passed > 3_000 && totals.skipped == 0, "{totals:?}");
}
