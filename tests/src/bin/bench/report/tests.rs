use super::spread::Short;
use super::*;

/// 100 requests or 1000 events, `cpu` microseconds per request.
fn sample(per_second: f64, cpu: f64) -> Sample {
    Sample {
        requests: 100.0,
        events: 1000.0,
        pieces: 1000.0,
        per_second,
        p50: cpu,
        p99: 2.0 * cpu,
        first_event: 0.0,
        cpu: cpu * 100.0,
    }
}

/// Each round is the CPU per request of bare, floor, ours …, in both scenarios that are judged.
fn report(rounds: &[&[f64]], memory: Vec<Memory>) -> Report {
    let series = [(SATURATED, false), (EVENTS, true)].map(|(name, stream)| {
        let mut series = Series::new(name, stream);
        for round in rounds {
            series.add(round.iter().map(|cpu| sample(1e6 / cpu, *cpu)).collect());
        }
        series
    });
    let n = rounds.first().map_or(3, |round| round.len());
    Report {
        contestants: ["bare", "floor", "ours", "against"][..n].to_vec(),
        series: series.into(),
        memory,
        decision: None,
        version: "1.40.0".into(),
        workers: 1,
        control: false,
        quick: true,
        rounds: rounds.len(),
    }
}

/// Bare grows by 10 MiB for three workers more, ours by `ours`.
fn memory(ours: u64) -> Vec<Memory> {
    vec![Memory {
        one: [50, 70, 80].map(|mib| mib << 20).into(),
        many: [60, 85, 80 + ours].map(|mib| mib << 20).into(),
    }]
}

fn passes(report: &Report) -> String {
    let verdicts = report.verdicts();
    let words = verdicts
        .iter()
        .map(|v| if v.pass() { "pass" } else { "fail" });
    words.collect::<Vec<_>>().join(" ")
}

fn value(report: &Report, what: &str) -> f64 {
    let verdicts = report.verdicts();
    let verdict = verdicts.iter().find(|verdict| verdict.what == what);
    verdict.expect(what).value
}

#[test]
fn takes_medians() {
    for (values, expected) in [
        (&[3.0][..], (3.0, 3.0, 3.0)),
        (&[9.0, 1.0, 2.0], (2.0, 1.0, 9.0)),
        (&[4.0, 1.0, 2.0, 9.0], (3.0, 1.0, 9.0)),
        (
            &[f64::INFINITY, 1.0, f64::INFINITY],
            (f64::INFINITY, 1.0, f64::INFINITY),
        ),
    ] {
        let Spread { median, min, max } = Spread::of(values.iter().copied());
        assert_eq!((median, min, max), expected, "{values:?}");
    }
    assert!(Spread::of(std::iter::empty()).median.is_nan());
}

#[test]
fn shows_three_digits() {
    for (number, expected) in [
        (0.0, "0.00"),
        (2.346, "2.35"),
        (9.999, "10.0"),
        (-31.47, "-31.5"),
        (99.97, "100"),
        (12345.6, "12346"),
        (f64::INFINITY, "inf"),
    ] {
        assert_eq!(Short(number).to_string(), expected);
    }
    assert_eq!(format!("{:>6}|", Short(1.0)), "  1.00|");
}

/// One round: CPU per request of bare, floor, ours; CPU per event; MiB that three workers more add to ours.
#[test]
fn judges_by_the_floor() {
    let (fast, events) = ([40.0, 60.0, 100.0], [10.0, 12.0, 15.0]);
    for (why, requests, events, mib, expected) in [
        ("as stated", fast, events, 30, "pass pass pass pass"),
        (
            "five times slower",
            [200.0, 300.0, 500.0],
            events,
            30,
            "pass pass pass pass",
        ),
        (
            "just too much CPU",
            [40.0, 60.0, 100.5],
            events,
            30,
            "fail pass pass pass",
        ),
        (
            "too much for both",
            [40.0, 60.0, 101.5],
            events,
            30,
            "fail fail pass pass",
        ),
        (
            "below the floor",
            [40.0, 60.0, 50.0],
            events,
            30,
            "pass pass pass pass",
        ),
        (
            "no floor to be seen",
            [40.0, 40.0, 41.0],
            events,
            30,
            "fail fail fail pass",
        ),
        (
            "an event, fast",
            fast,
            [10.0, 12.0, 15.5],
            30,
            "pass pass fail pass",
        ),
        (
            "an event, slow",
            [200.0, 300.0, 500.0],
            [50.0, 60.0, 75.0],
            30,
            "pass pass pass pass",
        ),
        (
            "an event, slow, too much",
            [200.0, 300.0, 500.0],
            [50.0, 60.0, 75.5],
            30,
            "pass pass fail pass",
        ),
        ("memory at the bar", fast, events, 58, "pass pass pass pass"),
        ("too much memory", fast, events, 59, "pass pass pass fail"),
    ] {
        let mut report = report(&[&requests], memory(mib));
        let mut streams = Series::new(EVENTS, true);
        streams.add(events.map(|event| sample(10.0, event * 10.0)).into());
        report.series[1] = streams;
        assert_eq!(passes(&report), expected, "{why}\n{}", report.table());
        assert_eq!(report.passes(), !expected.contains("fail"), "{why}");
    }
}

