//! Arguments, environment, clocks, random numbers and the end.

use wasm_migrate::wasi::{Exit, WasiBuilder};

use crate::guest::{BADF, FAULT, Guest, INVAL, NOTSOCK, NOTSUP, RESULT, ROOT, directory};

#[test]
fn arguments_and_environment_arrive() {
    let args = vec!["program".to_owned(), String::new(), "zwölf".to_owned()];
    let mut guest = Guest::with(
        WasiBuilder::new()
            .args(args)
            .env("A", "1=2")
            .env("B", "")
            .build(),
    );
    let result = u64::from(RESULT);
    assert_eq!(guest.call("args_sizes_get", &[result, result + 4]), 0);
    assert_eq!((guest.u32_at(result), guest.u32_at(result + 4)), (3, 16));
    let pointers = guest.put(&[0; 12]);
    let bytes = guest.put(&[0; 16]);
    assert_eq!(guest.call("args_get", &[pointers, bytes]), 0);
    assert_eq!(guest.bytes(bytes, 16), "program\0\0zwölf\0".as_bytes());
    assert_eq!(u64::from(guest.u32_at(pointers + 8)), bytes + 9);
    assert_eq!(
        guest.call("args_get", &[pointers, u64::from(u32::MAX)]),
        FAULT
    );
    assert_eq!(guest.call("environ_sizes_get", &[result, result + 4]), 0);
    assert_eq!((guest.u32_at(result), guest.u32_at(result + 4)), (2, 9));
    assert_eq!(guest.call("environ_get", &[pointers, bytes]), 0);
    assert_eq!(guest.bytes(bytes, 9), b"A=1=2\0B=\0");
}

#[test]
fn clocks_run() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let result = u64::from(RESULT);
    for clock in 0..4 {
        assert_eq!(guest.call("clock_res_get", &[clock, result]), 0);
        assert!(
            (1..1_000_000_000).contains(&guest.u64_at(result)),
            "clock {clock}"
        );
        let mut readings = [0, 1].map(|_| {
            assert_eq!(guest.call("clock_time_get", &[clock, 0, result]), 0);
            guest.u64_at(result)
        });
        assert!(readings.is_sorted(), "clock {clock}");
        readings.reverse();
        assert!(clock != 0 || readings[0] > 1_700_000_000_000_000_000);
        assert!(clock != 1 || readings[0] > 0);
    }
    assert_eq!(guest.call("clock_time_get", &[4, 0, result]), INVAL);
    assert_eq!(guest.call("clock_res_get", &[4, result]), INVAL);
    assert_eq!(
        guest.call("clock_time_get", &[0, 0, u64::from(u32::MAX)]),
        FAULT
    );
}

#[test]
fn the_rest_answers() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let buffer = guest.put(&[0; 256]);
    assert_eq!(guest.call("random_get", &[buffer, 256]), 0);
    assert!(guest.bytes(buffer, 256).iter().any(|&byte| byte != 0));
    assert_eq!(
        guest.call("random_get", &[buffer, u64::from(u32::MAX)]),
        FAULT
    );
    assert_eq!(guest.call("sched_yield", &[]), 0);
    assert_eq!(guest.call("proc_raise", &[6]), NOTSUP);
    for (fd, error) in [(1, NOTSOCK), (u64::from(ROOT), NOTSOCK), (77, BADF)] {
        assert_eq!(guest.call("sock_accept", &[fd, 0, RESULT.into()]), error);
        assert_eq!(guest.call("sock_recv", &[fd, 0, 0, 0, 0, 0]), error);
        assert_eq!(guest.call("sock_send", &[fd, 0, 0, 0, 0]), error);
        assert_eq!(guest.call("sock_shutdown", &[fd, 0]), error);
    }
}

#[test]
fn exiting_ends_the_call_with_the_status() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let error = guest
        .try_call("proc_exit", &[42], &mut [])
        .expect_err("it does not return");
    assert_eq!(error.downcast_ref::<Exit>(), Some(&Exit(42)));
}
