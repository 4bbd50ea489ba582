use proptest::prelude::*;

use super::*;

fn model() -> Model {
    Model {
        now: 63_000,
        sandbox: "127.0.0.1:40123".to_owned(),
        seed: 1,
        published: 1_234,
        finished: 1_200,
        failed: 12,
        again: 2,
        letters: (1, 0),
        per_second: (0..60).map(|n| (100, n * 3)).collect(),
        consumers: vec![
            ConsumerLine {
                pid: 1,
                alive: true,
                member: true,
                processed: 600,
                per_second: 30,
                breaker: false,
            },
            ConsumerLine {
                pid: 2,
                alive: false,
                ..ConsumerLine::default()
            },
            ConsumerLine {
                pid: 3,
                alive: true,
                member: true,
                breaker: true,
                ..ConsumerLine::default()
            },
        ],
        partitions: (0..6)
            .map(|n| PartitionLine {
                owner: (n < 4).then_some(n % 2 * 2),
                settled: true,
                lag: Some(n as u64 * 9),
                waiting: Some(n as u64 * 8),
                held: n % 2,
            })
            .collect(),
        past: vec![
            Past {
                step: Step::Steady,
                result: "all well ".repeat(30),
                took: 7_100
            };
            5
        ],
        step: Some((Step::Kill, 60_000)),
    }
}

#[test]
fn a_frame_tells_the_step_owners_lag_and_what_is_over() {
    let text = frame(&model(), (120, 40), false).join("\n");
    for part in [
        "01:03",
        "▶ kill -9",
        "1234",
        "breaker open",
        "killed",
        "dead letters 1",
        "✓ steady",
        "45       40",
        "1 held",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colour was asked for");
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = frame(&model(), (100, 30), false).join("\n");
    let mut stripped = String::new();
    let colored = frame(&model(), (100, 30), true).join("\n");
    assert!(colored.contains("\x1b[32m"));
    let mut rest = colored.as_str();
    while let Some((before, behind)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = behind.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    let trim = |text: &str| {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(trim(&stripped), trim(&plain));
}

proptest! {
    #[test]
    fn no_frame_is_wider_or_higher_than_the_terminal(width in 0usize..200, height in 0usize..60) {
        let lines = frame(&model(), (width, height), false);
        prop_assert!(lines.len() <= height.saturating_sub(1).max(1));
        for line in &lines {
            prop_assert!(line.chars().count() <= width, "{line:?}");
        }
    }
}

#[test]
fn a_small_terminal_gets_the_status_line() {
    let lines = frame(&model(), (39, 40), false);
    assert_eq!(lines.len(), 1);
    assert!(
        model().status().contains("c-2 gone, c-3 2, breaker open"),
        "{}",
        model().status()
    );
}

#[test]
fn a_model_without_anything_can_be_drawn() {
    assert!(!frame(&Model::default(), (80, 24), true).is_empty());
}