/// A floor of 20 us, then one five times slower: 60 us a decision is at the bar, or five times as much.
#[test]
fn judges_a_decision_by_the_floor() {
    for (floor, named, local, expected) in [
        (20.0, 100.0, 160.0, true),
        (20.0, 100.0, 160.5, false),
        (100.0, 500.0, 800.0, true),
        (100.0, 500.0, 801.0, false),
        (0.0, 100.0, 101.0, false),
    ] {
        let mut report = report(&[&[40.0, 40.0 + floor, 60.0]], memory(0));
        let [named, local] = [named, local].map(|cpu| sample(1.0, cpu));
        report.decision = Some(Decision {
            rounds: vec![Pair { named, local }],
            native: vec![],
            memory: vec![],
        });
        let verdicts = report.verdicts();
        let what = "CPU per decision / floor's";
        let verdict = verdicts.iter().find(|v| v.what == what).expect(what);
        assert_eq!(verdict.pass(), expected, "{floor}: {}", verdict.value);
        assert!(report.table().contains(what) && report.json()["decision"].is_object());
    }
}

/// What the derivation says: 20 us is 0.85, 60 us is 0.654, and 0.65 is 61 us.
#[test]
fn projects_the_throughput() {
    for (ours, ratio) in [(20.0, 0.85), (60.0, 0.654), (61.03, 0.65), (0.0, 1.0)] {
        let report = report(&[&[40.0, 60.0, 40.0 + ours]], memory(0));
        let got = value(&report, "projected throughput ratio");
        assert!((got - ratio).abs() < 0.0005, "{ours}: {got}");
    }
}

/// Rounds drift threefold; within each, the floor adds half of bare and ours twice the floor.
#[test]
fn compares_within_a_round() {
    let rounds: [&[f64]; 3] = [
        &[100.0, 150.0, 200.0],
        &[300.0, 450.0, 600.0],
        &[120.0, 180.0, 240.0],
    ];
    let report = report(&rounds, memory(0));
    assert_eq!(value(&report, "added CPU per request / floor's"), 2.0);
    let series = report.series(SATURATED).expect("measured");
    let added = series.added(JUDGED, Sample::cpu_per_request);
    assert_eq!((added.median, added.min, added.max), (120.0, 100.0, 300.0));
    let ratio = series.ratio_to_bare(JUDGED);
    assert_eq!((ratio.min, ratio.max), (0.5, 0.5));
}

/// Noise hides the floor in one round of three, and the median stands; in two, and nothing is promised.
#[test]
fn a_floor_below_the_noise_decides_nothing() {
    let (good, hidden) = (&[40.0, 60.0, 80.0][..], &[60.0, 50.0, 80.0][..]);
    let once = report(&[good, hidden, good], memory(0));
    assert_eq!(value(&once, "added CPU per request / floor's"), 2.0);
    let twice = report(&[hidden, hidden, good], memory(0));
    assert_eq!(
        value(&twice, "added CPU per request / floor's"),
        f64::INFINITY
    );
    assert_eq!(value(&twice, "projected throughput ratio"), 0.0);
    assert!(!twice.passes());
}

#[test]
fn tables_have_a_column_per_contestant() {
    let table = report(&[&[40.0, 60.0, 90.0]], memory(0)).table();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = table.lines().map(words).collect();
    let line = |start: &str| lines.iter().find(|l| l.starts_with(start)).expect(start);
    assert_eq!(line(SATURATED), "one-shot, c=32 bare floor ours");
    assert_eq!(
        line("CPU per request us"),
        "CPU per request us 40.0 60.0 90.0"
    );
    assert_eq!(
        line("CPU per request, added us"),
        "CPU per request, added us - 20.0 (20.0..20.0) 50.0 (50.0..50.0)"
    );
    assert_eq!(
        line("CPU per request, added /"),
        "CPU per request, added / floor's x - 1.00 (1.00..1.00) 2.50 (2.50..2.50)"
    );
    assert_eq!(line("memory"), "memory bare floor ours");
    assert!(line("info").contains("floor 0.67 (0.67..0.67), ours 0.44"));
    assert!(!table.contains("next to"), "{table}");
}

#[test]
fn another_build_is_compared_with_ours() {
    let rounds: [&[f64]; 3] = [
        &[40.0, 60.0, 90.0, 100.0],
        &[40.0, 60.0, 190.0, 220.0],
        &[40.0, 60.0, 80.0, 84.0],
    ];
    let json = report(&rounds, vec![]).json();
    let next_to = &json["measured"]["ours next to against"];
    assert_eq!(
        next_to["CPU per request, difference"][SATURATED],
        json!({"median": -10.0, "min": -30.0, "max": -4.0})
    );
    assert_eq!(next_to["throughput, ratio"][EVENTS], Value::Null);
    let added = &json["measured"][SATURATED]["CPU per request, added"];
    assert_eq!(added["against"]["median"], 60.0);
}

#[test]
fn json_keeps_every_sample() {
    let rounds: [&[f64]; 2] = [&[40.0, 60.0, 90.0], &[41.0, 61.0, 91.0]];
    let json = report(&rounds, memory(6)).json();
    assert_eq!(json["contestants"], json!(["bare", "floor", "ours"]));
    assert_eq!(json["samples"][SATURATED][1][2]["cpu_us"], 9100.0);
    assert_eq!(json["samples"][EVENTS][0][0]["events"], 1000.0);
    assert_eq!(
        json["memory"]["samples"][0]["many_workers_bytes"][2],
        86 << 20
    );
    assert_eq!(json["verdicts"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_run_without_numbers_does_not_pass() {
    let mut empty = report(&[], vec![]);
    assert_eq!(passes(&empty), "fail fail fail fail");
    empty.series.clear();
    assert!(!empty.passes());
}
