//! The programs of the conformance set that need no compiler, in the modes of this process; `scripts/wasi` runs all.

use std::path::{Path, PathBuf};

use testsuite::engine::engine;
use testsuite::wasi::{Case, Mode, Outcome, Settings, Tools, check};

fn sources(extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/wasi");
    let entries = directory.read_dir().expect("the corpus is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

#[test]
fn programs_in_text_in_all_modes_of_this_process() {
    let tools = Tools {
        engine: engine().expect("this machine runs the configuration"),
        command: None,
        oracle: None,
    };
    let (mut passed, mut all_stops) = (0, 0);
    for path in sources("wat") {
        let case = Case::read(&path, Path::new("")).expect("it is well-formed");
        for mode in Mode::ALL {
            match check(&tools, &case, mode).expect("there is room") {
                Outcome::Passed { stops, .. } => {
                    passed += 1;
                    all_stops += stops;
                }
                Outcome::Failed(difference) => panic!("{} {mode}: {difference}", case.name),
                Outcome::Skipped(_) => {}
            }
        }
    }
    assert!(
        passed >= 5 * 5 && all_stops > 100,
        "{passed} runs, {all_stops} stops"
    );
}

#[test]
fn all_programs_have_settings_that_exist() {
    let paths = sources("c");
    assert!(paths.len() > 40, "{paths:?}");
    for path in paths {
        let source = std::fs::read_to_string(&path).expect("it can be read");
        let settings = Settings::of_source(&source);
        assert!(settings.is_ok(), "{}: {settings:?}", path.display());
    }
}
