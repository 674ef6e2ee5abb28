//! Decisions on simulated links, round by round.

use super::*;

const TARGET: Duration = Duration::from_millis(50);

fn link(megabits: f64, round_trip_millis: u64) -> LinkEstimate {
    let mut link = LinkEstimate::default();
    link.saw_round_trip(Duration::from_millis(round_trip_millis));
    link.heard_bandwidth(megabits * 1e6 / 8.0);
    link
}

fn goals(switch: Switch) -> Goals {
    Goals {
        downtime_target: TARGET,
        switch,
        may_throttle: false,
        most_rounds: 30,
        fixed_pause: Duration::from_millis(3),
    }
}

/// A guest that writes `rate` pages a second, all of them different, out of 100,000.
fn guest(dirty_pages: u64, rate: u64) -> GuestSample {
    GuestSample {
        touched_pages: 100_000,
        dirty_pages,
        working_set: vec![DirtySample {
            pages: rate,
            interval: Duration::from_secs(1),
        }],
        packed_page_bytes: 4096.0,
        page_seconds: 0.0,
        state_bytes: 10_000,
    }
}

fn after_round(goals: &Goals, guest: &GuestSample, link: LinkEstimate, last: u64) -> Decision {
    decide(
        goals,
        &Measurements {
            guest,
            link,
            rounds: 1,
            last_round_pages: last,
            share: 1.0,
        },
    )
}

#[test]
fn what_fits_the_target_is_reason_to_stop() {
    // 800 Mbit/s: 10 ms are 244 pages.
    let link = link(800.0, 10);
    let stop = after_round(&goals(Switch::Never), &guest(240, 20_000), link, 100_000);
    assert_eq!(stop, Decision::Stop);
    // A short round would leave hardly any.
    let shorter = after_round(&goals(Switch::Never), &guest(240, 1000), link, 100_000);
    assert_eq!(shorter, Decision::AnotherRound);
    let more = after_round(&goals(Switch::Never), &guest(2000, 1000), link, 100_000);
    assert_eq!(more, Decision::AnotherRound);
}

#[test]
fn rounds_shrink_until_the_guest_can_stop() {
    for (rate, at_most) in [(100, 3), (2000, 4), (10_000, 9)] {
        let link = link(800.0, 10);
        let mut dirty = 100_000;
        let mut rounds = 0;
        loop {
            let pages = dirty;
            let time = link.time_of(pages as f64 * 4096.0).unwrap() + link.round_trip();
            dirty = (time.as_secs_f64() * rate as f64) as u64;
            rounds += 1;
            let decision = decide(
                &goals(Switch::Never),
                &Measurements {
                    guest: &guest(dirty, rate),
                    link,
                    rounds,
                    last_round_pages: pages,
                    share: 1.0,
                },
            );
            match decision {
                Decision::AnotherRound => {}
                Decision::Stop => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(rounds <= at_most, "{rate} pages a second: {rounds} rounds");
        let pause = pause(
            dirty as f64,
            &guest(dirty, rate),
            &link,
            Duration::from_millis(3),
        );
        assert!(pause.unwrap() <= TARGET);
    }
}

#[test]
fn a_guest_that_outruns_the_link_is_not_copied_for_ever() {
    // 24,414 pages a second go over this link, and the guest writes more.
    let link = link(800.0, 10);
    let wild = guest(100_000, 60_000);
    let decide_with = |switch| after_round(&goals(switch), &wild, link, 100_000);
    assert_eq!(decide_with(Switch::Never), Decision::Stop);
    assert_eq!(decide_with(Switch::IfStuck), Decision::SwitchToPostCopy);
    assert_eq!(decide_with(Switch::Soon), Decision::SwitchToPostCopy);
    let throttled = Goals {
        may_throttle: true,
        ..goals(Switch::Never)
    };
    let share_of = |dirty| match after_round(&throttled, &guest(dirty, 60_000), link, dirty) {
        Decision::Throttle(share) => share,
        other => panic!("it is not slowed down: {other:?}"),
    };
    // While 100,000 pages are sent it writes all 100,000 again: half of that is wanted.
    assert!((share_of(100_000) - THROTTLED_RATE).abs() < 1e-9);
    // While 50,000 are sent, twice as many.
    assert!((share_of(50_000) - THROTTLED_RATE / 2.0).abs() < 1e-3);
}

#[test]
fn a_guest_is_slowed_down_further_until_it_has_hardly_any_time() {
    let throttled = Goals {
        may_throttle: true,
        ..goals(Switch::Never)
    };
    // It writes as much as before, whatever its share.
    let wild = guest(100_000, 60_000);
    let mut share = 1.0;
    for _ in 0..100 {
        let decision = decide(
            &throttled,
            &Measurements {
                guest: &wild,
                link: link(800.0, 10),
                rounds: 5,
                last_round_pages: 100_000,
                share,
            },
        );
        match decision {
            Decision::Throttle(less) => {
                assert!(less < share && less >= 0.05);
                share = less;
            }
            Decision::Stop => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("it is slowed down without end");
}

#[test]
fn one_strange_round_does_not_lead_to_a_switch() {
    // By its working set it cannot converge, but the rounds do shrink.
    let link = link(800.0, 10);
    let guest = guest(5000, 60_000);
    let shrinking = Measurements {
        guest: &guest,
        link,
        rounds: 3,
        last_round_pages: 20_000,
        share: 1.0,
    };
    let decision = decide(&goals(Switch::IfStuck), &shrinking);
    assert_eq!(decision, Decision::AnotherRound);
    let still = Measurements {
        last_round_pages: 5100,
        ..shrinking
    };
    let decision = decide(&goals(Switch::IfStuck), &still);
    assert_eq!(decision, Decision::SwitchToPostCopy);
}

#[test]
fn hybrid_copies_again_only_if_that_is_enough() {
    let link = link(100.0, 10);
    // 3051 pages a second go over. What is written in the next round fits the target.
    let calm = after_round(&goals(Switch::Soon), &guest(1000, 100), link, 100_000);
    assert_eq!(calm, Decision::AnotherRound);
    let busy = after_round(&goals(Switch::Soon), &guest(1000, 1500), link, 100_000);
    assert_eq!(busy, Decision::SwitchToPostCopy);
    let patient = after_round(&goals(Switch::IfStuck), &guest(1000, 1500), link, 100_000);
    assert_eq!(patient, Decision::AnotherRound);
}

#[test]
fn a_long_link_is_no_reason_for_rounds_without_end() {
    // The target cannot be met: the state's way alone takes longer.
    let decision = after_round(&goals(Switch::Never), &guest(1, 5), link(2.0, 800), 100);
    assert_eq!(decision, Decision::Stop);
}

#[test]
fn rounds_are_limited() {
    let measurements = Measurements {
        guest: &guest(5000, 2000),
        link: link(800.0, 10),
        rounds: 30,
        last_round_pages: 50_000,
        share: 1.0,
    };
    let decision = decide(&goals(Switch::Never), &measurements);
    assert_eq!(decision, Decision::Stop);
    let decision = decide(&goals(Switch::IfStuck), &measurements);
    assert_eq!(decision, Decision::SwitchToPostCopy);
}

#[test]
fn without_a_bandwidth_a_round_tells() {
    let unknown = LinkEstimate::default();
    let more = after_round(&goals(Switch::IfStuck), &guest(50, 5), unknown, 100);
    assert_eq!(more, Decision::AnotherRound);
    let done = after_round(&goals(Switch::IfStuck), &guest(0, 5), unknown, 100);
    assert_eq!(done, Decision::Stop);
}
