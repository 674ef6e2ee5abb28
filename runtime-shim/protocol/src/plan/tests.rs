//! Predictions on the links and for the guests of the evaluation.

use super::*;
use crate::convergence::DirtySample;

/// Name, Mbit/s, one-way milliseconds.
const LINKS: [(&str, f64, f64); 8] = [
    ("LAN", 10_000.0, 0.1),
    ("WiFi-6", 800.0, 5.0),
    ("5G", 400.0, 10.0),
    ("Starlink", 100.0, 45.0),
    ("LTE", 50.0, 40.0),
    ("TEE best", 4.0, 200.0),
    ("TEE average", 2.0, 400.0),
    ("TEE worst", 0.65, 3000.0),
];

fn link(megabits: f64, one_way_millis: f64) -> LinkEstimate {
    let mut link = LinkEstimate::default();
    link.saw_round_trip(Duration::from_secs_f64(one_way_millis / 500.0));
    link.heard_bandwidth(megabits * 1e6 / 8.0);
    link
}

fn guest(mebibytes: u64, packed_page_bytes: f64, working_set: &[(u64, u64)]) -> GuestSample {
    let sample = |&(millis, pages)| DirtySample {
        pages,
        interval: Duration::from_millis(millis),
    };
    GuestSample {
        touched_pages: mebibytes * 256,
        dirty_pages: 0,
        working_set: working_set.iter().map(sample).collect(),
        packed_page_bytes,
        page_seconds: 0.0,
        state_bytes: 20_000,
    }
}

/// Writes hardly anything.
fn idle() -> GuestSample {
    guest(1024, 4096.0, &[(10, 1), (100, 3), (1000, 5)])
}

/// Game of Life: all cells in every generation, most of them equal.
fn life() -> GuestSample {
    guest(32, 300.0, &[(10, 2000), (100, 8192), (1000, 8192)])
}

/// Writes more than any of the links takes.
fn hog() -> GuestSample {
    guest(256, 4096.0, &[(10, 16_384), (100, 65_536), (1000, 65_536)])
}

/// Walks through its memory slowly.
fn store() -> GuestSample {
    guest(256, 2000.0, &[(10, 20), (100, 200), (1000, 1900)])
}

fn input(guest: GuestSample, link: LinkEstimate) -> PlanInput {
    PlanInput {
        guest,
        link,
        module_bytes: 0,
        compile_time: Duration::ZERO,
        goals: Goals {
            downtime_target: Duration::from_millis(50),
            switch: Switch::Never,
            may_throttle: false,
            most_rounds: 30,
            fixed_pause: Duration::from_millis(3),
        },
        can_post_copy: true,
    }
}

fn of(predictions: &[Prediction], mode: Mode) -> Prediction {
    let found = predictions
        .iter()
        .find(|prediction| prediction.mode == mode);
    *found.expect("the mode is possible")
}

#[test]
fn auto_is_near_the_best_everywhere() {
    for (name, megabits, one_way) in LINKS {
        for (workload, guest) in [
            ("idle", idle()),
            ("life", life()),
            ("hog", hog()),
            ("store", store()),
        ] {
            let predictions = predict(&input(guest, link(megabits, one_way)));
            assert_eq!(predictions.len(), 4);
            let best = predictions
                .iter()
                .map(|p| p.score)
                .fold(f64::INFINITY, f64::min);
            let chosen = choose(&predictions).unwrap();
            assert!(chosen.score <= best * 1.15, "{name}, {workload}");
        }
    }
}

#[test]
fn an_idle_guest_moves_by_rounds_with_a_short_pause() {
    for (name, megabits, one_way) in &LINKS[..3] {
        let predictions = predict(&input(idle(), link(*megabits, *one_way)));
        let pre = of(&predictions, Mode::Pre);
        assert!(pre.meets_target, "{name}: {:?}", pre.downtime);
        assert!(pre.rounds <= 3, "{name}: {}", pre.rounds);
        assert_eq!(choose(&predictions).unwrap().mode, Mode::Pre, "{name}");
        // Four pages more or less: once, and little more.
        assert!(pre.bytes < 1.001 * 1024.0 * 1048576.0);
        // Its size does not matter to the pause.
        let small = guest(64, 4096.0, &[(10, 1), (100, 3), (1000, 5)]);
        let small = of(
            &predict(&input(small, link(*megabits, *one_way))),
            Mode::Pre,
        );
        let ratio = pre.downtime.as_secs_f64() / small.downtime.as_secs_f64();
        assert!(ratio < 1.2, "{name}: {ratio}");
    }
}

#[test]
fn a_guest_that_outruns_the_link_is_followed_by_its_pages() {
    for (name, megabits, one_way) in &LINKS[1..] {
        let predictions = predict(&input(hog(), link(*megabits, *one_way)));
        let pre = of(&predictions, Mode::Pre);
        let hybrid = of(&predictions, Mode::Hybrid);
        let post = of(&predictions, Mode::Post);
        assert!(!pre.meets_target, "{name}");
        // It is found out after one round, not after thirty.
        assert_eq!(pre.rounds, 1, "{name}");
        assert!(hybrid.is_post_copy, "{name}");
        assert!(hybrid.bytes > 1.9 * post.bytes, "{name}");
        let limit = 3.0 * link(*megabits, *one_way).round_trip().as_secs_f64() + 0.02;
        assert!(
            post.downtime.as_secs_f64() <= limit,
            "{name}: {:?}",
            post.downtime
        );
        assert_eq!(choose(&predictions).unwrap().mode, Mode::Post, "{name}");
    }
}

#[test]
fn without_userfaultfd_pages_do_not_follow() {
    let mut input = input(hog(), link(800.0, 5.0));
    input.can_post_copy = false;
    let predictions = predict(&input);
    assert!(
        predictions
            .iter()
            .all(|prediction| !prediction.is_post_copy)
    );
    assert!(matches!(
        choose(&predictions).unwrap().mode,
        Mode::Stop | Mode::Pre
    ));
}

#[test]
fn a_small_guest_on_a_long_link_just_stops() {
    let tiny = guest(1, 100.0, &[(10, 2), (1000, 3)]);
    let predictions = predict(&input(tiny, link(100.0, 45.0)));
    assert_eq!(choose(&predictions).unwrap().mode, Mode::Stop);
}

#[test]
fn throttling_makes_a_wild_guest_converge() {
    let mut input = input(
        guest(256, 4096.0, &[(10, 400), (100, 4000), (1000, 40_000)]),
        link(800.0, 5.0),
    );
    input.can_post_copy = false;
    let free = of(&predict(&input), Mode::Pre);
    input.goals.may_throttle = true;
    let throttled = of(&predict(&input), Mode::Pre);
    assert!(
        !free.meets_target && throttled.meets_target,
        "{free:?} {throttled:?}"
    );
    assert!(throttled.rounds < 30);
}

#[test]
fn a_module_that_is_missing_costs_its_transfer_and_compilation() {
    let mut input = input(idle(), link(100.0, 45.0));
    let with = |input: &PlanInput| of(&predict(input), Mode::Pre);
    let present = with(&input);
    input.module_bytes = 12_500_000;
    input.compile_time = Duration::from_secs(2);
    let missing = with(&input);
    assert_eq!(present.downtime, missing.downtime);
    let more = (missing.total - present.total).as_secs_f64();
    assert!((more - 3.09).abs() < 0.001, "{more}");
}

#[test]
fn nothing_is_said_of_an_unknown_link() {
    assert!(predict(&input(idle(), LinkEstimate::default())).is_empty());
    assert!(choose(&[]).is_none());
}
